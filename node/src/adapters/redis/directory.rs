//! The directory of many nodes: logins, revocations and the budgets of addresses on Redis.
//!
//! **Logins.** A login is a hash that expires by itself; the logins of a user are a sorted set by when they expire. Whatever
//! reads and then writes is one script, so that of two rotations of a token, at whatever nodes, one wins. A script compares
//! digests of random secrets, and Lua compares strings by where they are kept and not byte by byte, so there is nothing to
//! learn from the time that takes.
//!
//! **Revocations.** Each node remembers all that matter, and asks nobody. They are entries numbered in the order in which they
//! were made; a node that makes one remembers it before it answers, and the others are told at once (Pub/Sub). What that
//! misses is found by asking for the entries beyond the last known number, twice a second: so a revocation is everywhere
//! within a second, at nodes that reach Redis. While Redis is away a node goes on with what it knows. When it is back, nodes
//! and Redis tell each other what the other lacks: an empty Redis, or a replica that missed the last writes, must not bring
//! a revoked login back to life.
//!
//! **Time.** Logins go by Redis' clock at every node, so that a node whose own is wrong neither refuses the others' tokens nor
//! makes some that they refuse, and forgets no revocation that they still need.
//!
//! **What is deliberately absent.** A fallback for sign-in: without Redis nobody signs in, refreshes or is admitted, and whoever
//! has a token goes on with it.

mod clock;
mod codec;
mod news;
mod store;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::directory::{
    Admission, Directory, NewLogin, Revocation, Rotated, Rotation, Throttled, network,
};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;
use rookery_cluster::primary::{Fault, Primary};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::clock::Clock;
use self::news::News;
use self::store::Store;
use super::calls::{self, Calls};
use super::{RedisJobs, Settings};
use crate::adapters::revocations::{Revocations, Revoked};

/// How long to wait between tries to reach Redis at start.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// The directory over one Redis.
pub struct RedisDirectory {
    store: Arc<Store>,
    revocations: Arc<Revocations>,
    clock: Arc<Clock>,
    jobs: RedisJobs,
    /// End with the directory.
    _tasks: JoinSet<()>,
}

impl RedisDirectory {
    /// Opens the directory and reads which logins were revoked not long ago; tries for as long as `wait`. `access_token_life`
    /// is the longest that an access token in circulation may live. An error is one sentence.
    pub async fn open(settings: &Settings, access_token_life: Duration, wait: Duration) -> PortResult<Arc<Self>> {
        let target = settings.target().map_err(PortError::Broken)?;
        let primary = Primary::new(target, settings.timeouts());
        let revocations = Arc::new(Revocations::new(access_token_life));
        let calls = Calls::new(primary);
        let store = Arc::new(Store::new(calls.clone(), &settings.prefix, revocations.memory()));
        let clock = Arc::new(Clock::default());
        let last = begin(&store, &revocations, &clock, wait).await?;
        store.warn_of_settings().await;
        let mut tasks = JoinSet::new();
        let news = News {
            store: Arc::clone(&store),
            revocations: Arc::clone(&revocations),
            clock: Arc::clone(&clock),
        };
        tasks.spawn(news::listen(news.clone()));
        tasks.spawn(news::poll(news, last));
        Ok(Arc::new(Self {
            store,
            revocations,
            clock,
            jobs: RedisJobs::new(calls, &settings.prefix),
            _tasks: tasks,
        }))
    }

    /// The delayed jobs of the nodes that share this directory. They share its connection.
    pub fn jobs(&self) -> RedisJobs {
        self.jobs.clone()
    }

    fn remember(&self, user: UserId, logins: &[LoginId], at: Timestamp) {
        let revoked = |login: &LoginId| Revoked {
            user,
            login: *login,
            at,
        };
        self.revocations.remember(logins.iter().map(revoked));
    }
}

/// Sets the clock and reads the revocations; answers the number of the last.
async fn begin(store: &Store, revocations: &Revocations, clock: &Clock, wait: Duration) -> PortResult<u64> {
    let deadline = Instant::now() + wait;
    loop {
        let begun = async {
            clock.set_by(store).await?;
            news::read(store, revocations, 0).await
        };
        match begun.await {
            Ok(last) => return Ok(last),
            Err(fault) => match store.cannot_open(&fault) {
                PortError::Unavailable(_) if Instant::now() < deadline => sleep(TRY_AGAIN).await,
                error => return Err(error),
            },
        }
    }
}

#[async_trait]
impl Directory for RedisDirectory {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn create(&self, login: NewLogin) -> PortResult<()> {
        self.store.create(&login).await.map_err(failed)
    }

    async fn rotate(&self, rotation: Rotation) -> PortResult<Rotated> {
        let outcome = self.store.rotate(&rotation).await.map_err(failed)?;
        if let Rotated::Reused { user } = outcome {
            self.remember(user, &[rotation.login], rotation.now);
        }
        Ok(outcome)
    }

    async fn revoke(&self, user: UserId, login: LoginId, now: Timestamp) -> PortResult<bool> {
        let revoked = self.store.revoke(user, login, now).await.map_err(failed)?;
        if revoked {
            self.remember(user, &[login], now);
        }
        Ok(revoked)
    }

    async fn revoke_all(&self, user: UserId, except: Option<LoginId>, now: Timestamp) -> PortResult<Vec<LoginId>> {
        let logins = self.store.revoke_all(user, except, now).await.map_err(failed)?;
        self.remember(user, &logins, now);
        Ok(logins)
    }

    fn is_revoked(&self, login: LoginId) -> bool {
        self.revocations.contains(login)
    }

    fn revoked(&self) -> Vec<Revocation> {
        self.revocations.all().into_iter().map(Into::into).collect()
    }

    fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }

    async fn admit(&self, what: Throttled, address: IpAddr, per_minute: u32, now: Timestamp) -> PortResult<Admission> {
        let admission = self.store.admit(what, network(address), per_minute, now).await;
        admission.map_err(failed)
    }

    async fn purge(&self, now: Timestamp) -> PortResult<()> {
        let horizon = self.revocations.horizon(now);
        self.revocations.forget_before(horizon);
        self.store.purge(horizon).await.map_err(failed)
    }
}

fn failed(fault: Fault) -> PortError {
    calls::failed("the directory", &fault)
}
