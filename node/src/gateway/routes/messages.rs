//! Routes under `/api/messages`.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use rookery_actors::protocol::{ErrorCode, Limits, Problem, Send};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

/// Messages on a page of history, unless the client says otherwise.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;
/// What one byte of text can take in JSON, written as `\u0000`.
const ESCAPED: usize = 6;
/// Room for a body's other fields: ids, attachments, mentions.
const OTHER_BYTES: usize = 64 * 1024;

pub fn register(router: &mut Router) {
    router
        .route(Method::POST, "/api/messages", send)
        .route(Method::GET, "/api/messages/{conversation}", history)
        .route(Method::PATCH, "/api/messages/{conversation}/{seq}", edit)
        .route(Method::DELETE, "/api/messages/{conversation}/{seq}", delete)
        .route(
            Method::PUT,
            "/api/messages/{conversation}/{seq}/reactions/{emoji}",
            react,
        )
        .route(
            Method::DELETE,
            "/api/messages/{conversation}/{seq}/reactions/{emoji}",
            unreact,
        );
}

#[derive(Deserialize)]
struct Edit {
    body: String,
}

/// The seq of an update, as the `ok` frame has it: absent where a repeat's first one is no longer known.
#[derive(Serialize)]
struct Updated {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

async fn send(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let message: Send = call.json(body_bytes(&app.limits)).await?;
    let (message, repeat) = app.system.send(caller.user, message).await?;
    let status = if repeat { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Reply::json(status, &message))
}

async fn history(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let conversation = call.id("conversation")?;
    let (before, after) = (call.query.parsed("before")?, call.query.parsed("after")?);
    if before.is_some() && after.is_some() {
        return Err(Problem::new(ErrorCode::BadRequest, "before and after exclude each other").into());
    }
    let limit = call.query.clamped("limit", PAGE, 1, LARGEST_PAGE)?;
    let page = app
        .system
        .history(caller.user, conversation, before, after, limit)
        .await?;
    Ok(Reply::ok(&page))
}

async fn edit(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let (conversation, of) = (call.id("conversation")?, seq(&call)?);
    let edit: Edit = call.json(body_bytes(&app.limits)).await?;
    let seq = app.system.edit(caller.user, conversation, of, edit.body).await?;
    Ok(Reply::ok(&Updated { seq }))
}

async fn delete(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let (conversation, of) = (call.id("conversation")?, seq(&call)?);
    let seq = app.system.delete(caller.user, conversation, of).await?;
    Ok(Reply::ok(&Updated { seq }))
}

async fn react(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    change_reaction(app, call, false).await
}

async fn unreact(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    change_reaction(app, call, true).await
}

async fn change_reaction(app: Arc<App>, call: Call, remove: bool) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let (conversation, of) = (call.id("conversation")?, seq(&call)?);
    let emoji = call.param("emoji").to_owned();
    let seq = app.system.react(caller.user, conversation, of, emoji, remove).await?;
    Ok(Reply::ok(&Updated { seq }))
}

/// The message a path names; what is no seq names none.
fn seq(call: &Call) -> Result<u64, Problem> {
    let text = call.param("seq");
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seq = digits.then(|| text.parse().ok()).flatten();
    seq.ok_or_else(|| Problem::not_found("message"))
}

/// The largest body that can hold a message within the limits, however it is escaped.
fn body_bytes(limits: &Limits) -> usize {
    OTHER_BYTES + ESCAPED * (limits.body_bytes + limits.data_bytes)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;
    use crate::gateway::http::{Query, Reply};

    fn call(seq: &str) -> Call {
        let body = Reply::none().into_response().into_body();
        let address = [127, 0, 0, 1].into();
        let call = Call::new(Method::GET, "/", Query::default(), HeaderMap::new(), address, body);
        call.with_params(vec![("seq", seq.to_owned())])
    }

    #[test]
    fn a_path_names_a_message_by_digits_alone() {
        assert_eq!(seq(&call("17")), Ok(17));
        for text in ["", "+1", "-1", "1.0", "x", "99999999999999999999999"] {
            let code = seq(&call(text)).expect_err("it names nothing").code;
            assert_eq!(code, ErrorCode::NotFound, "{text}");
        }
    }

    #[test]
    fn a_message_at_its_limits_fits_however_it_is_escaped() {
        let limits = Limits::default();
        let text = "\u{1}".repeat(limits.body_bytes);
        let escaped = serde_json::json!({"body": text, "data": text}).to_string();
        assert!(escaped.len() < body_bytes(&limits));
    }
}
