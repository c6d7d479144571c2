//! The one place that constructs: the data directory, the adapters over it, the actors on those, and the gateway in front.
//!
//! Nothing else in the process knows which adapter stands behind a port. Everything is opened before the first client is
//! accepted, and what fails leaves nothing running: the process ends with one sentence.

mod name;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rookery_actors::ports::PortError;
use rookery_actors::ports::accounts::AccountStore;
use rookery_actors::ports::directory::Directory;
use rookery_actors::protocol::Limits;
use rookery_actors::system::{Peer, Ports, System};
use rookery_actors::time::Timestamp;
use rookery_cluster::id::DEFAULT_SHARDS;
use rookery_cluster::router::Router;
use tokio::task::JoinSet;

use crate::accounts::{Accounts, KeyRing, Setup};
use crate::adapters::blobs::DirBlobs;
use crate::adapters::sqlite::accounts::SqliteAccounts;
use crate::adapters::sqlite::chats::SqliteChats;
use crate::adapters::sqlite::directory::SqliteDirectory;
use crate::adapters::sqlite::files::SqliteFiles;
use crate::adapters::sqlite::log::SqliteLog;
use crate::adapters::sqlite::schema;
use crate::admin::{AdminToken, Control};
use crate::app::App;
use crate::cli::{Failure, Status};
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::files::Files;
use crate::gateway::{self, Gateway};
use crate::process::cannot_listen;

/// How often files that nobody will use are cleared away.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// The part of a drain that is kept for flushing, once the sockets are gone or out of time.
const FLUSH_SHARE: u32 = 4;

/// A whole node, serving.
pub struct Node {
    started_at: Timestamp,
    gateway: Arc<Gateway>,
    system: System,
    accounts: Accounts,
    stores: Stores,
    router: Router<Peer>,
    /// End with the node.
    _tasks: JoinSet<()>,
    /// Locked until the node is gone.
    dir: DataDir,
}

/// The embedded adapters, as the ports they are.
struct Stores {
    log: Arc<SqliteLog>,
    chats: Arc<SqliteChats>,
    accounts: Arc<dyn AccountStore>,
    directory: Arc<dyn Directory>,
    files: Arc<SqliteFiles>,
    blobs: DirBlobs,
}

/// Opens everything and starts to accept clients.
pub async fn open(config: &Config) -> Result<Node, Failure> {
    let dir = DataDir::open(&config.process.data_dir).map_err(|error| data_dir_failure(&error))?;
    let name = name::of(&config.process.node, dir.root())?;
    let limits = Arc::new(config.limits.clone());
    let stores = Stores::open(&dir, config.auth.access_token_life()).await?;
    let files = Files::new(stores.files.clone(), Arc::new(stores.blobs.clone()), limits.file_bytes);
    let router = Router::alone(name.clone(), DEFAULT_SHARDS)
        .map_err(|error| Failure::internal(format!("place the shards: {error}")))?;
    let system = start_actors(&router, &stores, &files, &limits).await?;
    let accounts = Accounts::start(Setup {
        settings: config.auth.clone(),
        limits: Arc::clone(&limits),
        store: Arc::clone(&stores.accounts),
        directory: Arc::clone(&stores.directory),
        keys: token_keys(&dir),
        chats: Arc::new(system.clone()),
    })
    .map_err(|error| Failure::new(Status::DataDirectory, error.to_string()))?;
    let app = App {
        system: system.clone(),
        accounts: accounts.clone(),
        files: files.clone(),
        blobs: Some(stores.blobs.clone()),
        limits,
        public_url: config.gateway.public_url.as_deref().map(Arc::from),
        node: Arc::clone(&name.0),
    };
    let gateway = Gateway::start(Arc::new(app), gateway_settings(config))
        .map_err(|error| cannot_listen(config.process.listen, "listen", &error))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(sweep(files));
    Ok(Node {
        started_at: Timestamp::now(),
        gateway: Arc::new(gateway),
        system,
        accounts,
        stores,
        router,
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
        })
    }

    /// Reads again what may change while the node runs: the token keys.
    pub fn reload(&self) {
        match self.accounts.reload_keys() {
            Ok(()) => tracing::info!("the token keys were read again"),
            Err(error) => tracing::error!(%error, "the token keys could not be read again; the old ones stay"),
        }
    }

    /// Tells the clients to go, closes their sockets, and flushes. Clients that take no notice are cut off in time for the
    /// flush; that is no failure, they lose nothing.
    pub async fn drain(&self, within: Duration) {
        let for_clients = within - within / FLUSH_SHARE;
        if tokio::time::timeout(for_clients, self.gateway.drain(for_clients))
            .await
            .is_err()
        {
            tracing::warn!(connections = self.gateway.connections(), "not all clients went in time");
        }
        self.system.drain().await;
    }
}

