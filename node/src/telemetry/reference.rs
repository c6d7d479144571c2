//! The table of all metrics, made from what the code describes them with.

use std::fmt::Write;

use super::process;
use crate::metrics::{Kind, METRICS};

/// A metric as the documentation has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Described {
    pub name: &'static str,
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Every metric of the process, by crate.
pub fn documented() -> Vec<Described> {
    let own = METRICS.iter().map(|metric| Described {
        name: metric.name,
        kind: match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        },
        labels: metric.labels,
        help: metric.help,
    });
    let below = rookery_actors::metrics::TABLE
        .iter()
        .chain(rookery_cluster::metrics::TABLE);
    let below = below.map(|(name, kind, labels, help)| Described {
        name,
        kind,
        labels,
        help,
    });
    own.chain(below).chain(process::METRICS).collect()
}

/// The page of the documentation.
pub fn table() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Served by the admin listener at `GET /metrics` in Prometheus' text format. Made by `rookery docs metrics`.\n\n\
         Label values come from closed sets: no user, conversation or path is ever one. Histograms have the series \
         `_bucket`, `_sum` and `_count`. A metric that has not been touched yet may be absent.\n\n\
         | Name | Type | Labels | What it counts |\n|---|---|---|---|\n",
    );
    for Described {
        name,
        kind,
        labels,
        help,
    } in documented()
    {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (labels, help) = (labels.join(", "), help.replace('|', "\\|"));
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").ok();
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metric_stands_twice_and_each_says_what_it_counts() {
        let mut names = std::collections::BTreeSet::new();
        for metric in documented() {
            assert!(names.insert(metric.name), "{} stands twice", metric.name);
            assert!(metric.help.len() > 10, "{} says nothing", metric.name);
        }
    }
}
