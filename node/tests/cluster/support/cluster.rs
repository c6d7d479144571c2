//! Three nodes over the shared services, with a topic, a database, a prefix of keys and a place in the bucket of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::clock::Clock;
use super::http::Http;
use super::link::Link;
use super::server::{Endpoint, Server};
use super::user::{User, items, number};
use crate::services::{self, S3_KEYS, fresh};

const NODES: usize = 3;
/// Few, as each is a partition that three nodes consume; more than the nodes, so that all have some.
const SHARDS: &str = "12";
/// How long the nodes may take to agree on who is there.
const AGREE: Duration = Duration::from_secs(60);

/// As many clusters run at once as the machine has cores for: a test of one that others crowd out fails for no fault of its own.
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new((cores / 2).max(2))
});

/// Running (or killed) nodes. Dropping it kills them; a failed test prints what they logged.
pub struct Cluster {
    pub nodes: Vec<Server>,
    /// Who comes next comes in through this one.
    next: AtomicUsize,
    settings: Vec<(String, String)>,
    /// The keys that all nodes sign tokens with.
    _keys: TempDir,
    /// Given back when the nodes are gone.
    _room: SemaphorePermit<'static>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with settings of the test's own, as environment variables without their `ROOKERY_`.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::of(NODES, settings).await
    }

    pub async fn of(count: usize, settings: &[(&str, &str)]) -> Self {
        Self::made_of((0..count).map(|_| Vec::new()).collect(), settings).await
    }

    /// Three nodes that tell their clients where each of them is, and are found there again after a restart.
    pub async fn with_addresses(settings: &[(&str, &str)]) -> Self {
        let address = || {
            let address = free_address();
            let url = format!("http://{address}");
            vec![
                ("LISTEN".into(), address.to_string()),
                ("CLUSTER__PUBLIC_URL".into(), url),
            ]
        };
        Self::made_of((0..NODES).map(|_| address()).collect(), settings).await
    }

    /// Three nodes, with a link between the first two that can be cut.
    pub async fn wired() -> (Self, Link) {
        let link = Link::new().await;
        let own = vec![Vec::new(), link.settings().to_vec(), Vec::new()];
        (Self::made_of(own, &[]).await, link)
    }

    /// Three nodes, with a wall clock for the first one that can be made to jump.
    pub async fn clocked() -> (Self, Clock) {
        let clock = Clock::new();
        let surroundings = [clock.surroundings(), Vec::new(), Vec::new()];
        let own = vec![Vec::new(); NODES];
        (Self::among(&surroundings, own, &[]).await, clock)
    }

    async fn made_of(own: Vec<Vec<(String, String)>>, settings: &[(&str, &str)]) -> Self {
        Self::among(&vec![Vec::new(); own.len()], own, settings).await
    }

    /// Nodes with settings and surroundings of their own, and settings that all of them have.
    async fn among(
        surroundings: &[Vec<(String, String)>],
        own: Vec<Vec<(String, String)>>,
        settings: &[(&str, &str)],
    ) -> Self {
        let room = ROOM.acquire().await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        let mut shared = shared_settings(keys.path()).await;
        shared.extend(settings.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        let of_all = &shared;
        let nodes = own.into_iter().enumerate().map(async |(n, mut own)| {
            own.extend_from_slice(of_all);
            node(n, &surroundings[n], &own).await
        });
        let cluster = Self {
            nodes: join_all(nodes).await,
            next: AtomicUsize::new(0),
            settings: shared,
            _keys: keys,
            _room: room,
        };
        cluster.agree().await;
        cluster
    }

    /// Starts one more node.
    pub async fn grow(&mut self) {
        let joined = node(self.nodes.len(), &[], &self.settings).await;
        self.nodes.push(joined);
        self.agree().await;
    }

    /// Waits until every node that runs sees all of them up, and each with its share.
    pub async fn agree(&self) {
        agree(&self.nodes.iter().collect::<Vec<_>>()).await;
    }

    /// The next node's door.
    pub fn endpoint(&self) -> Endpoint {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.nodes[turn % self.nodes.len()].endpoint()
    }

    /// Where two clients come in: by two nodes.
    pub fn doors(&self) -> [String; 2] {
        [0, 1].map(|n: usize| format!("http://{}", self.nodes[n].endpoint().public()))
    }

    pub fn anonymous(&self) -> Http {
        Http::new(self.endpoint())
    }

    /// A client of the first node's admin listener.
    pub fn admin(&self) -> Http {
        self.nodes[0].admin()
    }

    /// Signs somebody up, who stays with one node.
    pub async fn user(&self, name: &str) -> User {
        User::sign_up(self.endpoint(), name).await
    }

    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [User; N] {
        let mut users = Vec::with_capacity(N);
        for name in names {
            users.push(self.user(name).await);
        }
        users
            .try_into()
            .unwrap_or_else(|_| unreachable!("one user was made for each name"))
    }

    pub fn data_dir(&self) -> &Path {
        self.nodes[0].data_dir()
    }

    /// What all have written so far.
    pub fn log(&self) -> String {
        self.nodes.iter().map(Server::log).collect()
    }

    /// Ends all of them at once, as a power cut would.
    pub fn kill9(&mut self) {
        self.nodes.iter_mut().for_each(Server::kill9);
    }

    pub fn ask_to_stop(&self) {
        self.nodes.iter().for_each(Server::ask_to_stop);
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let ended = join_all(self.nodes.iter_mut().map(Server::ended)).await;
        let failed = ended.iter().find(|status| !status.success());
        *failed.unwrap_or(&ended[0])
    }

    /// Stops all of them in order, at the same time.
    pub async fn stop(&mut self) {
        join_all(self.nodes.iter_mut().map(Server::stop)).await;
    }

    /// Starts all of them again.
    pub async fn start_again(&mut self) {
        join_all(self.nodes.iter_mut().map(Server::start_again)).await;
        self.agree().await;
    }
}

