//! What this crate counts. Local deliveries are not counted: they are calls.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::membership::lease::Answer;
use crate::membership::{Cluster, NodeState};
use crate::router::Puzzle;
use crate::transport::SendError;

const SENT: &str = "cluster_messages_sent_total";
const REFUSED: &str = "cluster_messages_refused_total";
const RECEIVED: &str = "cluster_messages_received_total";
const DROPPED: &str = "cluster_messages_dropped_total";
const EPOCH: &str = "cluster_epoch";
const MEMBERS: &str = "cluster_members";
const MOVED: &str = "cluster_shards_moved_total";
const BEATS: &str = "cluster_heartbeats_total";
const LAPSES: &str = "cluster_lapses_total";
const LINKS_UP: &str = "cluster_links_up";
const LINK_LOSSES: &str = "cluster_link_losses_total";
const HANDSHAKE_FAILURES: &str = "cluster_link_handshake_failures_total";
const BYTES_SENT: &str = "cluster_link_bytes_sent_total";
const BYTES_RECEIVED: &str = "cluster_link_bytes_received_total";
const FRAMES_SENT: &str = "cluster_link_frames_sent_total";
const FRAMES_RECEIVED: &str = "cluster_link_frames_received_total";
const FRAMES_LOST: &str = "cluster_link_frames_lost_total";
const QUEUE_BYTES: &str = "cluster_link_queue_bytes";
const ROUND_TRIP: &str = "cluster_link_round_trip_seconds";

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
        "Messages from other nodes that could not be read, by reason: malformed, or later (of a later release, in whole or in part).",
    ),
    (
        EPOCH,
        "gauge",
        &[],
        "The epoch of the membership that this node knows; the same on all nodes but for moments.",
    ),
    (
        MEMBERS,
        "gauge",
        &["state"],
        "Nodes in the cluster as this node knows it, by state (joining, up or draining).",
    ),
    (
        MOVED,
        "counter",
        &[],
        "Shards that got another owner, on whichever node, from one table to the next.",
    ),
    (
        BEATS,
        "counter",
        &["outcome"],
        "Heartbeats to Redis, by outcome: ok, refused (the lease was gone) or failed (no answer).",
    ),
    (
        LAPSES,
        "counter",
        &[],
        "Times this node lost its lease, and with it what it owned.",
    ),
    (LINKS_UP, "gauge", &[], "Nodes that this node has a link to."),
    (
        LINK_LOSSES,
        "counter",
        &["reason"],
        "Links that ended, by reason: silent, closed (by the peer or the network), broken, replaced, left, shutdown.",
    ),
    (
        HANDSHAKE_FAILURES,
        "counter",
        &["reason"],
        "Links that did not come up, dialled or answered, by reason.",
    ),
    (
        BYTES_SENT,
        "counter",
        &[],
        "Bytes of messages handed to links, with their headers; not QUIC's own.",
    ),
    (
        BYTES_RECEIVED,
        "counter",
        &[],
        "Bytes of messages that came over links, with their headers; not QUIC's own.",
    ),
    (FRAMES_SENT, "counter", &[], "Messages handed to links."),
    (FRAMES_RECEIVED, "counter", &[], "Messages that came over links."),
    (
        FRAMES_LOST,
        "counter",
        &[],
        "Messages that waited for a link when it ended; what was on its way is not counted.",
    ),
    (
        QUEUE_BYTES,
        "gauge",
        &[],
        "Bytes that wait for all links together, twice a second.",
    ),
    (
        ROUND_TRIP,
        "histogram",
        &[],
        "Time from a ping to its answer over links; at most two pings a second and link.",
    ),
];

/// Gives every metric of this crate its help text. Call it once, after the recorder was installed.
pub fn describe() {
    for (name, kind, _, help) in TABLE {
        match *kind {
            "gauge" => describe_gauge!(*name, *help),
            "histogram" => describe_histogram!(*name, *help),
            _ => describe_counter!(*name, *help),
        }
    }
}

