//! From a request of hyper's to a response: request id, client address, CORS, routing, panics, metrics.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use rookery_actors::protocol::{ErrorCode, Problem};

use super::cors::Origins;
use super::http::{Body, BodyError, Call, Failure, Lingering, Query, Reply};
use super::router::{Found, Route, Router, allow_value, nothing_there, other_methods};
use super::{Settings, address};
use crate::app::App;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken from a client.
const REQUEST_ID_CHARS: usize = 64;

/// What answers requests; one for all connections.
pub struct Service {
    pub app: Arc<App>,
    pub settings: Settings,
    pub origins: Origins,
    router: Router,
}

impl Service {
    pub fn new(app: Arc<App>, settings: Settings, router: Router) -> Self {
        Self {
            app,
            origins: Origins::new(&settings.cors_origins),
            settings,
            router,
        }
    }

    /// Answers one request of a route.
    pub async fn answer<B>(&self, request: Request<B>, peer: IpAddr) -> Response<Body>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Unpin + Send + 'static,
        B::Error: Into<BodyError> + Send,
    {
        let started = Instant::now();
        let request_id = request_id(request.headers());
        let (parts, body) = request.into_parts();
        let body = Lingering::new(body);
        let (pattern, answered) = match self.router.find(&parts.method, parts.uri.path()) {
            Found::Route(route, params) => {
                let peer = address::client(peer, &parts.headers, &self.settings.trusted_proxies);
                let body = body.map_err(Into::into).boxed_unsync();
                let call = Query::parse(parts.uri.query().unwrap_or("")).map(|query| {
                    let call = Call::new(parts.method, parts.uri.path(), query, parts.headers.clone(), peer, body);
                    call.with_params(params).with_request_id(request_id.clone())
                });
                let answered = match call {
                    Ok(call) => run(route, self.app.clone(), call).await,
                    Err(problem) => Err(problem.into()),
                };
                (route.pattern, answered)
            }
            Found::OtherMethods(allow) if parts.method == Method::OPTIONS => {
                ("options", Ok(self.options(&parts.headers, &allow)))
            }
            Found::OtherMethods(allow) => ("other", Err(other_methods(&parts.method, &allow))),
            Found::Nothing => ("other", Err(nothing_there())),
        };
        let response = self.finish(answered, &parts.headers, &request_id);
        count(pattern, &response, started);
        response
    }

    /// Makes a response of what was answered: the headers every response has are added here.
    pub fn finish(&self, answered: Result<Reply, Failure>, request: &HeaderMap, request_id: &str) -> Response<Body> {
        let mut response = match answered {
            Ok(reply) => reply.into_response(),
            Err(failure) => failure.into_response(request_id),
        };
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, value);
        }
        headers
            .entry(hyper::header::X_CONTENT_TYPE_OPTIONS)
            .or_insert(HeaderValue::from_static("nosniff"));
        self.origins.decorate(request, headers);
        response
    }

    fn options(&self, request: &HeaderMap, allow: &str) -> Reply {
        let mut reply = Reply::none().with_header(hyper::header::ALLOW, allow);
        self.origins
            .preflight(request, &allow_value(allow), reply.headers_mut());
        reply
    }
}

/// Runs a handler; a panic in it is answered, counted, and goes no further.
async fn run(route: &Route, app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let request_id = call.request_id.clone();
    let handled = AssertUnwindSafe(async { route.call(app, call).await })
        .catch_unwind()
        .await;
    let answered = handled.unwrap_or_else(|_| {
        metrics::counter!("node_http_panics_total").increment(1);
        tracing::error!(route = route.pattern, %request_id, "a handler panicked");
        Err(Problem::new(ErrorCode::Internal, "internal error").into())
    });
    if let Err(failure) = &answered
        && failure.problem.code == ErrorCode::Internal
    {
        tracing::error!(route = route.pattern, %request_id, detail = failure.problem.detail, "a request failed");
    }
    answered
}

fn count(pattern: &'static str, response: &Response<Body>, started: Instant) {
    const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let class = CLASSES[usize::from(response.status().as_u16() / 100).min(5)];
    metrics::counter!("node_http_requests_total", "route" => pattern, "status" => class).increment(1);
    metrics::histogram!("node_http_request_seconds", "route" => pattern).record(started.elapsed());
}

/// The client's own request id when it is harmless to repeat, else a new one.
pub fn request_id(headers: &HeaderMap) -> Arc<str> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if !id.is_empty() && id.len() <= REQUEST_ID_CHARS && id.bytes().all(harmless) => id.into(),
        _ => made_request_id().into(),
    }
}

/// A request id that no other request has: random by process, counted within it. Not a secret.
fn made_request_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}{:016x}", *PROCESS, COUNT.fetch_add(1, Relaxed))
}
