use std::collections::HashMap;

use uuid::Uuid;

use super::*;
use crate::ports::chats::{DEDUPE_WINDOW, RecentChange, RecentId, StoredChange};
use crate::protocol::ErrorCode;

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
    state.applied += 1;
    let record = Record {
        conversation: state.id,
        at: Timestamp(state.applied as i64),
        checked: Some(state.head),
        command,
    };
    state.apply(record)
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

fn edit(text: &str, key: u64) -> Command {
    Command::Update {
        from: user(1),
        of: 1,
        change: StoredChange::Edit {
            body: Some(text.into()),
        },
        idempotency: Some(key),
    }
}

/// The same of an edit, which another owner took meanwhile, or that its user took back by a later one.
#[test]
fn an_edit_that_comes_to_the_log_late_undoes_no_later_one() {
    let mut state = made(&[1]);
    apply(&mut state, send(1, "a")).outcome.unwrap();
    let mut at = |checked, command| {
        let record = Record {
            conversation: state.id,
            at: state.active_at,
            checked,
            command,
        };
        state.apply(record)
    };
    let updated = |seq| Ok(Outcome::Updated { seq });
    assert_eq!(at(Some(1), edit("one", 11)).outcome, updated(2));
    let again = at(Some(1), edit("one", 11));
    assert_eq!(
        (again.outcome, again.steps.len()),
        (updated(2), 0),
        "it is made already"
    );
    assert_eq!(
        code(at(Some(1), edit("two", 12))),
        ErrorCode::Unavailable,
        "it did not see that one"
    );
    assert_eq!(at(Some(2), edit("two", 12)).outcome, updated(3));
    assert_eq!(at(Some(1), edit("one", 11)).outcome, updated(2));
    assert_eq!(at(None, edit("of an older release", 13)).outcome, updated(4));
}

/// A node that was paused or cut off from the log writes what its client has long since sent again to another.
#[test]
fn a_send_that_more_messages_overtook_than_the_window_holds_makes_no_message() {
    let mut state = made(&[1]);
    for n in 0..=DEDUPE_WINDOW {
        apply(&mut state, send(1, &n.to_string())).outcome.unwrap();
    }
    let mut late = |id, checked| {
        let record = Record {
            conversation: state.id,
            at: state.active_at,
            checked,
            command: send(1, id),
        };
        state.apply(record)
    };
    // The first message has left the window, of those after it everything is known.
    assert_eq!(code(late("0", Some(0))), ErrorCode::Unavailable);
    assert_eq!(
        sent(&late("1", Some(0))),
        (2, true),
        "a repeat is answered as the first was"
    );
    assert!(!sent(&late("checked when one was there", Some(1))).1);
    assert_eq!(code(late("and once more", Some(1))), ErrorCode::Unavailable);
    assert!(!sent(&late("of a log from before this was written", None)).1);
}
