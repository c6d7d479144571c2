//! Routes under `/api/auth`: coming and going.

use std::sync::Arc;

use hyper::Method;
use hyper::header::CACHE_CONTROL;
use rookery_actors::protocol::{ErrorCode, Problem};
use serde::Deserialize;

use crate::accounts::{LoginRequest, SignupRequest, challenge};
use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

/// A body of credentials holds a few short texts; escaped, the longest password allowed fits.
pub const BODY_BYTES: usize = 16 * 1024;

pub fn register(router: &mut Router) {
    router
        .route(Method::POST, "/api/auth/signup", signup)
        .route(Method::POST, "/api/auth/login", login)
        .route(Method::POST, "/api/auth/refresh", refresh)
        .route(Method::POST, "/api/auth/logout", logout);
}

pub async fn signup(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let request: SignupRequest = call.json(BODY_BYTES).await?;
    let signed_in = app.accounts.signup(request, call.peer).await?;
    Ok(secret(Reply::created(&signed_in)))
}

pub async fn login(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let request: LoginRequest = call.json(BODY_BYTES).await?;
    let signed_in = app.accounts.login(request, call.peer).await?;
    Ok(secret(Reply::ok(&signed_in)))
}

#[derive(Deserialize)]
struct RefreshRequest {
    refresh_token: Option<String>,
}

pub async fn refresh(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let request: RefreshRequest = call.json(BODY_BYTES).await?;
    let Some(token) = request.refresh_token else {
        return Err(Problem::field("refresh_token", "is required").into());
    };
    let pair = app.accounts.refresh(&token).await.map_err(challenge)?;
    Ok(secret(Reply::ok(&pair)))
}

pub async fn logout(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    match call.query.get("everywhere") {
        Some("true" | "1") => app.accounts.logout_everywhere(caller).await?,
        None | Some("false" | "0" | "") => app.accounts.logout(caller).await?,
        Some(_) => return Err(Problem::new(ErrorCode::BadRequest, "everywhere must be true or false").into()),
    }
    Ok(Reply::none())
}

/// Tokens are not to be kept by anything on the way (RFC 6749, 5.1).
fn secret(reply: Reply) -> Reply {
    reply.with_header(CACHE_CONTROL, "no-store")
}
