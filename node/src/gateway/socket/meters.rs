//! Metric handles of the sockets, resolved once.

use metrics::{Counter, Gauge, counter, gauge};

use super::outbox::Wrote;

pub struct Meters {
    pub connections: Gauge,
    pub upgrades: Counter,
    pub frames_taken: Counter,
    pub frames_malformed: Counter,
    pub frames_limited: Counter,
    pub bytes_received: Counter,
    pub dropped_full: Counter,
    pub dropped_ephemeral: Counter,
    pub dropped_closed: Counter,
    bytes_sent: Counter,
    pushes: Counter,
    writes: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            connections: gauge!("node_connections"),
            upgrades: counter!("node_upgrades_total"),
            frames_taken: counter!("node_frames_received_total", "outcome" => "taken"),
            frames_malformed: counter!("node_frames_received_total", "outcome" => "malformed"),
            frames_limited: counter!("node_frames_received_total", "outcome" => "rate_limited"),
            bytes_received: counter!("node_bytes_received_total"),
            dropped_full: counter!("node_outbox_dropped_total", "reason" => "catch_up"),
            dropped_ephemeral: counter!("node_outbox_dropped_total", "reason" => "ephemeral"),
            dropped_closed: counter!("node_outbox_dropped_total", "reason" => "closed"),
            bytes_sent: counter!("node_bytes_sent_total"),
            pushes: counter!("node_pushes_total"),
            writes: counter!("node_writes_total"),
        }
    }
}

/// Counts of many writes, told to the recorder together.
#[derive(Default)]
pub struct Tally {
    bytes: u64,
    pushes: u64,
    calls: u64,
}

impl Tally {
    pub fn add(&mut self, wrote: Wrote) {
        self.bytes += wrote.bytes as u64;
        self.pushes += u64::from(wrote.pushes);
        self.calls += u64::from(wrote.calls);
    }

    /// Records and starts anew.
    pub fn record(&mut self, meters: &Meters) {
        let tally = std::mem::take(self);
        meters.bytes_sent.increment(tally.bytes);
        meters.pushes.increment(tally.pushes);
        meters.writes.increment(tally.calls);
    }
}
