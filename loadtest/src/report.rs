//! What a run found, as data; and as text, JSON and a page.

mod faults;
mod html;
mod plot;
mod text;

pub use faults::FaultRow;
pub use html::html;
pub use text::{number, text};

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::audit::{Kind, Verdict};
use crate::measure::{Counts, Op, Window};
use crate::sample::Machine;

/// Everything about a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub harness: String,
    pub command: String,
    pub seed: u64,
    pub began: String,
    pub seconds: f64,
    pub machine: Machine,
    pub server: ServerFacts,
    pub sections: Vec<Section>,
    pub table: Vec<Row>,
    pub thresholds: Vec<Judged>,
    pub outcome: Outcome,
}

/// Which server it was.
#[derive(Debug, Default, Serialize)]
pub struct ServerFacts {
    pub address: String,
    pub version: String,
    /// What was set differently from a server as shipped, where we started it.
    pub settings: Vec<String>,
    pub processors: String,
    pub load_processors: String,
}

/// How a run ended; the exit status follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    ThresholdExceeded,
    AuditFailed,
    /// A part could not be played to its end.
    Failed,
}

/// One scenario's results.
#[derive(Debug, Default, Serialize)]
pub struct Section {
    pub name: String,
    pub title: String,
    pub settings: Vec<(String, String)>,
    pub figures: Vec<Figure>,
    pub latencies: Vec<Latency>,
    pub steps: Vec<Step>,
    pub points: Vec<Point>,
    pub faults: Vec<FaultRow>,
    pub counts: Counts,
    pub incidents: BTreeMap<String, u64>,
    pub audit: Verdict,
    pub notes: Vec<String>,
    pub interrupted: bool,
    /// It could not be played to its end, or left a cluster behind that was not whole again.
    pub failed: bool,
}

/// One number, with its unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: String,
    pub about: String,
}

/// A latency's distribution in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub op: String,
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Percentile and value, close enough together to draw.
    pub curve: Vec<(f64, f64)>,
}

/// One rate tried.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    pub rate: f64,
    pub passed: bool,
    pub why: String,
    pub achieved: f64,
    pub delivered_per_second: f64,
    pub sent_p99_ms: Option<f64>,
    pub delivered_p99_ms: Option<f64>,
    pub cpu_us_per_message: Option<f64>,
    pub cpu_us_per_delivery: Option<f64>,
    pub cpu_cores: Option<f64>,
    pub load_cores: f64,
}

/// One moment of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Point {
    pub second: f64,
    pub online: u64,
    pub sent_per_second: f64,
    pub delivered_per_second: f64,
    pub sent_p50_ms: Option<f64>,
    pub sent_p99_ms: Option<f64>,
    pub delivered_p50_ms: Option<f64>,
    pub delivered_p99_ms: Option<f64>,
    pub server_cores: Option<f64>,
    pub server_rss_mib: Option<f64>,
    pub load_cores: f64,
}

/// A line of the table of goals.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub what: String,
    pub goal: String,
    pub measured: String,
    /// `None` where the row could not be measured.
    pub reached: Option<bool>,
}

/// A threshold and how it came out.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    pub threshold: String,
    /// Where it was looked up, and what was found there.
    pub found: Vec<(String, f64)>,
    pub exceeded: bool,
}

