//! The actors' metrics: handles made once, used on hot paths.

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

/// Handles of the metrics that are touched per message.
pub struct Metrics {
    pub sent: Counter,
    pub deliveries: Counter,
    pub projected: Histogram,
    pub project_failures: Counter,
    pub replays: Counter,
    pub ephemeral_dropped: Counter,
}

/// Name, kind, labels and meaning of every metric of this crate.
pub const TABLE: &[(&str, &str, &[&str], &str)] = &[
    (
        "actors_active",
        "gauge",
        &["kind"],
        "Actors in memory, by kind (conversation or session).",
    ),
    (
        "actors_failed_total",
        "counter",
        &["kind"],
        "Actors that panicked and were restarted, by kind.",
    ),
    (
        "actors_messages_sent_total",
        "counter",
        &[],
        "Sends answered with sent, repeats included.",
    ),
    (
        "actors_deliveries_total",
        "counter",
        &[],
        "Live batches handed to sessions on this node; replayed frames are not counted.",
    ),
    (
        "actors_projection_seconds",
        "histogram",
        &[],
        "Time the store took for one batch of projections.",
    ),
    (
        "actors_projection_failures_total",
        "counter",
        &[],
        "Batches of projections the store did not take; each is tried again.",
    ),
    (
        "actors_projections_refused",
        "gauge",
        &[],
        "Conversations of which the store refuses something for good; they take no sends.",
    ),
    (
        "actors_unstored_bytes",
        "gauge",
        &[],
        "Bytes that wait for the store, about; beyond unstored_bytes sends are refused.",
    ),
    (
        "actors_replays_total",
        "counter",
        &[],
        "Connections that had to be caught up, at connect or after falling behind.",
    ),
    (
        "actors_ephemeral_dropped_total",
        "counter",
        &[],
        "Typing, presence and receipt frames dropped because a connection was full.",
    ),
];

impl Default for Metrics {
    fn default() -> Self {
        for (name, kind, _, help) in TABLE {
            match *kind {
                "gauge" => describe_gauge!(*name, *help),
                "histogram" => describe_histogram!(*name, Unit::Seconds, *help),
                _ => describe_counter!(*name, *help),
            }
        }
        Self {
            sent: counter!("actors_messages_sent_total"),
            deliveries: counter!("actors_deliveries_total"),
            projected: histogram!("actors_projection_seconds"),
            project_failures: counter!("actors_projection_failures_total"),
            replays: counter!("actors_replays_total"),
            ephemeral_dropped: counter!("actors_ephemeral_dropped_total"),
        }
    }
}
