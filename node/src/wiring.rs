//! The one place that constructs: the data directory, the adapters of the ports, the node's place among others, the actors on
//! those, and the gateway in front.
//!
//! Nothing else in the process knows which adapter stands behind a port, or whether there are other nodes. Everything is opened before the first client is
//! accepted, and what fails leaves nothing running: the process ends with one sentence.

mod cluster;
mod mix;
mod name;
mod patience;
mod stores;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rookery_actors::protocol::Limits;
use rookery_actors::system::{Peer, Ports, System};
use rookery_actors::time::Timestamp;
use rookery_cluster::id::DEFAULT_SHARDS;
use rookery_cluster::router::Router;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::cluster::Settings as ClusterSettings;
pub use self::mix::{Mix, mix};
use crate::accounts::{Accounts, KeyRing, Setup};

use self::cluster::Place;
use self::stores::Stores;
use crate::addresses::Addresses;
use crate::admin::{AdminToken, Control, Peers};
use crate::app::App;
use crate::cli::{Failure, Status};
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::files::Files;
use crate::gateway::tls::Tls;
use crate::gateway::{self, Gateway};
use crate::jobs;
use crate::process::cannot_listen;
use crate::shutdown::Lifecycle;

/// The part of a drain that is kept for flushing, once the sockets are gone or out of time.
const FLUSH_SHARE: u32 = 4;
/// The part of a drain in which what is this node's may go to others before its clients are told.
const HAND_OVER_SHARE: u32 = 3;

/// A whole node, serving.
pub struct Node {
    started_at: Timestamp,
    gateway: Arc<Gateway>,
    system: System,
    accounts: Accounts,
    stores: Stores,
    router: Router<Peer>,
    /// None for a node alone.
    place: Option<Place>,
    /// End with the node.
    _tasks: JoinSet<()>,
    /// Locked until the node is gone.
    dir: DataDir,
}

/// Opens everything and starts to accept clients.
pub async fn open(config: &Config, lifecycle: &Lifecycle) -> Result<Node, Failure> {
    let dir = DataDir::open(&config.process.data_dir).map_err(|error| data_dir_failure(&error))?;
    let name = name::of(&config.process.node, dir.root())?;
    let limits = Arc::new(config.limits.clone());
    let stores = Stores::open(config, &dir).await?;
    let files = Files::new(stores.files.clone(), stores.blobs.clone(), limits.file_bytes);
    let joined = match is_clustered(config) {
        true => Some(cluster::join(config, &name).await?),
        false => None,
    };
    let router = match &joined {
        Some(joined) => joined.router.clone(),
        None => Router::alone(name.clone(), DEFAULT_SHARDS)
            .map_err(|error| Failure::internal(format!("place the shards: {error}")))?,
    };
    let addresses = joined.as_ref().map(|joined| Addresses::of(joined.cluster()));
    let system = start_actors(&router, &stores, &files, &limits, config.process.unstored_bytes).await?;
    let accounts = Accounts::start(Setup {
        settings: config.auth.clone(),
        limits: Arc::clone(&limits),
        store: Arc::clone(&stores.accounts),
        files: Arc::clone(&stores.files),
        directory: Arc::clone(&stores.directory),
        keys: token_keys(config),
        chats: Arc::new(system.clone()),
    })
    .map_err(|error| Failure::new(Status::DataDirectory, error.to_string()))?;
    let app = App {
        system: system.clone(),
        accounts: accounts.clone(),
        files: files.clone(),
        blobs: stores.served.clone(),
        limits,
        public_url: config.gateway.public_url.as_deref().map(Arc::from),
        scheme: config.gateway.scheme(),
        addresses: addresses.unwrap_or_default(),
        node: Arc::clone(&name.0),
    };
    let tls = Tls::of(&config.gateway).map_err(|error| Failure::new(Status::Configuration, error))?;
    let gateway = Gateway::start(Arc::new(app), gateway_settings(config), tls)
        .map_err(|error| cannot_listen(config.process.listen, "listen", &error))?;
    let gateway = Arc::new(gateway);
    let place = match joined {
        Some(joined) => Some(joined.enter(&system, &gateway, lifecycle).await?),
        None => None,
    };
    let mut tasks = JoinSet::new();
    let chores = jobs::Runner {
        jobs: Arc::clone(&stores.jobs),
        directory: Arc::clone(&stores.directory),
        files,
    };
    tasks.spawn(chores.run());
    if let Some(disk) = &stores.disk {
        tasks.spawn(Arc::clone(disk).watch());
    }
    Ok(Node {
        started_at: Timestamp::now(),
        gateway,
        system,
        accounts,
        stores,
        router,
        place,
        _tasks: tasks,
        dir,
    })
}

