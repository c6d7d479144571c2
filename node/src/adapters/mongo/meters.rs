//! What is counted of the conversation with MongoDB.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use mongodb::event::cmap::CmapEvent;

/// What a command does, as the metrics tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Find,
    Count,
    Insert,
    Update,
    FindAndModify,
    Delete,
    Admin,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Find,
        Self::Count,
        Self::Insert,
        Self::Update,
        Self::FindAndModify,
        Self::Delete,
        Self::Admin,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Count => "count",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::FindAndModify => "find_and_modify",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }

    /// Whether a command of this kind that breaks off may have been carried out.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Find | Self::Count)
    }
}

/// The metrics' handles, resolved once.
pub struct Meters {
    seconds: [Histogram; Kind::ALL.len()],
    failures: [Counter; Kind::ALL.len()],
    /// Projections that the store was not behind of.
    pub fenced: Counter,
    /// Folds that another projector was quicker with.
    pub conflicts: Counter,
    commands: AtomicU64,
}

impl Meters {
    pub fn new() -> Self {
        Self {
            seconds: Kind::ALL
                .map(|kind| metrics::histogram!("node_mongodb_command_seconds", "command" => kind.label())),
            failures: Kind::ALL.map(|kind| metrics::counter!("node_mongodb_failures_total", "command" => kind.label())),
            fenced: metrics::counter!("node_mongodb_fenced_total"),
            conflicts: metrics::counter!("node_mongodb_conflicts_total"),
            commands: AtomicU64::new(0),
        }
    }

    /// One command was answered, or broke off.
    pub fn record(&self, kind: Kind, took: Duration, failed: bool) {
        self.commands.fetch_add(1, Ordering::Relaxed);
        self.seconds[kind as usize].record(took);
        if failed {
            self.failures[kind as usize].increment(1);
        }
    }

    /// Commands so far: round trips, but for the further batches of a long answer.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }
}

/// Keeps the gauge of open connections.
pub fn connections() -> impl Fn(CmapEvent) + Send + Sync {
    let gauge: Gauge = metrics::gauge!("node_mongodb_connections");
    move |event| match event {
        CmapEvent::ConnectionCreated(_) => gauge.increment(1.0),
        CmapEvent::ConnectionClosed(_) => gauge.decrement(1.0),
        _ => {}
    }
}
