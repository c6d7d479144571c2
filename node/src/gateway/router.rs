//! Which handler answers which path: a tree of path segments, literal ones before parameters.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{ALLOW, HeaderValue};
use rookery_actors::protocol::{ErrorCode, Problem};

use super::http::{Call, Failure, Reply, decode};
use crate::app::App;

/// A handler at work.
pub type Answer = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;
type Handler = Box<dyn Fn(Arc<App>, Call) -> Answer + Send + Sync>;

/// The routes. Built once at start, then shared.
#[derive(Default)]
pub struct Router {
    root: Node,
}

#[derive(Default)]
struct Node {
    literals: HashMap<&'static str, Node>,
    parameter: Option<Box<Node>>,
    endpoint: Option<Endpoint>,
}

/// A pattern and what its methods do.
struct Endpoint {
    pattern: &'static str,
    methods: Vec<(Method, Route)>,
}

/// One method of one pattern.
pub struct Route {
    /// The pattern, which is also the label of the route's metrics.
    pub pattern: &'static str,
    names: Vec<&'static str>,
    handler: Handler,
}

/// What a path leads to.
pub enum Found<'r> {
    /// The route, and the values of its parameters.
    Route(&'r Route, Vec<(&'static str, String)>),
    /// The path exists, the method doesn't: these do.
    OtherMethods(String),
    Nothing,
}

impl Router {
    /// Lets `handler` answer `method` on paths like `pattern`, e.g. `/api/groups/{id}/members`. `HEAD` comes with `GET`.
    pub fn route<F, Fut>(&mut self, method: Method, pattern: &'static str, handler: F) -> &mut Self
    where
        F: Fn(Arc<App>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, Failure>> + Send + 'static,
    {
        let mut names = Vec::new();
        let mut node = &mut self.root;
        for segment in segments(pattern) {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            node = match name {
                Some(name) => {
                    names.push(name);
                    node.parameter.get_or_insert_default()
                }
                None => node.literals.entry(segment).or_default(),
            };
        }
        let endpoint = node.endpoint.get_or_insert_with(|| Endpoint {
            pattern,
            methods: Vec::new(),
        });
        debug_assert!(
            endpoint.methods.iter().all(|(known, _)| *known != method),
            "{method} {pattern} is routed twice"
        );
        let route = Route {
            pattern: endpoint.pattern,
            names,
            handler: Box::new(move |app, call| Box::pin(handler(app, call))),
        };
        endpoint.methods.push((method, route));
        self
    }

    /// What answers a method on a path.
    pub fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let parts: Vec<&str> = segments(path).collect();
        let mut values = Vec::new();
        let Some(endpoint) = (path.starts_with('/'))
            .then(|| self.root.find(&parts, &mut values))
            .flatten()
        else {
            return Found::Nothing;
        };
        let Some(route) = endpoint.route(method) else {
            return Found::OtherMethods(endpoint.allow());
        };
        let decoded: Option<Vec<String>> = values.iter().map(|value| decode(value, false)).collect();
        match decoded {
            Some(values) => Found::Route(route, route.names.iter().copied().zip(values).collect()),
            None => Found::Nothing,
        }
    }
}

impl Route {
    /// Starts the handler.
    pub fn call(&self, app: Arc<App>, call: Call) -> Answer {
        (self.handler)(app, call)
    }
}

impl Node {
    fn find<'p>(&self, parts: &[&'p str], values: &mut Vec<&'p str>) -> Option<&Endpoint> {
        let Some((first, rest)) = parts.split_first() else {
            return self.endpoint.as_ref();
        };
        if let Some(found) = self.literals.get(*first).and_then(|next| next.find(rest, values)) {
            return Some(found);
        }
        let next = self.parameter.as_ref().filter(|_| !first.is_empty())?;
        values.push(first);
        let found = next.find(rest, values);
        if found.is_none() {
            values.pop();
        }
        found
    }
}

impl Endpoint {
    fn route(&self, method: &Method) -> Option<&Route> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let found = self.methods.iter().find(|(known, _)| known == wanted);
        found.map(|(_, route)| route)
    }

    /// The value of `Allow`.
    fn allow(&self) -> String {
        let mut names: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.sort_unstable();
        names.join(", ")
    }
}

/// The answer to a path that leads nowhere.
pub fn nothing_there() -> Failure {
    Problem::new(ErrorCode::NotFound, "no such path").into()
}

/// The answer to a method the path doesn't have.
pub fn other_methods(method: &Method, allow: &str) -> Failure {
    let problem = Problem::new(ErrorCode::Unsupported, format!("{method} is not supported here"));
    Failure::from(problem)
        .with_status(hyper::StatusCode::METHOD_NOT_ALLOWED)
        .with_header(ALLOW, allow)
}

/// `allow` as a header.
pub fn allow_value(allow: &str) -> HeaderValue {
    HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        async fn ok(_: Arc<App>, _: Call) -> Result<Reply, Failure> {
            Ok(Reply::none())
        }
        let mut router = Router::default();
        router
            .route(Method::GET, "/api/users/me", ok)
            .route(Method::POST, "/api/users/me/password", ok)
            .route(Method::GET, "/api/users/{id}", ok)
            .route(Method::GET, "/api/users/{id}/groups", ok)
            .route(Method::PUT, "/api/messages/{conversation}/{seq}/reactions/{emoji}", ok)
            .route(
                Method::DELETE,
                "/api/messages/{conversation}/{seq}/reactions/{emoji}",
                ok,
            );
        router
    }

    fn found(method: Method, path: &str) -> String {
        match router().find(&method, path) {
            Found::Route(route, params) => format!("{} {params:?}", route.pattern),
            Found::OtherMethods(allow) => format!("allow {allow}"),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn literals_come_before_parameters_and_dead_ends_are_left() {
        assert_eq!(found(Method::GET, "/api/users/me"), "/api/users/me []");
        assert_eq!(found(Method::GET, "/api/users/7"), "/api/users/{id} [(\"id\", \"7\")]");
        assert_eq!(
            found(Method::GET, "/api/users/me/groups"),
            "/api/users/{id}/groups [(\"id\", \"me\")]"
        );
        assert_eq!(found(Method::HEAD, "/api/users/7"), "/api/users/{id} [(\"id\", \"7\")]");
    }

    #[test]
    fn unknown_paths_and_methods_differ() {
        assert_eq!(found(Method::GET, "/api/users"), "nothing");
        assert_eq!(found(Method::GET, "/api/users/"), "nothing");
        assert_eq!(found(Method::GET, "/api/users/%zz"), "nothing");
        assert_eq!(found(Method::GET, "*"), "nothing");
        assert_eq!(found(Method::POST, "/api/users/7"), "allow GET, HEAD, OPTIONS");
        assert_eq!(found(Method::GET, "/api/users/me/password"), "allow OPTIONS, POST");
    }

    #[test]
    fn parameters_are_decoded_in_order() {
        assert_eq!(
            found(Method::PUT, "/api/messages/c%2F1/9/reactions/%F0%9F%91%8D"),
            "/api/messages/{conversation}/{seq}/reactions/{emoji} \
             [(\"conversation\", \"c/1\"), (\"seq\", \"9\"), (\"emoji\", \"👍\")]"
        );
    }
}
