use std::collections::HashMap;

use uuid::Uuid;

use super::*;
use crate::conversation::command::Writer;
use crate::ports::chats::{DEDUPE_WINDOW, RecentChange, RecentId, StoredChange};
use crate::protocol::ErrorCode;

mod late;
mod log;
mod ranks;

fn user(number: u8) -> UserId {
    UserId(Uuid::from_u128(0x10 + u128::from(number)))
}

fn group() -> ConversationId {
    ConversationId(Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001))
}

fn send(from: u8, id: &str) -> Command {
    Command::Send {
        from: user(from),
        id: id.into(),
        content: Content::default(),
        peer: None,
    }
}

fn create(members: &[u8]) -> Command {
    Command::Create {
        by: user(0),
        name: "group".into(),
        photo: None,
        description: None,
        members: members.iter().map(|number| user(*number)).collect(),
    }
}

fn set_role(by: u8, whose: u8, role: Role) -> Command {
    Command::SetRole {
        by: user(by),
        user: user(whose),
        role,
    }
}

fn remove(by: u8, whom: u8) -> Command {
    Command::Remove {
        by: user(by),
        user: user(whom),
    }
}

fn add(by: u8, whom: u8) -> Command {
    Command::Add {
        by: user(by),
        users: vec![user(whom)],
    }
}

/// Applies a command as the next record of the log.
fn apply(state: &mut State, command: Command) -> Applied {
    let record = Record {
        conversation: state.id,
        at: Timestamp(state.applied as i64 + 1),
        checked: Some(state.head),
        writer: None,
        command,
    };
    state.apply(state.applied, record)
}

fn made(members: &[u8]) -> State {
    let mut state = State::empty(group());
    apply(&mut state, create(members)).outcome.unwrap();
    state
}

fn direct() -> State {
    State::empty(ConversationId::direct(user(0), user(1)))
}

fn code(applied: Applied) -> ErrorCode {
    assert!(
        applied.steps.is_empty() && applied.events.is_empty(),
        "a refusal has no effect"
    );
    match applied.outcome {
        Err(Refusal::Problem(problem)) => problem.code,
        Err(Refusal::Outsider) => ErrorCode::NotMember,
        Ok(outcome) => panic!("accepted: {outcome:?}"),
    }
}

fn sent(applied: &Applied) -> (u64, bool) {
    match applied.outcome {
        Ok(Outcome::Sent { seq, duplicate, .. }) => (seq, duplicate),
        ref other => panic!("not sent: {other:?}"),
    }
}

fn role_of(state: &State, number: u8) -> Option<Role> {
    state.members.get(&user(number)).map(|member| member.role)
}
