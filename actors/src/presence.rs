//! Presence: who watches whom, and what watchers are told.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;

use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConnectionId, UserId};
use crate::interchange::{Peer, Reply, UserQuestion, Whereabouts};
use crate::outlet::{Pushed, Urgency};
use crate::protocol::{Problem, ServerFrame};
use crate::session::table::Cell;
use crate::time::Timestamp;

/// Who watches whom, both ways.
#[derive(Default)]
pub struct Presence {
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    watchers: HashMap<UserId, Vec<(ConnectionId, UserId)>>,
    watched: HashMap<ConnectionId, Vec<UserId>>,
    /// Nodes whose connections watch users of this one.
    nodes: HashMap<UserId, Vec<NodeId>>,
}

impl Watches {
    fn forget(&mut self, connection: ConnectionId) {
        for user in self.watched.remove(&connection).unwrap_or_default() {
            if let Some(watchers) = self.watchers.get_mut(&user) {
                watchers.retain(|(watcher, _)| *watcher != connection);
                if watchers.is_empty() {
                    self.watchers.remove(&user);
                }
            }
        }
    }
}

impl Presence {
    /// A connection watches exactly these from now on.
    fn watch(&self, connection: ConnectionId, watcher: UserId, users: Vec<UserId>) {
        let mut watches = self.watches.lock();
        watches.forget(connection);
        for user in &users {
            watches.watchers.entry(*user).or_default().push((connection, watcher));
        }
        if !users.is_empty() {
            watches.watched.insert(connection, users);
        }
    }

    /// Another node's connections watch a user, or watch no more.
    pub fn interest(&self, user: UserId, node: &NodeId, on: bool) {
        let mut watches = self.watches.lock();
        let nodes = watches.nodes.entry(user).or_default();
        nodes.retain(|known| known != node);
        if on {
            nodes.push(node.clone());
        }
        if nodes.is_empty() {
            watches.nodes.remove(&user);
        }
    }

    /// Whom a connection watches.
    pub fn watched(&self, connection: ConnectionId) -> Vec<UserId> {
        self.watches
            .lock()
            .watched
            .get(&connection)
            .cloned()
            .unwrap_or_default()
    }

    /// A connection is gone.
    pub fn forget(&self, connection: ConnectionId) {
        self.watches.lock().forget(connection);
    }

    fn watchers(&self, user: UserId) -> Vec<(ConnectionId, UserId)> {
        self.watches.lock().watchers.get(&user).cloned().unwrap_or_default()
    }
}

impl Hub {
    pub(crate) fn is_online(&self, user: UserId) -> bool {
        self.sessions
            .get(user)
            .is_some_and(|cell| !cell.state().attached.is_empty())
    }

    /// Makes a connection watch those of the users it may, and tells it how each of them is.
    pub async fn watch(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        connection: ConnectionId,
        users: Vec<UserId>,
    ) -> Result<(), Problem> {
        let allowed = self.chats.acquainted(cell.user, &users).await?;
        self.presence.watch(connection, cell.user, allowed.clone());
        if cell.state().connection(connection).is_none() {
            self.presence.forget(connection);
            return Ok(());
        }
        let seen: HashMap<_, _> = self
            .accounts
            .accounts(&allowed)
            .await?
            .into_iter()
            .map(|account| (account.id, account.last_seen_at))
            .collect();
        let online = self.online(&allowed).await;
        for (user, online) in allowed.into_iter().zip(online) {
            let last_seen_at = if online {
                None
            } else {
                seen.get(&user).copied().flatten()
            };
            self.tell_watcher(
                cell,
                connection,
                ServerFrame::Presence {
                    user,
                    online,
                    last_seen_at,
                },
            );
        }
        Ok(())
    }

    fn tell_watcher(&self, cell: &Cell, connection: ConnectionId, frame: ServerFrame) {
        if let Some(attached) = cell.state().connection(connection)
            && attached.aside(&Frames::one(frame), Urgency::Ephemeral) == Pushed::Full
        {
            self.metrics.ephemeral_dropped.increment(1);
        }
    }

