//! Finds the highest rate that still passes: doubling until one fails, then halving the distance, within a bounded time.

use crate::measure::Op;
use crate::report::Step;
use crate::sys::{interrupted, now_ns};
use crate::trial::{Measured, Trial};

/// What a rate must keep to pass.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// 99th percentile of `sent` and of `delivered`.
    pub p99_ms: f64,
    /// Two rates nearer together than this share are the same.
    pub near: f64,
    /// No new rate is tried after so long.
    pub seconds: f64,
}

/// How long a rate that failed may take to be over, before the next is tried.
const RECOVERY_S: f64 = 60.0;
/// Of what should have been answered in the window, the share that must have been.
const ANSWERED: f64 = 0.95;

/// Tries rates from `first` on; the best that passed and its figures.
pub fn highest(
    trial: &mut Trial<'_>,
    bar: Bar,
    first: f64,
    mut attempt: impl FnMut(&mut Trial<'_>, f64) -> anyhow::Result<Measured>,
) -> anyhow::Result<Option<(f64, Measured)>> {
    let end = now_ns() + (bar.seconds * 1e9) as u64;
    let mut best: Option<(f64, Measured)> = None;
    let mut search = Search::new(first, bar.near);
    while let Some(rate) = search.next() {
        if interrupted() || now_ns() > end {
            break;
        }
        let measured = attempt(trial, rate)?;
        let why = flaw(&measured, bar.p99_ms);
        let step = step(rate, &measured, why.as_deref());
        trial.stage.console.say(&format!(
            "  {rate:.0}/s: {} (delivered {:.0}/s, server {:.2} cores, load {:.2})",
            why.as_deref().unwrap_or("passed"),
            step.delivered_per_second,
            step.cpu_cores.unwrap_or(f64::NAN),
            step.load_cores
        ));
        trial.section.steps.push(step);
        search.learn(rate, why.is_none());
        if why.is_none() {
            best = Some((rate, measured));
        } else if !trial.settle(RECOVERY_S)?.is_calm() {
            // What one rate left undone would be in the next one's figures.
            let note = format!("the search ended at {rate:.0}/s: not at rest {RECOVERY_S} s later");
            trial.section.notes.push(note);
            break;
        }
    }
    Ok(best)
}

/// Where the highest rate lies, as far as it is known.
struct Search {
    next: f64,
    passed: Option<f64>,
    failed: Option<f64>,
    near: f64,
}

impl Search {
    fn new(first: f64, near: f64) -> Self {
        Self {
            next: first,
            passed: None,
            failed: None,
            near,
        }
    }

    /// The rate to try next; `None` when the two sides are near enough.
    fn next(&self) -> Option<f64> {
        match (self.passed, self.failed) {
            (Some(passed), Some(failed)) if failed / passed < 1.0 + self.near => None,
            (None, Some(failed)) if failed < 1.0 => None,
            _ => Some(self.next),
        }
    }

    fn learn(&mut self, rate: f64, passed: bool) {
        if passed {
            self.passed = Some(rate);
        } else {
            self.failed = Some(rate);
        }
        self.next = match (self.passed, self.failed) {
            (Some(passed), Some(failed)) => (passed + failed) / 2.0,
            (Some(passed), None) => passed * 2.0,
            (None, _) => rate / 2.0,
        };
    }
}

/// Why a rate did not pass.
fn flaw(measured: &Measured, p99_ms: f64) -> Option<String> {
    let counts = &measured.window.counts;
    for op in [Op::Sent, Op::Delivered] {
        let p99 = measured.window.millis(op, 99.0);
        if let Some(p99) = p99.filter(|p99| *p99 >= p99_ms) {
            let lag = measured.window.millis(Op::Lag, 99.0).unwrap_or(0.0);
            let whose = if lag * 2.0 > p99 {
                " (the load side itself was late)"
            } else {
                ""
            };
            return Some(format!("{} p99 {p99:.0} ms{whose}", op.name()));
        }
    }
    if counts.refused > 0 {
        return Some(format!("{} refused", counts.refused));
    }
    if (counts.answered as f64) < counts.intended as f64 * ANSWERED {
        return Some(format!("{} of {} answered in time", counts.answered, counts.intended));
    }
    if !measured.settled.is_calm() {
        let settled = &measured.settled;
        return Some(format!(
            "{} unanswered, {} behind in the end",
            settled.unanswered, settled.behind
        ));
    }
    measured
        .window
        .latency(Op::Sent)
        .is_none()
        .then(|| "nothing was answered".into())
}

fn step(rate: f64, measured: &Measured, why: Option<&str>) -> Step {
    let counts = &measured.window.counts;
    Step {
        rate,
        passed: why.is_none(),
        why: why.unwrap_or_default().into(),
        achieved: measured.per_second(counts.answered),
        delivered_per_second: measured.per_second(counts.delivered),
        sent_p99_ms: measured.window.millis(Op::Sent, 99.0),
        delivered_p99_ms: measured.window.millis(Op::Delivered, 99.0),
        cpu_us_per_message: measured.cpu_us_per(counts.answered),
        cpu_us_per_delivery: measured.cpu_us_per(counts.delivered),
        cpu_cores: measured.cores(),
        load_cores: measured.load_cores(),
    }
}

#[cfg(test)]
mod tests {
    use super::Search;

    fn find(limit: f64, first: f64) -> (f64, usize) {
        let mut search = Search::new(first, 0.05);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            tries += 1;
            search.learn(rate, rate <= limit);
            assert!(tries < 40, "the search does not end");
        }
        (search.passed.unwrap_or(0.0), tries)
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for (limit, first) in [(31_000.0, 2_000.0), (1_234.0, 20_000.0), (5_000.0, 5_000.0)] {
            let (found, tries) = find(limit, first);
            assert!(found <= limit && found > limit * 0.95, "{found} for {limit}");
            assert!(tries < 14, "{tries} tries");
        }
    }

    #[test]
    fn a_server_that_passes_nothing_ends_the_search() {
        assert_eq!(find(0.0, 1000.0).0, 0.0);
    }
}
