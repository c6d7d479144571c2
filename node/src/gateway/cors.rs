//! Which browser pages may call this server.
//!
//! Tokens travel in headers, never in cookies, so a page of a foreign origin holds no credentials of the user; the check
//! keeps it from using this server as its back end, and keeps foreign pages off the WebSocket, to which browsers apply no
//! CORS at all.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderValue, ORIGIN, VARY,
};

const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, range, x-request-id");
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("x-request-id, retry-after, content-range, content-disposition, etag, location");
/// How long a browser may keep a preflight's answer, in seconds: two hours is what most cap it at.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins that were configured.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    any: bool,
    allowed: Vec<String>,
}

impl Origins {
    pub fn new(configured: &[String]) -> Self {
        Self {
            any: configured.iter().any(|origin| origin == "*"),
            allowed: configured
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    /// True when a request comes from no browser page, from one of this host, or from a configured origin.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        match headers.get(ORIGIN).map(HeaderValue::to_str) {
            None => true,
            Some(Ok(origin)) => self.allows(origin) || same_host(origin, headers),
            Some(Err(_)) => false,
        }
    }

    /// Adds the headers that let the page of an allowed origin read the answer.
    pub fn decorate(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.any || !self.allowed.is_empty() {
            response.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = request.get(ORIGIN) else { return };
        if origin.to_str().is_ok_and(|origin| self.allows(origin)) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }

    /// Adds what a preflight asks for; [`Origins::decorate`] adds the rest.
    pub fn preflight(&self, request: &HeaderMap, methods: &HeaderValue, response: &mut HeaderMap) {
        if request.contains_key(ORIGIN) && self.allow(request) {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            response.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.any || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

fn same_host(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (origin.split_once("://"), host) {
        (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("chat.example.org:8080"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_configured_origins_and_this_host_are_allowed() {
        let origins = Origins::new(&["https://app.example.org/".into()]);
        assert!(origins.allow(&from(None)));
        assert!(origins.allow(&from(Some("https://app.example.org"))));
        assert!(origins.allow(&from(Some("http://chat.example.org:8080"))));
        assert!(!origins.allow(&from(Some("http://chat.example.org"))));
        assert!(!origins.allow(&from(Some("https://evil.example.org"))));
        assert!(!origins.allow(&from(Some("null"))));
        assert!(Origins::new(&["*".into()]).allow(&from(Some("https://evil.example.org"))));
    }

    #[test]
    fn a_foreign_page_may_not_read_the_answer() {
        let origins = Origins::new(&["https://app.example.org".into()]);
        let mut answer = HeaderMap::new();
        origins.decorate(&from(Some("https://evil.example.org")), &mut answer);
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        origins.decorate(&from(Some("https://app.example.org")), &mut answer);
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example.org");
    }
}
