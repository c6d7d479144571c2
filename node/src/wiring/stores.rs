//! The adapters behind the ports: files of the data directory, or services.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rookery_actors::ports::accounts::AccountStore;
use rookery_actors::ports::blobs::Blobs;
use rookery_actors::ports::chats::ChatStore;
use rookery_actors::ports::directory::Directory;
use rookery_actors::ports::files::FileStore;
use rookery_actors::ports::jobs::Jobs;
use rookery_actors::ports::log::EventLog;
use rookery_actors::ports::{PortError, PortResult};
use rookery_cluster::id::DEFAULT_SHARDS;

use super::mix::{Mix, mix};
use super::patience::{Patience, together};
use crate::adapters::blobs::DirBlobs;
use crate::adapters::kafka::KafkaLog;
use crate::adapters::mongo::{Mongo, MongoAccounts, MongoChats, MongoFiles};
use crate::adapters::redis::RedisDirectory;
use crate::adapters::s3::S3Blobs;
use crate::adapters::sqlite::Disk;
use crate::adapters::sqlite::accounts::SqliteAccounts;
use crate::adapters::sqlite::chats::SqliteChats;
use crate::adapters::sqlite::directory::SqliteDirectory;
use crate::adapters::sqlite::files::SqliteFiles;
use crate::adapters::sqlite::jobs::SqliteJobs;
use crate::adapters::sqlite::log::SqliteLog;
use crate::adapters::sqlite::schema;
use crate::cli::{Failure, Status};
use crate::config::Config;
use crate::data_dir::DataDir;

/// How long one try to reach a service may take.
const TRY: Duration = Duration::from_secs(10);

/// What the actors and the services over them stand on.
pub struct Stores {
    pub log: Arc<dyn EventLog>,
    pub chats: Arc<dyn ChatStore>,
    pub accounts: Arc<dyn AccountStore>,
    pub directory: Arc<dyn Directory>,
    pub jobs: Arc<dyn Jobs>,
    pub files: Arc<dyn FileStore>,
    pub blobs: Arc<dyn Blobs>,
    /// Contents that this node serves itself.
    pub served: Option<DirBlobs>,
    /// Of a node that keeps the log and the store in its directory.
    pub disk: Option<Arc<Disk>>,
}

impl Stores {
    pub async fn open(config: &Config, dir: &DataDir) -> Result<Self, Failure> {
        match mix(config) {
            Ok(Mix::Cluster) => Self::on_services(config).await,
            Ok(Mix::Alone) => Self::in_files(config, dir).await,
            Err(sentence) => Err(Failure::new(Status::Configuration, sentence)),
        }
    }

    /// Opens the files of the data directory; blocking, as nothing else runs yet that it could hold up.
    async fn in_files(config: &Config, dir: &DataDir) -> Result<Self, Failure> {
        let opened = tokio::task::block_in_place(|| {
            let log = SqliteLog::open(&dir.log(), DEFAULT_SHARDS).map_err(cannot_open(&dir.log()))?;
            let db = schema::open(&dir.store()).map_err(cannot_open(&dir.store()))?;
            Ok::<_, Failure>((log, db))
        });
        let (log, db) = opened?;
        let directory = SqliteDirectory::open(db.clone(), config.auth.access_token_life())
            .await
            .map_err(cannot_open(&dir.store()))?;
        let (blobs, served): (Arc<dyn Blobs>, _) = if config.s3.is_chosen() {
            let opened = patience(config).open(async || S3Blobs::open(&config.s3).await).await;
            let blobs = opened.map_err(|error| together(vec![error]))?;
            (Arc::new(blobs), None)
        } else {
            let blobs =
                DirBlobs::open(&dir.blobs(), &dir.keys().join("blobs.key")).map_err(cannot_open(&dir.blobs()))?;
            (Arc::new(blobs.clone()), Some(blobs))
        };
        let log = Arc::new(log);
        let disk = Disk::new(dir.root(), Arc::clone(&log), db.clone());
        Ok(Self {
            log,
            chats: Arc::new(SqliteChats::new(db.clone())),
            accounts: Arc::new(SqliteAccounts::new(db.clone())),
            directory,
            jobs: Arc::new(SqliteJobs::new(db.clone())),
            files: Arc::new(SqliteFiles::new(db)),
            blobs,
            served,
            disk: Some(Arc::new(disk)),
        })
    }

    /// Opens all services at the same time. What is wrong is said of each of them.
    async fn on_services(config: &Config) -> Result<Self, Failure> {
        let patience = patience(config);
        let (life, shards) = (config.auth.access_token_life(), config.cluster.shards);
        let (log, mongo, directory, blobs) = tokio::join!(
            patience.open(async || KafkaLog::open(&config.kafka, shards, TRY).await),
            patience.open(async || Mongo::open(&config.mongodb).await),
            patience.open(async || RedisDirectory::open(&config.redis, life, TRY).await),
            patience.open(async || S3Blobs::open(&config.s3).await),
        );
        let mut wrong = Vec::new();
        let opened = (
            kept(log, &mut wrong),
            kept(mongo, &mut wrong),
            kept(directory, &mut wrong),
            kept(blobs, &mut wrong),
        );
        let (Some(log), Some(mongo), Some(directory), Some(blobs)) = opened else {
            return Err(together(wrong));
        };
        Ok(Self {
            log: Arc::new(log),
            chats: Arc::new(MongoChats::new(mongo.clone())),
            accounts: Arc::new(MongoAccounts::new(mongo.clone())),
            jobs: Arc::new(directory.jobs()),
            directory,
            files: Arc::new(MongoFiles::new(mongo)),
            blobs: Arc::new(blobs),
            served: None,
            disk: None,
        })
    }
}

fn patience(config: &Config) -> Patience {
    Patience::of(config.cluster.wait())
}

fn kept<T>(opened: PortResult<T>, wrong: &mut Vec<PortError>) -> Option<T> {
    opened.map_err(|error| wrong.push(error)).ok()
}

fn cannot_open(path: &Path) -> impl FnOnce(PortError) -> Failure + use<'_> {
    move |error| {
        Failure::new(
            Status::DataDirectory,
            format!("cannot open {}: {error}", path.display()),
        )
    }
}
