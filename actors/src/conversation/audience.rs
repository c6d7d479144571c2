//! The nodes that own a conversation's members, and what is said to them.

use std::collections::BTreeMap;

use rookery_cluster::id::NodeId;
use rookery_cluster::membership::Epoch;

use super::shell::Shell;
use crate::frames::Frames;
use crate::id::UserId;
use crate::interchange::{Delivery, Peer};
use crate::ports::chats::Membership;

/// The nodes that know who of the members is theirs, as of an epoch; nobody before the first delivery.
#[derive(Default)]
pub struct Audience {
    epoch: Option<Epoch>,
    nodes: Vec<NodeId>,
}

impl Shell {
    /// Sends something to the members' nodes; before the first of it each learns which members it has.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.assemble();
        match delivery {
            Delivery::Enter(memberships) => self.deliver_enter(memberships),
            Delivery::Leave(users) => self.deliver_split(users, Delivery::Leave),
            Delivery::Left(users) => self.deliver_split(users, Delivery::Left),
            same_for_all => self
                .core
                .send_to_all(&self.audience.nodes, self.id, Peer::Deliver(self.id, same_for_all)),
        }
    }

    /// What was said may have been told to none of the nodes that have the members now: each learns who of it is one, and how
    /// far the conversation is.
    pub(super) fn tell_anew(&mut self) {
        self.assemble();
        for node in self.audience.nodes.clone() {
            self.introduce(node);
        }
    }

    /// The conversation needs its audience no more.
    pub(super) fn disperse(&mut self) {
        for node in std::mem::take(&mut self.audience).nodes {
            self.core.send(&node, self.id, Peer::Deliver(self.id, Delivery::Cool));
        }
    }

    fn assemble(&mut self) {
        let epoch = self.core.router.table().epoch;
        if self.audience.epoch == Some(epoch) {
            return;
        }
        let members = self.by_node(self.state.members.keys().copied(), |user| *user);
        self.audience = Audience {
            epoch: Some(epoch),
            nodes: members.keys().cloned().collect(),
        };
        for (node, users) in members {
            self.core
                .send(&node, self.id, Peer::Deliver(self.id, Delivery::Roster(users)));
        }
    }

    /// A node does not know which of its users are members, although it was told.
    pub(super) fn introduce(&mut self, node: NodeId) {
        let members = self.state.members.keys().copied();
        let here: Vec<_> = members.filter(|user| self.core.node_of(*user) == node).collect();
        self.core.send_joining(&node, self.id, Delivery::Roster(here));
        self.core
            .send(&node, self.id, Peer::Deliver(self.id, Delivery::Head(self.state.head)));
    }

    fn by_node<T>(&self, items: impl Iterator<Item = T>, user: impl Fn(&T) -> UserId) -> BTreeMap<NodeId, Vec<T>> {
        let mut split: BTreeMap<NodeId, Vec<T>> = BTreeMap::new();
        for item in items {
            split.entry(self.core.node_of(user(&item))).or_default().push(item);
        }
        split
    }

    fn deliver_enter(&mut self, memberships: Vec<(UserId, Membership)>) {
        for (node, entering) in self.by_node(memberships.into_iter(), |(user, _)| *user) {
            if !self.audience.nodes.contains(&node) {
                self.core
                    .send(&node, self.id, Peer::Deliver(self.id, Delivery::Roster(Vec::new())));
                self.audience.nodes.push(node.clone());
            }
            self.core.send_joining(&node, self.id, Delivery::Enter(entering));
        }
    }

    fn deliver_split(&self, users: Vec<UserId>, delivery: impl Fn(Vec<UserId>) -> Delivery) {
        for (node, users) in self.by_node(users.into_iter(), |user| *user) {
            self.core.send(&node, self.id, Peer::Deliver(self.id, delivery(users)));
        }
    }

    /// One frame to each of these users, wherever they are.
    pub(super) fn notify_users(&self, users: Vec<UserId>, frames: &Frames) {
        for (node, users) in self.by_node(users.into_iter(), |user| *user) {
            self.core.send(&node, self.id, Peer::Notify(users, frames.clone()));
        }
    }
}
