//! What the server sends, taken in: the hot path of the harness.
//!
//! One read takes what a socket has, up to 256 KiB, into the engine's buffer; frames are parsed where they lie. A delivery
//! costs a comparison of the conversation's text, a look at the ledger, a step of the cursor and a count in the histogram.

use std::io::{self, Read};

use rookery_actors::id::ConversationId;
use rookery_actors::protocol::websocket::{Opcode, close_code};

use super::connect::SLOW_TURN_NS;
use super::engine::{Engine, Later};
use super::payload::{self, Key};
use super::person::Stage;
use super::{quick, wire};
use crate::audit::{Kind, Noted, Step, UPDATE, described};
use crate::measure::Op;
use crate::plan::{Acks, Pace, UNANSWERED};
use crate::sys::{Ready, now_ns};

/// The largest frame taken from a server: history pages are the largest there are.
const LARGEST: usize = 64 * 1024 * 1024;
/// Cursors looked through one by one before the table of ids is asked.
const FEW: usize = 8;

/// The socket is gone; nothing more is to be read from it.
struct Gone;

impl Engine {
    pub(super) fn serve(&mut self, event: Ready) {
        let (place, generation) = (event.token as u32, (event.token >> 32) as u32);
        let client = &self.clients[place as usize];
        if client.generation != generation || client.socket.is_none() {
            return;
        }
        if client.stage == Stage::Connecting {
            if event.writable {
                self.connected(place);
            }
            return;
        }
        if event.writable && client.blocked {
            self.write_out(place);
        }
        if event.readable && self.clients[place as usize].generation == generation {
            self.read(place, usize::MAX);
        }
    }

    /// A slow reader's turn.
    pub(super) fn read_slowly(&mut self, place: u32, now: u64) {
        let Pace::Slow { bytes_per_second } = self.clients[place as usize].pace else {
            return;
        };
        let share = u64::from(bytes_per_second) * SLOW_TURN_NS / 1_000_000_000;
        self.read(place, (share as usize).max(1));
        if self.clients[place as usize].socket.is_some() {
            self.at(now + SLOW_TURN_NS, Later::SlowRead, place);
        }
    }

    fn read(&mut self, place: u32, limit: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read_into(place, limit, &mut buffer);
        self.buffer = buffer;
    }

    fn read_into(&mut self, place: u32, limit: usize, buffer: &mut Vec<u8>) {
        let client = &mut self.clients[place as usize];
        let Some(mut socket) = client.socket.as_ref() else {
            return;
        };
        let kept = client.partial.len();
        if kept > LARGEST {
            return self.closed(place, "a frame too large to be true");
        }
        if kept * 2 > buffer.len() {
            buffer.resize(kept * 4, 0);
        }
        buffer[..kept].copy_from_slice(&client.partial);
        let end = kept.saturating_add(limit).min(buffer.len());
        let count = match socket.read(&mut buffer[kept..end]) {
            Ok(0) => return self.closed(place, "closed without a close frame"),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(error) => return self.closed(place, &format!("read: {}", error.kind())),
        };
        self.meter.total.bytes_in += count as u64;
        let bytes = &buffer[..kept + count];
        if let Ok(used) = self.frames(place, bytes, now_ns()) {
            let partial = &mut self.clients[place as usize].partial;
            partial.clear();
            match &bytes[used..] {
                [] => *partial = Vec::new(),
                rest => partial.extend_from_slice(rest),
            }
        }
    }

    /// Handles all whole frames and says how many bytes they took.
    fn frames(&mut self, place: u32, bytes: &[u8], now: u64) -> Result<usize, Gone> {
        let mut at = 0;
        if self.clients[place as usize].stage == Stage::Opening {
            match self.upgraded(place, bytes).ok_or(Gone)? {
                0 => return Ok(0),
                length => at = length,
            }
        }
        loop {
            match wire::frame(&bytes[at..]) {
                Ok(Some(found)) => {
                    at += found.length;
                    self.meter.total.frames_in += 1;
                    self.frame(place, found, now)?;
                }
                Ok(None) => return Ok(at),
                Err(broken) => {
                    self.closed(place, &broken.to_string());
                    return Err(Gone);
                }
            }
        }
    }

