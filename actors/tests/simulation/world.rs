//! The nodes, who is a member, and who owns what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_actors::defaults::UNSTORED_BYTES;
use rookery_actors::id::{ConnectionId, UserId};
use rookery_actors::protocol::Limits;
use rookery_actors::system::{Ports, System};
use rookery_actors::testkit::memory::Services;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::{Epoch, Incarnation, Member, NodeState, Table, View};
use rookery_cluster::router::Router;
use rookery_cluster::testkit::lot::Lot;
use rookery_cluster::testkit::simulated::Network;
use rookery_cluster::transport::{Observer, Transport};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::gate::{Log, Mood, Store};
use crate::plan;

const SHARDS: u16 = 16;

/// A lease that was not renewed for so long is taken away.
pub const LEASE: Duration = Duration::from_secs(2);

/// All that happens in.
pub struct World {
    pub services: Services,
    pub network: Network,
    nodes: Mutex<BTreeMap<&'static str, Node>>,
    /// Every process that ever was.
    started: Mutex<Vec<Node>>,
    registry: Mutex<Registry>,
    tables: watch::Sender<Option<Table>>,
    lot: Mutex<Lot>,
    connections: AtomicU64,
    begin: Instant,
}

/// A process.
#[derive(Clone)]
pub struct Node {
    pub name: &'static str,
    pub system: System,
    pub mood: Arc<Mood>,
}

/// The members, as the membership service has them.
#[derive(Default)]
struct Registry {
    epoch: u64,
    members: BTreeMap<&'static str, Member>,
    table: Option<Table>,
}

struct Links(System);

impl Observer for Links {
    fn on_up(&self, _: &NodeId) {}

    fn on_lost(&self, node: &NodeId) {
        self.0.peer_lost(node);
    }
}

