//! Which of this node's users are in a conversation, where the word of it may be lost.
//!
//! A conversation's owner says which members are a node's, by a roster, and who joins. A node that takes a delivery without
//! having the roster asks for it. A session that is in a roster and does not know the conversation asks the store whether its
//! user is a member. Where an owner could not say who joined, the owner of now is asked for the roster until it comes: the
//! one that says so may have lost the conversation since. And where owners may have taken another node for the one that has
//! the sessions of this one, or died before they could say anything, all sessions ask the store for their memberships.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::conversation::actor::Msg as Conversation;
use crate::defaults;
use crate::delivery::Met;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::Peer;
use crate::ports::PortResult;
use crate::ports::chats::Membership;
use crate::session::actor::Msg as Session;
use crate::session::state::{Delivered, Standing};
use crate::session::table::Cell;

/// Rosters asked for at once: each wakes its conversation, wherever that is.
const AT_ONCE: usize = 64;
/// How long a roster may take before it is asked for again.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// How long the store is left alone after a node is gone.
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Longest pause between two questions to a store that does not answer.
const LEARN_PAUSE: Duration = Duration::from_secs(10);

/// What this node wants to know of who is in which conversation.
#[derive(Default)]
pub struct Introductions {
    sought: Mutex<Sought>,
    /// Conversations of users of whom the store could not yet be asked whether they are members.
    unlearnt: Mutex<HashSet<(UserId, ConversationId)>>,
    /// When all sessions are to ask for their memberships.
    doubted: Mutex<Vec<Instant>>,
    /// All of them are being asked for.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Rosters that are sought: pure.
#[derive(Debug, Default)]
struct Sought {
    waiting: VecDeque<ConversationId>,
    /// When each was asked for.
    asked: HashMap<ConversationId, Instant>,
}

impl Sought {
    fn seek(&mut self, conversations: Vec<ConversationId>) {
        let known: HashSet<_> = self.waiting.iter().copied().collect();
        self.waiting
            .extend(conversations.into_iter().filter(|it| !known.contains(it)));
    }

    fn found(&mut self, conversation: ConversationId) {
        self.asked.remove(&conversation);
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// What is to be asked for now.
    fn due(&mut self, now: Instant) -> Vec<ConversationId> {
        let overdue = |(_, at): &(&ConversationId, &Instant)| now.duration_since(**at) >= PATIENCE;
        let mut due: Vec<_> = self.asked.iter().filter(overdue).map(|(id, _)| *id).collect();
        let room = AT_ONCE.saturating_sub(self.asked.len()).min(self.waiting.len());
        due.extend(self.waiting.drain(..room));
        self.asked.extend(due.iter().map(|id| (*id, now)));
        due
    }
}

impl Introductions {
    /// Whether somebody is to be asked.
    pub fn is_due(&self) -> bool {
        !self.doubted.lock().is_empty() || self.are_sought()
    }

    fn doubt(&self, from: Instant) {
        self.doubted.lock().push(from);
    }

    /// Whether the memberships are to be asked for now; they are not in doubt after that.
    fn take_doubt(&self, now: Instant) -> bool {
        self.doubted.lock().extract_if(.., |from| *from <= now).count() > 0
    }

    fn are_sought(&self) -> bool {
        !self.sought.lock().is_empty()
    }
}

impl Hub {
    /// Who of this node joined these conversations may not have been heard here.
    pub(crate) fn seek_introductions(&self, conversations: Vec<ConversationId>) {
        self.introductions.sought.lock().seek(conversations);
    }

    /// A node says who of this one is in a conversation: if it is the owner, that is what was sought.
    pub(crate) fn introduced(&self, by: &NodeId, conversation: ConversationId) {
        if self.introductions.are_sought() && *by == self.node_of_shard(conversation.as_bytes()) {
            self.introductions.sought.lock().found(conversation);
        }
    }

