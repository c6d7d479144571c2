//! The servers under test: one on a directory of its own, or the nodes of a cluster over real services.
//!
//! Each cluster has a topic, a database, a prefix of keys and a place in the bucket of its own, so that one after the other
//! may use the same services.

mod cables;
mod clocks;
mod services;

pub use cables::Cables;
pub use clocks::Clocks;
pub use services::{Kind, Services};

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::http::Http;
use crate::schedule::Dice;
use crate::server::{Recipe, Server};
use crate::sys::now_ns;

/// How long the nodes may take to agree on who is there.
const AGREE: Duration = Duration::from_secs(60);
/// How often it is looked whether they do, and how long each may take to say what it sees.
const LOOK: Duration = Duration::from_millis(20);
const GLANCE: Duration = Duration::from_secs(2);
/// The bucket of all clusters.
const BUCKET: &str = "rookery";
/// Ports of nodes: below those of outgoing connections, so that a node that is started again finds its own free.
const PORTS: std::ops::Range<u16> = 12_000..20_000;

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Order {
    pub binary: PathBuf,
    pub cpus: Option<Vec<usize>>,
    /// Settings of the user's own, over ours.
    pub environment: Vec<(String, String)>,
    /// The directory in which each has one of its own.
    pub ground: PathBuf,
    /// The clocks that the nodes of a cluster go by, where these are to jump.
    pub clocks: Option<Arc<Clocks>>,
}

pub struct Cluster {
    pub nodes: Vec<Server>,
    /// Nodes that joined for a while and left.
    retired: Vec<Server>,
    /// The links between the nodes, where they were to be cut.
    pub cables: Option<Cables>,
    /// What all nodes share, where they are nodes of a cluster.
    shared: Option<Shared>,
}

/// What all nodes of a cluster share beside the services.
struct Shared {
    order: Order,
    settings: Vec<(String, String)>,
    /// The keys that all nodes sign tokens with.
    _keys: TempDir,
    dice: Dice,
}

