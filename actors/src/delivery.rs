//! Delivery on a node: from a conversation's owner to the outboxes of the members whose sessions are here.
//!
//! This is the hot path of fan-out. For each conversation that was delivered to lately, the node keeps the sessions present
//! here, so that a message touches those and nothing else: no actor, no allocation and no look-up a recipient, the same
//! bytes for all. No lock is held over an await; the roster's lock is held during the walk, so that who leaves gets nothing
//! that was said after.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;

use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::Delivery;
use crate::outlet::{Pushed, Urgency};
use crate::ports::chats::Membership;
use crate::session::actor::Msg;
use crate::session::batch::Batch;
use crate::session::state::{Delivered, State};
use crate::session::table::Cell;
use crate::striped::Striped;

/// The conversations delivered to lately.
#[derive(Default)]
pub struct Rosters {
    table: Striped<ConversationId, Arc<Mutex<Roster>>>,
}

/// The sessions of a conversation's members on this node.
#[derive(Default)]
struct Roster {
    present: Vec<Arc<Cell>>,
    index: HashMap<UserId, usize>,
    /// Members who left although the store may not know it yet: a session of theirs that loads now is not served.
    leaving: HashSet<UserId>,
}

/// What came of a membership that the store told of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Joined(Delivered),
    /// The user leaves, which the store does not know yet.
    Leaving,
    /// The user left a conversation since the store was asked, this one perhaps.
    TooLate,
}

impl Roster {
    fn enter(&mut self, cell: &Arc<Cell>) {
        match self.index.get(&cell.user) {
            Some(index) => self.present[*index] = Arc::clone(cell),
            None => {
                self.index.insert(cell.user, self.present.len());
                self.present.push(Arc::clone(cell));
            }
        }
    }

    fn remove(&mut self, user: UserId) -> Option<Arc<Cell>> {
        let index = self.index.remove(&user)?;
        let cell = self.present.swap_remove(index);
        if let Some(moved) = self.present.get(index) {
            self.index.insert(moved.user, index);
        }
        Some(cell)
    }
}

impl Rosters {
    fn part(&self, conversation: ConversationId) -> &Mutex<HashMap<ConversationId, Arc<Mutex<Roster>>>> {
        self.table.part(conversation.as_bytes())
    }

    fn get(&self, conversation: ConversationId) -> Option<Arc<Mutex<Roster>>> {
        self.part(conversation).lock().get(&conversation).cloned()
    }

    /// A session was loaded that says it is a member. False when its user has just left; the standing is taken away.
    pub fn arrive(&self, conversation: ConversationId, cell: &Arc<Cell>) -> bool {
        let Some(roster) = self.get(conversation) else {
            return true;
        };
        let mut roster = roster.lock();
        if roster.leaving.contains(&cell.user) {
            cell.state().leave(conversation);
            return false;
        }
        roster.enter(cell);
        true
    }

    /// A session learns of a membership from the store, which was asked after so many departures.
    pub fn meet(&self, cell: &Arc<Cell>, membership: &Membership, departures: u32) -> Met {
        let roster = self.get(membership.conversation);
        let mut roster = roster.as_ref().map(|roster| roster.lock());
        if roster
            .as_ref()
            .is_some_and(|roster| roster.leaving.contains(&cell.user))
        {
            return Met::Leaving;
        }
        let mut state = cell.state();
        if state.departures != departures {
            return Met::TooLate;
        }
        if let Some(roster) = &mut roster {
            roster.enter(cell);
        }
        Met::Joined(state.join(membership))
    }

    /// Who of this node is in a conversation is not known any more.
    pub fn forget(&self, conversation: ConversationId) {
        self.part(conversation).lock().remove(&conversation);
    }

    /// The same of all these.
    pub fn forget_all(&self, of: impl Fn(&ConversationId) -> bool) {
        for part in self.table.parts() {
            part.lock().retain(|conversation, _| !of(conversation));
        }
    }

    /// A session left this node's memory.
    pub fn depart(&self, conversation: ConversationId, cell: &Arc<Cell>) {
        let Some(roster) = self.get(conversation) else { return };
        let mut roster = roster.lock();
        let index = roster.index.get(&cell.user).copied();
        // The user may be back already, with another session.
        if index.is_some_and(|index| Arc::ptr_eq(&roster.present[index], cell)) {
            roster.remove(cell.user);
        }
    }
}

impl State {
    /// Whether the conversation is known here, or will be once the inbox is loaded.
    fn may_know(&self, conversation: ConversationId) -> bool {
        !self.is_loaded() || self.index(conversation).is_some()
    }
}

