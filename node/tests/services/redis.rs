//! The directory and the delayed jobs on Redis: their contracts, two nodes on one Redis, and a Redis that goes away, comes
//! back, or loses its data.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::PortError;
use rookery_actors::ports::directory::{Admission, Directory, NewLogin, Revocation, Rotated, Rotation, Throttled};
use rookery_actors::testkit::directory::{ACCESS_TOKEN_LIFE, suite};
use rookery_actors::testkit::jobs;
use rookery_actors::time::Timestamp;
use rookery_node::adapters::redis::{RedisDirectory, Settings};

use crate::support::{self, Service};

/// Longer than anything takes; what is promised sooner is measured, and of several tries the quickest counts, as the machine may
/// have other work.
const PATIENCE: Duration = Duration::from_secs(60);
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn settings(url: &str, prefix: &str) -> Settings {
    Settings {
        url: url.into(),
        prefix: prefix.into(),
        // On a machine with other work, only what never answers fails a test.
        connect_ms: 30_000,
        answer_ms: 30_000,
        ..Settings::default()
    }
}

async fn open(settings: &Settings) -> Arc<RedisDirectory> {
    RedisDirectory::open(settings, ACCESS_TOKEN_LIFE, PATIENCE)
        .await
        .unwrap()
}

pub async fn login(directory: &RedisDirectory, user: UserId) -> LoginId {
    let login = LoginId::fresh();
    let now = Timestamp::now();
    let new = NewLogin {
        login,
        user,
        family: [1; 32],
        secret: [10; 32],
        created_at: now,
        expires_at: Timestamp(now.0 + 60_000),
    };
    directory.create(new).await.unwrap();
    login
}

fn rotation(login: LoginId, from: u8, to: u8) -> Rotation {
    let now = Timestamp::now();
    Rotation {
        login,
        family: [1; 32],
        secret: [from; 32],
        next: [to; 32],
        now,
        expires_at: Timestamp(now.0 + 60_000),
    }
}

