//! What a client's frame leads to. `ping` and `reauth` are answered here; everything else is the session's.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use rookery_actors::outlet::{Outlet, Urgency};
use rookery_actors::protocol::client::{Rejected, Request};
use rookery_actors::protocol::websocket::{Frame, Opcode, close_code, server_frame};
use rookery_actors::protocol::{ClientFrame, CloseCode, Codec, ErrorCode, Problem, ServerFrame};

use super::budget::Verdict;
use super::connection::Connection;

/// Handles one frame; breaks when nothing further of this client is to be looked at.
pub fn handle(connection: &Connection, frame: Frame<'_>) -> ControlFlow<()> {
    match (frame.opcode, connection.codec()) {
        (Opcode::Text, Codec::Json) | (Opcode::Binary, Codec::MsgPack) => request(connection, frame.payload),
        (Opcode::Ping, _) => pong(connection, frame.payload),
        (Opcode::Pong, _) => Continue(()),
        (Opcode::Close, _) => {
            // An empty close frame is answered in kind's nearest: a plain goodbye.
            let code = close_code(frame.payload).unwrap_or(CloseCode::Bye.code());
            connection.close_with(code, "", true, false);
            Break(())
        }
        (Opcode::Text | Opcode::Binary | Opcode::Continuation, _) => {
            connection.close(CloseCode::UnsupportedData);
            Break(())
        }
    }
}

fn request(connection: &Connection, payload: &[u8]) -> ControlFlow<()> {
    let meters = &connection.hub().meters;
    let read = connection.codec().read(payload);
    if !matches!(
        &read,
        Ok(Request {
            frame: ClientFrame::Send(_),
            ..
        })
    ) {
        let id = match &read {
            Ok(request) => &request.id,
            Err(rejected) => &rejected.id,
        };
        match charge(connection) {
            Verdict::Allowed => {}
            Verdict::Refused { retry_after_ms } => {
                meters.frames_limited.increment(1);
                answer(
                    connection,
                    &ServerFrame::error(id.clone(), rate_limited(retry_after_ms)),
                );
                return Continue(());
            }
            Verdict::Abusive => {
                connection.close(CloseCode::RateLimited);
                return Break(());
            }
        }
    }
    match read {
        Ok(request) => {
            meters.frames_taken.increment(1);
            dispatch(connection, request);
        }
        Err(Rejected { id, problem }) => {
            meters.frames_malformed.increment(1);
            answer(connection, &ServerFrame::error(id, problem));
        }
    }
    Continue(())
}

fn dispatch(connection: &Connection, request: Request) {
    match request {
        Request {
            id,
            frame: ClientFrame::Ping,
        } => answer(connection, &ServerFrame::Pong { id }),
        Request {
            id,
            frame: ClientFrame::Reauth { token },
        } => {
            let answered = match reauthenticate(connection, &token) {
                Ok(()) => ServerFrame::Ok { id, seq: None },
                Err(problem) => ServerFrame::error(id, problem),
            };
            answer(connection, &answered);
        }
        request => {
            if let Some(session) = connection.session() {
                session.frame(request);
            }
        }
    }
}

/// A fresh token of the same login keeps the socket beyond the old one's expiry.
fn reauthenticate(connection: &Connection, token: &str) -> Result<(), Problem> {
    let caller = connection.hub().door.authenticate(token)?;
    if (caller.user, caller.login) != (connection.user, connection.login) {
        return Err(Problem::new(ErrorCode::Unauthorized, "the token is of another login"));
    }
    let expires = connection.hub().clock.second_after(caller.expires);
    connection.expires.fetch_max(expires, Relaxed);
    Ok(())
}

/// Answers a WebSocket ping. Beyond the budget it is left unanswered: there is no error frame for it.
fn pong(connection: &Connection, payload: &[u8]) -> ControlFlow<()> {
    match charge(connection) {
        Verdict::Allowed => {
            let mut out = BytesMut::with_capacity(payload.len() + 10);
            server_frame(Opcode::Pong, &mut out, |out| out.extend_from_slice(payload));
            connection.offer(out.freeze(), Urgency::Answer);
            Continue(())
        }
        Verdict::Refused { .. } => Continue(()),
        Verdict::Abusive => {
            connection.close(CloseCode::RateLimited);
            Break(())
        }
    }
}

fn charge(connection: &Connection) -> Verdict {
    let hub = connection.hub();
    let now = hub.clock.milliseconds();
    let mut budget = connection.budget.lock();
    budget.take(hub.limits.frames_per_second, hub.limits.frames_burst, now)
}

fn rate_limited(retry_after_ms: u32) -> Problem {
    let problem = Problem::new(ErrorCode::RateLimited, "too many frames on this connection");
    problem.retry_after(retry_after_ms.into())
}

fn answer(connection: &Connection, frame: &ServerFrame) {
    connection.offer(encode(connection.codec(), frame), Urgency::Answer);
}

/// One frame for one connection.
fn encode(codec: Codec, frame: &ServerFrame) -> Bytes {
    let opcode = match codec {
        Codec::Json => Opcode::Text,
        Codec::MsgPack => Opcode::Binary,
    };
    let mut out = BytesMut::with_capacity(128);
    server_frame(opcode, &mut out, |out| codec.write(frame, out));
    out.freeze()
}
