//! How far one client has got in one conversation, and whether what comes next may come.

/// Seqs a client may hold beyond a hole before the hole is called one.
const BEYOND: usize = 4096;

/// A client's place in a conversation. Forty-odd bytes: there is one for each member of each group.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    pub conversation: u32,
    /// Everything up to here is accounted for: received, own, or named by a `gap`.
    done: u32,
    /// The last message of this connection.
    last: u32,
    pub acked: u32,
    /// Accounted for beyond `done`, in order: the seqs between are own messages whose answer is on its way, or missing.
    beyond: Vec<u32>,
    /// How far the peer of a direct conversation is known to have read.
    pub peer_read: u32,
    /// Highest seq of an own message.
    pub own: u32,
}

/// What a message was to this client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    New,
    /// Had before this connection, and not acked then: allowed.
    Again,
    /// Not above the last one of the same connection: never allowed.
    Back {
        last: u32,
    },
    /// So much beyond a hole that it is one.
    Hole {
        missing: u32,
    },
}

impl Cursor {
    pub fn new(conversation: u32) -> Self {
        Self {
            conversation,
            ..Self::default()
        }
    }

    /// A new connection: the server may begin anew, at most at the first seq not acked.
    pub fn reconnected(&mut self) {
        self.last = 0;
    }

    /// Something came on this connection.
    pub fn has_begun(&self) -> bool {
        self.last > 0
    }

    /// A message came.
    #[inline]
    pub fn message(&mut self, seq: u32) -> Step {
        if seq <= self.last {
            return Step::Back { last: self.last };
        }
        self.last = seq;
        if seq == self.done + 1 && self.beyond.is_empty() {
            self.done = seq;
            return Step::New;
        }
        self.account(seq)
    }

    /// An answer said that an own message has this seq.
    pub fn own(&mut self, seq: u32) -> Step {
        self.own = self.own.max(seq);
        self.account(seq)
    }

    /// A `gap` named these as not to be replayed.
    pub fn gap(&mut self, from: u32, to: u32) {
        self.last = self.last.max(to);
        if from <= self.done + 1 {
            self.done = self.done.max(to);
            self.beyond.retain(|seq| *seq > to);
            self.absorb();
        } else {
            for seq in from..=to.min(from.saturating_add(BEYOND as u32)) {
                self.account(seq);
            }
        }
    }

    fn account(&mut self, seq: u32) -> Step {
        if seq <= self.done {
            return Step::Again;
        }
        match self.beyond.binary_search(&seq) {
            Ok(_) => return Step::Again,
            Err(place) => self.beyond.insert(place, seq),
        }
        self.absorb();
        if self.beyond.len() > BEYOND {
            let missing = self.done + 1;
            self.done = seq;
            self.beyond = Vec::new();
            return Step::Hole { missing };
        }
        Step::New
    }

    fn absorb(&mut self) {
        let joined = self
            .beyond
            .iter()
            .zip(self.done + 1..)
            .take_while(|(seq, next)| *seq == next);
        let joined = joined.count();
        if joined > 0 {
            self.done += joined as u32;
            self.beyond.drain(..joined);
        }
        if self.beyond.is_empty() {
            self.beyond = Vec::new();
        }
    }

    /// Everything up to here is accounted for.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// The first seq that is missing although a later one came.
    pub fn missing(&self) -> Option<u32> {
        (!self.beyond.is_empty()).then_some(self.done + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, Step};

    #[test]
    fn messages_in_order_are_new() {
        let mut cursor = Cursor::new(0);
        assert!((1..=100).all(|seq| cursor.message(seq) == Step::New));
        assert_eq!((cursor.done(), cursor.missing()), (100, None));
    }

    #[test]
    fn a_seq_that_comes_twice_or_late_on_one_connection_is_a_step_back() {
        let mut cursor = Cursor::new(0);
        cursor.message(1);
        cursor.message(3);
        assert_eq!(cursor.message(3), Step::Back { last: 3 });
        assert_eq!(cursor.message(2), Step::Back { last: 3 });
    }

    #[test]
    fn a_new_connection_may_repeat_what_was_had() {
        let mut cursor = Cursor::new(0);
        cursor.message(1);
        cursor.message(2);
        cursor.reconnected();
        assert_eq!(cursor.message(2), Step::Again);
        assert_eq!(cursor.message(3), Step::New);
        assert_eq!(cursor.done(), 3);
    }

    #[test]
    fn an_own_message_fills_its_place_before_or_after_later_ones() {
        let mut cursor = Cursor::new(0);
        cursor.message(1);
        cursor.message(3);
        assert_eq!((cursor.done(), cursor.missing()), (1, Some(2)));
        cursor.own(2);
        assert_eq!((cursor.done(), cursor.missing()), (3, None));
        cursor.own(5);
        assert_eq!(cursor.message(4), Step::New);
        assert_eq!(cursor.done(), 5);
    }

    #[test]
    fn a_hole_stays_until_something_explains_it() {
        let mut cursor = Cursor::new(0);
        cursor.message(1);
        cursor.message(5);
        assert_eq!(cursor.missing(), Some(2));
        cursor.gap(2, 4);
        assert_eq!((cursor.done(), cursor.missing()), (5, None));
    }

    #[test]
    fn a_hole_that_is_never_filled_is_called_one_in_the_end() {
        let mut cursor = Cursor::new(0);
        let found = (2..10_000).find_map(|seq| match cursor.message(seq) {
            Step::Hole { missing } => Some(missing),
            _ => None,
        });
        assert_eq!(found, Some(1));
    }
}
