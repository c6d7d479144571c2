//! What this crate counts. Local deliveries are not counted: they are calls.

use metrics::{Counter, counter, describe_counter};

use crate::transport::SendError;
use crate::wire::Malformed;

const SENT: &str = "cluster_messages_sent_total";
const REFUSED: &str = "cluster_messages_refused_total";
const RECEIVED: &str = "cluster_messages_received_total";
const DROPPED: &str = "cluster_messages_dropped_total";

/// Name, kind, labels and meaning of every metric of this crate.
pub const TABLE: &[(&str, &str, &[&str], &str)] = &[
    (
        SENT,
        "counter",
        &[],
        "Messages queued to other nodes; not those that stayed on this node.",
    ),
    (
        REFUSED,
        "counter",
        &["reason"],
        "Messages to other nodes that were refused to their sender, by reason.",
    ),
    (
        RECEIVED,
        "counter",
        &[],
        "Messages from other nodes handed to the local actors.",
    ),
    (
        DROPPED,
        "counter",
        &["reason"],
        "Messages from other nodes that were dropped, by reason.",
    ),
];

/// Gives every metric of this crate its help text. Call it once, after the recorder was installed.
pub fn describe() {
    for (name, _, _, help) in TABLE {
        describe_counter!(*name, *help);
    }
}

/// The handles of one router, resolved when it is made.
pub(crate) struct Counters {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    malformed: Counter,
}

impl Counters {
    pub(crate) fn resolve() -> Self {
        Self {
            sent: counter!(SENT),
            received: counter!(RECEIVED),
            malformed: counter!(DROPPED, "reason" => "malformed"),
        }
    }

    /// A refusal is rare, so its handle is looked up.
    pub(crate) fn refused(&self, error: &SendError) {
        counter!(REFUSED, "reason" => error.reason()).increment(1);
    }

    pub(crate) fn malformed(&self, _why: Malformed) {
        self.malformed.increment(1);
    }
}
