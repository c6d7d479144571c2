//! One connection of a session: what goes out to it at once, and what waits.

use std::sync::Arc;

use super::told::Told;
use crate::frames::Frames;
use crate::id::{ConversationId, DeviceId, LoginId};
use crate::outlet::{Outlet, Pushed, Urgency};
use crate::session::batch::Batch;
use crate::session::catch_up::{CatchUp, Range};
use crate::time::Timestamp;

/// So many conversations that were left are remembered; who comes back to an older one may be shown twice what was said there.
const LEFT: usize = 256;

/// A connection's way to being live.
#[derive(Debug, Default)]
pub enum Phase {
    /// Nothing is lacking: live frames go out at once.
    #[default]
    Live,
    /// Live frames only extend what is lacking, until all of it was replayed.
    CatchingUp(Box<CatchUp>),
}

/// A connection of this user.
pub struct Attached {
    pub outlet: Arc<dyn Outlet>,
    pub device: DeviceId,
    pub login: LoginId,
    /// When the connection was made: of two of one device the later one counts.
    pub since: Timestamp,
    pub phase: Phase,
    pub told: Told,
    /// How far it was brought in conversations that the session does not know: by another owner of it, or before the user left.
    pub ahead: Box<[(ConversationId, u64)]>,
}

impl Attached {
    /// Up to where it has everything of a conversation with that head.
    pub fn reached(&self, conversation: ConversationId, head: u64) -> u64 {
        let lacks = match &self.phase {
            Phase::Live => None,
            Phase::CatchingUp(catch_up) => catch_up.lacks(conversation),
        };
        lacks.map_or(head, |from| from - 1)
    }

    /// The user left a conversation, which had come to that head. Who comes back is not shown again what was said before.
    pub(super) fn leave(&mut self, conversation: ConversationId, head: u64) {
        let reached = self.reached(conversation, head).max(self.ahead_in(conversation));
        let mut ahead = std::mem::take(&mut self.ahead).into_vec();
        ahead.retain(|(known, _)| *known != conversation);
        ahead.drain(..ahead.len().saturating_sub(LEFT - 1));
        ahead.push((conversation, reached));
        self.ahead = ahead.into_boxed_slice();
        self.told.pass(conversation, u64::MAX);
        if let Phase::CatchingUp(catch_up) = &mut self.phase {
            catch_up.forget(conversation);
        }
    }

    /// How far it was brought in a conversation that was not known here then.
    pub(super) fn ahead_in(&self, conversation: ConversationId) -> u64 {
        let known = self.ahead.iter().find(|(known, _)| *known == conversation);
        known.map_or(0, |(_, passed)| *passed)
    }

    /// Hands over what has no place in the stream; before `sync` nothing may come, so it waits for it.
    pub fn aside(&mut self, frames: &Frames, urgency: Urgency) -> Pushed {
        match &mut self.phase {
            Phase::CatchingUp(catch_up) if catch_up.sync_due => catch_up.put_off(frames, urgency),
            _ => self.outlet.push(frames, urgency),
        }
    }

    /// `sent` tells of the connection's own message: where its turn in the stream is still to come, it is left out there.
    pub(super) fn tell(&mut self, conversation: ConversationId, seq: u64, head: u64) {
        if seq > self.reached(conversation, head) {
            self.told.note(conversation, seq);
        }
    }

    pub(super) fn deliver(&mut self, batch: &Batch) {
        let range = Range {
            conversation: batch.conversation,
            from: batch.first,
            to: batch.last,
        };
        let knows = self.knows_of(batch);
        match &mut self.phase {
            Phase::CatchingUp(catch_up) => {
                catch_up.extend(range);
                self.note_own(batch, batch.first);
            }
            Phase::Live if knows => self.deliver_others(batch),
            Phase::Live => {
                if self.outlet.push(&batch.frames, Urgency::Sequenced) == Pushed::Full {
                    self.fall_behind(range);
                }
            }
        }
    }

    fn knows_of(&self, batch: &Batch) -> bool {
        batch.is_sent_by(self.outlet.id()) || self.told.concerns(batch.conversation)
    }

    /// The sender's own connection gets what others said; of its own it is told by `sent`.
    fn deliver_others(&mut self, batch: &Batch) {
        for (index, seq) in (batch.first..=batch.last).enumerate() {
            if batch.sent_by(index) == Some(self.outlet.id()) || self.told.has(batch.conversation, seq) {
                continue;
            }
            if self.outlet.push(&batch.frames.part(index), Urgency::Sequenced) == Pushed::Full {
                self.note_own(batch, seq);
                return self.fall_behind(Range {
                    conversation: batch.conversation,
                    from: seq,
                    to: batch.last,
                });
            }
        }
        self.told.pass(batch.conversation, batch.last);
    }

    /// What the connection sent itself is left out when this part of the stream is replayed.
    fn note_own(&mut self, batch: &Batch, from: u64) {
        let own = self.outlet.id();
        for (index, seq) in (batch.first..=batch.last).enumerate() {
            if seq >= from && batch.sent_by(index) == Some(own) {
                self.told.note(batch.conversation, seq);
            }
        }
    }

    fn fall_behind(&mut self, range: Range) {
        let catch_up = CatchUp {
            waiting: true,
            ..CatchUp::lacking(range)
        };
        self.phase = Phase::CatchingUp(Box::new(catch_up));
    }

    /// Notes a range to replay; true when that has to be started.
    pub(super) fn lack(&mut self, range: Range) -> bool {
        match &mut self.phase {
            Phase::CatchingUp(catch_up) => {
                catch_up.extend(range);
                false
            }
            Phase::Live => {
                self.phase = Phase::CatchingUp(Box::new(CatchUp::lacking(range)));
                true
            }
        }
    }
}
