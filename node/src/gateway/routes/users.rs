//! Routes under `/api/users`: who is who, and the own account.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use rookery_actors::id::UserId;
use rookery_actors::ports::files::PhotoOf;
use rookery_actors::protocol::{ErrorCode, Problem};

use super::auth;
use crate::accounts::{PasswordRequest, ProfilePatch};
use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

/// Preferences may have 16 KiB of compact JSON; what a client sends may be spaced and escaped generously.
const PROFILE_BYTES: usize = 128 * 1024;
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 200;

pub fn register(router: &mut Router) {
    router
        .route(Method::GET, "/api/users", search)
        .route(Method::GET, "/api/users/me", me)
        .route(Method::PATCH, "/api/users/me", patch_me)
        .route(Method::DELETE, "/api/users/me", delete_me)
        .route(Method::POST, "/api/users/me/password", change_password)
        .route(Method::GET, "/api/users/{id}", show);
}

pub async fn search(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    app.caller(&call)?;
    let page = call.page(PAGE, LONGEST_PAGE)?;
    let query = call.query.get("query").unwrap_or_default();
    let found = app.accounts.search(query, page.cursor.as_deref(), page.limit).await?;
    Ok(Reply::ok(&found))
}

pub async fn show(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    app.caller(&call)?;
    let user: UserId = call.id("id")?;
    Ok(Reply::ok(&app.accounts.user(user).await?))
}

pub async fn me(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    Ok(Reply::ok(&app.accounts.me(caller.user).await?))
}

pub async fn patch_me(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let patch = call.json::<ProfilePatch>(PROFILE_BYTES).await?.checked()?;
    if let Some(Some(photo)) = patch.photo {
        app.files.adopt_photo(caller.user, photo, PhotoOf::User).await?;
    }
    Ok(Reply::ok(&app.accounts.patch_me(caller.user, patch).await?))
}

pub async fn delete_me(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    app.accounts.delete_account(caller).await?;
    Ok(Reply::none())
}

pub async fn change_password(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let request: PasswordRequest = call.json(auth::BODY_BYTES).await?;
    let changed = app.accounts.change_password(caller, request, call.peer).await;
    changed.map_err(wrong_old_password)?;
    Ok(Reply::none())
}

/// The caller is who the token says, so a wrong old password is no 401: that would send a client to the log-in.
fn wrong_old_password(problem: Problem) -> Failure {
    let wrong = problem.code == ErrorCode::BadCredentials;
    let failure = Failure::from(problem);
    if wrong {
        failure.with_status(StatusCode::FORBIDDEN)
    } else {
        failure
    }
}
