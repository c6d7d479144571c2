//! Hands messages to whoever owns their shard.
//!
//! **The hot path.** Every message of the node passes `send_to_shard`. Where the shard is this node's own, that is one load
//! of a bit and a call of the handler on the caller's thread: no lock, no allocation, no encoding. Only a message for
//! another node takes a read lock (of the table, for as long as it takes to clone an `Arc`) and is encoded. `benches/router.rs` guards it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::id::{NodeId, ShardId};
use crate::membership::{Table, View};
use crate::metrics::Counters;
use crate::placement::Impossible;
use crate::seldom::Seldom;
pub use crate::transport::SendError;
use crate::transport::{NoPeers, Sink, Transport};
use crate::wire::{Malformed, Wire};

/// Takes the messages that are for this node.
pub trait Handler<M>: Send + Sync + 'static {
    /// Called inline: for a message of this node on the sender's thread, from within its send (so it must hold no lock that
    /// a handler takes); for one of a peer on the transport's. It must not block.
    fn handle(&self, from: &NodeId, message: M);

    /// What a peer said and this release cannot read. Whoever understands some of it does what can be done for who waits.
    fn puzzled(&self, _from: &NodeId, _bytes: &Bytes) -> Puzzle {
        Puzzle::Malformed
    }
}

/// What it is that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Puzzle {
    /// No message.
    Malformed,
    /// A message, or a part of one, of a later release.
    Later,
}

/// Routes messages of one type. Cheap to clone.
pub struct Router<M>(Arc<Inner<M>>);

struct Inner<M> {
    own: NodeId,
    /// A cluster by itself, for good.
    alone: bool,
    /// A bit for each shard: whether it is this node's. Follows `table` shard by shard, so that a reader may see a table
    /// change halfway; each single shard is right or was a moment ago.
    local: Box<[AtomicU64]>,
    table: RwLock<Arc<Table>>,
    handler: OnceLock<Arc<dyn Handler<M>>>,
    transport: Arc<dyn Transport>,
    counters: Counters,
    unread: Seldom,
}

impl<M> Clone for Router<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Wire> Router<M> {
    /// A router of the node `own`. It takes no message before `serve`.
    pub fn new(own: NodeId, table: Table, transport: Arc<dyn Transport>) -> Self {
        Self::made(own, false, table, transport)
    }

    fn made(own: NodeId, alone: bool, table: Table, transport: Arc<dyn Transport>) -> Self {
        let words = usize::from(table.placement.shards()).div_ceil(64);
        let router = Self(Arc::new(Inner {
            own,
            alone,
            local: (0..words).map(|_| AtomicU64::new(0)).collect(),
            table: RwLock::new(Arc::new(table)),
            handler: OnceLock::new(),
            transport,
            counters: Counters::resolve(),
            unread: Seldom::default(),
        }));
        router.0.mark_local(&router.table());
        router
    }

    /// A router of a node that is a cluster by itself.
    pub fn alone(own: NodeId, shards: u16) -> Result<Self, Impossible> {
        let table = Table::of(&View::alone(own.clone()), shards)?;
        Ok(Self::made(own, true, table, Arc::new(NoPeers)))
    }

    /// Delivers to this handler from now on, what peers sent included. The first call counts. The router keeps the handler
    /// alive; one that keeps the router must do so weakly where the node's end is to be seen.
    pub fn serve(&self, handler: Arc<dyn Handler<M>>) {
        if self.0.handler.set(handler).is_ok() {
            self.0.transport.deliver_to(Arc::new(Inbox(Arc::downgrade(&self.0))));
        }
    }

    /// Routes by this table from now on. False, and nothing changes, unless its epoch is later and it has as many shards.
    pub fn install(&self, table: Table) -> bool {
        let mut current = self.0.table.write();
        if table.epoch <= current.epoch || table.placement.shards() != current.placement.shards() {
            return false;
        }
        *current = Arc::new(table);
        self.0.mark_local(&current);
        true
    }

    /// This node.
    pub fn own(&self) -> &NodeId {
        &self.0.own
    }

    /// Whether this node is a cluster by itself and always will be: its table never changes.
    pub fn is_alone(&self) -> bool {
        self.0.alone
    }

    /// The current table.
    pub fn table(&self) -> Arc<Table> {
        self.0.table.read().clone()
    }

