//! What is measured: counts, and a histogram of latencies for each operation, over a window chosen beforehand.
//!
//! Latencies belong to the window in which they were *intended* to start; counts to the one in which they happened. What comes
//! before and after (warm-up, ramp, drain) is in the totals only.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// An operation whose latency is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// From the intended connect to `hello`.
    Connect,
    /// From the intended connect to the last `sync`.
    Sync,
    /// From the intended connect until nothing missed is missing any more.
    Resume,
    /// From the intended send to its `sent`.
    Sent,
    /// From the intended send to its arrival at one receiver.
    Delivered,
    /// How late the harness itself was: from the intended start to the moment it acted.
    Lag,
}

impl Op {
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Sync,
        Self::Resume,
        Self::Sent,
        Self::Delivered,
        Self::Lag,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Sync => "sync",
            Self::Resume => "resume",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Lag => "lag",
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often things happened.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Counts {
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name - earlier.$name,)* }
            }

            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    /// Messages whose time to be sent came.
    intended,
    /// `send` frames written, repeats included.
    sends,
    /// `send` frames written again for a message that was not answered.
    retried,
    answered,
    /// Sends refused for good.
    refused,
    delivered,
    /// Messages received again after a reconnect, with the same seq.
    replayed,
    updates,
    receipts,
    /// Sequence numbers named by `gap` frames.
    gapped,
    connects,
    connect_failures,
    /// Sockets the server closed or lost while they were wanted.
    closes,
    pings,
    acks,
    history_pages,
    error_frames,
    frames_in,
    bytes_in,
    bytes_out,
}

/// A latency histogram in microseconds, three digits, up to ten minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid")
}

/// The figures of one window, as they travel between processes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measures {
    pub counts: Counts,
    /// Recorded values and how often, by operation.
    pub recorded: Vec<(Op, Vec<(u64, u64)>)>,
}

/// The figures of one window, of all workers together.
#[derive(Clone, Default)]
pub struct Window {
    pub counts: Counts,
    latencies: BTreeMap<Op, Histogram<u64>>,
}

impl Window {
    pub fn add(&mut self, measures: &Measures) {
        self.counts.add(&measures.counts);
        for (op, recorded) in &measures.recorded {
            let into = self.latencies.entry(*op).or_insert_with(histogram);
            for (value, count) in recorded {
                into.saturating_record_n(*value, *count);
            }
        }
    }

    /// Joins another window, as when a figure is taken over several rounds.
    pub fn join(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (op, latencies) in &other.latencies {
            let into = self.latencies.entry(*op).or_insert_with(histogram);
            into.add(latencies).expect("all histograms have the same bounds");
        }
    }

    pub fn latency(&self, op: Op) -> Option<&Histogram<u64>> {
        self.latencies.get(&op).filter(|histogram| !histogram.is_empty())
    }

    /// A percentile in milliseconds; `None` where nothing was recorded.
    pub fn millis(&self, op: Op, percentile: f64) -> Option<f64> {
        self.latency(op)
            .map(|histogram| histogram.value_at_percentile(percentile) as f64 / 1000.0)
    }
}

/// What one worker records.
pub struct Meter {
    pub total: Counts,
    from_ns: u64,
    to_ns: u64,
    at_from: Option<Counts>,
    at_to: Option<Counts>,
    latencies: [Histogram<u64>; Op::ALL.len()],
    recent: [Histogram<u64>; 2],
    sampled: u32,
    /// Errors, closes and refusals by name.
    pub incidents: BTreeMap<String, u64>,
}

/// Different incidents kept apart.
const INCIDENTS: usize = 100;
/// Of the live figures for progress, one delivery in so many is looked at.
const SAMPLE: u32 = 8;

impl Default for Meter {
    fn default() -> Self {
        Self {
            total: Counts::default(),
            from_ns: 0,
            to_ns: u64::MAX,
            at_from: None,
            at_to: None,
            latencies: Op::ALL.map(|_| histogram()),
            recent: [histogram(), histogram()],
            sampled: 0,
            incidents: BTreeMap::new(),
        }
    }
}