impl World {
    pub async fn of(names: &[&'static str], mut lot: Lot) -> Arc<Self> {
        let slowest = Duration::from_millis(1 + lot.below(20));
        let world = Arc::new(Self {
            services: Services::new(SHARDS),
            network: Network::new(lot.draw(), 100_000, slowest),
            nodes: Mutex::default(),
            started: Mutex::default(),
            registry: Mutex::default(),
            tables: watch::Sender::new(None),
            lot: Mutex::new(lot),
            connections: AtomicU64::new(1),
            begin: Instant::now(),
        });
        for name in names {
            world.start(name).await;
        }
        world
    }

    /// How long it has been going on.
    pub fn clock(&self) -> Duration {
        self.begin.elapsed()
    }

    pub fn draw(&self, bound: u64) -> u64 {
        self.lot.lock().below(bound)
    }

    pub fn connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    pub fn add_user(&self, number: u8) -> UserId {
        let user = UserId::from_slice(&[number + 1; 16]).unwrap();
        self.services.accounts.add(user, &format!("user {number}"));
        user
    }

    /// A node that a client finds: one that runs, and has not been told to go.
    pub fn any_node(&self) -> Option<Node> {
        let nodes: Vec<Node> = self.nodes.lock().values().cloned().collect();
        self.lot.lock().pick(&nodes).cloned()
    }

    pub fn node(&self, name: &str) -> Option<Node> {
        self.nodes.lock().get(name).cloned()
    }

    /// Starts a process, which becomes a member.
    pub async fn start(self: &Arc<Self>, name: &'static str) {
        if self.nodes.lock().contains_key(name) {
            return;
        }
        let mood = Arc::new(Mood::default());
        let transport = Arc::new(self.network.join(NodeId::from(name)));
        let ports = self.ports(&mood);
        let router = Router::new(NodeId::from(name), self.first_table(name), transport.clone());
        let limits = Arc::new(Limits {
            messages_per_second: 100_000,
            messages_burst: 100_000,
            ..Limits::default()
        });
        let Ok(system) = System::start(router, ports, limits, UNSTORED_BYTES).await else {
            panic!("node {name} does not start");
        };
        transport.observe(Arc::new(Links(system.clone())));
        let node = Node { name, system, mood };
        self.nodes.lock().insert(name, node.clone());
        self.started.lock().push(node.clone());
        tokio::spawn(Arc::clone(self).keep_placed(node));
        self.enter(name, NodeState::Up);
    }

    fn ports(&self, mood: &Arc<Mood>) -> Ports {
        let ports = self.services.ports();
        let mut lot = self.lot.lock();
        Ports {
            log: Arc::new(Log::new(ports.log, Arc::clone(mood), lot.fork())),
            chats: Arc::new(Store::new(ports.chats, Arc::clone(mood), lot.fork())),
            ..ports
        }
    }

    /// What a router has before its node is told anything.
    fn first_table(&self, name: &'static str) -> Table {
        let view = View::new(Epoch(0), vec![Member::alone(NodeId::from(name))]);
        Table::of(&view, SHARDS).unwrap()
    }

    /// Has a node follow the tables, each heard of after a moment.
    async fn keep_placed(self: Arc<Self>, node: Node) {
        let mut tables = self.tables.subscribe();
        loop {
            let delay = self.draw(200);
            sleep(Duration::from_millis(delay)).await;
            node.mood.thawed().await;
            if node.mood.is(|mood| &mood.dead) {
                return;
            }
            let table = tables.borrow_and_update().clone();
            if let Some(table) = table {
                // Not awaited: a later table may overtake one that takes long.
                let system = node.system.clone();
                tokio::spawn(async move { system.place(table).await });
            }
            if tables.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes a node a member, or changes what it is known as.
    pub fn enter(&self, name: &'static str, state: NodeState) {
        let mut registry = self.registry.lock();
        registry.epoch += 1;
        let incarnation = Incarnation(registry.epoch);
        let member = registry.members.entry(name).or_insert_with(|| Member {
            incarnation,
            ..Member::alone(NodeId::from(name))
        });
        member.state = state;
        self.publish(&mut registry);
    }

    /// Takes a node's lease away.
    pub fn expel(&self, name: &str) {
        let mut registry = self.registry.lock();
        if registry.members.remove(name).is_some() {
            registry.epoch += 1;
            self.publish(&mut registry);
        }
    }

    fn publish(&self, registry: &mut Registry) {
        let view = View::new(Epoch(registry.epoch), registry.members.values().cloned().collect());
        // Nobody is left to own anything, and nobody to be told.
        let Ok(table) = Table::next(registry.table.as_ref(), &view, SHARDS) else {
            return;
        };
        registry.table = Some(table.clone());
        self.tables.send_replace(Some(table));
    }

    /// Ends a process at once.
    pub fn kill(&self, name: &str) {
        self.nodes.lock().remove(name);
        // Where it drains it was not among them any more.
        for node in self.started.lock().iter().filter(|node| node.name == name) {
            node.mood.dead.store(true, Ordering::Relaxed);
        }
        self.network.leave(&NodeId::from(name));
    }

    /// Lets go of the nodes: their network keeps them, as they keep it; and each is kept by the sockets of its own whose sessions
    /// came back to it, until it does not hear even itself.
    pub fn end(&self) {
        plan::ALL
            .iter()
            .for_each(|name| self.network.leave(&NodeId::from(*name)));
        for node in self.started.lock().drain(..) {
            node.system.peer_lost(&NodeId::from(node.name));
        }
    }

    /// Has a node hand over, store everything and end.
    pub async fn drain(&self, node: &Node) {
        self.enter(node.name, NodeState::Draining);
        let table = self.registry.lock().table.clone();
        if let Some(table) = table {
            node.system.place(table).await;
        }
        self.nodes
            .lock()
            .retain(|_, running| !Arc::ptr_eq(&running.mood, &node.mood));
        node.system.drain().await;
        if !node.mood.is(|mood| &mood.dead) {
            node.mood.dead.store(true, Ordering::Relaxed);
            self.network.leave(&NodeId::from(node.name));
            self.expel(node.name);
        }
    }
}
