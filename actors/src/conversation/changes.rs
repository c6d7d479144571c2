//! The latest changes of messages: what a change that comes to the log late must not undo.
//!
//! An owner judges the changes of a message one after the other, so none of its own stands between the judgement of a change
//! and its record. One that does is another owner's: the node that wrote this one was paused, or cut off, and has not seen that
//! one. It may be what this very asking made, or a deletion, behind which nothing may change the message.

use std::collections::VecDeque;

use crate::id::UserId;
use crate::ports::chats::{DEDUPE_WINDOW, RecentChange};

/// The changes among the latest [`DEDUPE_WINDOW`] entries.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Changes(VecDeque<RecentChange>);

/// What stands between the judgement of a change and its record.
#[derive(Debug, PartialEq, Eq)]
pub enum Between {
    Nothing,
    /// What the same asking made, at that seq.
    Itself(u64),
    /// Another change of the same message, or more than is known.
    Another,
}

impl Changes {
    /// As a snapshot has them, oldest first.
    pub fn load(latest: Vec<RecentChange>) -> Self {
        Self(latest.into())
    }

    /// The seq of what an asking for a change of that message by that user made.
    pub fn made(&self, (of, from): (u64, UserId), idempotency: u64) -> Option<u64> {
        let is_it =
            |change: &&RecentChange| change.of == of && change.from == from && change.idempotency == Some(idempotency);
        self.0.iter().rev().find(is_it).map(|change| change.seq)
    }

    /// A change became the head.
    pub fn push(&mut self, change: RecentChange) {
        let known_after = change.seq.saturating_sub(DEDUPE_WINDOW as u64);
        while self.0.front().is_some_and(|oldest| oldest.seq <= known_after) {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    /// What stands between the head `checked`, at which a change was judged, and that of now.
    pub fn since(&self, checked: u64, head: u64, change: RecentChange) -> Between {
        if head.saturating_sub(checked) > DEDUPE_WINDOW as u64 {
            return Between::Another;
        }
        let later = self.0.iter().rev().take_while(|change| change.seq > checked);
        let mut between = Between::Nothing;
        for other in later.filter(|later| later.of == change.of) {
            let is_keyed = other.idempotency.is_some() && other.idempotency == change.idempotency;
            if is_keyed && other.from == change.from {
                return Between::Itself(other.seq);
            }
            between = Between::Another;
        }
        between
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn change(seq: u64, of: u64, from: u128) -> RecentChange {
        RecentChange {
            seq,
            of,
            from: UserId(Uuid::from_u128(from)),
            idempotency: Some(seq),
        }
    }

    fn since(changes: &Changes, checked: u64, of: u64, from: u128, key: u64) -> Between {
        let head = changes.0.back().map_or(0, |last| last.seq);
        let asked = RecentChange {
            idempotency: Some(key),
            ..change(head + 1, of, from)
        };
        changes.since(checked, head, asked)
    }

    #[test]
    fn a_change_is_late_behind_any_other_of_the_same_message() {
        let mut changes = Changes::default();
        for made in [change(5, 1, 7), change(6, 2, 7), change(8, 1, 8)] {
            changes.push(made);
        }
        assert_eq!(since(&changes, 4, 1, 7, 99), Between::Another);
        assert_eq!(since(&changes, 4, 1, 7, 5), Between::Itself(5));
        assert_eq!(since(&changes, 5, 1, 7, 99), Between::Another, "by another user");
        assert_eq!(
            since(&changes, 5, 1, 7, 8),
            Between::Another,
            "whose key is as good as any"
        );
        assert_eq!(
            since(&changes, 8, 1, 7, 99),
            Between::Nothing,
            "it was judged with that in sight"
        );
        assert_eq!(since(&changes, 4, 3, 7, 99), Between::Nothing, "of another message");
    }

    #[test]
    fn a_change_is_late_where_it_is_not_known_what_stands_before_it() {
        let (mut changes, window) = (Changes::default(), DEDUPE_WINDOW as u64);
        changes.push(change(1, 1, 7));
        changes.push(change(window + 1, 9, 8));
        assert_eq!(changes, Changes::load(vec![change(window + 1, 9, 8)]));
        assert_eq!(since(&changes, 0, 2, 7, 99), Between::Another);
        assert_eq!(since(&changes, 1, 2, 7, 99), Between::Nothing);
    }
}