    /// Which of these users are online; their nodes tell this one of changes from now on.
    async fn online(self: &Arc<Self>, users: &[UserId]) -> Vec<bool> {
        let mut asked = tokio::task::JoinSet::new();
        let mut online: Vec<bool> = users.iter().map(|user| self.is_online(*user)).collect();
        for (index, user) in users.iter().enumerate() {
            if !self.shard(user.as_bytes()).life.is_open() {
                let (core, user) = (Arc::clone(self), *user);
                asked.spawn(async move { (index, core.watch_afar(user).await) });
            }
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((index, is_online)) = answer {
                online[index] = is_online;
            }
        }
        online
    }

    async fn watch_afar(self: &Arc<Self>, user: UserId) -> bool {
        let watch = UserQuestion::Watch {
            node: self.node.clone(),
            on: true,
        };
        matches!(self.call_user(user, watch).await, Ok(Reply::Online(true)))
    }

    /// Users moved to other nodes: these are to tell of those that are watched here.
    pub(crate) fn watch_again(self: &Arc<Self>, moved: impl Fn(&UserId) -> bool) {
        let watched: Vec<_> = {
            let mut watches = self.presence.watches.lock();
            watches
                .nodes
                .retain(|user, _| !moved(user) || self.router.is_local(self.shard(user.as_bytes()).id));
            watches.watchers.keys().copied().filter(|user| moved(user)).collect()
        };
        for user in watched.into_iter().filter(|user| self.node_of(*user) != self.node) {
            let core = Arc::clone(self);
            self.runtime.spawn(async move { core.watch_afar(user).await });
        }
    }

    /// Another node says that a user came or went.
    pub(crate) fn whereabouts(self: &Arc<Self>, from: &NodeId, whereabouts: &Whereabouts) {
        let watchers = self.presence.watchers(whereabouts.user);
        if watchers.is_empty() {
            let (node, user) = (self.node.clone(), whereabouts.user);
            if self.node_of(user) == *from {
                self.tell_owner(user, UserQuestion::Watch { node, on: false });
            }
            return;
        }
        for (connection, watcher) in watchers {
            let Some(watching) = self.sessions.get(watcher) else {
                continue;
            };
            let shares = {
                let state = watching.state();
                let mut theirs = whereabouts.conversations.iter();
                theirs.any(|conversation| state.index(*conversation).is_some())
            };
            if shares {
                let frame = ServerFrame::Presence {
                    user: whereabouts.user,
                    online: whereabouts.online,
                    last_seen_at: (!whereabouts.online).then_some(whereabouts.at),
                };
                self.tell_watcher(&watching, connection, frame);
            }
        }
    }

    /// Tells the nodes whose connections watch a user.
    fn tell_watching_nodes(&self, cell: &Cell, online: bool, at: Timestamp) {
        let nodes = self
            .presence
            .watches
            .lock()
            .nodes
            .get(&cell.user)
            .cloned()
            .unwrap_or_default();
        if nodes.is_empty() {
            return;
        }
        let conversations = cell
            .state()
            .standings
            .iter()
            .map(|standing| standing.conversation)
            .collect();
        let whereabouts = Whereabouts {
            user: cell.user,
            online,
            at,
            conversations,
        };
        self.router
            .send_to_all(&nodes, 0, Peer::Presence(Box::new(whereabouts)));
    }

    /// A user came (the first connection) or went (the last): those who watch and still share a conversation are told.
    pub fn presence_changed(&self, cell: &Arc<Cell>, online: bool, now: Timestamp) {
        if !self.router.is_alone() {
            self.tell_watching_nodes(cell, online, now);
        }
        for (connection, watcher) in self.presence.watchers(cell.user) {
            let Some(watching) = self.sessions.get(watcher) else {
                continue;
            };
            if share_a_conversation(cell, &watching) {
                let last_seen_at = (!online).then_some(now);
                let frame = ServerFrame::Presence {
                    user: cell.user,
                    online,
                    last_seen_at,
                };
                self.tell_watcher(&watching, connection, frame);
            }
        }
    }
}

/// Whether two loaded sessions have a conversation in common now.
fn share_a_conversation(a: &Arc<Cell>, b: &Arc<Cell>) -> bool {
    if Arc::ptr_eq(a, b) {
        return true;
    }
    let mine: Vec<_> = a
        .state()
        .standings
        .iter()
        .map(|standing| standing.conversation)
        .collect();
    let theirs = b.state();
    mine.iter().any(|conversation| theirs.index(*conversation).is_some())
}
