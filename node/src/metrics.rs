//! Every metric of this crate, in one table: described to the recorder at start, and the source of the manual's list.
//!
//! Names are `node_<noun>[_<unit>][_total]`; labels come from closed sets, never from a user, a conversation or a path.

/// What kind of number a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric, and what it counts and doesn't.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// The same metric, told apart by these labels.
    const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }
}

const fn metric(kind: Kind, name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind,
        help,
        labels: &[],
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Counter, name, help)
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Gauge, name, help)
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    metric(Kind::Histogram, name, help)
}

/// All of them, by part.
pub const METRICS: &[Metric] = &[
    // The process.
    gauge("node_build_info", "always 1; the label says which version runs").by(&["version"]),
    // The gateway: connections.
    gauge("node_connections", "WebSockets open now"),
    gauge(
        "node_http_connections",
        "HTTP connections open now on the public listener, WebSockets not included",
    ),
    counter("node_accepts_total", "TCP connections accepted on the public listener"),
    counter(
        "node_accept_errors_total",
        "accept calls that failed, out of file descriptors among them",
    ),
    counter(
        "node_tls_failures_total",
        "TLS handshakes on the public listener that failed or took too long",
    ),
    counter("node_upgrades_total", "WebSockets that were attached to a session"),
    counter(
        "node_refused_total",
        "connections refused before the upgrade, by reason",
    )
    .by(&["reason"]),
    counter(
        "node_closed_total",
        "WebSockets ended, by close code; 1006 is a socket that just went away",
    )
    .by(&["code"]),
    // The gateway: frames.
    counter(
        "node_frames_received_total",
        "data frames read from clients, by outcome",
    )
    .by(&["outcome"]),
    counter(
        "node_bytes_received_total",
        "bytes read from WebSockets, frame heads included",
    ),
    counter(
        "node_bytes_sent_total",
        "bytes written to WebSockets, frame heads included",
    ),
    counter(
        "node_pushes_total",
        "frames handed to connections by the actors and taken",
    ),
    counter(
        "node_writes_total",
        "write calls on WebSockets; several pushes share one",
    ),
    counter("node_outbox_dropped_total", "pushes an outbox did not take, by reason").by(&["reason"]),
    // The gateway: HTTP.
    counter(
        "node_http_requests_total",
        "HTTP requests answered, by route and status class",
    )
    .by(&["route", "status"]),
    histogram(
        "node_http_request_seconds",
        "time to answer an HTTP request, by route; a streamed body is not counted",
    )
    .by(&["route"]),
    counter(
        "node_http_panics_total",
        "handlers that panicked and were answered with 500",
    ),
    // The event log.
    counter(
        "node_log_commits_total",
        "group commits of the event log, each one fsync",
    ),
    counter(
        "node_log_records_total",
        "records made durable: by those commits, or by Kafka",
    ),
    counter(
        "node_log_commit_failures_total",
        "group commits that failed or whose outcome is unknown; their records were reported so",
    ),
    counter(
        "node_log_refused_total",
        "appends refused at once: too many records waited, or no broker answered",
    ),
    histogram("node_log_commit_records", "records one group commit found waiting"),
    histogram(
        "node_log_commit_seconds",
        "time of one group commit, its fsync included",
    ),
    // The event log on Kafka.
    gauge(
        "node_kafka_away",
        "1 while no Kafka broker answers and appends are refused for it, else 0",
    ),
    histogram(
        "node_kafka_append_seconds",
        "time from an append to the report that all in-sync replicas have it; appends that failed are not counted",
    ),
    counter(
        "node_kafka_unknown_total",
        "appends whose outcome was unknown when their time was over; their senders were told to retry",
    ),
    counter(
        "node_kafka_late_total",
        "appends settled after they had been reported as unknown",
    ),
    counter(
        "node_kafka_grew_total",
        "times a shard was found to hold records that this node is not known to have written",
    ),
    counter(
        "node_kafka_records_read_total",
        "records read back from Kafka: at a take-over, and what others wrote",
    ),
    counter(
        "node_kafka_commits_total",
        "commits of stored positions to the consumer group",
    ),
    counter(
        "node_kafka_producers_replaced_total",
        "producers that failed for good and were replaced",
    ),
    // The store.
    counter("node_store_commits_total", "group commits of the store, each one fsync"),
    counter(
        "node_store_commit_failures_total",
        "group commits of the store that failed; every write in them was told",
    ),
    histogram(
        "node_store_commit_seconds",
        "time of one group commit of the store, the writes in it and its fsync included",
    ),
    histogram(
        "node_store_commit_writes",
        "writes one group commit of the store found waiting",
    ),
    counter("node_store_reads_total", "queries answered by the store's readers"),
    histogram(
        "node_store_read_seconds",
        "time of one query, the wait for a reader included",
    ),
    // MongoDB.
    histogram(
        "node_mongodb_command_seconds",
        "time of one command to MongoDB, the wait for a connection and the further batches of its answer included, by command",
    )
    .by(&["command"]),
    counter(
        "node_mongodb_failures_total",
        "commands to MongoDB that failed or were not answered in time; writes that a unique index refused count among them",
    )
    .by(&["command"]),
    gauge("node_mongodb_connections", "connections to MongoDB that are open or being made"),
    counter(
        "node_mongodb_fenced_total",
        "projections of conversations that changed nothing because the store was as far already: replays, and zombies",
    ),
    counter(
        "node_mongodb_conflicts_total",
        "messages that another node rewrote while updates were folded into them, and that were read again",
    ),
    // Redis.
    counter(
        "node_redis_calls_total",
        "calls of the directory and the delayed jobs to Redis, by outcome: ok or failed",
    )
    .by(&["outcome"]),
    histogram(
        "node_redis_seconds",
        "time of one call to Redis, finding the primary included",
    ),
    gauge(
        "node_revocations",
        "revoked logins that this node remembers, where Redis keeps them",
    ),
    gauge(
        "node_clock_offset_seconds",
        "by how much this machine's clock is ahead of Redis'; negative where it is behind",
    ),
    // Accounts.
    counter("node_sign_ups_total", "accounts made"),
    counter(
        "node_log_ins_total",
        "log-ins that were not throttled, by outcome: ok, refused (wrong credentials) or failed",
    )
    .by(&["outcome"]),
    counter(
        "node_refresh_reuses_total",
        "spent refresh tokens that came again, each of which ended a login",
    ),
    counter("node_accounts_deleted_total", "accounts their owners deleted"),
    counter(
        "node_throttled_total",
        "attempts refused because their address made too many, by what was attempted",
    )
    .by(&["what"]),
    gauge(
        "node_passwords_waiting",
        "passwords that wait for a thread to hash them",
    ),
    counter(
        "node_passwords_refused_total",
        "passwords not hashed because too many waited",
    ),
    histogram(
        "node_password_seconds",
        "time to hash or check one password, waiting not counted",
    ),
    // Files.
    counter(
        "node_blob_bytes_received_total",
        "bytes of uploads that were taken whole; of those that broke off none is counted",
    ),
    counter("node_blob_bytes_sent_total", "bytes of files read for downloads"),
    counter(
        "node_jobs_total",
        "delayed jobs done by this node, by name and by outcome: ok or failed",
    )
    .by(&["job", "outcome"]),
    counter(
        "node_files_swept_total",
        "abandoned and deleted files cleared away, and remnants of uploads",
    ),
];

/// Tells the recorder what each metric means. Call once, after the recorder is installed.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, METRICS};

    #[test]
    fn names_follow_the_convention_and_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in METRICS {
            assert!(metric.name.starts_with("node_"), "{}", metric.name);
            assert_eq!(
                metric.kind == Kind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
        }
    }
}
