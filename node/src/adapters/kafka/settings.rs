//! The section `kafka` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

/// The shortest wait for a broker that makes sense: a lone record takes a broker a millisecond, a busy one a hundred.
const SHORTEST_APPEND_MS: u32 = 500;
/// The longest: beyond it the conversations have given up already.
const LONGEST_APPEND_MS: u32 = 9_000;
/// Beyond it a message waits longer than people notice.
const LONGEST_LINGER_MS: u32 = 100;
/// Those that need no library of the system.
const COMPRESSIONS: [&str; 3] = ["none", "lz4", "snappy"];
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

crate::config::settings! {
    /// The event log on Kafka. Left out, the log is a file in the data directory, and the node stands alone.
    secrets(sasl_password)
    pub struct Settings {
        /// Brokers to begin with, as `host:port,host:port`; empty keeps the log in the data directory.
        brokers: String = String::new();
        /// The topic. It is made where it is missing, with one partition a shard; the number of partitions can never change.
        topic: String = "rookery-log".into();
        /// The consumer group under which the stored positions are committed, so that Kafka's own tools show the lag.
        group: String = "rookery".into();
        /// Copies of each record. A topic that has fewer is refused.
        replication_factor: u16 = 3;
        /// Copies that must have a record before it counts as kept. A topic that asks for fewer is refused.
        min_insync_replicas: u16 = 2;
        /// How long records are kept, in hours, when the topic is made; 0 keeps them for ever. It must be longer than the
        /// database may be away: what was deleted before it was stored is lost.
        retention_hours: u32 = 168;
        /// While records come close together, they are sent this often, in milliseconds, so that they share wake-ups, each
        /// of which costs more than a record. A lone record does not wait. 0 sends each at once.
        linger_ms: u32 = 4;
        /// What records are compressed with on their way: `none`, `lz4` or `snappy`. Those of one partition that are sent together
        /// are compressed together, so it pays only where many come at once; short ones that come alone cost more for it and
        /// get no shorter. To keep them shorter on the brokers' disks, let the topic's own `compression.type` say so.
        compression: String = "none".into();
        /// How long a client waits for a broker's answer before it is told that the outcome is unknown, in milliseconds.
        append_timeout_ms: u32 = 5_000;
        /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`. Those with `ssl` need a binary built with the feature
        /// `kafka-tls`.
        security_protocol: String = "plaintext".into();
        /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`, with a protocol that has `sasl`. SCRAM needs the feature `kafka-tls`.
        sasl_mechanism: String = String::new();
        /// The user for SASL.
        sasl_username: String = String::new();
        /// The password for SASL; better given in `ROOKERY_KAFKA__SASL_PASSWORD` or by `sasl_password_file`.
        sasl_password: String = String::new();
        /// A file that holds the password for SASL, its last line break not included; empty when there is none.
        sasl_password_file: PathBuf = PathBuf::new();
        /// Certificates that sign the brokers', as a PEM file; empty takes the system's.
        ssl_ca_file: PathBuf = PathBuf::new();
        /// The certificate this node shows to the brokers, as a PEM file; empty shows none.
        ssl_certificate_file: PathBuf = PathBuf::new();
        /// The key of that certificate, as a PEM file.
        ssl_key_file: PathBuf = PathBuf::new();
    }
}

