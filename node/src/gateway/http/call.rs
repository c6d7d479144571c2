//! One HTTP request on its way to a handler.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method};
use rookery_actors::protocol::{ErrorCode, Problem};
use serde::de::DeserializeOwned;

use super::{Body, Query, field};

/// How long a whole JSON body may take to arrive: enough for a slow phone, too little to hold many open by trickling.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request whose path matched a route.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub query: Query,
    pub headers: HeaderMap,
    /// The client's address, behind trusted proxies too.
    pub peer: IpAddr,
    /// Names this request in logs and in its answer.
    pub request_id: Arc<str>,
    params: Vec<(&'static str, String)>,
    body: Body,
}

/// Which part of a list is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    pub cursor: Option<String>,
    pub limit: usize,
}

impl Call {
    /// A call without path parameters. The router makes them; tests of handlers may, too.
    pub fn new(method: Method, path: &str, query: Query, headers: HeaderMap, peer: IpAddr, body: Body) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query,
            headers,
            peer,
            request_id: Arc::from(""),
            params: Vec::new(),
            body,
        }
    }

    /// Gives the call the values of its route's parameters.
    pub fn with_params(mut self, params: Vec<(&'static str, String)>) -> Self {
        self.params = params;
        self
    }

    pub fn with_request_id(mut self, request_id: Arc<str>) -> Self {
        self.request_id = request_id;
        self
    }

    /// A parameter of the route's pattern; empty for one the pattern doesn't have.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// An id in the path. One that is malformed names nothing: 404.
    pub fn id<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let what = if name == "id" { "resource" } else { name };
        self.param(name).parse().map_err(|_| Problem::not_found(what))
    }

    /// `?cursor=&limit=`, the limit held within `1..=max`.
    pub fn page(&self, default: usize, max: usize) -> Result<Page, Problem> {
        Ok(Page {
            cursor: self
                .query
                .get("cursor")
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            limit: self.query.clamped("limit", default, 1, max)?,
        })
    }

    /// A header as text.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of `Authorization: Bearer <token>`.
    pub fn bearer(&self) -> Option<&str> {
        bearer(&self.headers)
    }

    /// The `Host` the client asked for.
    pub fn host(&self) -> Option<&str> {
        self.header(HOST)
    }

    /// The announced length of the body.
    pub fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    /// The body as a stream, once; the routes that take uploads bound and time it themselves.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.body, empty())
    }

    /// The whole body, at most `limit` bytes of it.
    pub async fn bytes(&mut self, limit: usize) -> Result<Bytes, Problem> {
        if self.content_length().is_some_and(|length| length > limit as u64) {
            return Err(Problem::too_large("body", limit));
        }
        // Boxed, so that the compiler need not look through it to see that a handler's future is `Send` (it gets lost in the
        // lifetimes of the boxed error).
        let collected = Limited::new(self.take_body(), limit).collect().boxed();
        match tokio::time::timeout(BODY_TIMEOUT, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large("body", limit)),
            Ok(Err(_)) => Err(Problem::new(ErrorCode::BadRequest, "the body broke off")),
            Err(_) => Err(Problem::new(ErrorCode::BadRequest, "the body did not arrive in time")),
        }
    }

    /// The body as JSON: 415 when it says it is something else, 413 beyond `limit` bytes, `bad_request` when it isn't
    /// JSON, `invalid_field` when it is and a field isn't what it should be.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Problem> {
        self.expect_json()?;
        let body = self.bytes(limit).await?;
        serde_json::from_slice(&body).map_err(|error| field::problem(&body, &error))
    }

    /// As [`Call::json`], for routes whose body may be left out.
    pub async fn json_if_any<T: DeserializeOwned>(&mut self, limit: usize) -> Result<Option<T>, Problem> {
        let body = self.bytes(limit).await?;
        if body.is_empty() {
            return Ok(None);
        }
        self.expect_json()?;
        let value = serde_json::from_slice(&body).map_err(|error| field::problem(&body, &error))?;
        Ok(Some(value))
    }

    fn expect_json(&self) -> Result<(), Problem> {
        match self.headers.get(CONTENT_TYPE) {
            Some(value) if !value.to_str().is_ok_and(is_json) => Err(Problem::new(
                ErrorCode::Unsupported,
                "the body must be application/json",
            )),
            _ => Ok(()),
        }
    }
}

/// The token of `Authorization: Bearer <token>`; the scheme is not case-sensitive (RFC 7235).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// A body without bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    let utf8 = parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    utf8 && (essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::header::HeaderValue;

    use super::*;

    fn call(content_type: Option<&'static str>, body: &'static str) -> Call {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        let body = Full::new(Bytes::from_static(body.as_bytes()));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        Call::new(
            Method::POST,
            "/x",
            Query::default(),
            headers,
            [127, 0, 0, 1].into(),
            body,
        )
    }

    async fn code(mut call: Call, limit: usize) -> Option<ErrorCode> {
        let read = call.json::<std::collections::BTreeMap<String, u32>>(limit).await;
        read.err().map(|problem| problem.code)
    }

    #[tokio::test]
    async fn a_body_is_read_as_json_within_its_limit() {
        assert_eq!(
            code(call(Some("application/json; charset=UTF-8"), "{\"a\":1}"), 64).await,
            None
        );
        assert_eq!(code(call(None, "{\"a\":1}"), 64).await, None);
        assert_eq!(
            code(call(Some("text/plain"), "{\"a\":1}"), 64).await,
            Some(ErrorCode::Unsupported)
        );
        assert_eq!(code(call(None, "{\"a\":1"), 64).await, Some(ErrorCode::BadRequest));
        assert_eq!(code(call(None, "{\"a\":-1}"), 64).await, Some(ErrorCode::InvalidField));
        assert_eq!(
            code(call(None, "{\"a\":1111111111}"), 8).await,
            Some(ErrorCode::TooLarge)
        );
    }

    #[tokio::test]
    async fn an_announced_length_beyond_the_limit_is_refused_unread() {
        let mut large = call(None, "{}");
        large
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("1000000"));
        assert_eq!(code(large, 64).await, Some(ErrorCode::TooLarge));
    }

    #[test]
    fn a_malformed_id_names_nothing() {
        let call = call(None, "").with_params(vec![("id", "seven".into())]);
        let refused = call.id::<rookery_actors::id::UserId>("id").unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFound);
    }
}
