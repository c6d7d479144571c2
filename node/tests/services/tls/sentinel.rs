//! Redis behind Sentinels that speak TLS, and have a password of their own.

use std::time::{Duration, Instant};

use ::redis::TlsCertificates;
use rookery_actors::id::UserId;
use rookery_actors::ports::directory::Directory;
use rookery_actors::time::Timestamp;
use rookery_node::adapters::redis::RedisDirectory;

use super::redis::{WRONG, join, open, settings};
use super::*;
use crate::redis::login;
use crate::support::Service;

/// Contains the secret, so that what may not be said is known by that.
const OF_SENTINELS: &str = "hush-hush+guard";

/// A primary, its replica, and a Sentinel that is alone enough to put the one in the other's place. All speak TLS and nothing
/// else, to each other too.
struct Watch {
    primary: Service,
    _replica: Service,
    sentinel: Service,
    authority: Authority,
}

impl Watch {
    async fn start() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.certificate();
        let ca = authority.issuer.pem();
        let shared = [("cert.pem", &*certificate), ("key.pem", &*key), ("ca.pem", &*ca)];
        let start = async |password: &str, file: &str, content: &str| {
            let content = format!("tls-replication yes\ntls-ca-cert-file ca.pem\n{content}");
            let own = [("password", password), (file, content.as_str())];
            Service::with("redis", &[&shared[..], &own].concat()).await
        };
        let of_data = format!("masterauth {SECRET}\nrepl-diskless-sync-delay 0\n");
        let primary = start(SECRET, "own.conf", &of_data).await;
        let port = port(&primary);
        let replica = start(SECRET, "own.conf", &format!("{of_data}replicaof 127.0.0.1 {port}\n")).await;
        let watches = format!(
            "sentinel monitor main 127.0.0.1 {port} 1\nsentinel auth-pass main {SECRET}\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        );
        let sentinel = start(OF_SENTINELS, "sentinel.conf", &watches).await;
        Self {
            primary,
            _replica: replica,
            sentinel,
            authority,
        }
    }

    /// Its address, with the Sentinels' own password as an URL has it.
    fn url(&self) -> String {
        let sentinel = self.sentinel.address().replace("rediss://", "");
        format!("sentinels://:{SECRET}@{sentinel}/main?sentinel_password={OF_SENTINELS}")
    }

    /// Sentinel asks the primary for its replicas once in a while, and can promote only one that it knows.
    async fn knows_a_replica(&self) {
        let url = self
            .sentinel
            .address()
            .replace("rediss://", &format!("rediss://:{OF_SENTINELS}@"));
        let tls = TlsCertificates {
            client_tls: None,
            root_cert: Some(self.authority.issuer.pem().into_bytes()),
        };
        let client = ::redis::Client::build_with_tls(url, tls).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let begun = Instant::now();
        loop {
            let mut question = ::redis::cmd("SENTINEL");
            question.arg("REPLICAS").arg("main");
            let replicas: Vec<::redis::Value> = question.query_async(&mut connection).await.unwrap();
            if !replicas.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < SOON,
                "sentinel finds no replica:\n{}",
                self.sentinel.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn port(service: &Service) -> String {
    let address = service.address();
    address.rsplit_once(':').unwrap().1.to_owned()
}

/// Waits until a login can be ended, which is when a primary takes writes.
async fn writes_are_taken(directory: &RedisDirectory) {
    let begun = Instant::now();
    while let Err(error) = directory.revoke_all(UserId::fresh(), None, Timestamp::now()).await {
        assert!(begun.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_sentinels_move_is_followed_over_tls() {
    let watch = Watch::start().await;
    let settings = settings(watch.url(), &watch.authority);
    let directory = open(settings.clone()).await.unwrap();
    login(&directory, UserId::fresh()).await;
    let lease = join(&settings, SOON).await.unwrap();
    watch.knows_a_replica().await;

    watch.primary.kill().await;
    writes_are_taken(&directory).await;
    login(&directory, UserId::fresh()).await;
    lease.leave().await;
    // Who comes after it finds the new one.
    open(settings).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_said() {
    let watch = Watch::start().await;
    let sentinel = watch.sentinel.address().replace("rediss://", "");
    let good = || settings(watch.url(), &watch.authority);

    let stranger = Authority::new();
    let words = [&*sentinel, "invalid peer certificate", "redis.ca_file"];
    is_for_the_operator(&refused(open(settings(watch.url(), &stranger)), &words).await);

    let words = [&*sentinel, "sentinel_password", "redis.url"];
    let (url, of_sentinels) = (watch.url(), format!("?sentinel_password={OF_SENTINELS}"));
    for parameters in [format!("?sentinel_password={WRONG}"), String::new()] {
        let other = settings(url.replace(&of_sentinels, &parameters), &watch.authority);
        is_for_the_operator(&refused(open(other), &words).await);
    }
    let wrong = url.replace(&format!(":{SECRET}@"), &format!(":{WRONG}@"));
    let error = refused(open(settings(wrong, &watch.authority)), &["password", "redis.url"]).await;
    is_for_the_operator(&error);
    assert!(
        !error.to_string().contains("sentinel_password"),
        "the primary's it is: {error}"
    );

    let unknown = settings(url.replace("/main", "/other"), &watch.authority);
    refused(open(unknown), &["does not know the primary", "other"]).await;
    let plain = rookery_node::adapters::redis::Settings {
        url: url.replace("sentinels://", "sentinel://"),
        ca_file: PathBuf::new(),
        ..good()
    };
    refused(open(plain), &[&sentinel, "begins with rediss:// or sentinels://"]).await;
    open(good()).await.unwrap();
}
