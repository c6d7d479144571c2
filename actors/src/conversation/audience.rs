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
    /// Those that could not be told. What they go by may be an earlier roster, with members in it who left: they get nothing
    /// until they have forgotten it.
    stale: Vec<NodeId>,
}

impl Shell {
    /// Sends something to the members' nodes; before the first of it each learns which members it has.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.assemble();
        self.refresh();
        match delivery {
            Delivery::Enter(memberships) => self.deliver_enter(memberships),
            Delivery::Leave(users) => self.deliver_leave(users),
            Delivery::Left(users) => self.deliver_left(users),
            same_for_all => {
                let stale = self.audience.stale.iter();
                stale.for_each(|node| self.core.undelivered.missed(node, self.id));
                self.core
                    .send_to_all(&self.audience.nodes, self.id, Peer::Deliver(self.id, same_for_all));
            }
        }
    }

    /// What was said may have been told to none of the nodes that have the members now: each learns who of it is one, who is
    /// none any more, and how far the conversation is.
    pub(super) fn tell_anew(&mut self, gone: Vec<UserId>) {
        self.assemble();
        for node in self.audience.nodes.clone() {
            self.introduce(node);
        }
        self.deliver_left(gone);
    }

    /// The conversation needs its audience no more.
    pub(super) fn disperse(&mut self) {
        let Audience { nodes, stale, .. } = std::mem::take(&mut self.audience);
        for node in nodes.into_iter().chain(stale) {
            self.core.send(&node, self.id, Peer::Deliver(self.id, Delivery::Cool));
        }
    }

    fn assemble(&mut self) {
        let epoch = self.core.router.table().epoch;
        if self.audience.epoch == Some(epoch) {
            return;
        }
        self.audience = Audience {
            epoch: Some(epoch),
            ..Audience::default()
        };
        for (node, users) in self.by_node(self.state.members.keys().copied(), |user| *user) {
            let told = self
                .core
                .send(&node, self.id, Peer::Deliver(self.id, Delivery::Roster(users)));
            let of_its_kind = match told {
                true => &mut self.audience.nodes,
                false => &mut self.audience.stale,
            };
            of_its_kind.push(node);
        }
    }

    /// Has nodes forget a roster that may not be right: they ask for another when the next delivery comes.
    fn refresh(&mut self) {
        let forgets = |node: &mut NodeId| self.core.send(node, self.id, Peer::Deliver(self.id, Delivery::Cool));
        let fresh = self.audience.stale.extract_if(.., forgets);
        self.audience.nodes.extend(fresh);
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
            if !self.audience.nodes.contains(&node) && !self.audience.stale.contains(&node) {
                self.core
                    .send(&node, self.id, Peer::Deliver(self.id, Delivery::Roster(Vec::new())));
                self.audience.nodes.push(node.clone());
            }
            self.core.send_joining(&node, self.id, Delivery::Enter(entering));
        }
    }

    fn deliver_leave(&mut self, users: Vec<UserId>) {
        for (node, users) in self.by_node(users.into_iter(), |user| *user) {
            if !self
                .core
                .send(&node, self.id, Peer::Deliver(self.id, Delivery::Leave(users)))
            {
                self.audience.nodes.retain(|of| *of != node);
                if !self.audience.stale.contains(&node) {
                    self.audience.stale.push(node);
                }
            }
        }
    }

    fn deliver_left(&self, users: Vec<UserId>) {
        for (node, users) in self.by_node(users.into_iter(), |user| *user) {
            self.core.send_left(&node, self.id, users);
        }
    }

    /// One frame to each of these users, wherever they are.
    pub(super) fn notify_users(&self, users: Vec<UserId>, frames: &Frames) {
        for (node, users) in self.by_node(users.into_iter(), |user| *user) {
            self.core.send(&node, self.id, Peer::Notify(users, frames.clone()));
        }
    }
}
