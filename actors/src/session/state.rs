//! A user's session as a pure state machine: the conversations with their cursors, the devices, and what each attached
//! connection still lacks. It takes inputs and `now` and answers what to do; it owns no socket, no store, no clock.
//!
//! What must hold: per connection and conversation each seq goes out at most once and in order. `Standing::head` is how far
//! live delivery has come; what a connection lacks below it is in its `ranges`, and it is live only when that is empty.

mod attached;
mod told;

use std::sync::{Arc, Weak};

use smallvec::SmallVec;

pub use self::attached::{Attached, Phase};
pub use self::told::Told;
use super::batch::Batch;
use super::catch_up::{CatchUp, Range};
use crate::frames::Frames;
use crate::id::{ConnectionId, ConversationId, DeviceId, LoginId};
use crate::outlet::{Outlet, Urgency};
use crate::ports::chats::{DeviceCursors, Inbox, Membership};
use crate::protocol::{CloseCode, ServerFrame};
use crate::time::Timestamp;

/// A conversation as its member's session knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub conversation: ConversationId,
    /// The last seq that live delivery brought, or that was known at loading.
    pub head: u64,
    pub active_at: Timestamp,
    pub joined_seq: u64,
    pub joined_at: Timestamp,
    pub read: u64,
    pub delivered: u64,
    /// Cursors moved since they were last saved.
    pub unsaved: bool,
    /// Cursors moved since the last receipt.
    pub unreceipted: bool,
    /// When the last receipt went out.
    pub receipt_at: Timestamp,
}

/// A device and its cursors, parallel to the session's standings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    pub login: LoginId,
    pub cursors: Vec<u64>,
    /// Cursors moved since they were last saved, by index of standing; few at a time.
    pub moved: SmallVec<[u32; 4]>,
}

/// All of a session.
#[derive(Default)]
pub struct State {
    /// By conversation id.
    pub standings: Vec<Standing>,
    pub devices: SmallVec<[Device; 1]>,
    pub attached: SmallVec<[Attached; 1]>,
    /// What typing was passed on lately.
    pub typing: Vec<(ConversationId, Timestamp)>,
    /// Counts the conversations that were left: what the store said before the last of them may not be so any more.
    pub departures: u32,
    /// Until the inbox is loaded: what came meanwhile.
    pub loading: Option<Box<Early>>,
}

/// What reaches a session before its inbox is loaded.
#[derive(Debug, Default)]
pub struct Early {
    heads: Vec<(ConversationId, u64, Timestamp)>,
    joined: Vec<Membership>,
    left: Vec<ConversationId>,
}

/// What delivery leaves to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivered {
    Done,
    /// The session does not know the conversation.
    Unknown,
    /// A connection lacks something that no drained outbox will remind us of: the session must be woken to replay it.
    NeedsReplay,
}

impl State {
    /// A session whose inbox is being loaded.
    pub fn loading() -> Self {
        Self {
            loading: Some(Box::default()),
            ..Self::default()
        }
    }

    pub fn is_loaded(&self) -> bool {
        self.loading.is_none()
    }

    /// Takes the stored inbox and what came while it was read. False when that was done before.
    pub fn loaded(&mut self, inbox: Inbox) -> bool {
        let Some(early) = self.loading.take() else {
            return false;
        };
        self.standings = inbox.memberships.iter().map(standing).collect();
        self.standings.sort_by_key(|standing| standing.conversation);
        self.devices = inbox.devices.iter().map(|device| self.device(device)).collect();
        for membership in early.joined {
            self.join(&membership);
        }
        for (conversation, head, at) in early.heads {
            if let Some(standing) = self.standing_mut(conversation) {
                standing.head = standing.head.max(head);
                standing.active_at = standing.active_at.max(at);
            }
        }
        for conversation in early.left {
            self.leave(conversation);
        }
        true
    }

