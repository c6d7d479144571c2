//! The HTTP routes, one file per noun. Each registers its own.

use super::router::Router;

pub mod auth;
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
    router
}
