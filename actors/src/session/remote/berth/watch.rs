//! The node's look after its berths: which wait for their session, and until when.

use std::sync::Arc;

use rookery_cluster::id::NodeId;
use tokio::time::Instant;

use super::{Berth, Stage};
use crate::hub::Hub;
use crate::id::ConnectionId;

impl Hub {
    pub(in crate::session::remote) fn berth(&self, connection: ConnectionId, act: impl FnOnce(&Arc<Berth>)) {
        if let Some(berth) = self.berths.get(connection) {
            act(&berth);
        }
    }

    /// Holds a socket for a session elsewhere, and asks for that session.
    pub(crate) fn hold(self: &Arc<Self>, berth: &Arc<Berth>) {
        self.berths.insert(Arc::clone(berth));
        let mut inner = berth.inner.lock();
        if inner.stage == Stage::Done {
            // It went while it was on its way here.
            drop(inner);
            return self.berths.remove(berth.connection);
        }
        berth.attach(self, &mut inner);
        drop(inner);
        self.berths.unsettle(Arc::clone(berth));
    }

    /// What was said between here and a node is lost: its sessions are asked for anew.
    pub(in crate::session::remote) fn unsettle_berths(self: &Arc<Self>, node: &NodeId) {
        for berth in self.berths.pick(|berth| berth.inner.lock().at.as_ref() == Some(node)) {
            berth.go_away(&mut berth.inner.lock());
            self.berths.unsettle(berth);
        }
    }

    /// The table changed: sockets whose session's owner is another now wait to be released, but not for ever.
    pub(crate) fn watch_berths(self: &Arc<Self>) {
        let moved = |berth: &Berth| berth.inner.lock().at.as_ref() != Some(&self.node_of(berth.user));
        for berth in self.berths.pick(moved) {
            berth.moved();
            self.berths.unsettle(berth);
        }
    }

    /// Looks after the sockets that wait for their session.
    pub(crate) fn tend_berths(self: &Arc<Self>, now: Instant) {
        let unsettled = std::mem::take(&mut *self.berths.unsettled.lock());
        let mut later: Vec<_> = unsettled.into_iter().filter(|berth| berth.tend(self, now)).collect();
        if later.is_empty() {
            return;
        }
        later.sort_unstable_by_key(|berth| berth.connection);
        later.dedup_by_key(|berth| berth.connection);
        self.berths.unsettled.lock().append(&mut later);
    }
}