    fn device(&self, stored: &DeviceCursors) -> Device {
        let cursor = |standing: &Standing| {
            let explicit = stored
                .cursors
                .iter()
                .find(|(conversation, _)| *conversation == standing.conversation);
            match explicit {
                Some((_, seq)) => *seq,
                None if standing.joined_at > stored.created_at => standing.joined_seq,
                None => 0,
            }
        };
        Device {
            id: stored.device,
            login: stored.login,
            cursors: self.standings.iter().map(cursor).collect(),
            moved: SmallVec::new(),
        }
    }

    pub fn index(&self, conversation: ConversationId) -> Option<usize> {
        self.standings
            .binary_search_by_key(&conversation, |standing| standing.conversation)
            .ok()
    }

    pub fn standing(&self, conversation: ConversationId) -> Option<&Standing> {
        self.index(conversation).map(|index| &self.standings[index])
    }

    fn standing_mut(&mut self, conversation: ConversationId) -> Option<&mut Standing> {
        self.index(conversation).map(|index| &mut self.standings[index])
    }

    pub fn connection(&mut self, connection: ConnectionId) -> Option<&mut Attached> {
        self.attached
            .iter_mut()
            .find(|attached| attached.outlet.id() == connection)
    }

    /// A connection as it was attached with that outlet, if it was not attached anew since.
    pub fn attachment(&mut self, outlet: &Weak<dyn Outlet>) -> Option<&mut Attached> {
        let is_same = |attached: &&mut Attached| std::ptr::addr_eq(Arc::as_ptr(&attached.outlet), outlet.as_ptr());
        self.attached.iter_mut().find(is_same)
    }

    /// Answers a request of a connection; hands the frame back when the connection is not here.
    pub fn answer(&mut self, connection: ConnectionId, frame: ServerFrame) -> Result<(), ServerFrame> {
        let sent = match &frame {
            ServerFrame::Sent {
                conversation,
                seq,
                duplicate: false,
                ..
            } => Some((*conversation, *seq)),
            _ => None,
        };
        let head = sent.and_then(|(conversation, _)| self.standing(conversation));
        let head = head.map_or(0, |standing| standing.head);
        let Some(attached) = self.connection(connection) else {
            return Err(frame);
        };
        if let Some((conversation, seq)) = sent {
            attached.tell(conversation, seq, head);
        }
        attached.outlet.push(&Frames::one(frame), Urgency::Answer);
        Ok(())
    }

    /// Hands over a batch of live frames.
    pub fn deliver(&mut self, batch: &Batch) -> Delivered {
        if let Some(early) = &mut self.loading {
            early.heads.push((batch.conversation, batch.last, batch.at));
            return Delivered::Done;
        }
        let Some(standing) = self.standing_mut(batch.conversation) else {
            return Delivered::Unknown;
        };
        if batch.last <= standing.head {
            return Delivered::Done;
        }
        let expected = standing.head + 1;
        standing.head = batch.last;
        standing.active_at = batch.at;
        if batch.first != expected {
            return self.lack(Range {
                conversation: batch.conversation,
                from: expected,
                to: batch.last,
            });
        }
        for attached in &mut self.attached {
            attached.deliver(batch);
        }
        Delivered::Done
    }

    /// A hole in live delivery: every connection replays it.
    fn lack(&mut self, range: Range) -> Delivered {
        let mut delivered = Delivered::Done;
        let index = self.index(range.conversation);
        for attached in &mut self.attached {
            // What its device acked it has, or what it was given elsewhere, although this session learns only now that it exists.
            let device = self.devices.iter().find(|device| device.id == attached.device);
            let acked = device.zip(index).map_or(0, |(device, index)| device.cursors[index]);
            let had = acked.max(attached.ahead_in(range.conversation));
            let from = range.from.max(had + 1);
            if from <= range.to && attached.lack(Range { from, ..range }) {
                delivered = Delivered::NeedsReplay;
            }
        }
        delivered
    }

