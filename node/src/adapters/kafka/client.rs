//! How the clients of Kafka are set up, what they log, and what their errors mean to the port.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rookery_actors::ports::{PortError, PortResult};

use super::Settings;
use crate::adapters::authorities;

/// The largest record: far beyond what the protocol's limits can make one, and below what a broker takes by default (1,048,588
/// bytes, the batch's frame included).
pub const MAX_RECORD: usize = 900_000;
/// Records that may wait for a broker: as the embedded log, two seconds of the highest rate a core can serve.
pub const MAX_RECORDS: usize = 65_536;
/// Bytes that may wait, likewise.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What both clients share: the brokers, the credentials, and how soon a connection that does not answer is given up.
fn common(settings: &Settings) -> PortResult<ClientConfig> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "rookery")
        .set("security.protocol", &settings.security_protocol)
        // A broker that is silent for so long is taken for lost; what was asked of it is asked again, of its successor.
        .set("socket.timeout.ms", "6000")
        .set("socket.connection.setup.timeout.ms", "3000")
        .set("socket.keepalive.enable", "true")
        // A broker that comes back is noticed within half a second.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("retry.backoff.ms", "50")
        .set("retry.backoff.max.ms", "500")
        .set("log.connection.close", "false")
        // Never made by accident, with a broker's default number of partitions.
        .set("allow.auto.create.topics", "false");
    if settings.security_protocol.starts_with("sasl") {
        config
            .set("sasl.mechanism", &settings.sasl_mechanism)
            .set("sasl.username", &settings.sasl_username)
            .set("sasl.password", password(settings)?);
    }
    let files = [
        ("ssl.ca.location", &settings.ssl_ca_file),
        ("ssl.certificate.location", &settings.ssl_certificate_file),
        ("ssl.key.location", &settings.ssl_key_file),
    ];
    if !settings.ssl_ca_file.as_os_str().is_empty() {
        authorities::read("kafka.ssl_ca_file", &settings.ssl_ca_file).map_err(PortError::Broken)?;
    }
    for (key, file) in files.iter().filter(|(_, file)| !file.as_os_str().is_empty()) {
        config.set(*key, utf8(file)?);
    }
    Ok(config)
}

fn password(settings: &Settings) -> PortResult<String> {
    let file = &settings.sasl_password_file;
    if file.as_os_str().is_empty() {
        return Ok(settings.sasl_password.clone());
    }
    let text = fs::read_to_string(file)
        .map_err(|error| PortError::Broken(format!("read kafka.sasl_password_file {}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn utf8(file: &Path) -> PortResult<&str> {
    file.to_str()
        .ok_or_else(|| PortError::Broken(format!("the path {} in [kafka] is not UTF-8", file.display())))
}

/// The producer's settings.
pub fn producer(settings: &Settings) -> PortResult<ClientConfig> {
    let mut config = common(settings)?;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", &settings.compression)
        // Records have gathered before they come here (`producer.rs`).
        .set("linger.ms", "0")
        // A record is tried until it stands. To give one up would leave a gap, after which the producer renumbers what is
        // behind it and may write that twice; who waits for an answer is told sooner (`outstanding.rs`).
        .set("message.timeout.ms", "0")
        .set("request.timeout.ms", "5000")
        // Our own bounds are reached first.
        .set("queue.buffering.max.messages", (2 * MAX_RECORDS).to_string())
        .set("queue.buffering.max.kbytes", (4 * MAX_BYTES / 1024).to_string());
    Ok(config)
}

/// The consumer's settings: it reads on demand, from given positions, and is in no group but for the positions it commits.
pub fn consumer(settings: &Settings) -> PortResult<ClientConfig> {
    let mut config = common(settings)?;
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position that retention has deleted is an error, never somewhere else.
        .set("auto.offset.reset", "error")
        // A read that begins waits for the one before it to come back empty, at most so long.
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "16384");
    Ok(config)
}

/// A client that hears of no broker for so long is told of them again.
pub const MEET_AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Tells a client of the brokers again. The library forgets those that a broker does not list: all of them, where that one is a
/// cluster of its own and was silent for so long that it takes itself for dead; and then it does not always begin anew. To one
/// that knows its brokers it is no news.
#[expect(unsafe_code, reason = "rd_kafka_brokers_add has no safe form in rdkafka")]
pub fn meet_again<C: ClientContext>(client: &Client<C>, brokers: &str) {
    let Ok(brokers) = CString::new(brokers) else { return };
    tracing::debug!("tell a client of Kafka's brokers again");
    // SAFETY: the client lives as long as it is borrowed, the text as long as the call, and the function may be called at any time.
    unsafe {
        rdkafka::bindings::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr());
    }
}

/// What is known of the brokers as a whole.
#[derive(Default)]
pub struct Health {
    away: AtomicBool,
    /// What a client complained of last, in the library's words.
    complaint: Mutex<Option<(RDKafkaErrorCode, String)>>,
    suspected: Mutex<bool>,
    changed: Condvar,
}

impl Health {
    /// No broker answers.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Says whether a broker answers; logs when that changed.
    pub fn set_away(&self, away: bool) {
        if self.away.load(Ordering::Relaxed) == away || self.away.swap(away, Ordering::Relaxed) == away {
            return;
        }
        metrics::gauge!("node_kafka_away").set(f64::from(u8::from(away)));
        if away {
            tracing::warn!("no Kafka broker answers: messages are refused until one does");
        } else {
            tracing::warn!("Kafka answers again");
        }
    }

    /// Remembers what a connection failed for.
    fn complain(&self, code: RDKafkaErrorCode, reason: &str) {
        // That all are down is what comes of it.
        if code != RDKafkaErrorCode::AllBrokersDown {
            *self.complaint.lock() = Some((code, reason.to_owned()));
        }
    }

    /// What a connection failed for last.
    pub fn complaint(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.complaint.lock().clone()
    }

    /// The producer lost all its connections. What comes now would wait for nobody; whoever watches looks at once whether
    /// that is so.
    pub fn suspect(&self) {
        self.set_away(true);
        self.look();
    }

    /// Wakes whoever watches.
    pub fn look(&self) {
        *self.suspected.lock() = true;
        self.changed.notify_all();
    }

    /// Waits, but not longer than this, until something is suspected.
    pub fn wait(&self, at_most: std::time::Duration) {
        let mut suspected = self.suspected.lock();
        if !*suspected {
            self.changed.wait_for(&mut suspected, at_most);
        }
        *suspected = false;
    }
}

/// Takes what a client has to say. Its own lines are for debugging: what matters of them is said once, by `Health`.
pub struct Quiet(pub Arc<Health>);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        note(&self.0, &error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// A line of the library's own log.
pub fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    tracing::debug!(target: "rookery_node::kafka", ?level, facility, "{line}");
}

/// An error that concerns a client as a whole.
pub fn note(health: &Health, error: &KafkaError, reason: &str) {
    tracing::debug!(target: "rookery_node::kafka", %error, reason, "a client's error");
    if let Some(code) = error.rdkafka_error_code() {
        health.complain(code, reason);
    }
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
        health.suspect();
    }
}