    #[inline]
    fn frame(&mut self, place: u32, found: wire::Found<'_>, now: u64) -> Result<(), Gone> {
        let payload = found.payload;
        match found.opcode {
            Opcode::Text => {
                if let Some(message) = quick::message(payload) {
                    let stamp = payload::stamp(message.rest);
                    self.delivered(place, message.conversation, message.seq, message.id, stamp, now);
                } else if let Some(sent) = quick::sent(payload) {
                    self.answered(place, sent.conversation, sent.seq, sent.id, now);
                } else {
                    self.read_frame(place, payload, now);
                }
            }
            Opcode::Ping => {
                self.meter.total.pings += 1;
                self.say(place, Opcode::Pong, &[payload]);
            }
            Opcode::Close => {
                let code = close_code(payload).unwrap_or(1005);
                self.closed_with(place, code);
                return Err(Gone);
            }
            Opcode::Pong => {}
            Opcode::Binary | Opcode::Continuation => self.meter.incident("a binary frame"),
        }
        Ok(())
    }

    /// Where among a client's cursors a conversation is.
    #[inline]
    pub(super) fn locate(&self, place: u32, text: &[u8; 36]) -> Option<usize> {
        let cursors = &self.clients[place as usize].cursors;
        if cursors.len() <= FEW {
            return cursors.iter().position(|cursor| {
                let conversation = self.conversations[cursor.conversation as usize].as_ref();
                conversation.is_some_and(|conversation| conversation.text == *text)
            });
        }
        let id: ConversationId = std::str::from_utf8(text).ok()?.parse().ok()?;
        let number = self.by_id.get(&id)?;
        cursors.binary_search_by_key(number, |cursor| cursor.conversation).ok()
    }

    #[inline]
    pub(super) fn delivered(&mut self, place: u32, text: &[u8; 36], seq: u64, id: &[u8], stamp: Option<u64>, now: u64) {
        let (Some(at), Ok(short)) = (self.locate(place, text), u32::try_from(seq)) else {
            return self.stray(place, text, seq, id, "of a conversation it isn't in");
        };
        let Some(key) = Key::read(self.run, id) else {
            return self.stray(place, text, seq, id, "that this run did not send");
        };
        let client = &mut self.clients[place as usize];
        let cursor = &mut client.cursors[at];
        let conversation = cursor.conversation;
        match cursor.message(short) {
            Step::New => self.meter.total.delivered += 1,
            Step::Again => self.meter.total.replayed += 1,
            step => self.misstep(place, conversation, short, key.0, step),
        }
        self.note(place, conversation, short, key.0);
        let client = &mut self.clients[place as usize];
        if let Some(stamp) = stamp
            && stamp >= client.intended
            && client.stage == Stage::Live
            && client.is_fast()
            && !client.catching_up
        {
            self.meter.record(Op::Delivered, stamp, now);
        }
        self.progress_made(place, at, short, now);
    }

    /// After something was received: acks, and the end of catching up.
    #[inline]
    pub(super) fn progress_made(&mut self, place: u32, at: usize, seq: u32, now: u64) {
        match self.acks {
            Acks::Never => {}
            Acks::Every { ms } => {
                let client = &mut self.clients[place as usize];
                if !client.ack_due {
                    client.ack_due = true;
                    self.at(now + ms * 1_000_000, Later::Ack, place);
                }
            }
            Acks::Each => self.ack_and_read(place, at, seq),
        }
        if self.clients[place as usize].catching_up {
            self.caught_up(place, now);
        }
    }

    pub(super) fn caught_up(&mut self, place: u32, now: u64) {
        let client = &mut self.clients[place as usize];
        let conversations = &self.conversations;
        let complete = client.cursors.iter().all(|cursor| {
            let conversation = conversations[cursor.conversation as usize].as_ref();
            conversation.is_none_or(|conversation| cursor.done() >= conversation.head)
        });
        if complete {
            client.catching_up = false;
            let intended = client.intended;
            self.meter.record(Op::Resume, intended, now);
        }
    }

