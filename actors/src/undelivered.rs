//! What other nodes could not be sent, which they are told once they can be reached.
//!
//! A node that missed a delivery asks how far the conversation is (`heads.rs`). One that missed who joined asks who of it is
//! a member (`introductions.rs`), because its sessions ask for the heads only of what they know; and one that missed who left
//! has the sessions of those ask the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use tokio::time::Instant;

use crate::heads::Heads;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Delivery, Peer};

/// A delivery that could not be sent is told of by name up to so many; beyond it the receiver checks all it has.
const MISSED: usize = 10_000;
/// A link is known to be broken within this, and what went into it for nothing.
const LINK_MEMORY: Duration = Duration::from_secs(10);

/// A change of members that nodes are told of.
#[derive(Clone, Copy)]
enum Change {
    Joined(ConversationId),
    Left(UserId),
}

/// What was not delivered, by node.
#[derive(Default)]
pub struct Undelivered {
    missed: Mutex<HashMap<NodeId, Missed>>,
    /// Which nodes were told of changes of members lately, the last told last.
    told: Mutex<VecDeque<(Instant, NodeId, Change)>>,
}

/// What a node could not be sent.
#[derive(Default)]
struct Missed {
    /// Something of these conversations; that is all of them, once there are more than [`MISSED`].
    any: HashSet<ConversationId>,
    /// Who joined these; of more than [`MISSED`] the rest is heard of when something is said.
    joined: HashSet<ConversationId>,
    /// That these left; beyond [`MISSED`] they keep in their lists what they are not shown, until their sessions are loaded.
    left: HashSet<UserId>,
}

impl Missed {
    fn note(&mut self, change: Change) {
        match change {
            Change::Joined(conversation) if self.joined.len() < MISSED => drop(self.joined.insert(conversation)),
            Change::Left(user) if self.left.len() < MISSED => drop(self.left.insert(user)),
            _ => {}
        }
    }

    fn changes(&self) -> impl Iterator<Item = Change> {
        let joined = self.joined.iter().copied().map(Change::Joined);
        joined.chain(self.left.iter().copied().map(Change::Left))
    }
}

impl Undelivered {
    /// A delivery to a node could not be sent.
    pub fn missed(&self, node: &NodeId, conversation: ConversationId) {
        let mut missed = self.missed.lock();
        let any = &mut missed.entry(node.clone()).or_default().any;
        if any.len() <= MISSED {
            any.insert(conversation);
        }
    }

    /// A change of members could not be said to a node.
    fn change_missed(&self, node: &NodeId, change: Change) {
        self.missed.lock().entry(node.clone()).or_default().note(change);
    }

    /// A node was told of a change of members.
    fn told(&self, node: &NodeId, change: Change, now: Instant) {
        let mut told = self.told.lock();
        while told.len() >= MISSED || told.front().is_some_and(|(at, ..)| now - *at > LINK_MEMORY) {
            told.pop_front();
        }
        told.push_back((now, node.clone(), change));
    }

    /// The link to a node broke: what it was told of lately it may not have heard.
    pub fn link_lost(&self, node: &NodeId) {
        self.told.lock().retain(|(_, of, change)| {
            if of == node {
                self.change_missed(node, *change);
            }
            of != node
        });
    }

    /// Whether somebody is to be told.
    pub fn is_due(&self) -> bool {
        !self.missed.lock().is_empty()
    }
}

impl Hub {
    /// Says to a node who of it joins a conversation; again if that does not reach it.
    pub(crate) fn send_joining(&self, node: &NodeId, conversation: ConversationId, delivery: Delivery) {
        self.send_changes(node, conversation, delivery, &[Change::Joined(conversation)]);
    }

    /// Says to a node who of it has left a conversation; again if that does not reach it.
    pub(crate) fn send_left(&self, node: &NodeId, conversation: ConversationId, users: Vec<UserId>) {
        let changes: Vec<_> = users.iter().copied().map(Change::Left).collect();
        self.send_changes(node, conversation, Delivery::Left(users), &changes);
    }

    fn send_changes(&self, node: &NodeId, conversation: ConversationId, delivery: Delivery, changes: &[Change]) {
        let sent = self.send(node, conversation, Peer::Deliver(conversation, delivery));
        for change in changes {
            if !sent {
                self.undelivered.change_missed(node, *change);
            } else if *node != self.node {
                self.undelivered.told(node, *change, Instant::now());
            }
        }
    }

    /// Tells those that can be reached what they have missed.
    pub(crate) fn tell_missed(&self) {
        let missed = std::mem::take(&mut *self.undelivered.missed.lock());
        for (node, missed) in missed {
            if !self.tell_of(&node, &missed) && self.router.table().placement.nodes().contains(&node) {
                let mut later = self.undelivered.missed.lock();
                let of_node = later.entry(node).or_default();
                of_node.any.extend(missed.any);
                of_node.joined.extend(missed.joined);
                of_node.left.extend(missed.left);
            }
        }
    }

    fn tell_of(&self, node: &NodeId, missed: &Missed) -> bool {
        let tell = |heads| self.router.send_to_node(node, 0, Peer::Heads(heads)).is_ok();
        let named = match missed.any.len() {
            0..=MISSED => missed.any.iter().copied().collect(),
            _ => Vec::new(),
        };
        let (joined, left): (Vec<_>, Vec<_>) = (
            missed.joined.iter().copied().collect(),
            missed.left.iter().copied().collect(),
        );
        let told = (missed.any.is_empty() || tell(Heads::Missed(named)))
            && (joined.is_empty() || tell(Heads::Joined(joined)))
            && (left.is_empty() || tell(Heads::Left(left)));
        if told {
            // This may be lost with the link as well. Of heads the node asks by itself when that breaks.
            let now = Instant::now();
            missed.changes().for_each(|it| self.undelivered.told(node, it, now));
        }
        told
    }
}
