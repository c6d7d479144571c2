//! A network of nodes in one process for simulations: payloads take seeded times, links can be cut and nodes can stand still.
//!
//! It runs on Tokio's clock, so that on a paused one a second costs nothing. Between two nodes it behaves as links over QUIC
//! do: a payload of a broken link is never delivered later, a silence is noticed by both ends after [`SILENT_AFTER`], and
//! until then what is sent is taken and lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::lot::Lot;
use crate::id::NodeId;
use crate::transport::{Observer, SendError, Sink, Transport};
use crate::wire::MAX_PAYLOAD;

/// After so long without a word a link is lost.
pub const SILENT_AFTER: Duration = Duration::from_millis(1500);

const LANES: u64 = 4;

/// Nodes that can reach each other. Cheap to clone.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Held while observers are told, so that each hears of the changes in their order.
    telling: Mutex<()>,
    capacity: usize,
    slowest: Duration,
    runtime: Handle,
}

struct State {
    lot: Lot,
    nodes: BTreeMap<NodeId, Node>,
    /// Pairs that do not hear each other, by why: how many cuts and standstills.
    silent: BTreeMap<Pair, u32>,
    /// Pairs that noticed it.
    lost: BTreeSet<Pair>,
    /// Counts the links of a pair, so that what was sent over one is told from what is sent over the next.
    generations: BTreeMap<Pair, u64>,
}

/// Two nodes in order of their names.
type Pair = (NodeId, NodeId);

struct Node {
    sink: watch::Sender<Option<Arc<dyn Sink>>>,
    observer: Option<Arc<dyn Observer>>,
    /// By receiver and lane.
    lanes: BTreeMap<(NodeId, u64), mpsc::Sender<Sent>>,
    life: u64,
}

struct Sent {
    payload: Bytes,
    due: Instant,
    generation: u64,
}

/// One node's place in a network. It keeps its place when this is dropped: a simulation says when a node dies.
pub struct Endpoint {
    node: NodeId,
    life: u64,
    network: Network,
}

fn pair(a: &NodeId, b: &NodeId) -> Pair {
    if a < b {
        (a.clone(), b.clone())
    } else {
        (b.clone(), a.clone())
    }
}

