//! `GET /api/connect`: where a client had best open its socket.

use std::sync::Arc;

use hyper::Method;
use serde::Serialize;

use super::base;
use crate::addresses::socket_url;
use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

pub fn register(router: &mut Router) {
    router.route(Method::GET, "/api/connect", connect);
}

#[derive(Serialize)]
struct View {
    url: String,
    /// The node that has the session.
    node: String,
    /// Whether the URL is that node's own. Any other node serves as well, and passes everything on.
    direct: bool,
}

async fn connect(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    if let Some((node, url)) = app.addresses.socket_of(&app.system, caller.user) {
        let node = node.to_string();
        return Ok(Reply::ok(&View {
            url,
            node,
            direct: true,
        }));
    }
    let home = app.system.home(caller.user);
    Ok(Reply::ok(&View {
        url: socket_url(&base(&app, &call)),
        direct: *home.0 == *app.node,
        node: home.to_string(),
    }))
}