/// Waits until each of these nodes sees all of them, and nobody else, up and with a share, and is linked to them: what cannot
/// be asked of a node yet is told later, as of one that is cut off.
pub async fn agree(nodes: &[&Server]) {
    let deadline = Instant::now() + AGREE;
    for node in nodes {
        loop {
            let seen = nodes_seen_by(node).await;
            let settled = |node: &Value| node["state"] == "up" && number(&node["shards"]) > 0;
            let linked = seen.iter().filter(|node| node["round_trip_us"].is_u64()).count();
            if seen.len() == nodes.len() && seen.iter().all(settled) && linked + 1 == nodes.len() {
                break;
            }
            assert!(Instant::now() < deadline, "the nodes do not agree: {seen:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An address of this machine that nobody listens on, and that the system gives to nobody who asks for any.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() as u16 ^ turn.wrapping_mul(7)) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The nodes as one of them sees them.
pub async fn nodes_seen_by(node: &Server) -> Vec<Value> {
    items(&admin_of(node).get("/admin/nodes").await.is(200))
}

/// An operator of that node.
pub fn admin_of(node: &Server) -> Http {
    let token = std::fs::read_to_string(node.data_dir().join("admin-token")).unwrap();
    node.admin().with_token(token.trim())
}

async fn node(number: usize, surroundings: &[(String, String)], shared: &[(String, String)]) -> Server {
    let name = format!("node{number}");
    let own = [("NODE", name.as_str()), ("CLUSTER__LISTEN", "127.0.0.1:0")];
    let shared = shared.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let settings: Vec<_> = own.into_iter().chain(shared).collect();
    Server::within(surroundings, &settings).await
}

async fn shared_settings(keys: &Path) -> Vec<(String, String)> {
    let (name, s3) = (fresh("cluster"), services::s3());
    let (kafka, mongodb, redis) = (services::kafka(), services::mongodb(), services::redis());
    let bucket = services::bucket(&s3).await;
    let prefix = format!("{name}/");
    let settings = [
        ("KAFKA__BROKERS", kafka.as_str()),
        ("KAFKA__TOPIC", &name),
        ("KAFKA__GROUP", &name),
        ("KAFKA__REPLICATION_FACTOR", "1"),
        ("KAFKA__MIN_INSYNC_REPLICAS", "1"),
        ("MONGODB__URL", &mongodb),
        ("MONGODB__DATABASE", &name),
        ("REDIS__URL", &redis),
        ("REDIS__PREFIX", &name),
        ("S3__ENDPOINT", &s3),
        ("S3__BUCKET", &bucket),
        ("S3__PREFIX", &prefix),
        ("S3__ACCESS_KEY", S3_KEYS.0),
        ("S3__SECRET_KEY", S3_KEYS.1),
        ("CLUSTER__SHARDS", SHARDS),
        // Services that many tests keep busy may be slow to answer, the first question and any other.
        ("CLUSTER__WAIT_SECONDS", "60"),
        ("MONGODB__COMMAND_TIMEOUT_MS", "25000"),
        ("MONGODB__SELECTION_TIMEOUT_MS", "25000"),
        ("MONGODB__CONNECT_TIMEOUT_MS", "25000"),
        ("CLUSTER__TOKEN_KEYS_DIR", keys.to_str().unwrap()),
    ];
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