impl Network {
    /// A network whose lanes hold so many payloads, each of which takes up to `slowest`. Call it on the runtime on which all
    /// is to happen.
    pub fn new(seed: u64, capacity: usize, slowest: Duration) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                lot: Lot::new(seed),
                nodes: BTreeMap::new(),
                silent: BTreeMap::new(),
                lost: BTreeSet::new(),
                generations: BTreeMap::new(),
            }),
            telling: Mutex::default(),
            capacity,
            slowest,
            runtime: Handle::current(),
        }))
    }

    /// Makes a node reachable. One of the same name is replaced, as a restarted process replaces the old one.
    pub fn join(&self, node: NodeId) -> Endpoint {
        self.leave(&node);
        let _telling = self.0.telling.lock();
        let mut state = self.0.state.lock();
        let life = state.lot.draw();
        let joined = Node {
            sink: watch::Sender::new(None),
            observer: None,
            lanes: BTreeMap::new(),
            life,
        };
        state.nodes.insert(node.clone(), joined);
        let told = state.around(&node);
        drop(state);
        told.iter()
            .filter_map(|(_, observer)| observer.as_ref())
            .for_each(|observer| observer.on_up(&node));
        Endpoint {
            node,
            life,
            network: self.clone(),
        }
    }

    /// Ends a node at once, as when its process dies.
    pub fn leave(&self, node: &NodeId) {
        let _telling = self.0.telling.lock();
        let mut state = self.0.state.lock();
        let around = state.around(node);
        for (other, _) in &around {
            state.renew(&pair(node, other));
        }
        let named = |two: &Pair| two.0 == *node || two.1 == *node;
        let knew: Vec<bool> = around
            .iter()
            .map(|(other, _)| state.lost.contains(&pair(node, other)))
            .collect();
        // Also of a node that is not there: what was cut before it came must not outlive it.
        state.lost.retain(|two| !named(two));
        state.silent.retain(|two, _| !named(two));
        let Some(gone) = state.nodes.remove(node) else {
            return;
        };
        drop(state);
        for ((other, observer), knew) in around.into_iter().zip(knew) {
            if let Some(observer) = observer.filter(|_| !knew) {
                observer.on_lost(node);
            }
            if let Some(observer) = gone.observer.as_ref().filter(|_| !knew) {
                observer.on_lost(&other);
            }
        }
    }

    /// Lets nothing pass between two nodes for a time.
    pub fn cut(&self, a: &NodeId, b: &NodeId, time: Duration) {
        self.silence(vec![pair(a, b)], time);
    }

    /// Has a node neither hear nor say anything for a time. What runs in it runs on: it hears itself only.
    pub fn stand_still(&self, node: &NodeId, time: Duration) {
        let others = self.0.state.lock().around(node);
        self.silence(others.iter().map(|(other, _)| pair(node, other)).collect(), time);
    }

    /// Whether nothing is cut and nobody stands still.
    pub fn is_whole(&self) -> bool {
        let state = self.0.state.lock();
        state.silent.is_empty() && state.lost.is_empty()
    }

    fn silence(&self, pairs: Vec<Pair>, time: Duration) {
        let mut state = self.0.state.lock();
        for two in &pairs {
            *state.silent.entry(two.clone()).or_default() += 1;
        }
        let lives: Vec<_> = pairs.iter().map(|two| state.lives(two)).collect();
        drop(state);
        let network = Arc::downgrade(&self.0);
        self.0.runtime.spawn(async move {
            sleep(time.min(SILENT_AFTER)).await;
            if time > SILENT_AFTER {
                for (two, lives) in pairs.iter().zip(&lives) {
                    Network::upgrade(&network, |network| network.notice(two, lives));
                }
                sleep(time - SILENT_AFTER).await;
            }
            for (two, lives) in pairs.iter().zip(&lives) {
                Network::upgrade(&network, |network| network.mend(two, lives));
            }
        });
    }

    fn upgrade(network: &Weak<Shared>, then: impl FnOnce(Self)) {
        if let Some(network) = network.upgrade() {
            then(Self(network));
        }
    }

    /// Both ends give the link up, if it is still between the same two lives.
    fn notice(&self, two: &Pair, lives: &[Option<u64>; 2]) {
        let _telling = self.0.telling.lock();
        let mut state = self.0.state.lock();
        if state.lives(two) != *lives || !state.silent.contains_key(two) || !state.lost.insert(two.clone()) {
            return;
        }
        state.renew(two);
        let ends = state.ends(two);
        drop(state);
        tell(two, ends, |observer, node| observer.on_lost(node));
    }

    fn mend(&self, two: &Pair, lives: &[Option<u64>; 2]) {
        let _telling = self.0.telling.lock();
        let mut state = self.0.state.lock();
        if state.lives(two) != *lives {
            return;
        }
        if let Some(count) = state.silent.get_mut(two) {
            *count -= 1;
            if *count > 0 {
                return;
            }
            state.silent.remove(two);
        }
        if !state.lost.remove(two) {
            return;
        }
        let ends = state.ends(two);
        drop(state);
        tell(two, ends, |observer, node| observer.on_up(node));
    }
}

/// Tells each end of the other.
fn tell(two: &Pair, ends: [Option<Arc<dyn Observer>>; 2], what: impl Fn(&dyn Observer, &NodeId)) {
    for (observer, node) in ends.iter().zip([&two.1, &two.0]) {
        if let Some(observer) = observer {
            what(&**observer, node);
        }
    }
}

impl State {
    /// The other nodes with their observers.
    fn around(&self, node: &NodeId) -> Vec<(NodeId, Option<Arc<dyn Observer>>)> {
        let others = self.nodes.iter().filter(|(name, _)| *name != node);
        others
            .map(|(name, other)| (name.clone(), other.observer.clone()))
            .collect()
    }

    fn lives(&self, two: &Pair) -> [Option<u64>; 2] {
        [&two.0, &two.1].map(|node| self.nodes.get(node).map(|node| node.life))
    }