/// How long it takes until this holds.
async fn until(what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

async fn raw(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract_of_the_directory() {
    let url = support::redis();
    let prefix = RefCell::new(String::new());
    let fresh = async || {
        *prefix.borrow_mut() = support::fresh("directory");
        let settings = settings(&url, &prefix.borrow());
        open(&settings).await as _
    };
    let reopened = async |_closed, _now| {
        let settings = settings(&url, &prefix.borrow());
        open(&settings).await as _
    };
    suite(fresh, reopened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract_of_delayed_jobs() {
    let url = support::redis();
    let prefix = RefCell::new(String::new());
    let reopened = async || {
        let settings = settings(&url, &prefix.borrow());
        Arc::new(open(&settings).await.jobs()) as _
    };
    let fresh = async || {
        *prefix.borrow_mut() = support::fresh("jobs");
        reopened().await
    };
    jobs::suite(fresh, async |_closed| reopened().await).await;
}

#[tokio::test]
async fn a_revocation_at_one_node_is_known_at_the_other_at_once() {
    let settings = settings(&support::redis(), &support::fresh("directory"));
    let (here, there) = (open(&settings).await, open(&settings).await);
    let mut heard = there.subscribe();
    let user = UserId::fresh();
    let mut quickest = PATIENCE;
    for _ in 0..5 {
        let login = login(&here, user).await;
        assert!(here.revoke(user, login, Timestamp::now()).await.unwrap());
        assert!(here.is_revoked(login));
        quickest = quickest.min(until("told", async || there.is_revoked(login)).await);
        assert_eq!(heard.recv().await.unwrap(), Revocation { user, login });
    }
    assert!(
        quickest < Duration::from_millis(250),
        "sooner than asking finds it: {quickest:?}"
    );
    assert!(heard.is_empty(), "each once");
}

#[tokio::test]
async fn a_revocation_that_nobody_was_told_of_is_found_within_a_second() {
    let settings = settings(&support::redis(), &support::fresh("directory"));
    let there = open(&settings).await;
    let mut heard = there.subscribe();
    let mut redis = raw(&settings.url).await;
    let mut quickest = PATIENCE;
    let mut number = 0;
    for _ in 0..3 {
        let (login, user) = (LoginId::fresh(), UserId::fresh());
        let now = Timestamp::now().0;
        // What a node writes, without what it publishes; numbers grow, also within a millisecond.
        number = (now * 1_000).max(number + 1);
        let mut write = redis::cmd("ZADD");
        write
            .arg(format!("{{{}}}:revoked", settings.prefix))
            .arg(number)
            .arg(format!("{login} {user} {now}"));
        let begun = Instant::now();
        let _: i64 = write.query_async(&mut redis).await.unwrap();
        let told = tokio::time::timeout(PATIENCE, heard.recv()).await;
        assert_eq!(told.expect("found in time").unwrap(), Revocation { user, login });
        quickest = quickest.min(begun.elapsed());
        assert!(there.is_revoked(login));
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[tokio::test]
async fn two_nodes_share_the_logins_and_the_budgets() {
    let settings = settings(&support::redis(), &support::fresh("directory"));
    let (here, there) = (open(&settings).await, open(&settings).await);
    let user = UserId::fresh();
    let login = login(&here, user).await;
    let rotated = there.rotate(rotation(login, 10, 11)).await.unwrap();
    assert_eq!(rotated, Rotated::Rotated { user });
    let reused = here.rotate(rotation(login, 10, 12)).await.unwrap();
    assert_eq!(reused, Rotated::Reused { user }, "the other node spent it");
    until("told", async || there.is_revoked(login)).await;

    let now = Timestamp::now();
    let admit = async |node: &RedisDirectory| node.admit(Throttled::LogIn, HOME, 2, now).await.unwrap();
    assert_eq!(admit(&here).await, Admission::Admitted);
    assert_eq!(admit(&there).await, Admission::Admitted);
    assert_ne!(admit(&here).await, Admission::Admitted);
}

#[tokio::test]
async fn what_no_longer_matters_leaves_redis_by_itself() {
    let settings = settings(&support::redis(), &support::fresh("directory"));
    let directory = open(&settings).await;
    let user = UserId::fresh();
    let login = login(&directory, user).await;
    directory
        .admit(Throttled::SignUp, HOME, 3, Timestamp::now())
        .await
        .unwrap();
    directory.revoke(user, login, Timestamp::now()).await.unwrap();
    let mut redis = raw(&settings.url).await;
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{{{}}}:*", settings.prefix));
    let keys: Vec<String> = keys.query_async(&mut redis).await.unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let mut left = redis::cmd("PTTL");
        left.arg(&key);
        let left: i64 = left.query_async(&mut redis).await.unwrap();
        let of_all = key.contains(":revoked");
        assert!(of_all || left > 0, "{key} would stay for ever");
    }
    // The revocations themselves are purged.
    directory
        .purge(Timestamp(Timestamp::now().0 + 3_600_000))
        .await
        .unwrap();
    let mut count = redis::cmd("EXISTS");
    count
        .arg(format!("{{{}}}:revoked", settings.prefix))
        .arg(format!("{{{}}}:revoked:times", settings.prefix));
    let count: i64 = count.query_async(&mut redis).await.unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn while_redis_is_away_sign_in_fails_clearly_and_the_revoked_stay_out() {
    let service = Service::start("redis").await;
    let settings = Settings {
        connect_ms: 1_000,
        ..settings(&service.address(), "directory")
    };
    let (here, there) = (open(&settings).await, open(&settings).await);
    let user = UserId::fresh();
    let (gone, kept) = (login(&here, user).await, login(&here, user).await);
    here.revoke(user, gone, Timestamp::now()).await.unwrap();
    until("told", async || there.is_revoked(gone)).await;
    service.stop().await;

    assert!(there.is_revoked(gone) && !there.is_revoked(kept));
    let begun = Instant::now();
    let refused = there.admit(Throttled::LogIn, HOME, 3, Timestamp::now()).await;
    assert!(is_away(&refused), "{refused:?}");
    let refused = there.rotate(rotation(kept, 10, 11)).await;
    assert!(is_away(&refused), "{refused:?}");
    let refused = there.revoke(user, kept, Timestamp::now()).await;
    assert!(is_away(&refused), "{refused:?}");
    assert!(!there.is_revoked(kept), "what failed was not done");
    assert!(begun.elapsed() < PATIENCE);

    service.start_again().await;
    until("it is back", async || {
        there.admit(Throttled::LogIn, HOME, 3, Timestamp::now()).await.is_ok()
    })
    .await;
    let revoked = there.revoke(user, kept, Timestamp::now()).await.unwrap_or(true);
    assert!(revoked, "Redis kept the login, or lost it and knows nothing to revoke");
}

#[tokio::test]
async fn a_redis_that_lost_its_data_is_told_the_revocations() {
    let service = Service::start("redis").await;
    let settings = settings(&service.address(), "directory");
    let (here, there) = (open(&settings).await, open(&settings).await);
    let user = UserId::fresh();
    let login = login(&here, user).await;
    here.revoke(user, login, Timestamp::now()).await.unwrap();
    until("told", async || there.is_revoked(login)).await;
    let mut redis = raw(&settings.url).await;
    let _: String = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
    drop(redis);
    service.kill().await;
    service.start_again().await;
    // Somebody who comes new hears of it from Redis alone.
    let fresh = open(&settings).await;
    until("told by those who knew", async || fresh.is_revoked(login)).await;
}

#[tokio::test]
async fn a_redis_that_stands_still_fails_calls_in_time() {
    let service = Service::start("redis").await;
    let settings = Settings {
        answer_ms: 300,
        ..settings(&service.address(), "directory")
    };
    let directory = open(&settings).await;
    service.pause();
    let begun = Instant::now();
    let refused = directory.rotate(rotation(LoginId::fresh(), 1, 2)).await;
    assert!(
        matches!(refused, Err(PortError::Unknown(_) | PortError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    service.resume();
    let unknown = async || {
        matches!(
            directory.rotate(rotation(LoginId::fresh(), 1, 2)).await,
            Ok(Rotated::Unknown)
        )
    };
    until("it goes on", unknown).await;
}

#[tokio::test]
async fn what_is_wrong_at_start_is_one_sentence_without_the_password() {
    let service = Service::start("redis").await;
    let address = service.address();
    let wrong = address.replace("redis://", "redis://ada:secret@");
    let failure = RedisDirectory::open(&settings(&wrong, "directory"), ACCESS_TOKEN_LIFE, Duration::ZERO).await;
    said(failure.err().unwrap(), &address, "redis.url");
    service.stop().await;
    let begun = Instant::now();
    let short = Duration::from_millis(300);
    let failure = RedisDirectory::open(&settings(&address, "directory"), ACCESS_TOKEN_LIFE, short).await;
    said(failure.err().unwrap(), &address, "[redis]");
    assert!(begun.elapsed() < PATIENCE);
}

fn said(error: PortError, address: &str, place: &str) {
    let text = error.to_string();
    let address = address.trim_start_matches("redis://");
    assert!(text.contains(address) && text.contains(place), "{text}");
    assert!(!text.contains("secret") && !text.contains('\n'), "{text}");
}

fn is_away<T>(answer: &Result<T, PortError>) -> bool {
    matches!(answer, Err(PortError::Unavailable(_) | PortError::Unknown(_)))
}