    /// Somebody saw a message under a seq: all must see the same, and its sender must have sent it.
    #[inline]
    pub(super) fn note(&mut self, place: u32, number: u32, seq: u32, key: u64) {
        let Some(Some(conversation)) = self.conversations.get_mut(number as usize) else {
            return;
        };
        match conversation.ledger.note(seq, key) {
            Noted::Same => {}
            Noted::First => {
                conversation.head = conversation.head.max(seq);
                if key != UPDATE {
                    self.check_sender(place, number, seq, Key(key));
                }
            }
            Noted::Differs { other } => {
                let detail = format!("others saw {} here, this one {}", described(other), described(key));
                self.violation(Kind::Reordered, place, number, seq.into(), key, detail);
            }
            Noted::Absurd => {
                let detail = "far beyond anything that was sent".into();
                self.violation(Kind::Phantom, place, number, seq.into(), key, detail);
            }
        }
    }

    /// The sender, where it is one of ours, must have sent it to this conversation.
    fn check_sender(&mut self, place: u32, number: u32, seq: u32, key: Key) {
        let Some(sender) = self.places.get(&key.sender()) else {
            return;
        };
        let attempt = self.clients[*sender as usize].attempts.get(key.n() as usize);
        if attempt.is_none_or(|(conversation, _)| *conversation != number) {
            let detail = "its sender did not send it to this conversation".into();
            self.violation(Kind::Phantom, place, number, seq.into(), key.0, detail);
        }
    }

    pub(super) fn misstep(&mut self, place: u32, conversation: u32, seq: u32, key: u64, step: Step) {
        let (kind, detail) = match step {
            Step::New | Step::Again => return,
            Step::Back { last } if last == seq => (Kind::Duplicated, "came twice on one connection".to_owned()),
            Step::Back { last } => (Kind::Reordered, format!("came after {last} on the same connection")),
            Step::Hole { missing } => (Kind::Gapped, format!("{missing} never came, nor a gap that names it")),
        };
        self.violation(kind, place, conversation, seq.into(), key, detail);
    }

    pub(super) fn stray(&mut self, place: u32, text: &[u8; 36], seq: u64, id: &[u8], what: &str) {
        let (text, id) = (String::from_utf8_lossy(text), String::from_utf8_lossy(id));
        let detail = format!("got message {id:?} of {text}, {what}");
        self.violation(Kind::Phantom, place, u32::MAX, seq, 0, detail);
    }

    #[inline]
    pub(super) fn answered(&mut self, place: u32, text: &[u8; 36], seq: u64, id: &[u8], now: u64) {
        let key = Key::read(self.run, id);
        let located = self.locate(place, text);
        let client = &mut self.clients[place as usize];
        let known = key.filter(|key| key.sender() == client.number);
        let (Some(key), Some(at), Ok(seq)) = (known, located, u32::try_from(seq)) else {
            return self.stray(place, text, seq, id, "answered to one who did not send it");
        };
        let number = client.cursors[at].conversation;
        let step = client.cursors[at].own(seq);
        let broken = match client.attempts.get_mut(key.n() as usize) {
            Some((conversation, _)) if *conversation != number => Some("answered in another conversation".to_owned()),
            Some((_, answered)) if *answered == UNANSWERED => {
                *answered = seq;
                self.meter.total.answered += 1;
                None
            }
            Some((_, answered)) if *answered == seq => None,
            Some((_, answered)) => Some(format!("answered with this seq, and before with {answered}")),
            None => Some("answered before it was sent".to_owned()),
        };
        if let Some(detail) = broken {
            self.violation(Kind::Duplicated, place, number, seq.into(), key.0, detail);
        }
        self.clients[place as usize].gave_up = 0;
        if let Some(pending) = self.clients[place as usize].settle(key.n()) {
            self.meter.record(Op::Sent, pending.intended, now);
            if let Some(journal) = &mut self.journal {
                journal.push(pending.sent(now));
            }
        }
        self.misstep(place, number, seq, key.0, step);
        self.note(place, number, seq, key.0);
        self.pump(place, now);
    }
}
