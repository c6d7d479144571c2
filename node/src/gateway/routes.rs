//! The HTTP routes, one file per noun. Each registers its own.

use super::http::Call;
use super::router::Router;
use crate::app::App;

pub mod auth;
pub mod connect;
pub mod conversations;
pub mod devices;
pub mod files;
pub mod groups;
pub mod messages;
pub mod users;

/// Every route of the public listener but `/ws`.
pub fn router() -> Router {
    let mut router = Router::default();
    auth::register(&mut router);
    users::register(&mut router);
    devices::register(&mut router);
    groups::register(&mut router);
    conversations::register(&mut router);
    messages::register(&mut router);
    files::register(&mut router);
    connect::register(&mut router);
    router
}

/// Where links to this server begin: its public URL, else the host the client asked for.
fn base(app: &App, call: &Call) -> String {
    match (&app.public_url, call.host()) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(host)) => format!("{}://{host}", app.scheme),
        (None, None) => String::new(),
    }
}
