//! Judging an edit, a deletion or a reaction against the message it names, before it is appended.

use crate::id::UserId;
use crate::ports::chats::{StoredChange, StoredMessage};
use crate::protocol::view::Role;
use crate::protocol::{ErrorCode, Problem};

/// What is to be done about a change.
#[derive(Debug, PartialEq)]
pub enum Judgement {
    /// It takes a seq.
    Append,
    /// This very asking made that seq: answered with it.
    Made(u64),
    /// It was made before: answered as then, without a seq.
    Repeat,
    Refuse(Problem),
}

/// Whether `by`, a member with that role (`None` in a direct conversation), may change that message so.
pub fn judge(message: &StoredMessage, by: UserId, role: Option<Role>, change: &StoredChange) -> Judgement {
    match change {
        StoredChange::Edit { .. } if message.from != by => {
            refuse(ErrorCode::Forbidden, "only its sender edits a message")
        }
        StoredChange::Edit { .. } if message.deleted => refuse(ErrorCode::Conflict, "the message was deleted"),
        StoredChange::Edit { .. } => Judgement::Append,
        StoredChange::Delete if message.from != by && role.is_none_or(|role| role == Role::Member) => {
            refuse(ErrorCode::Forbidden, "only its sender or an admin deletes a message")
        }
        StoredChange::Delete if message.deleted => Judgement::Repeat,
        StoredChange::Delete => Judgement::Append,
        StoredChange::React { .. } if message.deleted => refuse(ErrorCode::Conflict, "the message was deleted"),
        StoredChange::React { emoji, remove } => {
            let reacted = message
                .reactions
                .iter()
                .any(|known| known.emoji == *emoji && known.users.contains(&by));
            if reacted == *remove {
                Judgement::Append
            } else {
                Judgement::Repeat
            }
        }
    }
}

fn refuse(code: ErrorCode, detail: &str) -> Judgement {
    Judgement::Refuse(Problem::new(code, detail))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ports::chats::{Content, StoredReaction};
    use crate::time::Timestamp;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    /// A message of user 1, to which user 2 reacted.
    fn message(deleted: bool) -> StoredMessage {
        StoredMessage {
            seq: 1,
            id: "a".into(),
            from: user(1),
            at: Timestamp(0),
            content: Content::default(),
            edited_at: None,
            deleted,
            reactions: vec![StoredReaction {
                emoji: "+".into(),
                users: vec![user(2)],
            }],
        }
    }

    fn code(judgement: Judgement) -> ErrorCode {
        match judgement {
            Judgement::Refuse(problem) => problem.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_sender_edits_and_nobody_a_deleted_message() {
        let edit = StoredChange::Edit { body: Some("b".into()) };
        assert_eq!(judge(&message(false), user(1), None, &edit), Judgement::Append);
        for role in [None, Some(Role::Admin), Some(Role::Owner)] {
            assert_eq!(code(judge(&message(false), user(2), role, &edit)), ErrorCode::Forbidden);
        }
        assert_eq!(code(judge(&message(true), user(1), None, &edit)), ErrorCode::Conflict);
    }

    #[test]
    fn the_sender_and_admins_of_a_group_delete_and_a_second_time_is_a_repeat() {
        let delete = StoredChange::Delete;
        let cases = [
            (1, None, true),
            (1, Some(Role::Member), true),
            (2, None, false),
            (2, Some(Role::Member), false),
            (2, Some(Role::Admin), true),
            (2, Some(Role::Owner), true),
        ];
        for (by, role, may) in cases {
            let judgements = [false, true].map(|deleted| judge(&message(deleted), user(by), role, &delete));
            if may {
                assert_eq!(judgements, [Judgement::Append, Judgement::Repeat]);
            } else {
                assert_eq!(judgements.map(code), [ErrorCode::Forbidden; 2]);
            }
        }
    }

    #[test]
    fn a_reaction_made_or_taken_back_before_is_a_repeat() {
        let react = |emoji: &str, remove| StoredChange::React {
            emoji: emoji.into(),
            remove,
        };
        let judged = |by, change| judge(&message(false), user(by), Some(Role::Member), &change);
        assert_eq!(judged(2, react("+", false)), Judgement::Repeat);
        assert_eq!(judged(2, react("+", true)), Judgement::Append);
        assert_eq!(judged(2, react("-", false)), Judgement::Append);
        assert_eq!(judged(1, react("+", false)), Judgement::Append);
        assert_eq!(judged(1, react("+", true)), Judgement::Repeat);
        let deleted = judge(&message(true), user(2), None, &react("-", false));
        assert_eq!(code(deleted), ErrorCode::Conflict);
    }
}