impl Cluster {
    /// One server that needs nothing else.
    pub fn alone(order: Order) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(Recipe {
            name: "server".into(),
            ground: order.ground,
            binary: order.binary,
            cpus: order.cpus,
            listen: any,
            admin: any,
            environment: order.environment,
        })?;
        Ok(Self {
            nodes: vec![server],
            retired: Vec::new(),
            cables: None,
            shared: None,
        })
    }

    /// So many nodes over these services; with `cables`, their links can be cut.
    pub fn start(order: Order, nodes: usize, services: &Services, cables: bool) -> anyhow::Result<Self> {
        let keys = tempfile::Builder::new().prefix("keys-").tempdir_in(&order.ground)?;
        let mut dice = Dice::fork(now_ns(), u64::from(std::process::id()));
        let name = format!("load-{:08x}", dice.throw() as u32);
        services.make_bucket(BUCKET, &name)?;
        let mut cluster = Self {
            nodes: Vec::new(),
            retired: Vec::new(),
            cables: cables.then(Cables::default),
            shared: Some(Shared {
                settings: [
                    settings(services, &name, &keys.path().to_string_lossy()),
                    vec![("ROOKERY_WORKER_THREADS".into(), share(order.cpus.as_deref(), nodes))],
                ]
                .concat(),
                order,
                _keys: keys,
                dice,
            }),
        };
        for _ in 0..nodes {
            cluster.begin_node()?;
        }
        let end = Instant::now() + AGREE;
        while !cluster.is_whole()? {
            if Instant::now() > end {
                cluster.keep();
                bail!("the nodes were not ready, and did not agree who is there, within {AGREE:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(cluster)
    }

    /// Starts one more node, and waits for nothing.
    pub fn begin_node(&mut self) -> anyhow::Result<()> {
        let shared = self.shared.as_mut().context("a server that stands alone cannot grow")?;
        let name = node_name(self.nodes.len());
        let recipe = shared.recipe(&name, self.cables.as_mut())?;
        let node = Server::begin(recipe).with_context(|| format!("starting {name}"))?;
        self.nodes.push(node);
        Ok(())
    }

    /// From now on that node's wall clock shows so many seconds more than it should.
    pub fn set_clock_off_by(&self, node: usize, seconds: i64) -> anyhow::Result<()> {
        let clocks = self.shared.as_ref().and_then(|shared| shared.order.clocks.as_ref());
        let clocks = clocks.context("the nodes go by the machine's clock")?;
        Ok(clocks.set_off_by(&node_name(node), seconds)?)
    }

    /// Takes the last node, which has ended, off the list.
    pub fn retire_last(&mut self) {
        self.retired.extend(self.nodes.pop());
    }

    /// The server, where it is one alone.
    pub fn alone_mut(&mut self) -> Option<&mut Server> {
        match (&self.shared, self.nodes.as_mut_slice()) {
            (None, [server]) => Some(server),
            _ => None,
        }
    }

    pub fn doors(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.listen).collect()
    }

    /// Stops all in order and starts them again on what they have stored.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.stop()?;
        }
        for node in &mut self.nodes {
            node.start_again()?;
        }
        let end = Instant::now() + AGREE;
        while !self.is_whole()? {
            if Instant::now() > end {
                bail!("the nodes did not agree within {AGREE:?} who is there");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Every node is ready and sees all of them up, each with its share. An error once one has ended.
    pub fn is_whole(&mut self) -> anyhow::Result<bool> {
        for node in &mut self.nodes {
            if !node.is_ready()? {
                return Ok(false);
            }
        }
        let count = self.nodes.len();
        let whole = |seen: Vec<Seen>| {
            let up = |node: &Seen| node.state == "up" && node.shards > 0;
            seen.len() == count && seen.iter().all(up)
        };
        Ok(self.shared.is_none() || self.nodes.iter().all(|node| seen_by(node).is_some_and(whole)))
    }

    /// What was set differently from a server as shipped; of a cluster, the first node's.
    pub fn settings(&self) -> Vec<String> {
        self.nodes.first().map(Server::settings).unwrap_or_default()
    }

    /// Leaves data and logs behind.
    pub fn keep(&mut self) {
        let nodes = self.nodes.iter_mut().chain(&mut self.retired);
        nodes.for_each(Server::keep);
    }
}

impl Shared {
    fn recipe(&mut self, name: &str, cables: Option<&mut Cables>) -> anyhow::Result<Recipe> {
        let (listen, admin, peers) = (
            free_port(&mut self.dice)?,
            free_port(&mut self.dice)?,
            free_port(&mut self.dice)?,
        );
        let reached = cables.map_or(Ok(peers), |cables| cables.before(peers));
        let own = [
            ("ROOKERY_NODE", name.to_owned()),
            (
                "ROOKERY_CLUSTER__ADVERTISE",
                reached.context("starting a relay")?.to_string(),
            ),
            ("ROOKERY_CLUSTER__LISTEN", peers.to_string()),
            ("ROOKERY_CLUSTER__PUBLIC_URL", format!("http://{listen}")),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        let clock = match &self.order.clocks {
            Some(clocks) => clocks.surroundings(name).context("setting a clock")?.to_vec(),
            None => Vec::new(),
        };
        let all = self.settings.iter().cloned().chain(own).chain(clock);
        Ok(Recipe {
            name: name.to_owned(),
            ground: self.order.ground.clone(),
            binary: self.order.binary.clone(),
            cpus: self.order.cpus.clone(),
            listen,
            admin,
            environment: all.chain(self.order.environment.iter().cloned()).collect(),
        })
    }
}

/// What a node is called, by its place.
pub fn node_name(place: usize) -> String {
    format!("node{}", place + 1)
}

/// A node as another sees it.
#[derive(Deserialize)]
struct Seen {
    state: String,
    shards: u64,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Seen>,
}

fn seen_by(node: &Server) -> Option<Vec<Seen>> {
    let token = node.admin_token().ok()?;
    let mut http = Http::new(node.admin).patient(GLANCE);
    let answer = http.request("GET", "/admin/nodes", Some(&token), b"").ok()?;
    let page: Page = serde_json::from_slice(&answer.body).ok()?;
    Some(page.items)
}

/// What the nodes of one cluster have in common.
fn settings(services: &Services, name: &str, keys: &str) -> Vec<(String, String)> {
    let prefix = format!("{name}/");
    let settings = [
        ("KAFKA__BROKERS", services.address(Kind::Kafka)),
        ("KAFKA__TOPIC", name),
        ("KAFKA__GROUP", name),
        ("KAFKA__REPLICATION_FACTOR", "1"),
        ("KAFKA__MIN_INSYNC_REPLICAS", "1"),
        ("MONGODB__URL", services.address(Kind::Mongodb)),
        ("MONGODB__DATABASE", name),
        ("REDIS__URL", services.address(Kind::Redis)),
        ("REDIS__PREFIX", name),
        ("S3__ENDPOINT", services.address(Kind::S3)),
        ("S3__BUCKET", BUCKET),
        ("S3__PREFIX", &prefix),
        ("S3__ACCESS_KEY", "rkaccess"),
        ("S3__SECRET_KEY", "rksecret"),
        ("CLUSTER__TOKEN_KEYS_DIR", keys),
        ("CLUSTER__WAIT_SECONDS", "60"),
    ];
    let named = settings.map(|(key, value)| (format!("ROOKERY_{key}"), value.to_owned()));
    named.into()
}

/// The threads of each node: nodes that share a machine share its cores.
fn share(cpus: Option<&[usize]>, nodes: usize) -> String {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let cores = cpus.map_or_else(all, <[usize]>::len);
    (cores / nodes.max(1)).max(1).to_string()
}

/// An address of this machine that nobody listens on.
fn free_port(dice: &mut Dice) -> anyhow::Result<SocketAddr> {
    for _ in 0..1000 {
        let port = PORTS.start + dice.below(PORTS.len()) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end)
}
