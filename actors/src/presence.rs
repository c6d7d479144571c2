//! Presence: who watches whom, and what watchers are told.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConnectionId, UserId};
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

    /// A connection is gone.
    pub fn forget(&self, connection: ConnectionId) {
        self.watches.lock().forget(connection);
    }

    fn watchers(&self, user: UserId) -> Vec<(ConnectionId, UserId)> {
        self.watches.lock().watchers.get(&user).cloned().unwrap_or_default()
    }
}

impl Hub {
    fn is_online(&self, user: UserId) -> bool {
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
        for user in allowed {
            let online = self.is_online(user);
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
            && attached.outlet.push(&Frames::one(frame), Urgency::Ephemeral) == Pushed::Full
        {
            self.metrics.ephemeral_dropped.increment(1);
        }
    }

    /// A user came (the first connection) or went (the last): those who watch and still share a conversation are told.
    pub fn presence_changed(&self, cell: &Arc<Cell>, online: bool, now: Timestamp) {
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