    /// Raises a head to what the conversation's owner says; the difference is lacking everywhere.
    pub fn raise(&mut self, conversation: ConversationId, head: u64) -> Delivered {
        match self.standing_mut(conversation) {
            Some(standing) if head > standing.head => {
                let from = standing.head + 1;
                standing.head = head;
                self.lack(Range {
                    conversation,
                    from,
                    to: head,
                })
            }
            _ => Delivered::Done,
        }
    }

    /// Something was last said in a conversation then, as its owner knows.
    pub fn active(&mut self, conversation: ConversationId, at: Timestamp) {
        if let Some(standing) = self.standing_mut(conversation) {
            standing.active_at = standing.active_at.max(at);
        }
    }

    /// The user is a member from now on. Replaying what was said since joining is left to each connection.
    pub fn join(&mut self, membership: &Membership) -> Delivered {
        if let Some(early) = &mut self.loading {
            early.left.retain(|left| *left != membership.conversation);
            early.joined.push(membership.clone());
            return Delivered::Done;
        }
        // One who left and joined again starts anew, even when nobody told this session of the leaving.
        let known = self.standing(membership.conversation);
        if known.is_some_and(|standing| standing.joined_seq < membership.joined_seq) {
            self.leave(membership.conversation);
        }
        let Err(index) = self
            .standings
            .binary_search_by_key(&membership.conversation, |standing| standing.conversation)
        else {
            return self.raise(membership.conversation, membership.head);
        };
        self.standings.insert(
            index,
            Standing {
                head: membership.joined_seq,
                ..standing(membership)
            },
        );
        for device in &mut self.devices {
            device.cursors.insert(index, membership.joined_seq);
            for moved in &mut device.moved {
                *moved += u32::from(*moved as usize >= index);
            }
        }
        // What another owner has passed on exists, whether or not the store has heard of it.
        let ahead = self.attached.iter().map(|it| it.ahead_in(membership.conversation));
        let head = ahead.fold(membership.head, u64::max);
        self.raise(membership.conversation, head)
    }

    /// The user is no member any more.
    pub fn leave(&mut self, conversation: ConversationId) {
        self.departures = self.departures.wrapping_add(1);
        if let Some(early) = &mut self.loading {
            early.joined.retain(|joined| joined.conversation != conversation);
            early.left.push(conversation);
            return;
        }
        let Some(index) = self.index(conversation) else { return };
        let left = self.standings.remove(index);
        for attached in &mut self.attached {
            attached.leave(conversation, left.head);
        }
        for device in &mut self.devices {
            device.cursors.remove(index);
            device.moved.retain(|moved| *moved as usize != index);
            for moved in &mut device.moved {
                *moved -= u32::from(*moved as usize > index);
            }
        }
    }

    /// Adds a device that has seen nothing yet.
    pub fn add_device(&mut self, id: DeviceId, login: LoginId) {
        let cursors = vec![0; self.standings.len()];
        self.devices.push(Device {
            id,
            login,
            cursors,
            moved: SmallVec::new(),
        });
    }

    /// Takes a device and its connections away.
    pub fn remove_device(&mut self, device: DeviceId, code: CloseCode) {
        self.close_where(code, |attached| attached.device == device);
        self.devices.retain(|known| known.id != device);
    }

    /// Connections that lack something of which neither a drained outbox nor a `sync` will remind us.
    pub fn lagging(&self) -> Vec<ConnectionId> {
        let lags =
            |phase: &Phase| matches!(phase, Phase::CatchingUp(catch_up) if !catch_up.waiting && !catch_up.sync_due);
        self.attached
            .iter()
            .filter(|attached| lags(&attached.phase))
            .map(|attached| attached.outlet.id())
            .collect()
    }