impl Hub {
    /// Carries a delivery out on this node. What was said in a conversation is so whoever says it; who is a member is for its
    /// owner to say: one of another time, that stood still perhaps, may tell of what others have told of long ago.
    pub fn deliver_from(self: &Arc<Self>, from: &NodeId, conversation: ConversationId, delivery: Delivery) {
        let by_owner = || *from == self.node_of_shard(conversation.as_bytes());
        match delivery {
            Delivery::Batch(batch) => match self.walk(&batch) {
                true => {}
                false if by_owner() => self.want_roster(from, conversation),
                false => self.doubt_heads(vec![conversation]),
            },
            Delivery::Ephemeral(frames, except) => self.pass(conversation, &frames, except),
            Delivery::Head(head) => self.raise(conversation, head),
            Delivery::Left(users) => self.left(conversation, &users),
            Delivery::Roster(_) | Delivery::Cool if !by_owner() => {}
            Delivery::Enter(memberships) if !by_owner() => {
                let cells = memberships.iter().filter_map(|(user, _)| self.sessions.get(*user));
                cells.for_each(|cell| self.learn_from_store(cell));
            }
            Delivery::Leave(_) if !by_owner() => self.rosters.forget(conversation),
            Delivery::Roster(members) => {
                self.introduced(from, conversation);
                self.gather(conversation, &members);
            }
            Delivery::Enter(memberships) => self.enter(conversation, &memberships),
            Delivery::Leave(users) => self.leave(conversation, &users),
            Delivery::Cool => self.rosters.forget(conversation),
        }
    }

    /// One frame to each of these users' connections.
    pub fn notify(&self, users: &[UserId], frames: &Frames) {
        for cell in users.iter().filter_map(|user| self.sessions.get(*user)) {
            for attached in &mut cell.state().attached {
                attached.aside(frames, Urgency::Answer);
            }
        }
    }

    /// Hands a batch to the sessions present; false when nobody knows which these are.
    fn walk(self: &Arc<Self>, batch: &Batch) -> bool {
        let Some(roster) = self.rosters.get(batch.conversation) else {
            return false;
        };
        let mut behind = Vec::new();
        let roster = roster.lock();
        for cell in &roster.present {
            let mut state = cell.state();
            match state.deliver(batch) {
                Delivered::Done => {}
                Delivered::NeedsReplay => behind.push((Arc::clone(cell), state.lagging())),
                Delivered::Unknown => self.suspect(Arc::clone(cell), batch.conversation),
            }
        }
        self.metrics.deliveries.increment(roster.present.len() as u64);
        drop(roster);
        self.replay_all(behind);
        true
    }

    /// Everything up to a seq exists: who has not got it lacks it.
    fn raise(self: &Arc<Self>, conversation: ConversationId, head: u64) {
        let Some(roster) = self.rosters.get(conversation) else {
            return;
        };
        let mut behind = Vec::new();
        for cell in &roster.lock().present {
            let mut state = cell.state();
            if state.raise(conversation, head) == Delivered::NeedsReplay {
                behind.push((Arc::clone(cell), state.lagging()));
            }
        }
        self.replay_all(behind);
    }

    fn pass(&self, conversation: ConversationId, frames: &Frames, except: Option<UserId>) {
        let Some(roster) = self.rosters.get(conversation) else {
            return;
        };
        for cell in roster.lock().present.iter().filter(|cell| Some(cell.user) != except) {
            for attached in &mut cell.state().attached {
                if attached.aside(frames, Urgency::Ephemeral) == Pushed::Full {
                    self.metrics.ephemeral_dropped.increment(1);
                }
            }
        }
    }

    /// Notes which of the members have their session here.
    fn gather(self: &Arc<Self>, conversation: ConversationId, members: &[UserId]) {
        let roster = Arc::new(Mutex::new(Roster::default()));
        let mut gathering = roster.lock();
        self.rosters
            .part(conversation)
            .lock()
            .insert(conversation, Arc::clone(&roster));
        for cell in members.iter().filter_map(|user| self.sessions.get(*user)) {
            gathering.enter(&cell);
            if !self.router.is_alone() && !cell.state().may_know(conversation) {
                self.suspect(cell, conversation);
            }
        }
    }

    fn enter(self: &Arc<Self>, conversation: ConversationId, memberships: &[(UserId, Membership)]) {
        let roster = self.rosters.get(conversation);
        let mut behind = Vec::new();
        for (user, membership) in memberships {
            let Some(cell) = self.sessions.get(*user) else { continue };
            if let Some(roster) = &roster {
                let mut roster = roster.lock();
                roster.leaving.remove(user);
                roster.enter(&cell);
            }
            let mut state = cell.state();
            if state.join(membership) == Delivered::NeedsReplay {
                behind.push((Arc::clone(&cell), state.lagging()));
            }
        }
        self.replay_all(behind);
    }

    fn leave(&self, conversation: ConversationId, users: &[UserId]) {
        let roster = self.rosters.get(conversation);
        for user in users {
            if let Some(roster) = &roster {
                let mut roster = roster.lock();
                roster.leaving.insert(*user);
                roster.remove(*user);
            }
            if let Some(cell) = self.sessions.get(*user) {
                cell.state().leave(conversation);
            }
        }
    }

    fn left(self: &Arc<Self>, conversation: ConversationId, users: &[UserId]) {
        if let Some(roster) = self.rosters.get(conversation) {
            let mut roster = roster.lock();
            roster.leaving.retain(|user| !users.contains(user));
        }
        for cell in users.iter().filter_map(|user| self.sessions.get(*user)) {
            // Its leaving was not heard here, or it was loaded since; or the user is back already.
            if cell.state().standing(conversation).is_some() {
                self.learn_from_store(cell);
            }
        }
    }

    fn replay_all(self: &Arc<Self>, behind: Vec<(Arc<Cell>, Vec<crate::id::ConnectionId>)>) {
        for (cell, connections) in behind {
            for connection in connections {
                self.tell_session(&cell, Msg::Replay(connection));
            }
        }
    }
}
