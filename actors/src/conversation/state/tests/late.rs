//! What a node writes that was paused or cut off from the log: its users have been heard elsewhere since.

use super::*;

/// Applies what a process wrote when it had applied all below an offset.
fn apply_of(state: &mut State, process: u64, seen: Offset, command: Command) -> Applied {
    let record = Record {
        conversation: state.id,
        at: state.active_at,
        checked: Some(state.head),
        writer: Some(Writer { process, seen }),
        command,
    };
    state.apply(state.applied, record)
}

fn patch(by: u8, name: &str) -> Command {
    Command::Patch {
        by: user(by),
        name: Some(name.into()),
        photo: None,
        description: None,
    }
}

/// Who is no member any more would be one again, and who left an admin.
#[test]
fn a_change_of_a_group_that_comes_to_the_log_late_undoes_none_of_another_owner() {
    let mut state = made(&[1, 2]);
    let before = state.applied;
    apply_of(&mut state, 7, before, remove(0, 1)).outcome.unwrap();
    for late in [
        add(0, 1),
        remove(0, 2),
        set_role(0, 2, Role::Admin),
        patch(0, "late"),
        Command::Delete { by: user(0) },
    ] {
        let members = state.members.clone();
        assert_eq!(code(apply_of(&mut state, 8, before, late)), ErrorCode::Unavailable);
        assert_eq!(state.members, members);
    }
    let seen = before + 1;
    apply_of(&mut state, 8, seen, add(0, 1)).outcome.unwrap();
    assert!(state.is_member(user(1)), "it was checked with that in sight");
    let refused = apply_of(&mut state, 7, seen, remove(0, 2));
    assert_eq!(code(refused), ErrorCode::Unavailable, "now the other is behind");
}

#[test]
fn changes_of_one_process_do_not_wait_for_one_another() {
    let mut state = made(&[1, 2]);
    let seen = state.applied;
    for command in [remove(0, 1), add(0, 1), set_role(0, 1, Role::Admin), patch(0, "new")] {
        apply_of(&mut state, 7, seen, command).outcome.unwrap();
    }
    assert_eq!(role_of(&state, 1), Some(Role::Admin));
}

#[test]
fn an_account_that_is_gone_leaves_however_late_and_what_came_before_is_late_behind_it() {
    let mut state = made(&[1, 2]);
    let before = state.applied;
    apply_of(&mut state, 7, before, add(0, 3)).outcome.unwrap();
    apply_of(&mut state, 8, before, Command::Gone { user: user(3) })
        .outcome
        .unwrap();
    assert!(!state.is_member(user(3)));
    let again = apply_of(&mut state, 7, before, add(0, 3));
    assert_eq!(code(again), ErrorCode::Unavailable);
}

#[test]
fn what_changes_nothing_makes_no_other_late_and_neither_does_a_process_that_is_not_named() {
    let mut state = made(&[1]);
    let before = state.applied;
    apply_of(&mut state, 7, before, add(0, 1)).outcome.unwrap();
    apply_of(&mut state, 8, before, patch(0, "in time")).outcome.unwrap();
    apply(&mut state, patch(0, "of an older release")).outcome.unwrap();
    apply_of(&mut state, 7, before, remove(0, 1)).outcome.unwrap();
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

/// The same of an edit, which another owner took meanwhile, or that its user took back by a later one; or its message is deleted.
#[test]
fn an_edit_that_comes_to_the_log_late_undoes_no_later_one() {
    let mut state = made(&[1]);
    apply(&mut state, send(1, "a")).outcome.unwrap();
    let mut at = |checked, command| {
        let record = Record {
            conversation: state.id,
            at: state.active_at,
            checked,
            writer: None,
            command,
        };
        state.apply(state.applied, record)
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
    let deletion = Command::Update {
        from: user(0),
        of: 1,
        change: StoredChange::Delete,
        idempotency: Some(14),
    };
    assert_eq!(at(Some(4), deletion).outcome, updated(5));
    assert_eq!(
        code(at(Some(4), edit("of what is deleted", 15))),
        ErrorCode::Unavailable
    );
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
            writer: None,
            command: send(1, id),
        };
        state.apply(state.applied, record)
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