impl Stores {
    /// Opens the files of the data directory; blocking, as nothing else runs yet that it could hold up.
    async fn open(dir: &DataDir, token_life: Duration) -> Result<Self, Failure> {
        let opened = tokio::task::block_in_place(|| {
            let log = SqliteLog::open(&dir.log(), DEFAULT_SHARDS).map_err(cannot_open(&dir.log()))?;
            let db = schema::open(&dir.store()).map_err(cannot_open(&dir.store()))?;
            let blobs =
                DirBlobs::open(&dir.blobs(), &dir.keys().join("blobs.key")).map_err(cannot_open(&dir.blobs()))?;
            Ok::<_, Failure>((log, db, blobs))
        });
        let (log, db, blobs) = opened?;
        let directory = SqliteDirectory::open(db.clone(), token_life)
            .await
            .map_err(cannot_open(&dir.store()))?;
        Ok(Self {
            log: Arc::new(log),
            chats: Arc::new(SqliteChats::new(db.clone())),
            accounts: Arc::new(SqliteAccounts::new(db.clone())),
            directory,
            files: Arc::new(SqliteFiles::new(db)),
            blobs,
        })
    }
}

async fn start_actors(
    router: &Router<Peer>,
    stores: &Stores,
    files: &Files,
    limits: &Arc<Limits>,
) -> Result<System, Failure> {
    let ports = Ports {
        log: stores.log.clone(),
        chats: stores.chats.clone(),
        accounts: Arc::clone(&stores.accounts),
        attachments: Arc::new(files.clone()),
    };
    let started = System::start(router.clone(), ports, Arc::clone(limits)).await;
    started.map_err(|error| Failure::new(Status::DataDirectory, format!("read back the event log: {error}")))
}

/// Clears away uploads that were given up and what deleted files left behind.
async fn sweep(files: Files) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match files.sweep(Timestamp::now()).await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "files that nobody uses were cleared away"),
            Err(error) => tracing::warn!(%error, "files that nobody uses could not be cleared away"),
        }
    }
}

/// The gateway's section with what the top of the configuration says.
fn gateway_settings(config: &Config) -> gateway::Settings {
    gateway::Settings {
        listen: config.process.listen,
        drain_seconds: config.process.drain_seconds,
        ..config.gateway.clone()
    }
}

/// Where the keys that sign access tokens are: a directory of their own, which the ring reads whole.
fn token_keys(dir: &DataDir) -> std::path::PathBuf {
    dir.keys().join("tokens")
}

/// Makes a new signing key beside a running server or without one; answers its id.
pub fn rotate_key(config: &Config) -> Result<String, Failure> {
    let keys = config.process.data_dir.join("keys/tokens");
    if !keys.is_dir() {
        let dir = config.process.data_dir.display();
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

fn cannot_open(path: &Path) -> impl FnOnce(PortError) -> Failure + use<'_> {
    move |error| {
        Failure::new(
            Status::DataDirectory,
            format!("cannot open {}: {error}", path.display()),
        )
    }
}