impl Meter {
    /// Opens a window; what an earlier one recorded is dropped.
    pub fn open(&mut self, from_ns: u64, to_ns: u64) {
        (self.from_ns, self.to_ns) = (from_ns, to_ns);
        (self.at_from, self.at_to) = (None, None);
        self.latencies.iter_mut().for_each(Histogram::reset);
    }

    /// Notes the counts when the window begins and ends.
    pub fn tick(&mut self, now: u64) {
        if self.at_from.is_none() && now >= self.from_ns {
            self.at_from = Some(self.total);
        }
        if self.at_to.is_none() && now >= self.to_ns {
            self.at_to = Some(self.total);
        }
    }

    #[inline]
    pub fn record(&mut self, op: Op, intended: u64, now: u64) {
        let micros = now.saturating_sub(intended) / 1000;
        if (self.from_ns..self.to_ns).contains(&intended) {
            self.latencies[op as usize].saturating_record(micros);
        }
        let recent = match op {
            Op::Sent => 0,
            Op::Delivered => 1,
            _ => return,
        };
        self.sampled = self.sampled.wrapping_add(1);
        if recent == 0 || self.sampled.is_multiple_of(SAMPLE) {
            self.recent[recent].saturating_record(micros);
        }
    }

    /// Counts something that went wrong by its name; beyond so many names they share one.
    pub fn incident(&mut self, name: impl Into<String>) {
        let mut name = name.into();
        if self.incidents.len() >= INCIDENTS && !self.incidents.contains_key(&name) {
            name = "others".into();
        }
        *self.incidents.entry(name).or_default() += 1;
    }

    /// The figures of the window so far.
    pub fn measures(&self) -> Measures {
        let end = self.at_to.unwrap_or(self.total);
        let recorded = Op::ALL
            .iter()
            .zip(&self.latencies)
            .filter(|(_, histogram)| !histogram.is_empty());
        Measures {
            counts: end.since(&self.at_from.unwrap_or(end)),
            recorded: recorded
                .map(|(op, histogram)| {
                    let values = histogram.iter_recorded();
                    (
                        *op,
                        values
                            .map(|value| (value.value_iterated_to(), value.count_at_value()))
                            .collect(),
                    )
                })
                .collect(),
        }
    }

    /// Median and 99th percentile, in ms, of `sent` and `delivered` since the last call.
    pub fn recent(&mut self) -> [Option<(f64, f64)>; 2] {
        [0, 1].map(|n| {
            let recent = &mut self.recent[n];
            let read = |q| recent.value_at_percentile(q) as f64 / 1000.0;
            let figures = (!recent.is_empty()).then(|| (read(50.0), read(99.0)));
            recent.reset();
            figures
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, Op, Window};

    #[test]
    fn only_what_was_intended_within_the_window_is_recorded() {
        let mut meter = Meter::default();
        meter.open(1_000_000, 2_000_000);
        meter.total.delivered = 5;
        meter.tick(1_000_000);
        meter.record(Op::Delivered, 999_999, 5_000_000);
        meter.record(Op::Delivered, 1_500_000, 4_500_000);
        meter.total.delivered = 12;
        meter.tick(2_000_000);
        meter.total.delivered = 20;
        meter.record(Op::Delivered, 2_000_000, 3_000_000);
        let mut window = Window::default();
        window.add(&meter.measures());
        window.add(&meter.measures());
        assert_eq!(window.counts.delivered, 14);
        let delivered = window.latency(Op::Delivered).unwrap();
        assert_eq!((delivered.len(), delivered.max()), (2, 3001));
        assert!((window.millis(Op::Delivered, 50.0).unwrap() - 3.0).abs() < 0.01);
        assert_eq!(window.millis(Op::Sent, 50.0), None);
    }

    #[test]
    fn a_window_not_begun_has_counted_nothing() {
        let mut meter = Meter::default();
        meter.open(10, 20);
        meter.total.sends = 3;
        assert_eq!(meter.measures().counts.sends, 0);
    }
}
