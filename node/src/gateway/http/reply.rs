//! What a handler answers.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use rookery_actors::ports::PortError;
use rookery_actors::protocol::error::FieldError;
use rookery_actors::protocol::{ErrorCode, Problem};
use serde::Serialize;

use super::{Body, BodyError, call};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An answer that worked.
pub struct Reply(Response<Body>);

impl Reply {
    /// An object as JSON.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(status, JSON, body),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Self::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// 200 with an object.
    pub fn ok<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// 201 with an object.
    pub fn created<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::json(StatusCode::CREATED, value)
    }

    /// 204: done, nothing to say.
    pub fn none() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    pub fn empty(status: StatusCode) -> Self {
        Self::with_body(status, call::empty())
    }

    /// Bytes of a type.
    pub fn bytes(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
        let mut reply = Self::with_body(status, body);
        reply.0.headers_mut().insert(CONTENT_TYPE, content_type);
        reply
    }

    /// A body that is sent as it comes. One whose `size_hint` is exact is sent with a `Content-Length`.
    pub fn stream<B>(status: StatusCode, body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        Self::with_body(status, body.map_err(Into::into).boxed_unsync())
    }

    /// Adds a header, in place of one of that name. A value that isn't printable ASCII is left out.
    pub fn with_header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.0.headers_mut()
    }

    pub fn into_response(self) -> Response<Body> {
        self.0
    }

    fn with_body(status: StatusCode, body: Body) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Self(response)
    }
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self(response)
    }
}

/// An answer that refuses, as RFC 9457 has it.
#[derive(Clone, Debug)]
pub struct Failure {
    pub problem: Problem,
    /// Where the status is not the usual one of the code.
    pub status: Option<StatusCode>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    pub fn with_header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.push((name, value));
        }
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        let usual = StatusCode::from_u16(self.problem.code.status());
        self.status
            .unwrap_or(usual.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// The problem document.
    pub fn into_response(self, request_id: &str) -> Response<Body> {
        let status = self.status();
        let problem = self.problem;
        let document = Document {
            kind: format!("/docs/errors#{}", problem.code.as_str()),
            title: title(problem.code),
            status: status.as_u16(),
            code: problem.code,
            detail: &problem.detail,
            errors: &problem.errors,
            retry_after_ms: problem.retry_after_ms,
            request_id,
        };
        let mut response = Reply::json(status, &document).0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(ms) = problem.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
        }
        headers.extend(self.headers);
        response
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            status: None,
            headers: Vec::new(),
        }
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Problem::from(error).into()
    }
}

#[derive(Serialize)]
struct Document<'p> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: ErrorCode,
    detail: &'p str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'p [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'p str,
}

/// What the code means, the same for every occurrence.
fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadRequest => "Bad request",
        ErrorCode::InvalidField => "A field is invalid",
        ErrorCode::Unauthorized => "Not signed in",
        ErrorCode::BadCredentials => "Wrong credentials",
        ErrorCode::TokenExpired => "The token has expired",
        ErrorCode::RefreshReused => "The refresh token was used before",
        ErrorCode::Forbidden => "Not allowed",
        ErrorCode::NotMember => "Not a member",
        ErrorCode::Blocked => "Blocked",
        ErrorCode::NotFound => "Not found",
        ErrorCode::EmailTaken => "The e-mail address is taken",
        ErrorCode::UsernameTaken => "The username is taken",
        ErrorCode::Conflict => "Conflict",
        ErrorCode::TooLarge => "Too large",
        ErrorCode::Unsupported => "Unsupported",
        ErrorCode::RateLimited => "Too many requests",
        ErrorCode::Internal => "Internal error",
        ErrorCode::Unavailable => "Unavailable for now",
        ErrorCode::Timeout => "Timed out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_a_problem_document() {
        let failure = Failure::from(Problem::field("name", "is required").retry_after(1500));
        let response = failure.into_response("r-1");
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["code"], "invalid_field");
        assert_eq!(document["status"], 422);
        assert_eq!(document["errors"][0]["field"], "name");
        assert_eq!(document["retry_after_ms"], 1500);
        assert_eq!(document["request_id"], "r-1");
    }

    #[test]
    fn a_status_can_differ_from_the_usual_one() {
        let failure = Failure::from(Problem::new(ErrorCode::BadCredentials, "wrong old password"));
        assert_eq!(failure.status(), 401);
        assert_eq!(failure.with_status(StatusCode::FORBIDDEN).status(), 403);
    }
}
