//! Membership and roles, rule by rule as the contract has them.

use super::*;

#[test]
fn the_creator_owns_a_group_and_who_is_named_twice_is_a_member_once() {
    let state = made(&[1, 0, 1, 2]);
    assert_eq!(state.owner(), Some(user(0)));
    assert_eq!(state.members.len(), 3);
    assert_eq!(role_of(&state, 1), Some(Role::Member));
}

#[test]
fn admins_remove_members_only_and_members_nobody_but_themselves() {
    let mut state = made(&[1, 2, 3, 4]);
    apply(&mut state, set_role(0, 1, Role::Admin)).outcome.unwrap();
    apply(&mut state, set_role(0, 2, Role::Admin)).outcome.unwrap();
    assert_eq!(
        code(apply(&mut state, remove(1, 2))),
        ErrorCode::Forbidden,
        "another admin"
    );
    assert_eq!(code(apply(&mut state, remove(1, 0))), ErrorCode::Forbidden, "the owner");
    assert_eq!(
        code(apply(&mut state, remove(3, 4))),
        ErrorCode::Forbidden,
        "a member by a member"
    );
    assert_eq!(code(apply(&mut state, remove(0, 9))), ErrorCode::NotFound, "nobody");
    assert_eq!(code(apply(&mut state, remove(9, 3))), ErrorCode::NotMember);
    apply(&mut state, remove(1, 4)).outcome.unwrap();
    apply(&mut state, remove(0, 2)).outcome.unwrap();
    apply(&mut state, remove(3, 3)).outcome.unwrap();
    assert_eq!(state.members.keys().copied().collect::<Vec<_>>(), [user(0), user(1)]);
}

#[test]
fn owner_and_admins_add_and_change_the_profile_and_members_do_not() {
    let mut state = made(&[1, 2]);
    apply(&mut state, set_role(0, 1, Role::Admin)).outcome.unwrap();
    let patch = |by| Command::Patch {
        by: user(by),
        name: Some("new".into()),
        photo: None,
        description: None,
    };
    for by in [0, 1] {
        apply(&mut state, add(by, 5 + by)).outcome.unwrap();
        apply(&mut state, patch(by)).outcome.unwrap();
    }
    assert_eq!(code(apply(&mut state, add(2, 8))), ErrorCode::Forbidden);
    assert_eq!(code(apply(&mut state, patch(2))), ErrorCode::Forbidden);
    let again = apply(&mut state, add(0, 5));
    assert_eq!(
        (again.outcome, again.steps, again.events),
        (Ok(Outcome::Settled), vec![], vec![])
    );
}

#[test]
fn only_the_owner_changes_roles_and_deletes() {
    let mut state = made(&[1, 2]);
    apply(&mut state, set_role(0, 1, Role::Admin)).outcome.unwrap();
    assert_eq!(
        code(apply(&mut state, set_role(1, 2, Role::Admin))),
        ErrorCode::Forbidden
    );
    assert_eq!(
        code(apply(&mut state, set_role(0, 9, Role::Admin))),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(apply(&mut state, set_role(0, 0, Role::Member))),
        ErrorCode::Conflict
    );
    assert_eq!(
        code(apply(&mut state, Command::Delete { by: user(1) })),
        ErrorCode::Forbidden
    );
    let deleted = apply(&mut state, Command::Delete { by: user(0) });
    assert_eq!(deleted.steps, [Step::Deleted]);
    assert_eq!(deleted.events, [Event::Deleted(vec![user(0), user(1), user(2)])]);
    assert_eq!(code(apply(&mut state, send(0, "a"))), ErrorCode::NotFound);
    assert_eq!(
        code(apply(&mut state, create(&[]))),
        ErrorCode::Conflict,
        "an id is never used again"
    );
}

#[test]
fn handing_over_makes_the_old_owner_an_admin() {
    let mut state = made(&[1, 2]);
    apply(&mut state, set_role(0, 2, Role::Owner)).outcome.unwrap();
    assert_eq!(state.owner(), Some(user(2)));
    assert_eq!(role_of(&state, 0), Some(Role::Admin));
    assert_eq!(
        code(apply(&mut state, set_role(0, 1, Role::Admin))),
        ErrorCode::Forbidden
    );
}

#[test]
fn an_owner_who_goes_hands_over_to_the_one_admin_longest() {
    for go in [remove(0, 0), Command::Gone { user: user(0) }] {
        let mut state = made(&[1, 2, 3]);
        apply(&mut state, set_role(0, 1, Role::Admin)).outcome.unwrap();
        apply(&mut state, set_role(0, 2, Role::Admin)).outcome.unwrap();
        // No longer, and then again, admin: the later time counts.
        apply(&mut state, set_role(0, 1, Role::Member)).outcome.unwrap();
        apply(&mut state, set_role(0, 1, Role::Admin)).outcome.unwrap();
        apply(&mut state, go).outcome.unwrap();
        assert_eq!(state.owner(), Some(user(2)));
        assert_eq!(role_of(&state, 0), None);
    }
}