    /// Another node may have been told of joinings and leavings of users whose sessions are here.
    pub(crate) fn doubt_memberships(&self) {
        self.introductions.doubt(Instant::now());
    }

    /// A node left, perhaps without having said who joined: it may have been cut off for a time, and what it stored then is
    /// nothing new to those that have its conversations now. This can wait until everybody is served again.
    pub(crate) fn doubt_memberships_later(&self) {
        self.introductions.doubt(Instant::now() + LEFT_ALONE);
    }

    /// Asks for the rosters that are sought, and for the memberships that are in doubt.
    pub(crate) fn tend_introductions(self: &Arc<Self>, now: Instant) {
        let due = self.introductions.sought.lock().due(now);
        for conversation in due {
            self.want_roster(&self.node_of_shard(conversation.as_bytes()), conversation);
        }
        if let Ok(turn) = Arc::clone(&self.introductions.turn).try_lock_owned()
            && self.introductions.take_doubt(now)
        {
            let core = Arc::clone(self);
            self.runtime.spawn(async move { core.learn_all(turn).await });
        }
    }

    /// Asks the store for the memberships of all sessions; once more later, where it does not answer.
    async fn learn_all(self: &Arc<Self>, _turn: OwnedMutexGuard<()>) {
        let learnt = stream::iter(self.sessions.all()).map(|cell| async move { self.learn_anew(&cell).await });
        let learnt: Vec<_> = learnt.buffer_unordered(defaults::ASKED_A_READ).collect().await;
        if learnt.iter().any(Result::is_err) {
            self.introductions.doubt(Instant::now() + PATIENCE);
        }
    }

    /// A user left something, of which the session here may not have been told.
    pub(crate) fn learn_from_store(self: &Arc<Self>, cell: Arc<Cell>) {
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            while core.learn_anew(&cell).await.is_err() {
                tokio::time::sleep(PATIENCE).await;
            }
        });
    }

    async fn learn_anew(self: &Arc<Self>, cell: &Arc<Cell>) -> PortResult<()> {
        while !self.reconcile(cell).await? {
            // What is being left may not be stored yet.
            tokio::time::sleep(PATIENCE).await;
        }
        Ok(())
    }

    /// Has a session know what the store knows; false when its user left something meanwhile, and it has to be asked again.
    async fn reconcile(self: &Arc<Self>, cell: &Arc<Cell>) -> PortResult<bool> {
        let (known, before): (Vec<_>, _) = {
            let state = cell.state();
            (
                state.standings.iter().map(|it| it.conversation).collect(),
                state.departures,
            )
        };
        let memberships = self.inboxes.ask(cell.user).await?.memberships;
        if cell.is_gone() {
            return Ok(true);
        }
        for membership in &memberships {
            let is_known = |it: &Standing| it.joined_seq >= membership.joined_seq;
            if !cell.state().standing(membership.conversation).is_some_and(is_known)
                && self.meet(cell, membership, before) == Met::TooLate
            {
                return Ok(false);
            }
        }
        let stored: HashSet<_> = memberships.iter().map(|it| it.conversation).collect();
        // Whatever a session knows was stored before.
        for conversation in known.into_iter().filter(|known| !stored.contains(known)) {
            cell.state().leave(conversation);
            self.rosters.depart(conversation, cell);
        }
        Ok(true)
    }

    /// The conversation's owner takes this node for one that knows the roster, which it does not: it may have been restarted
    /// since, or an earlier owner's farewell came late.
    pub(crate) fn want_roster(self: &Arc<Self>, owner: &NodeId, conversation: ConversationId) {
        if *owner == self.node {
            return self.introduce(owner, conversation);
        }
        let lane = u64::from(self.shard(conversation.as_bytes()).id.0);
        self.router
            .send_to_node(owner, lane, Peer::WantRoster(conversation))
            .ok();
    }

