//! The admin listener: health, readiness and metrics for machines, `/admin` for operators.
//!
//! It opens first and closes last, so that a node that is starting or draining can be watched. It shares nothing with the
//! public listener, so that a storm of clients does not hide the metrics. `/admin` wants the admin token; the rest is open
//! to whoever can connect, which is why the default address is loopback.

mod operator;
mod token;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rookery_actors::protocol::{ErrorCode, Problem};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use self::operator::{Control, Peers};
pub use self::token::{AdminToken, TokenError};
use crate::gateway::http::{Body, Failure, Reply, bearer};
use crate::shutdown::{Lifecycle, Phase};
use crate::telemetry::Metrics;

/// Connections served at once: scrapers, probes and a few people. More wait.
const CONNECTIONS: usize = 64;
/// How long a request's head may take to arrive, so that idle connections do not hold the places.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Pause after an accept that failed, which is usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "\
GET  /healthz           200 while the process lives
GET  /readyz            200 while clients may come, 503 with the reason otherwise
GET  /metrics           Prometheus' text format
with Authorization: Bearer <admin token>:
GET  /admin/nodes       the nodes and what they are doing
GET  /admin/shards      which node owns which shard
GET  /admin/users/{id}  a user's account, devices and connections
POST /admin/drain       stop in order: tell clients to go, flush, exit
";

/// The admin listener, serving. Cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    lifecycle: Lifecycle,
    metrics: Metrics,
    control: OnceLock<Control>,
}

impl Admin {
    /// Serves health and metrics on the listener from now on; `/admin` follows with [`Admin::open`].
    pub fn start(listener: StdListener, lifecycle: Lifecycle, metrics: Metrics) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let admin = Self(Arc::new(Shared {
            address: listener.local_addr()?,
            lifecycle,
            metrics,
            control: OnceLock::new(),
        }));
        tokio::spawn(admin.clone().accept(listener));
        Ok(admin)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The node is whole: operators may look into it. The first call counts.
    pub fn open(&self, control: Control) {
        self.0.control.set(control).ok();
    }

    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((socket, _)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        admin.serve(socket).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, socket: TcpStream) {
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES);
        if let Err(error) = server.serve_connection(TokioIo::new(socket), service).await {
            tracing::debug!(%error, "an admin connection broke off");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method(), request.uri().path());
        let answered = match path {
            "/" => only(method, Method::GET, || {
                Ok(text(INDEX.to_owned(), "text/plain; charset=utf-8"))
            }),
            "/healthz" => only(method, Method::GET, || {
                Ok(Reply::json(StatusCode::OK, &Health { status: "ok" }))
            }),
            "/readyz" => only(method, Method::GET, || self.ready()),
            "/metrics" => self.metrics(method).await,
            _ => match path.strip_prefix("/admin/") {
                Some(what) => self.operate(method, what, request.headers()).await,
                None => Err(Problem::not_found("path").into()),
            },
        };
        let mut response = match answered {
            Ok(reply) => reply.into_response(),
            Err(failure) => failure.into_response(""),
        };
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn ready(&self) -> Result<Reply, Failure> {
        let reason = match self.0.lifecycle.phase() {
            Phase::Ready => match self.complaint() {
                None => return Ok(Reply::json(StatusCode::OK, &Health { status: "ready" })),
                Some(complaint) => complaint,
            },
            Phase::Starting => "starting".into(),
            Phase::Apart => "out of the cluster, joining it again".into(),
            Phase::Draining => "draining".into(),
        };
        Err(Problem::unavailable(format!("not ready: {reason}")).into())
    }

    /// What is wrong with the disk, where that is the node's concern.
    fn complaint(&self) -> Option<String> {
        self.0.control.get()?.disk.as_ref()?.complaint()
    }

    /// Rendering walks every series and `/proc`: not on a thread that serves sockets.
    async fn metrics(&self, method: &Method) -> Result<Reply, Failure> {
        only(method, Method::GET, || Ok(()))?;
        let metrics = self.0.metrics.clone();
        let page = tokio::task::spawn_blocking(move || metrics.render()).await;
        let page = page.map_err(|_| Problem::new(ErrorCode::Internal, "the metrics could not be rendered"))?;
        Ok(text(page, METRICS_TYPE))
    }

    async fn operate(&self, method: &Method, what: &str, headers: &HeaderMap) -> Result<Reply, Failure> {
        let starting = || Problem::unavailable("not ready: starting");
        let control = self.0.control.get().ok_or_else(starting)?;
        if !bearer(headers).is_some_and(|token| control.token.is(token)) {
            let problem = Problem::new(ErrorCode::Unauthorized, "the admin token is missing or wrong");
            return Err(Failure::from(problem).with_header(WWW_AUTHENTICATE, "Bearer realm=\"rookery admin\""));
        }
        match what.split_once('/') {
            None if what == "nodes" => only(method, Method::GET, || Ok(control.nodes(self.0.lifecycle.phase()))),
            None if what == "shards" => only(method, Method::GET, || Ok(control.shards())),
            None if what == "drain" => only(method, Method::POST, || Ok(self.drain())),
            Some(("users", id)) if !id.contains('/') => {
                only(method, Method::GET, || Ok(()))?;
                control.user(id).await
            }
            _ => Err(Problem::not_found("path").into()),
        }
    }

    fn drain(&self) -> Reply {
        let first = self.0.lifecycle.drain();
        if first {
            tracing::info!("a drain was asked for on the admin listener");
        }
        Reply::json(StatusCode::ACCEPTED, &Health { status: "draining" })
    }
}

#[derive(serde::Serialize)]
struct Health {
    status: &'static str,
}

/// Runs the answer for one method (and HEAD with GET); the others are refused with what is allowed.
fn only<T>(method: &Method, wanted: Method, answer: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    if *method == wanted || (wanted == Method::GET && *method == Method::HEAD) {
        return answer();
    }
    let problem = Problem::new(ErrorCode::Unsupported, format!("{method} is not supported here"));
    let allow = if wanted == Method::GET {
        "GET, HEAD"
    } else {
        wanted.as_str()
    };
    Err(Failure::from(problem)
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
        .with_header(ALLOW, allow))
}

fn text(body: String, content_type: &'static str) -> Reply {
    Reply::bytes(StatusCode::OK, HeaderValue::from_static(content_type), body)
}
