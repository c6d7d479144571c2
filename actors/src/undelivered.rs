//! What other nodes could not be sent, which they are told once they can be reached.
//!
//! A node that missed a delivery asks how far the conversation is (`heads.rs`). One that missed who joined asks who of it is
//! a member (`introductions.rs`), because its sessions ask for the heads only of what they know.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use tokio::time::Instant;

use crate::heads::Heads;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::interchange::{Delivery, Peer};

/// A delivery that could not be sent is told of by name up to so many; beyond it the receiver checks all it has.
const MISSED: usize = 10_000;
/// A link is known to be broken within this, and what went into it for nothing.
const LINK_MEMORY: Duration = Duration::from_secs(10);

/// What was not delivered, by node.
#[derive(Default)]
pub struct Undelivered {
    missed: Mutex<HashMap<NodeId, Missed>>,
    /// Which nodes were told of joining members lately, the last told last.
    joinings: Mutex<VecDeque<(Instant, NodeId, ConversationId)>>,
}

/// Conversations of which a node could not be sent something.
#[derive(Default)]
struct Missed {
    /// That is all of them, once there are more than [`MISSED`].
    any: HashSet<ConversationId>,
    /// Of these it was who joined; of more than [`MISSED`] the rest is heard of when something is said.
    joined: HashSet<ConversationId>,
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

    /// Who joined a conversation could not be said to a node.
    fn joining_missed(&self, node: &NodeId, conversation: ConversationId) {
        let mut missed = self.missed.lock();
        let joined = &mut missed.entry(node.clone()).or_default().joined;
        if joined.len() < MISSED {
            joined.insert(conversation);
        }
    }

    /// A node was told of members that join.
    fn joining(&self, node: &NodeId, conversation: ConversationId, now: Instant) {
        let mut joinings = self.joinings.lock();
        while joinings.len() >= MISSED || joinings.front().is_some_and(|(at, ..)| now - *at > LINK_MEMORY) {
            joinings.pop_front();
        }
        joinings.push_back((now, node.clone(), conversation));
    }

    /// The link to a node broke: what it was told of lately it may not have heard.
    pub fn joinings_lost(&self, node: &NodeId) {
        self.joinings.lock().retain(|(_, of, conversation)| {
            if of == node {
                self.joining_missed(node, *conversation);
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
        if !self.send(node, conversation, Peer::Deliver(conversation, delivery)) {
            self.undelivered.joining_missed(node, conversation);
        } else if *node != self.node {
            self.undelivered.joining(node, conversation, Instant::now());
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
            }
        }
    }

    fn tell_of(&self, node: &NodeId, missed: &Missed) -> bool {
        let tell = |heads| self.router.send_to_node(node, 0, Peer::Heads(heads)).is_ok();
        let named = match missed.any.len() {
            0..=MISSED => missed.any.iter().copied().collect(),
            _ => Vec::new(),
        };
        let joined: Vec<_> = missed.joined.iter().copied().collect();
        let told = (missed.any.is_empty() || tell(Heads::Missed(named)))
            && (joined.is_empty() || tell(Heads::Joined(joined.clone())));
        if told {
            // This may be lost with the link as well. Of heads the node asks by itself when that breaks.
            let now = Instant::now();
            joined
                .into_iter()
                .for_each(|it| self.undelivered.joining(node, it, now));
        }
        told
    }
}
