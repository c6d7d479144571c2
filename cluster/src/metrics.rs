//! What this crate counts. Local deliveries are not counted: they are calls.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::membership::lease::Answer;
use crate::membership::{Cluster, NodeState};
use crate::transport::SendError;
use crate::wire::Malformed;

const SENT: &str = "cluster_messages_sent_total";
const REFUSED: &str = "cluster_messages_refused_total";
const RECEIVED: &str = "cluster_messages_received_total";
const DROPPED: &str = "cluster_messages_dropped_total";
const EPOCH: &str = "cluster_epoch";
const MEMBERS: &str = "cluster_members";
const MOVED: &str = "cluster_shards_moved_total";
const BEATS: &str = "cluster_heartbeats_total";
const LAPSES: &str = "cluster_lapses_total";

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
];

/// Gives every metric of this crate its help text. Call it once, after the recorder was installed.
pub fn describe() {
    for (name, kind, _, help) in TABLE {
        match *kind {
            "gauge" => describe_gauge!(*name, *help),
            _ => describe_counter!(*name, *help),
        }
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
