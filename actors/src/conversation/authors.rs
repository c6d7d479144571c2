//! Who wrote the latest messages: what somebody has not read is counted here. The snapshot brings more of them than `unread`
//! ever says, so the store is hardly asked for a list of conversations, nor when all users of a lost node come back at once.

use std::collections::VecDeque;

use crate::id::UserId;
use crate::ports::chats::{DEDUPE_WINDOW, RecentId};

/// Seqs and authors of the latest [`DEDUPE_WINDOW`] messages up to the head, without a hole.
#[derive(Debug, Default)]
pub struct Authors {
    messages: VecDeque<(u64, UserId)>,
    /// True when there are older messages.
    truncated: bool,
}

impl Authors {
    /// As a snapshot has them, oldest first.
    pub fn load(recent: &[RecentId]) -> Self {
        Self {
            messages: recent.iter().map(|message| (message.seq, message.from)).collect(),
            truncated: recent.len() >= DEDUPE_WINDOW,
        }
    }

    pub fn push(&mut self, seq: u64, author: UserId) {
        self.messages.push_back((seq, author));
        if self.messages.len() > DEDUPE_WINDOW {
            self.messages.pop_front();
            self.truncated = true;
        }
    }

    /// Messages here of others than `user` beyond `read`.
    pub fn unread(&self, user: UserId, read: u64) -> u32 {
        let beyond = self.messages.iter().rev().take_while(|(seq, _)| *seq > read);
        beyond.filter(|(_, author)| *author != user).count() as u32
    }

    /// What lies beyond `read` and before the messages here: `(after, upto)`.
    pub fn older(&self, read: u64) -> Option<(u64, u64)> {
        let (first, _) = self.messages.front().filter(|_| self.truncated)?;
        (read.saturating_add(1) < *first).then(|| (read, first - 1))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::time::Timestamp;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    /// Of users 1 and 2 in turns, with seqs that leave every second one to an update.
    fn recent(messages: std::ops::RangeInclusive<u64>) -> Vec<RecentId> {
        let id = |number: u64| RecentId {
            from: user(u128::from(number % 2 + 1)),
            id: number.to_string(),
            seq: number * 2,
            at: Timestamp(0),
        };
        messages.map(id).collect()
    }

    fn pushed(messages: std::ops::RangeInclusive<u64>) -> Authors {
        let mut authors = Authors::default();
        for message in recent(messages) {
            authors.push(message.seq, message.from);
        }
        authors
    }

    #[test]
    fn only_what_others_wrote_beyond_the_cursor_counts() {
        let authors = pushed(1..=10);
        assert_eq!(authors.unread(user(3), 0), 10);
        assert_eq!(authors.unread(user(1), 0), 5);
        assert_eq!(authors.unread(user(3), 4), 8);
        assert_eq!(authors.unread(user(3), 5), 8, "a cursor on an update");
        assert_eq!((authors.unread(user(3), 20), authors.unread(user(3), u64::MAX)), (0, 0));
    }

    #[test]
    fn a_short_conversation_is_here_as_a_whole() {
        let full = DEDUPE_WINDOW as u64;
        assert_eq!(pushed(1..=full).older(0), None);
        assert_eq!(Authors::default().older(0), None);
        assert_eq!(Authors::load(&recent(1..=full - 1)).older(0), None);
    }

    #[test]
    fn of_a_long_one_the_store_has_the_rest() {
        let full = DEDUPE_WINDOW as u64;
        let (grown, loaded) = (pushed(1..=full + 3), Authors::load(&recent(4..=full + 3)));
        assert_eq!(grown.messages, loaded.messages);
        for authors in [grown, loaded] {
            assert_eq!(authors.unread(user(3), 0), DEDUPE_WINDOW as u32);
            assert_eq!(authors.older(0), Some((0, 7)));
            assert_eq!(authors.older(6), Some((6, 7)));
            assert_eq!((authors.older(7), authors.older(u64::MAX)), (None, None));
        }
    }
}
