//! The frames beside the hot path, read by serde: greetings, receipts, updates, gaps, errors.

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::protocol::{Codec, ErrorCode, ServerFrame};

use super::engine::{Engine, Later};
use super::payload::{self, Key};
use super::person::Stage;
use crate::audit::{Kind, UPDATE};
use crate::measure::Op;
use crate::plan::REFUSED;

/// Waiting time before a send is repeated that the server could not take, where it names none.
const RETRY_MS: u64 = 100;

impl Engine {
    /// Any other frame.
    pub(super) fn read_frame(&mut self, place: u32, payload: &[u8], now: u64) {
        let frame = match Codec::Json.read_server(payload) {
            Ok(frame) => frame,
            Err(error) => return self.meter.incident(format!("an unreadable frame: {error}")),
        };
        match frame {
            ServerFrame::Hello(hello) => {
                let client = &mut self.clients[place as usize];
                client.device = Some(hello.device);
                client.hello = true;
                client.failures = 0;
                let intended = client.intended;
                self.replays = (hello.limits.sync_messages, hello.limits.sync_messages_total);
                self.meter.total.connects += 1;
                self.meter.record(Op::Connect, intended, now);
            }
            ServerFrame::Sync { conversations, more } => {
                for item in conversations {
                    let Some(number) = self.by_id.get(&item.id).copied() else {
                        continue;
                    };
                    self.heard_of(number, item.head);
                }
                if !more {
                    self.synced(place, now);
                }
            }
            ServerFrame::Message(message) => {
                let text = text_of(message.conversation);
                let stamp = payload::stamp(message.body.as_bytes());
                self.delivered(place, &text, message.seq, message.id.as_bytes(), stamp, now);
            }
            ServerFrame::Sent {
                id, conversation, seq, ..
            } => self.answered(place, &text_of(conversation), seq, id.as_bytes(), now),
            ServerFrame::Receipt {
                conversation,
                user,
                read,
                ..
            } => self.receipt(place, conversation, user, read),
            ServerFrame::Update(update) => self.updated(place, update.conversation, update.seq, now),
            ServerFrame::Gap { conversation, from, to } => self.gap(place, conversation, from, to, now),
            ServerFrame::History { .. } => self.meter.total.history_pages += 1,
            ServerFrame::Error {
                id,
                code,
                message,
                retry_after_ms,
            } => {
                let to = if id.is_some() {
                    ""
                } else {
                    " (to a frame without an id)"
                };
                self.meter
                    .incident(format!("error {}: {message:.80}{to}", code.as_str()));
                self.error(place, id.as_deref(), code, retry_after_ms, now);
            }
            ServerFrame::Goaway {
                reconnect_after_ms,
                url,
                ..
            } => self.sent_away(place, reconnect_after_ms, url.as_deref()),
            ServerFrame::Typing { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Notification { .. }
            | ServerFrame::Ok { .. }
            | ServerFrame::Pong { .. } => {}
        }
    }

    fn heard_of(&mut self, number: u32, head: u64) {
        if let Some(conversation) = self.conversation(number) {
            conversation.head = conversation.head.max(u32::try_from(head).unwrap_or(0));
        }
    }

    fn synced(&mut self, place: u32, now: u64) {
        let client = &mut self.clients[place as usize];
        client.stage = Stage::Live;
        let (intended, catching_up) = (client.intended, client.catching_up);
        self.meter.record(Op::Sync, intended, now);
        if catching_up {
            self.caught_up(place, now);
        }
        self.pump(place, now);
    }

    fn receipt(&mut self, place: u32, conversation: ConversationId, user: UserId, read: u64) {
        self.meter.total.receipts += 1;
        let Some(number) = self.by_id.get(&conversation).copied() else {
            return;
        };
        let client = &mut self.clients[place as usize];
        if user != client.user
            && let Some(cursor) = client.cursor(number)
        {
            cursor.peer_read = cursor.peer_read.max(u32::try_from(read).unwrap_or(0));
        }
    }

    fn updated(&mut self, place: u32, conversation: ConversationId, seq: u64, now: u64) {
        self.meter.total.updates += 1;
        let text = text_of(conversation);
        let (Some(at), Ok(short)) = (self.locate(place, &text), u32::try_from(seq)) else {
            return self.stray(place, &text, seq, b"an update", "of a conversation it isn't in");
        };
        let cursor = &mut self.clients[place as usize].cursors[at];
        let number = cursor.conversation;
        let step = cursor.message(short);
        self.misstep(place, number, short, UPDATE, step);
        self.note(place, number, short, UPDATE);
        self.progress_made(place, at, short, now);
    }

    fn gap(&mut self, place: u32, conversation: ConversationId, from: u64, to: u64, now: u64) {
        let Some(number) = self.by_id.get(&conversation).copied() else {
            return;
        };
        self.meter.total.gapped += (to + 1).saturating_sub(from);
        let (from, to) = (u32::try_from(from).unwrap_or(0), u32::try_from(to).unwrap_or(0));
        self.check_gap(place, number, from, to);
        if let Some(cursor) = self.clients[place as usize].cursor(number) {
            cursor.gap(from, to);
        }
        if self.clients[place as usize].catching_up {
            self.caught_up(place, now);
        }
    }

    /// A gap may leave out what lies before the last entries that are replayed, and no more. What comes first of a conversation
    /// on a connection is not judged: it goes by a head that may be further than anybody was shown yet. Nor is a client in so many
    /// conversations that the limit of all of them together may hold.
    fn check_gap(&mut self, place: u32, number: u32, from: u32, to: u32) {
        let (each, total) = self.replays;
        let client = &mut self.clients[place as usize];
        let conversations = client.cursors.len() as u64;
        let begun = client.cursor(number).is_some_and(|cursor| cursor.has_begun());
        let Some(Some(conversation)) = self.conversations.get(number as usize) else {
            return;
        };
        let head = conversation.head;
        if begun && u64::from(to) + each > u64::from(head) && conversations * each <= total {
            let detail = format!("a gap names {from} to {to} of {head}, which should have been replayed");
            self.violation(Kind::Gapped, place, number, to.into(), 0, detail);
        }
    }

    fn error(&mut self, place: u32, id: Option<&str>, code: ErrorCode, retry_after_ms: Option<u64>, now: u64) {
        self.meter.total.error_frames += 1;
        let client = &mut self.clients[place as usize];
        let key = id.and_then(|id| Key::read(self.run, id.as_bytes()));
        let Some(key) = key.filter(|key| key.sender() == client.number) else {
            return;
        };
        let again = matches!(
            code,
            ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal
        );
        if again {
            let wait = retry_after_ms.unwrap_or(RETRY_MS).max(1) * 1_000_000;
            client.hold_until = now + wait;
            let refused = client.pending.iter_mut().find(|pending| pending.n == key.n());
            if let Some(pending) = refused {
                pending.written = false;
            }
            self.at(now + wait, Later::Retry, place);
        } else if client.settle(key.n()).is_some() {
            client.attempts[key.n() as usize].1 = REFUSED;
            self.meter.total.refused += 1;
        }
    }
}

fn text_of(conversation: ConversationId) -> [u8; 36] {
    let mut text = [0; 36];
    conversation.0.hyphenated().encode_lower(&mut text);
    text
}
