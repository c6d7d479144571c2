//! The event log. SASL with passwords in the clear needs no feature; TLS and SCRAM need `kafka-tls`, and are tried with it.

#[cfg(feature = "kafka-tls")]
mod encrypted;

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::ports::log::{EventLog, Report, Reports};
use rookery_cluster::id::ShardId;
use rookery_node::adapters::kafka::{KafkaLog, Settings};

use super::*;
use crate::kafka::settings;
use crate::support::Service;

const A: ShardId = ShardId(0);

/// How the one listener is secured. The broker itself is a client of none.
fn own_properties(protocol: &str) -> String {
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    format!(
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:{protocol}\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
         sasl.mechanism.inter.broker.protocol=PLAIN\n\
         listener.name.plaintext.plain.sasl.jaas.config={login} username=\"broker\" password=\"{SECRET}\" \
         user_broker=\"{SECRET}\" user_ada=\"{SECRET}\";\n\
         listener.name.plaintext.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
    )
}

fn signed_in(brokers: &str, protocol: &str) -> Settings {
    Settings {
        security_protocol: protocol.into(),
        sasl_mechanism: "PLAIN".into(),
        sasl_username: "ada".into(),
        sasl_password: SECRET.into(),
        append_timeout_ms: 9_000,
        ..settings(brokers)
    }
}

/// Opens with little patience for what will not come.
async fn open(settings: &Settings) -> PortResult<KafkaLog> {
    KafkaLog::open(settings, 4, Duration::from_secs(5)).await
}

#[derive(Default)]
struct Kept(Mutex<Vec<Report>>);

impl Reports for Kept {
    fn appended(&self, _shard: ShardId, reports: Vec<Report>) {
        self.0.lock().extend(reports);
    }

    fn grew(&self, _shard: ShardId, _end: u64) {}
}

/// Appends, reads and commits: all that a log does over its connections.
async fn works(settings: &Settings) {
    let log = KafkaLog::open(settings, 4, SOON).await.expect("the log opens");
    let kept = Arc::new(Kept::default());
    log.start(kept.clone());
    log.append(A, Bytes::from_static(b"hello"), 1);
    let begun = Instant::now();
    while kept.0.lock().is_empty() {
        assert!(begun.elapsed() < SOON, "no report came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(kept.0.lock()[0].outcome.is_ok());
    let records = log.read(A, 0, 10).await.expect("read");
    assert_eq!(records.len(), 1);
    assert_eq!(&*records[0].payload, b"hello");
    log.commit(vec![(A, 1)]).await.expect("committed");
    assert_eq!(log.committed().await.expect("committed")[0], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_signs_in_and_a_wrong_one_is_said() {
    let service = Service::with("kafka", &[("own.properties", &own_properties("SASL_PLAINTEXT"))]).await;
    let good = signed_in(&service.address(), "sasl_plaintext");
    works(&good).await;

    let wrong = Settings {
        sasl_password: "wrong-hush-hush".into(),
        ..good.clone()
    };
    let words = [&*good.brokers, "kafka.sasl_password"];
    is_for_the_operator(&refused(open(&wrong), &words).await);
    let no_password = settings(&service.address());
    refused(open(&no_password), &[&*good.brokers, "kafka.security_protocol"]).await;
    let forgotten = Settings {
        sasl_password: String::new(),
        ..good.clone()
    };
    is_for_the_operator(&refused(open(&forgotten), &["kafka.sasl_password"]).await);
}
