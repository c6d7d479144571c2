//! Several nodes in one process: what a test connects its nodes with.
//!
//! Payloads cross as framed bytes, as on a real link. Each link (one direction between two nodes) has a few lanes, each a
//! bounded queue and a task that empties it into the receiver's sink. A full queue refuses the newest payload. A node that
//! leaves takes its queues with it, and what waited in them is lost, as it is when a process dies, and so is what it had
//! sent and was not delivered yet.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{Observer, SendError, Sink, Transport};
use crate::id::NodeId;
use crate::wire::{FrameError, read_frame, write_frame};

/// Ordered streams of a link: enough that a large message delays few others.
const LANES: u64 = 4;

/// Nodes of one process that can reach each other. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    nodes: Arc<Mutex<HashMap<NodeId, Arc<Inbound>>>>,
    /// Held while observers are told, so that each hears of the changes in their order.
    telling: Arc<Mutex<()>>,
    capacity: usize,
}

/// One node's place in a network, which it leaves when this is dropped.
pub struct Endpoint {
    node: NodeId,
    network: Network,
    inbound: Arc<Inbound>,
}

/// What is on its way to one node.
struct Inbound {
    sink: watch::Sender<Option<Arc<dyn Sink>>>,
    observer: Mutex<Option<Arc<dyn Observer>>>,
    runtime: Handle,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    /// By sender and lane, made at the first payload, with what empties them.
    queues: HashMap<(NodeId, u64), (mpsc::Sender<Bytes>, AbortHandle)>,
    /// What empties the queues; aborted when this is dropped.
    tasks: JoinSet<()>,
    closed: bool,
}

impl Network {
    /// A network whose queues hold `capacity` payloads a lane and direction.
    pub fn new(capacity: usize) -> Self {
        Self {
            nodes: Arc::default(),
            telling: Arc::default(),
            capacity: capacity.max(1),
        }
    }

    /// Makes a node reachable. One of the same name is replaced, as a restarted process replaces the old one. Call it on a
    /// Tokio runtime: that is where deliveries run.
    pub fn join(&self, node: NodeId) -> Endpoint {
        let inbound = Arc::new(Inbound {
            sink: watch::Sender::new(None),
            observer: Mutex::default(),
            runtime: Handle::current(),
            lanes: Mutex::default(),
        });
        let telling = self.telling.lock();
        let replaced = self.nodes.lock().insert(node.clone(), inbound.clone());
        if let Some(old) = replaced {
            self.lose(&node, &old);
        }
        for (_, other) in self.others(&node) {
            other.tell(|observer| observer.on_up(&node));
        }
        drop(telling);
        Endpoint {
            node,
            network: self.clone(),
            inbound,
        }
    }

    /// Makes a node unreachable at once, in both directions.
    pub fn leave(&self, node: &NodeId) {
        let _telling = self.telling.lock();
        let gone = self.nodes.lock().remove(node);
        if let Some(inbound) = gone {
            self.lose(node, &inbound);
        }
    }

    /// Ends what was on its way to and from a node that is not in the network any more.
    fn lose(&self, node: &NodeId, gone: &Inbound) {
        gone.close();
        for (name, other) in self.others(node) {
            other.forget(node);
            other.tell(|observer| observer.on_lost(node));
            gone.tell(|observer| observer.on_lost(&name));
        }
    }

    fn others(&self, node: &NodeId) -> Vec<(NodeId, Arc<Inbound>)> {
        let nodes = self.nodes.lock();
        let others = nodes.iter().filter(|(name, _)| *name != node);
        others.map(|(name, inbound)| (name.clone(), inbound.clone())).collect()
    }
}

impl Endpoint {
    /// Whether this is still the node that the network knows by this name.
    fn is_joined(&self) -> bool {
        let nodes = self.network.nodes.lock();
        nodes.get(&self.node).is_some_and(|own| Arc::ptr_eq(own, &self.inbound))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.is_joined() {
            self.network.leave(&self.node);
        }
    }
}

impl Transport for Endpoint {
    fn send(&self, to: &NodeId, lane: u64, payload: Bytes) -> Result<(), SendError> {
        let unreachable = || SendError::Unreachable(to.clone());
        // Held until the payload is queued: what a replaced node says comes before its end is told, or not at all.
        let nodes = self.network.nodes.lock();
        let is_joined = |own: &Arc<Inbound>| Arc::ptr_eq(own, &self.inbound);
        if *to == self.node || !nodes.get(&self.node).is_some_and(is_joined) {
            return Err(unreachable());
        }
        let inbound = nodes.get(to).ok_or_else(unreachable)?;
        let mut framed = BytesMut::new();
        write_frame(&mut framed, &payload).map_err(|_| SendError::TooLarge {
            node: to.clone(),
            length: payload.len(),
        })?;
        let queued = inbound
            .queue(&self.node, lane % LANES, self.network.capacity)
            .map(|queue| queue.try_send(framed.freeze()));
        match queued {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(SendError::Full(to.clone())),
            Some(Err(TrySendError::Closed(_))) | None => Err(unreachable()),
        }
    }

    fn deliver_to(&self, sink: Arc<dyn Sink>) {
        self.inbound.sink.send_replace(Some(sink));
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        let _telling = self.network.telling.lock();
        if self.is_joined() {
            for (node, _) in self.network.others(&self.node) {
                observer.on_up(&node);
            }
        }
        *self.inbound.observer.lock() = Some(observer);
    }
}

impl Inbound {
    /// The queue of a sender's lane; `None` once the node has left.
    fn queue(&self, from: &NodeId, lane: u64, capacity: usize) -> Option<mpsc::Sender<Bytes>> {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return None;
        }
        if let Some((queue, _)) = lanes.queues.get(&(from.clone(), lane)) {
            return Some(queue.clone());
        }
        let (queue, waiting) = mpsc::channel(capacity);
        let emptying = deliver(from.clone(), waiting, self.sink.subscribe());
        let task = lanes.tasks.spawn_on(emptying, &self.runtime);
        lanes.queues.insert((from.clone(), lane), (queue.clone(), task));
        Some(queue)
    }

    /// Drops what a node had sent.
    fn forget(&self, from: &NodeId) {
        self.lanes.lock().queues.retain(|(sender, _), (_, task)| {
            let keep = sender != from;
            if !keep {
                task.abort();
            }
            keep
        });
    }

    fn tell(&self, what: impl FnOnce(&dyn Observer)) {
        let observer = self.observer.lock().clone();
        if let Some(observer) = observer {
            what(&*observer);
        }
    }

    fn close(&self) {
        let mut lanes = self.lanes.lock();
        lanes.closed = true;
        lanes.queues.clear();
        lanes.tasks.abort_all();
    }
}

/// Empties one queue into the sink, as soon as there is one.
async fn deliver(from: NodeId, mut waiting: mpsc::Receiver<Bytes>, mut sink: watch::Receiver<Option<Arc<dyn Sink>>>) {
    let Ok(Some(sink)) = sink.wait_for(Option::is_some).await.map(|sink| sink.clone()) else {
        return;
    };
    while let Some(framed) = waiting.recv().await {
        if let Err(error) = unframe(framed, |payload| sink.receive(&from, payload)) {
            tracing::error!(%from, %error, "a link of the in-memory network broke");
            return;
        }
    }
}

fn unframe(framed: Bytes, mut take: impl FnMut(Bytes)) -> Result<(), FrameError> {
    let mut read = BytesMut::from(framed);
    while let Some(payload) = read_frame(&mut read)? {
        take(payload);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