    fn ends(&self, two: &Pair) -> [Option<Arc<dyn Observer>>; 2] {
        [&two.0, &two.1].map(|node| self.nodes.get(node).and_then(|node| node.observer.clone()))
    }

    fn is_current(&self, two: &Pair, generation: u64) -> bool {
        self.generations.get(two).copied().unwrap_or(0) == generation
    }

    /// Nothing that is on its way between the two arrives any more.
    fn renew(&mut self, two: &Pair) {
        *self.generations.entry(two.clone()).or_default() += 1;
    }
}

impl Transport for Endpoint {
    fn send(&self, to: &NodeId, lane: u64, payload: Bytes) -> Result<(), SendError> {
        let unreachable = || SendError::Unreachable(to.clone());
        let shared = &self.network.0;
        let mut guard = shared.state.lock();
        let state = &mut *guard;
        let two = pair(&self.node, to);
        let is_there = *to != self.node && state.nodes.contains_key(to) && !state.lost.contains(&two);
        let delay = shared.slowest.mul_f64(state.lot.below(1000) as f64 / 1000.0);
        let generation = state.generations.get(&two).copied().unwrap_or(0);
        let own = state
            .nodes
            .get_mut(&self.node)
            .filter(|own| own.life == self.life && is_there);
        let own = own.ok_or_else(unreachable)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(SendError::TooLarge {
                node: to.clone(),
                length: payload.len(),
            });
        }
        let queue = own.lanes.entry((to.clone(), lane % LANES)).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(shared.capacity);
            let (network, from, to) = (Arc::downgrade(shared), self.node.clone(), to.clone());
            shared.runtime.spawn(deliver(network, from, to, waiting));
            queue
        });
        let sent = Sent {
            payload,
            due: Instant::now() + delay,
            generation,
        };
        queue.try_send(sent).map_err(|_| SendError::Full(to.clone()))
    }

    fn deliver_to(&self, sink: Arc<dyn Sink>) {
        let state = self.network.0.state.lock();
        if let Some(own) = state.nodes.get(&self.node).filter(|own| own.life == self.life) {
            own.sink.send_replace(Some(sink));
        }
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        let _telling = self.network.0.telling.lock();
        let mut state = self.network.0.state.lock();
        let around = state.around(&self.node);
        let up = around
            .iter()
            .filter(|(other, _)| !state.lost.contains(&pair(&self.node, other)));
        up.for_each(|(other, _)| observer.on_up(other));
        if let Some(own) = state.nodes.get_mut(&self.node).filter(|own| own.life == self.life) {
            own.observer = Some(observer);
        }
    }
}

/// How often a lane looks whether its two nodes hear each other again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Hands over what one node sends another on one lane, each when it is due and as long as its link lives.
async fn deliver(network: Weak<Shared>, from: NodeId, to: NodeId, mut waiting: mpsc::Receiver<Sent>) {
    let two = pair(&from, &to);
    while let Some(sent) = waiting.recv().await {
        sleep_until(sent.due).await;
        while is_silent(&network, &two) {
            sleep(LOOK_EVERY).await;
        }
        let Some(sink) = sink(&network, &two, &to, sent.generation).await else {
            continue;
        };
        // Looked up again: there may have been no sink for long.
        let is_alive = network
            .upgrade()
            .is_some_and(|shared| shared.state.lock().is_current(&two, sent.generation));
        if is_alive {
            sink.receive(&from, sent.payload);
        }
    }
}

fn is_silent(network: &Weak<Shared>, two: &Pair) -> bool {
    network
        .upgrade()
        .is_some_and(|shared| shared.state.lock().silent.contains_key(two))
}

/// The receiver's sink, as soon as it has one; none if the link is another by now.
async fn sink(network: &Weak<Shared>, two: &Pair, to: &NodeId, generation: u64) -> Option<Arc<dyn Sink>> {
    let mut sink = {
        let shared = network.upgrade()?;
        let state = shared.state.lock();
        let is_current = state.is_current(two, generation);
        state.nodes.get(to).filter(|_| is_current)?.sink.subscribe()
    };
    sink.wait_for(Option::is_some).await.ok()?.clone()
}

#[cfg(test)]
mod tests;