impl Node {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// What operators look into.
    pub fn control(&self, config: &Config) -> Result<Control, Failure> {
        let token = AdminToken::load(&config.process, self.dir.root())
            .map_err(|error| Failure::new(Status::Configuration, error.to_string()))?;
        Ok(Control {
            token,
            started_at: self.started_at,
            router: self.router.clone(),
            gateway: Arc::clone(&self.gateway),
            system: self.system.clone(),
            accounts: Arc::clone(&self.stores.accounts),
            disk: self.stores.disk.clone(),
            peers: self.place.as_ref().map(|place| Peers {
                cluster: place.cluster(),
                links: Arc::clone(place.links()),
            }),
        })
    }

    /// Reads again what may change while the node runs: the token keys, and the certificate that clients are shown.
    pub fn reload(&self) {
        match self.accounts.reload_keys() {
            Ok(()) => tracing::info!("the token keys were read again"),
            Err(error) => tracing::error!(%error, "the token keys could not be read again; the old ones stay"),
        }
        self.gateway.renew_certificate();
    }

    /// Hands over what is this node's, tells the clients to go, closes their sockets, flushes, and leaves the cluster. Clients
    /// that take no notice are cut off in time for the flush; that is no failure, they lose nothing.
    pub async fn drain(&self, within: Duration) {
        let until = Instant::now() + within;
        if let Some(place) = &self.place {
            place.hand_over(within / HAND_OVER_SHARE).await;
        }
        let left = until - Instant::now();
        let for_clients = left - left / FLUSH_SHARE;
        if tokio::time::timeout(for_clients, self.gateway.drain(for_clients))
            .await
            .is_err()
        {
            tracing::warn!(connections = self.gateway.connections(), "not all clients went in time");
        }
        self.system.drain().await;
        if let Some(place) = &self.place {
            place.leave().await;
        }
    }
}

async fn start_actors(
    router: &Router<Peer>,
    stores: &Stores,
    files: &Files,
    limits: &Arc<Limits>,
    unstored_bytes: usize,
) -> Result<System, Failure> {
    let ports = Ports {
        log: stores.log.clone(),
        chats: stores.chats.clone(),
        accounts: Arc::clone(&stores.accounts),
        attachments: Arc::new(files.clone()),
    };
    let started = System::start(router.clone(), ports, Arc::clone(limits), unstored_bytes).await;
    started.map_err(|error| Failure::new(Status::DataDirectory, format!("read back the event log: {error}")))
}

/// The gateway's section with what the top of the configuration says.
fn gateway_settings(config: &Config) -> gateway::Settings {
    gateway::Settings {
        listen: config.process.listen,
        drain_seconds: config.process.drain_seconds,
        ..config.gateway.clone()
    }
}

/// Whether this is a node among others; what cannot be was refused before.
fn is_clustered(config: &Config) -> bool {
    mix(config) == Ok(Mix::Cluster)
}

/// Where the keys that sign access tokens are: a directory of their own, which the ring reads whole.
fn token_keys(config: &Config) -> PathBuf {
    match is_clustered(config) {
        true => config.cluster.token_keys_dir.clone(),
        false => config.process.data_dir.join("keys/tokens"),
    }
}

/// Makes a new signing key beside a running server or without one; answers its id.
pub fn rotate_key(config: &Config) -> Result<String, Failure> {
    let keys = token_keys(config);
    if !keys.is_dir() {
        let dir = keys.display();
        return Err(Failure::new(
            Status::DataDirectory,
            format!("{dir} holds no keys yet; the first start makes one"),
        ));
    }
    let failed = |error| Failure::new(Status::DataDirectory, format!("rotate the token key: {error}"));
    let ring = KeyRing::open(&keys, config.auth.access_token_life()).map_err(failed)?;
    ring.rotate().map_err(failed)
}

/// What a data directory that cannot be used means for the process.
pub fn data_dir_failure(error: &DataDirError) -> Failure {
    Failure::new(Status::DataDirectory, error.to_string())
}