    /// The owner of a shard. A number beyond the table's is taken modulo its size.
    pub fn owner(&self, shard: ShardId) -> NodeId {
        if self.is_local(shard) {
            return self.0.own.clone();
        }
        self.0.table.read().placement.owner(shard).clone()
    }

    /// Whether a shard is this node's own. One atomic load.
    #[inline]
    pub fn is_local(&self, shard: ShardId) -> bool {
        let word = self.0.local.get(usize::from(shard.0 / 64));
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit(shard) != 0)
    }

    /// Sends to the owner of a shard, in order with everything else sent to that shard from here.
    #[inline]
    pub fn send_to_shard(&self, shard: ShardId, message: M) -> Result<(), SendError> {
        if self.is_local(shard) {
            return self.0.handle(&self.0.own, message);
        }
        self.send_to_node(&self.owner(shard), u64::from(shard.0), message)
    }

    /// Sends to a node, in order with everything else sent to it on that lane from here.
    pub fn send_to_node(&self, node: &NodeId, lane: u64, message: M) -> Result<(), SendError> {
        if *node == self.0.own {
            return self.0.handle(&self.0.own, message);
        }
        self.send_encoded(node, lane, message.encode())
    }

    /// Sends the same to several nodes, as [`send_to_node`](Self::send_to_node) would, encoded once for all of them. Answers
    /// which did not get it, and why.
    pub fn send_to_all<'n>(
        &self,
        nodes: impl IntoIterator<Item = &'n NodeId>,
        lane: u64,
        message: M,
    ) -> Vec<(&'n NodeId, SendError)> {
        let mut here = None;
        let mut encoded: Option<Bytes> = None;
        let mut refused = Vec::new();
        for node in nodes {
            if *node == self.0.own {
                here = Some(node);
                continue;
            }
            let bytes = encoded.get_or_insert_with(|| message.encode()).clone();
            if let Err(error) = self.send_encoded(node, lane, bytes) {
                refused.push((node, error));
            }
        }
        if let Some(own) = here
            && let Err(error) = self.0.handle(&self.0.own, message)
        {
            refused.push((own, error));
        }
        refused
    }

    /// Sends an encoded message to another node, in order with everything else sent to it on that lane from here.
    pub fn send_encoded(&self, node: &NodeId, lane: u64, bytes: Bytes) -> Result<(), SendError> {
        let sent = self.0.transport.send(node, lane, bytes);
        match &sent {
            Ok(()) => self.0.counters.sent.increment(1),
            Err(error) => self.0.counters.refused(error),
        }
        sent
    }
}

impl<M: 'static> Inner<M> {
    fn handle(&self, from: &NodeId, message: M) -> Result<(), SendError> {
        let handler = self.handler.get().ok_or(SendError::NotServing)?;
        handler.handle(from, message);
        Ok(())
    }

    fn puzzled(&self, from: &NodeId, payload: &Bytes, error: Malformed) {
        let Some(handler) = self.handler.get() else { return };
        let puzzle = handler.puzzled(from, payload);
        self.counters.puzzled(puzzle);
        if let Some(messages) = self.unread.is_to_be_told(Instant::now()) {
            tracing::warn!(%from, %error, ?puzzle, messages, "a peer said what this node cannot read");
        }
    }

    /// Callers hold the table's lock, or nobody else has the router yet.
    fn mark_local(&self, table: &Table) {
        let mut words = vec![0; self.local.len()];
        for shard in table.placement.shards_of(&self.own) {
            words[usize::from(shard.0 / 64)] |= bit(shard);
        }
        for (word, bits) in self.local.iter().zip(words) {
            word.store(bits, Ordering::Release);
        }
    }
}

fn bit(shard: ShardId) -> u64 {
    1 << (shard.0 % 64)
}

/// What the transport delivers into. Weak, so that a transport does not keep a stopped node alive.
struct Inbox<M>(Weak<Inner<M>>);

impl<M: Wire> Sink for Inbox<M> {
    fn receive(&self, from: &NodeId, payload: Bytes) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        match M::decode(&payload) {
            Ok(message) => {
                inner.counters.received.increment(1);
                // Peers are listened to only once there is a handler.
                let _ = inner.handle(from, message);
            }
            Err(error) => inner.puzzled(from, &payload, error),
        }
    }
}

#[cfg(test)]
mod tests;