impl Settings {
    /// Whether the log is on Kafka at all.
    pub fn is_chosen(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// Says what is wrong with them, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_chosen() {
            return Ok(());
        }
        self.check_names()?;
        if self.replication_factor == 0 || !(1..=self.replication_factor).contains(&self.min_insync_replicas) {
            return Err("kafka.min_insync_replicas must be 1 to kafka.replication_factor".into());
        }
        if !(SHORTEST_APPEND_MS..=LONGEST_APPEND_MS).contains(&self.append_timeout_ms) {
            return Err(format!(
                "kafka.append_timeout_ms must be {SHORTEST_APPEND_MS} to {LONGEST_APPEND_MS}"
            ));
        }
        if self.linger_ms > LONGEST_LINGER_MS {
            return Err(format!("kafka.linger_ms must be at most {LONGEST_LINGER_MS}"));
        }
        if !COMPRESSIONS.contains(&self.compression.as_str()) {
            return Err(format!("kafka.compression must be one of {}", COMPRESSIONS.join(", ")));
        }
        self.check_security()
    }

    fn check_names(&self) -> Result<(), String> {
        let legal = |name: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !name.is_empty() && name.len() <= 249 && name.chars().all(known)
        };
        if !legal(&self.topic) || !legal(&self.group) {
            return Err("kafka.topic and kafka.group must be 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'".into());
        }
        Ok(())
    }

    fn check_security(&self) -> Result<(), String> {
        if !PROTOCOLS.contains(&self.security_protocol.as_str()) {
            return Err(format!(
                "kafka.security_protocol must be one of {}",
                PROTOCOLS.join(", ")
            ));
        }
        let sasl = self.security_protocol.starts_with("sasl");
        if sasl && !MECHANISMS.contains(&self.sasl_mechanism.as_str()) {
            return Err(format!("kafka.sasl_mechanism must be one of {}", MECHANISMS.join(", ")));
        }
        let has_file = |file: &PathBuf| !file.as_os_str().is_empty();
        let has_sasl = [&self.sasl_mechanism, &self.sasl_username, &self.sasl_password];
        let has_sasl = has_file(&self.sasl_password_file) || has_sasl.iter().any(|text| !text.is_empty());
        if !sasl && has_sasl {
            return Err(
                "kafka.sasl_* is set, but kafka.security_protocol has no sasl: nothing would be signed in".into(),
            );
        }
        let has_password = !self.sasl_password.is_empty() || has_file(&self.sasl_password_file);
        if sasl && (self.sasl_username.is_empty() || !has_password) {
            return Err(
                "kafka.security_protocol has sasl: give kafka.sasl_username, and kafka.sasl_password or its file"
                    .into(),
            );
        }
        let ssl = self.security_protocol.ends_with("ssl");
        let of_ssl = [&self.ssl_ca_file, &self.ssl_certificate_file, &self.ssl_key_file];
        if !ssl && of_ssl.into_iter().any(has_file) {
            return Err(
                "kafka.ssl_* is set, but kafka.security_protocol has no ssl: nothing would be encrypted".into(),
            );
        }
        let wants_tls = ssl || self.sasl_mechanism.starts_with("SCRAM");
        if wants_tls && !cfg!(feature = "kafka-tls") {
            return Err(format!(
                "kafka.security_protocol = {:?} with this mechanism needs a binary built with the feature `kafka-tls`, \
                 and this one was built without it",
                self.security_protocol
            ));
        }
        Ok(())
    }

    pub(super) fn append_timeout(&self) -> Duration {
        Duration::from_millis(self.append_timeout_ms.into())
    }

    pub(super) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms.into())
    }

    /// The topic's `retention.ms`.
    pub(super) fn retention_ms(&self) -> i64 {
        match self.retention_hours {
            0 => -1,
            hours => i64::from(hours) * 60 * 60 * 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(change: impl FnOnce(&mut Settings)) -> Result<(), String> {
        let mut settings = Settings {
            brokers: "localhost:9092".into(),
            ..Settings::default()
        };
        change(&mut settings);
        settings.check()
    }

    #[test]
    fn the_defaults_are_sound_with_and_without_kafka() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(chosen(|_| ()), Ok(()));
        assert_eq!(Settings::default().retention_ms(), 604_800_000);
    }

    #[test]
    fn what_cannot_work_is_refused_by_the_name_of_its_key() {
        let refused = |change: fn(&mut Settings), key: &str| {
            let error = chosen(change).expect_err(key);
            assert!(error.contains(key), "{error}");
        };
        refused(|it| it.topic = "a b".into(), "kafka.topic");
        refused(|it| it.min_insync_replicas = 4, "kafka.min_insync_replicas");
        refused(|it| it.append_timeout_ms = 60_000, "kafka.append_timeout_ms");
        refused(|it| it.linger_ms = 1_000, "kafka.linger_ms");
        refused(|it| it.compression = "zip".into(), "kafka.compression");
        refused(|it| it.security_protocol = "tls".into(), "kafka.security_protocol");
        refused(
            |it| it.security_protocol = "sasl_plaintext".into(),
            "kafka.sasl_mechanism",
        );
        refused(|it| it.sasl_username = "u".into(), "kafka.sasl_");
        refused(|it| it.sasl_password_file = "file".into(), "kafka.sasl_");
        refused(|it| it.ssl_ca_file = "ca.pem".into(), "kafka.ssl_");
        let nobody = |it: &mut Settings| {
            it.security_protocol = "sasl_plaintext".into();
            it.sasl_mechanism = "PLAIN".into();
        };
        refused(nobody, "kafka.sasl_username");
    }

    #[test]
    fn tls_needs_its_feature() {
        let asked = chosen(|it| it.security_protocol = "ssl".into());
        assert_eq!(asked.is_ok(), cfg!(feature = "kafka-tls"));
        let plain = |it: &mut Settings| {
            it.security_protocol = "sasl_plaintext".into();
            it.sasl_mechanism = "PLAIN".into();
            it.sasl_username = "u".into();
            it.sasl_password = "p".into();
        };
        assert_eq!(chosen(plain), Ok(()));
    }
}