#[test]
fn without_an_admin_the_longest_member_inherits() {
    let mut state = made(&[3]);
    apply(&mut state, add(0, 2)).outcome.unwrap();
    apply(&mut state, add(0, 1)).outcome.unwrap();
    apply(&mut state, remove(0, 0)).outcome.unwrap();
    assert_eq!(state.owner(), Some(user(3)));
    apply(&mut state, remove(3, 3)).outcome.unwrap();
    assert_eq!(state.owner(), Some(user(2)));
}

#[test]
fn the_group_ends_with_its_last_member() {
    for go in [remove(0, 0), Command::Gone { user: user(0) }] {
        let mut state = made(&[]);
        let applied = apply(&mut state, go);
        assert_eq!(applied.steps, [Step::Deleted]);
        assert_eq!(applied.events, [Event::Deleted(vec![user(0)])]);
        assert!(!state.exists() && state.members.is_empty());
    }
}

#[test]
fn a_refused_send_leaves_its_id_free_and_a_repeat_is_answered_as_the_first_was() {
    let mut state = made(&[1]);
    let reply = |to| Command::Send {
        from: user(1),
        id: "a".into(),
        content: Content {
            reply_to: Some(to),
            ..Content::default()
        },
        peer: None,
    };
    assert_eq!(code(apply(&mut state, reply(1))), ErrorCode::InvalidField);
    assert_eq!(sent(&apply(&mut state, send(1, "a"))), (1, false));
    assert_eq!(
        sent(&apply(&mut state, send(0, "a"))),
        (2, false),
        "an id is the sender's own"
    );
    assert_eq!(sent(&apply(&mut state, send(1, "a"))), (1, true));
    assert_eq!(
        sent(&apply(&mut state, reply(9))),
        (1, true),
        "even when it would be refused today"
    );
    apply(&mut state, remove(1, 1)).outcome.unwrap();
    assert_eq!(code(apply(&mut state, send(1, "a"))), ErrorCode::NotMember);
}

#[test]
fn mentions_of_those_who_are_no_members_are_dropped() {
    let mut state = made(&[1]);
    let command = Command::Send {
        from: user(0),
        id: "a".into(),
        content: Content {
            mentions: vec![user(7), user(1)],
            ..Content::default()
        },
        peer: None,
    };
    let applied = apply(&mut state, command);
    let [Event::Entry(entry)] = applied.events.as_slice() else {
        panic!("one entry");
    };
    let Entry::Message(message) = entry.as_ref() else {
        panic!("a message");
    };
    assert_eq!(message.content.mentions, [user(1)]);
}

fn send_directly(from: u8, to: u8, id: &str) -> Command {
    Command::Send {
        from: user(from),
        id: id.into(),
        content: Content::default(),
        peer: Some(user(to)),
    }
}

#[test]
fn the_first_direct_message_makes_the_conversation_of_two() {
    let mut state = direct();
    assert_eq!(
        code(apply(&mut state, send(0, "a"))),
        ErrorCode::NotFound,
        "by its id there is none yet"
    );
    assert_eq!(sent(&apply(&mut state, send_directly(0, 1, "a"))), (1, false));
    assert_eq!(sent(&apply(&mut state, send(1, "a"))), (2, false));
    assert!(state.is_member(user(0)) && state.is_member(user(1)));
    assert_eq!(code(apply(&mut state, send(2, "a"))), ErrorCode::NotMember);
}

#[test]
fn nobody_writes_to_a_gone_peer_and_messages_stay() {
    let mut state = direct();
    apply(&mut state, send_directly(0, 1, "a")).outcome.unwrap();
    apply(&mut state, Command::Gone { user: user(1) }).outcome.unwrap();
    assert!(state.is_member(user(0)) && !state.is_member(user(1)));
    assert_eq!(code(apply(&mut state, send_directly(0, 1, "b"))), ErrorCode::NotFound);
    assert_eq!(code(apply(&mut state, send(1, "b"))), ErrorCode::NotMember);
    assert_eq!(
        sent(&apply(&mut state, send_directly(0, 1, "a"))),
        (1, true),
        "a repeat is still answered"
    );
    assert_eq!((state.head, state.exists()), (1, true));
    let pair = [user(0), user(1)];
    apply(&mut state, Command::Open { pair }).outcome.unwrap();
    assert!(!state.is_member(user(1)), "opening brings nobody back");
}

#[test]
fn a_stranger_who_goes_leaves_no_mark_on_a_direct_conversation() {
    let mut state = direct();
    apply(&mut state, send_directly(0, 1, "a")).outcome.unwrap();
    let applied = apply(&mut state, Command::Gone { user: user(7) });
    assert!(applied.steps.is_empty() && applied.events.is_empty());
    assert_eq!(sent(&apply(&mut state, send_directly(0, 1, "b"))), (2, false));
}

#[test]
fn a_direct_conversation_is_no_group() {
    let mut state = direct();
    apply(&mut state, send_directly(0, 1, "a")).outcome.unwrap();
    let commands = [
        add(0, 2),
        remove(0, 1),
        remove(0, 0),
        set_role(0, 1, Role::Owner),
        Command::Delete { by: user(0) },
    ];
    for command in commands {
        assert_eq!(code(apply(&mut state, command)), ErrorCode::NotFound);
    }
}
