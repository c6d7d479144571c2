//! Redis: the directory of a node, and the membership of its cluster.

use std::num::NonZeroU8;
use std::time::Duration;

use rookery_actors::id::UserId;
use rookery_actors::ports::directory::Directory;
use rookery_actors::testkit::directory::ACCESS_TOKEN_LIFE;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::lease::Timing;
use rookery_cluster::membership::service::{self, CannotJoin, Identity, Lease};
use rookery_cluster::wire::Versions;
use rookery_node::adapters::redis::{RedisDirectory, Settings};

use super::*;
use crate::redis::login;
use crate::support::Service;

pub const WRONG: &str = "wrong-hush-hush";

pub fn settings(url: String, authority: &Authority) -> Settings {
    Settings {
        url,
        ca_file: authority.file(),
        connect_ms: 10_000,
        answer_ms: 10_000,
        ..Settings::default()
    }
}

pub async fn open(settings: Settings) -> PortResult<Arc<RedisDirectory>> {
    settings.check().map_err(PortError::Broken)?;
    RedisDirectory::open(&settings, ACCESS_TOKEN_LIFE, Duration::from_secs(1)).await
}

pub async fn join(settings: &Settings, wait: Duration) -> Result<Lease, CannotJoin> {
    let identity = Identity {
        node: NodeId::from("a"),
        weight: NonZeroU8::MIN,
        address: "127.0.0.1:7000".parse().unwrap(),
        fingerprint: [7; 32],
        public_url: None,
        versions: Versions::OWN,
    };
    let settings = service::Settings {
        redis: settings.target().unwrap(),
        prefix: settings.prefix.clone(),
        timing: Timing::default(),
        shards: 16,
        wait,
    };
    service::join(settings, identity).await
}

/// Starts one with TLS and a password; answers its URL and the same with the password.
async fn start(authority: &Authority) -> (Service, String, String) {
    let (certificate, key) = authority.certificate();
    let files = [("cert.pem", &*certificate), ("key.pem", &key), ("password", SECRET)];
    let service = Service::with("redis", &files).await;
    let url = service.address();
    let with_password = url.replace("rediss://", &format!("rediss://:{SECRET}@"));
    (service, url, with_password)
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_membership_are_kept_over_tls() {
    let authority = Authority::new();
    let (_service, _, url) = start(&authority).await;
    let settings = settings(url, &authority);
    let (here, there) = (
        open(settings.clone()).await.unwrap(),
        open(settings.clone()).await.unwrap(),
    );
    let user = UserId::fresh();
    let login = login(&here, user).await;
    // Told over the connection that only listens.
    let mut heard = there.subscribe();
    assert!(here.revoke(user, login, Timestamp::now()).await.unwrap());
    let told = tokio::time::timeout(SOON, heard.recv()).await;
    assert_eq!(told.expect("told in time").unwrap().login, login);

    let lease = join(&settings, SOON).await.unwrap();
    assert_eq!(lease.cluster().borrow().view.members().len(), 1);
    lease.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_said() {
    let authority = Authority::new();
    let (service, no_password, url) = start(&authority).await;
    let good = settings(url.clone(), &authority);
    let place = url.split('@').nth(1).unwrap().to_owned();

    let stranger = Authority::new();
    let other = settings(url.clone(), &stranger);
    let nobody = Settings {
        ca_file: PathBuf::new(),
        ..good.clone()
    };
    for settings in [other.clone(), nobody] {
        is_for_the_operator(&refused(open(settings), &[&place, "invalid peer certificate", "redis.ca_file"]).await);
    }
    let wrong = settings(url.replace(SECRET, WRONG), &authority);
    for settings in [wrong.clone(), settings(no_password, &authority)] {
        is_for_the_operator(&refused(open(settings), &[&place, "password", "redis.url"]).await);
    }
    let plain = Settings {
        url: url.replace("rediss://", "redis://"),
        ca_file: PathBuf::new(),
        ..good.clone()
    };
    refused(open(plain.clone()), &[&place, "redis.url begins with rediss://"]).await;
    let in_the_clear = Settings {
        ca_file: good.ca_file.clone(),
        ..plain
    };
    refused(open(in_the_clear), &["redis.ca_file", "rediss://"]).await;
    let empty = Settings {
        ca_file: authority.no_certificate(),
        ..good.clone()
    };
    refused(open(empty), &["redis.ca_file", "holds no certificate"]).await;

    for settings in [other, wrong] {
        let error = join(&settings, Duration::from_secs(1))
            .await
            .err()
            .expect("it is refused");
        one_sentence(&error.to_string(), &[&place]);
    }
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_tls_or_by_another_name_is_said() {
    let authority = Authority::new();
    let plain = Service::start("redis").await;
    let url = plain.address().replace("redis://", "rediss://");
    refused(open(settings(url, &authority)), &["redis.url begins with redis://"]).await;

    let (certificate, key) = authority.certificate_of(ELSEWHERE);
    let elsewhere = Service::with("redis", &[("cert.pem", &certificate), ("key.pem", &key)]).await;
    let words = ["not valid for name", "redis.url a name that stands in it"];
    is_for_the_operator(&refused(open(settings(elsewhere.address(), &authority)), &words).await);
}