    /// Closes and forgets the connections that `doomed` picks.
    pub fn close_where(&mut self, code: CloseCode, doomed: impl Fn(&Attached) -> bool) {
        self.attached.retain(|attached| {
            let goes = doomed(attached);
            if goes {
                attached.outlet.close(code);
            }
            !goes
        });
    }

    /// The conversations with news for a device, latest activity first, each with the range it lacks.
    pub fn news(&self, device: DeviceId) -> Vec<Range> {
        let Some(device) = self.devices.iter().find(|known| known.id == device) else {
            return Vec::new();
        };
        let mut news: Vec<_> = self
            .standings
            .iter()
            .zip(&device.cursors)
            .filter(|(standing, cursor)| standing.head > **cursor)
            .map(|(standing, cursor)| {
                let range = Range {
                    conversation: standing.conversation,
                    from: cursor + 1,
                    to: standing.head,
                };
                (standing.active_at, range)
            })
            .collect();
        news.sort_by_key(|(active_at, range)| (std::cmp::Reverse(*active_at), range.conversation));
        news.into_iter().map(|(_, range)| range).collect()
    }

    /// Attaches a connection; another one of the same device is closed.
    pub fn attach(&mut self, outlet: Arc<dyn Outlet>, device: DeviceId, login: LoginId, budget: u64) -> &mut Attached {
        self.close_where(CloseCode::Replaced, |attached| attached.device == device);
        let news = self.news(device);
        let phase = if news.is_empty() {
            Phase::Live
        } else {
            Phase::CatchingUp(Box::new(CatchUp::after_connect(news, budget)))
        };
        self.attached.push(Attached {
            outlet,
            device,
            login,
            since: Timestamp(0),
            phase,
            told: Told::default(),
            ahead: Box::default(),
        });
        self.attached.last_mut().expect("one was just pushed")
    }

    /// Everything up to `seq` has reached the connection's device. False when the user is no member.
    pub fn ack(&mut self, device: DeviceId, conversation: ConversationId, seq: u64) -> bool {
        let Some(index) = self.index(conversation) else {
            return false;
        };
        let standing = &mut self.standings[index];
        let seq = seq.min(standing.head);
        if let Some(device) = self.devices.iter_mut().find(|known| known.id == device)
            && seq > device.cursors[index]
        {
            device.cursors[index] = seq;
            if !device.moved.contains(&(index as u32)) {
                device.moved.push(index as u32);
            }
            standing.unsaved = true;
        }
        standing.advance(seq, standing.read);
        true
    }

    /// Whether typing may be passed on now; counts it if so.
    pub fn types(&mut self, conversation: ConversationId, now: Timestamp, interval_ms: i64) -> bool {
        // Also where the clock stepped back.
        self.typing.retain(|(_, at)| (now.0 - at.0).abs() < interval_ms);
        let first = !self.typing.iter().any(|(known, _)| *known == conversation);
        if first {
            self.typing.push((conversation, now));
        }
        first
    }

    /// The user has seen everything up to `seq`. False when the user is no member.
    pub fn read(&mut self, conversation: ConversationId, seq: u64) -> bool {
        let Some(standing) = self.standing_mut(conversation) else {
            return false;
        };
        let seq = seq.min(standing.head);
        standing.advance(seq, seq);
        true
    }
}

impl Standing {
    fn advance(&mut self, delivered: u64, read: u64) {
        if delivered > self.delivered || read > self.read {
            self.delivered = self.delivered.max(delivered);
            self.read = self.read.max(read);
            self.unsaved = true;
            self.unreceipted = true;
        }
    }
}

fn standing(membership: &Membership) -> Standing {
    Standing {
        conversation: membership.conversation,
        head: membership.head,
        active_at: membership.active_at,
        joined_seq: membership.joined_seq,
        joined_at: membership.joined_at,
        read: membership.read,
        delivered: membership.delivered,
        unsaved: false,
        unreceipted: false,
        receipt_at: Timestamp(0),
    }
}

#[cfg(test)]
mod tests;
