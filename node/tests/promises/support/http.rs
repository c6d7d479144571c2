//! An HTTP client that says in one line what is asked and what must come back.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::server::Endpoint;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody (or nobody) who makes requests. Each request has a connection of its own.
#[derive(Clone)]
pub struct Http {
    endpoint: Endpoint,
    on_admin_listener: bool,
    token: Option<String>,
}

impl Http {
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            on_admin_listener: false,
            token: None,
        }
    }

    pub fn on_admin_listener(mut self) -> Self {
        self.on_admin_listener = true;
        self
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, Some(body)).await
    }

    pub async fn put(&self, path: &str) -> Reply {
        self.call("PUT", path, None).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, None).await
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let headers: &[(&str, &str)] = match body {
            Some(_) => &[("content-type", "application/json")],
            None => &[],
        };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.raw(method, path, headers, body).await
    }

    /// Any request at all; the token is added unless a header names one.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let address = if self.on_admin_listener {
            self.endpoint.admin()
        } else {
            self.endpoint.public()
        };
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path);
        let named = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !named(HOST.as_str()) {
            request = request.header(HOST, address.to_string());
        }
        if let Some(token) = self.token.as_ref().filter(|_| !named(AUTHORIZATION.as_str())) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let what = format!("{method} {path}");
        let request = request.body(Full::new(body.into())).unwrap();
        send(address, request, what).await
    }
}

/// A request to a URL as the server gave it (a signed upload or download), with nothing added.
pub async fn at_url(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let rest = url.strip_prefix("http://").expect("a plain http url");
    let (host, path) = rest.split_at(rest.find('/').expect("a url with a path"));
    let mut request = Request::builder().method(method).uri(path).header(HOST, host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let address = host.parse().expect("a url of this machine");
    send(address, request, format!("{method} {url}")).await
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>, what: String) -> Reply {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).ok();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok::<_, String>((head, body))
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok((head, body))) => Reply {
            what,
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        },
        Ok(Err(error)) => panic!("{what}: {error}"),
        Err(_) => panic!("{what}: no answer within {PATIENCE:?}"),
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn new(what: String, status: u16, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            what,
            status,
            headers,
            body,
        }
    }

    /// The JSON of a success with exactly this status.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        if self.body.is_empty() {
            return Value::Null;
        }
        self.json()
    }

    /// The JSON (or nothing) of any success.
    #[track_caller]
    pub fn succeeds(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {} {}",
            self.what,
            self.status,
            self.text()
        );
        self.is(self.status)
    }

    /// A refusal with this status and code, as RFC 9457 would have it.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str) -> Value {
        let problem = self.problem();
        assert_eq!(
            (self.status, problem["code"].as_str()),
            (status, Some(code)),
            "{}: {}",
            self.what,
            self.text()
        );
        problem
    }

    /// A refusal of any kind, well formed.
    #[track_caller]
    pub fn problem(&self) -> Value {
        let (what, text) = (&self.what, self.text());
        assert!(
            self.status >= 400,
            "{what}: {} where a refusal was due: {text}",
            self.status
        );
        let kind = self.header(CONTENT_TYPE.as_str());
        assert_eq!(kind, Some("application/problem+json"), "{what}: {} {text}", self.status);
        let problem = self.json();
        for field in ["type", "title", "code", "detail"] {
            assert!(problem[field].is_string(), "{what}: no {field} in {text}");
        }
        assert_eq!(problem["status"], self.status, "{what}: {text}");
        assert!(CODES.contains(&problem["code"].as_str().unwrap()), "{what}: {text}");
        problem
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(600).collect()
    }
}

/// The closed list of error codes.
pub const CODES: &[&str] = &[
    "bad_request",
    "invalid_field",
    "unauthorized",
    "bad_credentials",
    "token_expired",
    "refresh_reused",
    "forbidden",
    "not_member",
    "blocked",
    "not_found",
    "email_taken",
    "username_taken",
    "conflict",
    "too_large",
    "unsupported",
    "rate_limited",
    "internal",
    "unavailable",
    "timeout",
];