    /// A node wants to know who of it is in a conversation, which its owner wakes for that.
    pub(crate) fn introduce(self: &Arc<Self>, node: &NodeId, conversation: ConversationId) {
        let roster = Conversation::Roster(node.clone());
        if self.shard(conversation.as_bytes()).life.is_open() {
            self.conversations.tell(self, conversation, roster);
        } else {
            self.conversations.tell_hot(conversation, roster);
        }
    }

    /// A session is in a conversation's roster and does not know of the conversation: it may have missed its user's joining.
    pub(crate) fn suspect(self: &Arc<Self>, cell: Arc<Cell>, conversation: ConversationId) {
        if self.router.is_alone() {
            return;
        }
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            // What is on its way comes first: most often that is the joining.
            tokio::time::sleep(defaults::SUSPICION).await;
            let is_known = cell.state().standing(conversation).is_some();
            if !is_known && core.learn(&cell, conversation).await.is_err() {
                core.learn_later(cell.user, conversation).await;
            }
        });
    }

    /// Asks the store again until it answers. Every delivery meanwhile is suspicious too: one of them asks for all.
    async fn learn_later(self: &Arc<Self>, user: UserId, conversation: ConversationId) {
        if !self.introductions.unlearnt.lock().insert((user, conversation)) {
            return;
        }
        let mut pause = defaults::SUSPICION;
        loop {
            tokio::time::sleep(pause).await;
            // The session of now: one that was loaded meanwhile may have been told of by another that gave up here.
            let Some(cell) = self.sessions.get(user) else { break };
            if self.learn(&cell, conversation).await.is_ok() {
                break;
            }
            pause = (pause * 2).min(LEARN_PAUSE);
        }
        self.introductions.unlearnt.lock().remove(&(user, conversation));
    }

    /// Asks the store whether a session's user is a member of a conversation that the session does not know: the word of it
    /// may be on its way, or lost. Says whether the session knows it now.
    pub(crate) async fn learn(self: &Arc<Self>, cell: &Arc<Cell>, conversation: ConversationId) -> PortResult<bool> {
        if self.router.is_alone() || cell.is_gone() {
            return Ok(false);
        }
        loop {
            let before = cell.state().departures;
            let memberships = self.inboxes.ask(cell.user).await?.memberships;
            let Some(membership) = memberships.iter().find(|it| it.conversation == conversation) else {
                return Ok(false);
            };
            match self.meet(cell, membership, before) {
                Met::TooLate => {}
                met => return Ok(met != Met::Leaving),
            }
        }
    }

    /// A session learns of a membership from the store, which was asked after so many departures.
    fn meet(self: &Arc<Self>, cell: &Arc<Cell>, membership: &Membership, departures: u32) -> Met {
        let met = self.rosters.meet(cell, membership, departures);
        if let Met::Joined(delivered) = met {
            // What was said since the store was written may have come while the session did not know the conversation.
            self.doubt_heads(vec![membership.conversation]);
            if delivered == Delivered::NeedsReplay {
                let behind = cell.state().lagging();
                for connection in behind {
                    self.tell_session(cell, Session::Replay(connection));
                }
            }
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ids(numbers: std::ops::Range<u128>) -> Vec<ConversationId> {
        numbers.map(|number| ConversationId(Uuid::from_u128(number))).collect()
    }

    #[test]
    fn rosters_are_sought_some_at_once_and_each_until_it_comes() {
        let (mut sought, start) = (Sought::default(), Instant::now());
        let all = ids(0..AT_ONCE as u128 + 1);
        sought.seek(all.clone());
        assert_eq!(sought.due(start), all[..AT_ONCE]);
        assert_eq!(sought.due(start), [], "as many are under way as may be");
        sought.found(all[0]);
        sought.seek(vec![all[AT_ONCE]]);
        assert_eq!(sought.due(start), [all[AT_ONCE]], "it waits once");
        sought.found(all[1]);
        let mut again = sought.due(start + PATIENCE);
        again.sort_unstable();
        assert_eq!(again, all[2..]);
        all.into_iter().for_each(|id| sought.found(id));
        assert!(sought.is_empty());
    }
}
