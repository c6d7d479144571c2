//! The dedupe window: the client ids of a conversation's latest messages.

use std::collections::{HashMap, VecDeque};

use crate::id::UserId;
use crate::ports::chats::{DEDUPE_WINDOW, RecentId};
use crate::time::Timestamp;

/// Client ids are kept as the first 128 bits of SHA-256 over (sender, id): 16 bytes each however long the id, and nobody can
/// make two ids meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u128);

/// What `sent` said of a message.
type Sent = (u64, Timestamp);

/// The last [`DEDUPE_WINDOW`] client ids with what `sent` said of them. They alone decide what a record does, so that every
/// reader of the log decides alike. Ids that left the window before the store had their messages are kept until it has: window,
/// these and store together know every id.
///
/// A send is looked for in all three before it is appended, up to the head of that moment, and in the window alone when its
/// record is applied: a record that more messages overtook than the window holds does nothing.
#[derive(Debug, Default, Clone)]
pub struct Window {
    known: HashMap<Key, Sent>,
    order: VecDeque<Key>,
    unstored: HashMap<Key, Sent>,
    /// The unstored by seq.
    leaving: VecDeque<(u64, Key)>,
    /// True when older messages exist whose ids are not here.
    truncated: bool,
}

impl Key {
    pub fn of(from: UserId, id: &str) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(from.as_bytes());
        context.update(id.as_bytes());
        let digest = context.finish();
        let mut first = [0; 16];
        first.copy_from_slice(&digest.as_ref()[..16]);
        Self(u128::from_le_bytes(first))
    }
}

impl Window {
    /// The window as a snapshot has it, oldest first.
    pub fn load(recent: &[RecentId]) -> Self {
        let mut window = Self::default();
        for message in recent {
            window.insert(Key::of(message.from, &message.id), message.seq, message.at);
        }
        window.truncated = recent.len() >= DEDUPE_WINDOW;
        window
    }

    /// What a record of that id repeats.
    pub fn get(&self, key: Key) -> Option<Sent> {
        self.known.get(&key).copied()
    }

    /// What a command of that id repeats, before it is appended: as far back as the store may not know.
    pub fn recall(&self, from: UserId, id: &str) -> Option<Sent> {
        let key = Key::of(from, id);
        self.known.get(&key).or_else(|| self.unstored.get(&key)).copied()
    }

    /// The seq of the oldest message whose id is here.
    pub fn first(&self) -> Option<u64> {
        let oldest = self.order.front()?;
        self.known.get(oldest).map(|(seq, _)| *seq)
    }

    /// Whether every id of a message after this one is here, whatever has left meanwhile.
    pub fn reaches_back_to(&self, seq: u64) -> bool {
        self.first().is_none_or(|first| first <= seq.saturating_add(1))
    }

    /// Whether an id that is not here may still be an old one's.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    pub fn insert(&mut self, key: Key, seq: u64, at: Timestamp) {
        self.known.insert(key, (seq, at));
        self.order.push_back(key);
        if self.order.len() <= DEDUPE_WINDOW {
            return;
        }
        self.truncated = true;
        if let Some(oldest) = self.order.pop_front()
            && let Some(sent) = self.known.remove(&oldest)
        {
            self.leaving.push_back((sent.0, oldest));
            self.unstored.insert(oldest, sent);
        }
    }

    /// The store has every message up to `head`.
    pub fn stored(&mut self, head: u64) {
        while let Some((seq, key)) = self.leaving.front().copied()
            && seq <= head
        {
            self.leaving.pop_front();
            self.unstored.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn filled(upto: u64) -> Window {
        let mut window = Window::default();
        for seq in 1..=upto {
            window.insert(Key::of(user(1), &seq.to_string()), seq, Timestamp(seq as i64));
        }
        window
    }

    fn get(window: &Window, id: u64) -> Option<Sent> {
        window.get(Key::of(user(1), &id.to_string()))
    }

    #[test]
    fn an_id_is_its_senders_own() {
        let window = filled(1);
        assert_eq!(window.recall(user(1), "1"), Some((1, Timestamp(1))));
        assert_eq!(window.recall(user(2), "1"), None);
    }

    #[test]
    fn the_oldest_id_leaves_a_full_window() {
        let full = DEDUPE_WINDOW as u64;
        let window = filled(full);
        assert!(!window.is_truncated());
        assert_eq!(get(&window, 1), Some((1, Timestamp(1))));
        let window = filled(full + 2);
        assert!(window.is_truncated());
        assert_eq!((get(&window, 1), get(&window, 2)), (None, None));
        assert_eq!(get(&window, 3), Some((3, Timestamp(3))));
    }

    #[test]
    fn an_id_that_left_the_window_is_recalled_until_the_store_has_it() {
        let mut window = filled(DEDUPE_WINDOW as u64 + 2);
        assert_eq!(window.recall(user(1), "1"), Some((1, Timestamp(1))));
        window.stored(1);
        assert_eq!(window.recall(user(1), "1"), None);
        assert_eq!(window.recall(user(1), "2"), Some((2, Timestamp(2))));
        window.stored(DEDUPE_WINDOW as u64);
        assert!(window.unstored.is_empty() && window.leaving.is_empty());
    }

    #[test]
    fn a_window_from_a_snapshot_knows_what_the_one_it_was_made_of_knew() {
        let full = DEDUPE_WINDOW as u64;
        let recent: Vec<_> = (3..=full + 2)
            .map(|seq| RecentId {
                from: user(1),
                id: seq.to_string(),
                seq,
                at: Timestamp(seq as i64),
            })
            .collect();
        let (loaded, grown) = (Window::load(&recent), filled(full + 2));
        assert_eq!((loaded.known, loaded.order), (grown.known, grown.order));
        assert!(loaded.truncated);
    }
}
