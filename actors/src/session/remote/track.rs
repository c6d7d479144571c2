//! What a socket whose session is elsewhere has been given, so that it can go on with another owner: pure.
//!
//! Frames of a conversation come in the order of their seqs, each once, so the highest passed on says all; but for the
//! client's own messages, of which `sent` tells: it may come before the messages in front of it.

use crate::id::ConversationId;
use crate::interchange::parcel::Greeting;
use crate::protocol::ServerFrame;

/// Conversations of which is noted how far they were passed on, at most; beyond it a socket that loses its session is closed.
const CONVERSATIONS: usize = 4_096;
/// Own messages that were told of before those in front of them, at most; as many as a user may have unanswered, and more.
const TOLD: usize = 256;

/// How far a socket has got.
#[derive(Debug, Default)]
pub struct Track {
    stage: Stage,
    /// The highest seq passed on, by conversation.
    passed: Vec<(ConversationId, u64)>,
    /// Own messages beyond it, of which `sent` has told.
    told: Vec<(ConversationId, u64)>,
    /// More than is noted.
    inexact: bool,
}

/// What of the first frames was passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stage {
    #[default]
    New,
    /// `hello`.
    Greeted,
    /// Some of `sync`.
    Syncing,
    /// All of it.
    Synced,
}

impl Track {
    /// A socket that was served here until now and has everything up to these.
    pub fn at(stage: Stage, passed: Vec<(ConversationId, u64)>) -> Self {
        let mut track = Self {
            stage,
            ..Self::default()
        };
        passed
            .into_iter()
            .for_each(|(conversation, seq)| track.pass(conversation, seq));
        track
    }

    /// Whether the client knows this frame already: its own message, of which `sent` has told.
    pub fn knows(&self, frame: &ServerFrame) -> bool {
        match frame {
            ServerFrame::Message(message) => self.told.contains(&(message.conversation, message.seq)),
            _ => false,
        }
    }

    /// Whether a batch may hold something of that kind.
    pub fn may_know(&self) -> bool {
        !self.told.is_empty()
    }

    /// Notes a frame that is passed on, or that the client knows.
    pub fn note(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Hello(_) => self.stage = Stage::Greeted,
            ServerFrame::Sync { more, .. } => self.stage = if *more { Stage::Syncing } else { Stage::Synced },
            ServerFrame::Message(message) => self.pass(message.conversation, message.seq),
            ServerFrame::Update(update) => self.pass(update.conversation, update.seq),
            ServerFrame::Gap { conversation, to, .. } => self.pass(*conversation, *to),
            // What is sent again may be lacking nevertheless: then its turn in the stream comes too.
            ServerFrame::Sent {
                conversation,
                seq,
                duplicate: false,
                ..
            } => self.tell(*conversation, *seq),
            _ => {}
        }
    }

    fn place(&self, conversation: ConversationId) -> Result<usize, usize> {
        self.passed.binary_search_by_key(&conversation, |(known, _)| *known)
    }

    fn pass(&mut self, conversation: ConversationId, seq: u64) {
        let mut high = seq;
        match self.place(conversation) {
            Ok(index) => high = high.max(self.passed[index].1),
            Err(_) if self.passed.len() >= CONVERSATIONS => self.inexact = true,
            Err(index) => self.passed.insert(index, (conversation, seq)),
        }
        while self.told.contains(&(conversation, high + 1)) {
            high += 1;
        }
        if let Ok(index) = self.place(conversation) {
            self.passed[index].1 = high;
        }
        self.told.retain(|(known, seq)| *known != conversation || *seq > high);
    }

    /// `sent` has told of an own message.
    pub fn tell(&mut self, conversation: ConversationId, seq: u64) {
        let passed = self.place(conversation).ok().map(|index| self.passed[index].1);
        if passed.is_some_and(|passed| seq <= passed) {
            return;
        }
        if passed == Some(seq - 1) {
            return self.pass(conversation, seq);
        }
        if self.told.len() >= TOLD {
            self.told.remove(0);
        }
        self.told.push((conversation, seq));
    }

    /// What the next owner is told; `None` when what the socket has is not known for sure.
    pub fn greeting(&self) -> Option<Greeting> {
        match self.stage {
            Stage::New => Some(Greeting::Hello),
            Stage::Greeted => Some(Greeting::Sync),
            Stage::Synced if !self.inexact => Some(Greeting::Resume(self.passed.clone())),
            Stage::Syncing | Stage::Synced => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::protocol::view::Message;
    use crate::time::Timestamp;

    fn conversation(number: u128) -> ConversationId {
        ConversationId(Uuid::from_u128(number))
    }

    fn message(number: u128, seq: u64) -> ServerFrame {
        ServerFrame::Message(Box::new(Message {
            conversation: conversation(number),
            seq,
            id: String::new(),
            from: crate::id::UserId(Uuid::nil()),
            at: Timestamp(0),
            body: String::new(),
            data: None,
            attachments: Vec::new(),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted: false,
            reactions: Vec::new(),
        }))
    }

    fn sent(seq: u64) -> ServerFrame {
        ServerFrame::Sent {
            id: String::new(),
            conversation: conversation(1),
            seq,
            at: Timestamp(0),
            duplicate: false,
        }
    }

    fn resumed(track: &Track) -> Vec<(u128, u64)> {
        match track.greeting() {
            Some(Greeting::Resume(passed)) => passed.iter().map(|(id, seq)| (id.0.as_u128(), *seq)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_frames_say_what_is_due_next() {
        let mut track = Track::default();
        let sync = |more| ServerFrame::Sync {
            conversations: Vec::new(),
            more,
        };
        assert_eq!(track.greeting(), Some(Greeting::Hello));
        track.stage = Stage::Greeted;
        assert_eq!(track.greeting(), Some(Greeting::Sync));
        track.note(&sync(true));
        assert_eq!(track.greeting(), None, "nobody knows which page came last");
        track.note(&sync(false));
        track.note(&message(2, 7));
        track.note(&message(1, 3));
        assert_eq!(resumed(&track), [(1, 3), (2, 7)]);
    }

    #[test]
    fn an_own_message_counts_once_those_before_it_were_passed_on() {
        let mut track = Track::at(Stage::Synced, vec![(conversation(1), 3)]);
        track.note(&sent(4));
        track.note(&sent(6));
        assert_eq!(resumed(&track), [(1, 4)], "5 has not come yet");
        assert!(track.knows(&message(1, 6)) && !track.knows(&message(1, 5)) && track.may_know());
        track.note(&message(1, 5));
        assert_eq!(resumed(&track), [(1, 6)]);
        assert!(!track.may_know());
    }

    #[test]
    fn what_is_too_much_to_note_is_not_guessed() {
        let mut track = Track::at(Stage::Synced, Vec::new());
        (0..CONVERSATIONS as u128).for_each(|number| track.note(&message(number, 1)));
        assert!(track.greeting().is_some());
        track.note(&message(CONVERSATIONS as u128, 1));
        assert_eq!(track.greeting(), None);
    }
}