impl Section {
    pub fn new(name: &str, title: &str) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            ..Self::default()
        }
    }

    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.settings.push((key.into(), value.to_string()));
    }

    pub fn figure(&mut self, name: &str, value: f64, unit: &str, about: &str) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit: unit.into(),
            about: about.into(),
        });
    }

    pub fn value(&self, name: &str) -> Option<f64> {
        self.figures
            .iter()
            .find(|figure| figure.name == name)
            .map(|figure| figure.value)
    }

    /// Takes over a window's latencies, in place of those of an earlier one.
    pub fn latencies(&mut self, window: &Window) {
        for op in Op::ALL {
            if let Some(histogram) = window.latency(op) {
                self.latencies.retain(|latency| latency.op != op.name());
                self.latencies.push(Latency::of(op.name(), histogram));
            }
        }
    }

    pub fn latency(&self, op: Op) -> Option<&Latency> {
        self.latencies.iter().find(|latency| latency.op == op.name())
    }

    /// Everything a threshold can name: value and unit.
    pub fn lookup(&self, name: &str) -> Option<(f64, &str)> {
        if let Some(figure) = self.figures.iter().find(|figure| figure.name == name) {
            return Some((figure.value, &figure.unit));
        }
        let (head, tail) = name.split_once('.')?;
        match head {
            "audit" => self.audit_value(tail).map(|value| (value, "")),
            "incidents" => Some((self.incidents.get(tail).copied().unwrap_or(0) as f64, "")),
            "counts" => {
                let named = self.counts.named();
                named
                    .iter()
                    .find(|(name, _)| *name == tail)
                    .map(|(_, count)| (*count as f64, ""))
            }
            op => {
                let latency = self.latencies.iter().find(|latency| latency.op == op)?;
                let value = match tail {
                    "p50" => latency.p50,
                    "p90" => latency.p90,
                    "p99" => latency.p99,
                    "p999" => latency.p999,
                    "max" => latency.max,
                    "mean" => latency.mean,
                    "count" => return Some((latency.count as f64, "")),
                    _ => return None,
                };
                Some((value, "ms"))
            }
        }
    }

    fn audit_value(&self, name: &str) -> Option<f64> {
        if name == "violations" {
            return Some(self.audit.violations as f64);
        }
        let kinds = [
            Kind::Lost,
            Kind::Duplicated,
            Kind::Reordered,
            Kind::Gapped,
            Kind::Phantom,
            Kind::Corrupted,
        ];
        let kind = kinds.into_iter().find(|kind| kind.name() == name)?;
        Some(self.audit.by_kind.get(&kind).copied().unwrap_or(0) as f64)
    }
}

impl Latency {
    pub fn of(op: &str, histogram: &Histogram<u64>) -> Self {
        let at = |percentile| histogram.value_at_percentile(percentile) as f64 / 1000.0;
        let curve = histogram.iter_quantiles(4).map(|value| {
            let percentile = value.percentile();
            (percentile, value.value_iterated_to() as f64 / 1000.0)
        });
        Self {
            op: op.into(),
            count: histogram.len(),
            mean: histogram.mean() / 1000.0,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: histogram.max() as f64 / 1000.0,
            curve: curve.take_while(|(percentile, _)| *percentile < 100.0).collect(),
        }
    }
}

#[cfg(test)]
pub mod sample {
    use super::*;
    use crate::audit::Violation;
    use crate::measure::{Measures, Window};

    /// A report with something everywhere, for the tests of its forms.
    pub fn report() -> Report {
        let mut section = Section::new("direct", "1,000 pairs at 2,000/s");
        section.set("pairs", 1000);
        section.figure("cpu_per_message", 42.5, "us", "server, user and system");
        let mut window = Window::default();
        window.add(&Measures {
            counts: Counts::default(),
            recorded: vec![(Op::Sent, vec![(1_000, 98), (20_000, 1), (300_000, 1)])],
        });
        section.latencies(&window);
        section.points = (0..4)
            .map(|n| Point {
                second: f64::from(n),
                sent_per_second: 2000.0,
                sent_p99_ms: Some(3.0 + f64::from(n)),
                server_cores: Some(0.4),
                server_rss_mib: Some(80.0),
                ..Point::default()
            })
            .collect();
        section.audit.violations = 1;
        section.audit.by_kind.insert(Kind::Lost, 1);
        section.audit.evidence.push(Violation {
            kind: Kind::Lost,
            conversation: "c0ffee".into(),
            seq: 7,
            id: "0001".into(),
            who: "client 3 <b>".into(),
            detail: "gone".into(),
        });
        section.incidents.insert("close 4008".into(), 2);
        Report {
            harness: "rookery-load 0".into(),
            command: "rookery-load direct".into(),
            seed: 1,
            began: "2026-11-21T09:30:00.000Z".into(),
            seconds: 20.0,
            machine: Machine::default(),
            server: ServerFacts::default(),
            sections: vec![section],
            table: vec![Row {
                what: "direct".into(),
                goal: "<= 80 us".into(),
                measured: "42.5 us".into(),
                reached: Some(true),
            }],
            thresholds: Vec::new(),
            outcome: Outcome::AuditFailed,
        }
    }
}