/// What the answer to one append means, when it is no success. Only what a broker refuses before it writes is surely not in
/// the log; everything else may have been written by an attempt whose answer was lost.
pub fn append_error(error: &KafkaError) -> PortError {
    use RDKafkaErrorCode as Code;
    let text = format!("append to Kafka: {error}");
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidRecord
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::PolicyViolation,
        ) => PortError::Broken(text),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            PortError::Unavailable(text)
        }
        _ => PortError::Unknown(text),
    }
}

/// What it means that the producer did not take a record: whatever the reason, it is surely not in the log.
pub fn refusal(error: &KafkaError) -> PortError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => PortError::Broken(format!("append to Kafka: {error}")),
        _ => PortError::Unavailable(format!("append to Kafka: {error}")),
    }
}

/// What an error of anything but an append means: nothing was changed that asking again would not mend.
pub fn request_error(what: &str, error: &KafkaError) -> PortError {
    use RDKafkaErrorCode as Code;
    let text = format!("{what}: {error}");
    match error.rdkafka_error_code() {
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic,
        ) => PortError::Broken(text),
        // The library calls a partition unknown that has no leader.
        _ => PortError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn production(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::MessageProduction(code)
    }

    #[test]
    fn only_what_was_surely_not_written_may_be_sent_again_as_if_new() {
        use RDKafkaErrorCode as Code;
        for code in [
            Code::MessageTimedOut,
            Code::PurgeInflight,
            Code::PurgeQueue,
            Code::OutOfOrderSequenceNumber,
        ] {
            assert!(
                matches!(append_error(&production(code)), PortError::Unknown(_)),
                "{code}"
            );
        }
        assert!(matches!(
            append_error(&production(Code::MessageSizeTooLarge)),
            PortError::Broken(_)
        ));
        assert!(matches!(
            refusal(&production(Code::QueueFull)),
            PortError::Unavailable(_)
        ));
    }

    #[test]
    fn a_password_file_is_read_without_its_last_line_break() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("password");
        fs::write(&file, "hush \n").expect("written");
        let settings = Settings {
            sasl_password_file: file,
            ..Settings::default()
        };
        assert_eq!(password(&settings).expect("read"), "hush ");
        let missing = Settings {
            sasl_password_file: dir.path().join("none"),
            ..Settings::default()
        };
        assert!(password(&missing).is_err());
    }

    #[test]
    fn health_wakes_who_watches() {
        let health = Health::default();
        health.suspect();
        assert!(health.is_away());
        health.wait(std::time::Duration::from_secs(60));
        health.set_away(false);
        assert!(!health.is_away());
    }
}