/// The handles of one router, resolved when it is made.
pub(crate) struct Counters {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    malformed: Counter,
    later: Counter,
}

impl Counters {
    pub(crate) fn resolve() -> Self {
        Self {
            sent: counter!(SENT),
            received: counter!(RECEIVED),
            malformed: counter!(DROPPED, "reason" => "malformed"),
            later: counter!(DROPPED, "reason" => "later"),
        }
    }

    /// A refusal is rare, so its handle is looked up.
    pub(crate) fn refused(&self, error: &SendError) {
        counter!(REFUSED, "reason" => error.reason()).increment(1);
    }

    pub(crate) fn puzzled(&self, puzzle: Puzzle) {
        match puzzle {
            Puzzle::Malformed => self.malformed.increment(1),
            Puzzle::Later => self.later.increment(1),
        }
    }
}

/// The handles of one node's membership.
pub(crate) struct Membership {
    epoch: Gauge,
    members: [(NodeState, Gauge); 3],
    moved: Counter,
    ok: Counter,
    refused: Counter,
    failed: Counter,
    lapses: Counter,
}

impl Membership {
    pub(crate) fn resolve() -> Self {
        let members = |state, label: &'static str| (state, gauge!(MEMBERS, "state" => label));
        Self {
            epoch: gauge!(EPOCH),
            members: [
                members(NodeState::Joining, "joining"),
                members(NodeState::Up, "up"),
                members(NodeState::Draining, "draining"),
            ],
            moved: counter!(MOVED),
            ok: counter!(BEATS, "outcome" => "ok"),
            refused: counter!(BEATS, "outcome" => "refused"),
            failed: counter!(BEATS, "outcome" => "failed"),
            lapses: counter!(LAPSES),
        }
    }

    /// The cluster changed.
    pub(crate) fn cluster(&self, now: &Cluster, before: Option<&Cluster>) {
        self.epoch.set(now.view.epoch().0 as f64);
        for (state, gauge) in &self.members {
            let members = now.view.members().iter().filter(|member| member.state == *state);
            gauge.set(members.count() as f64);
        }
        if let Some(before) = before {
            let moves = before.table.placement.moves(&now.table.placement);
            self.moved.increment(moves.count() as u64);
        }
    }

    pub(crate) fn answered(&self, answer: Answer) {
        match answer {
            Answer::Failed => self.failed.increment(1),
            Answer::Gone | Answer::Superseded => self.refused.increment(1),
            _ => self.ok.increment(1),
        }
    }

    pub(crate) fn lapsed(&self) {
        self.lapses.increment(1);
    }
}

/// The handles of one transport's links, resolved when it is made.
pub(crate) struct LinkMeters {
    pub(crate) up: Gauge,
    pub(crate) bytes_sent: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) frames_sent: Counter,
    pub(crate) frames_received: Counter,
    pub(crate) frames_lost: Counter,
    pub(crate) queue_bytes: Gauge,
    pub(crate) round_trip: Histogram,
}

impl LinkMeters {
    pub(crate) fn resolve() -> Self {
        Self {
            up: gauge!(LINKS_UP),
            bytes_sent: counter!(BYTES_SENT),
            bytes_received: counter!(BYTES_RECEIVED),
            frames_sent: counter!(FRAMES_SENT),
            frames_received: counter!(FRAMES_RECEIVED),
            frames_lost: counter!(FRAMES_LOST),
            queue_bytes: gauge!(QUEUE_BYTES),
            round_trip: histogram!(ROUND_TRIP),
        }
    }

    /// Losses and failures are rare, so their handles are looked up.
    pub(crate) fn lost(&self, reason: &'static str) {
        counter!(LINK_LOSSES, "reason" => reason).increment(1);
    }

    pub(crate) fn not_established(&self, reason: &'static str) {
        counter!(HANDSHAKE_FAILURES, "reason" => reason).increment(1);
    }
}
