//! Routes under `/api/devices`: the installations of the own account.

use std::sync::Arc;

use hyper::Method;
use rookery_actors::id::DeviceId;
use rookery_actors::protocol::view::Page;

use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

pub fn register(router: &mut Router) {
    router
        .route(Method::GET, "/api/devices", list)
        .route(Method::DELETE, "/api/devices/{id}", delete);
}

/// All of them in one page: there are at most `limits.devices_per_user`.
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let items = app.accounts.devices(caller).await?;
    Ok(Reply::ok(&Page { items, next: None }))
}

pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let device: DeviceId = call.id("id")?;
    app.accounts.delete_device(caller, device).await?;
    Ok(Reply::none())
}
