//! When things happen, decided before they happen: an open-loop schedule that no slow answer can delay.
//!
//! Every action has an intended start. Latency is counted from there, so a server (or a harness) that stalls pays for all
//! that should have happened meanwhile: there is no coordinated omission. All choices come from a seed.

use serde::{Deserialize, Serialize};

/// A small deterministic source of choices (SplitMix64), the same on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Independent dice for a part of the run, so that one part's throws do not move another's.
    pub fn fork(seed: u64, part: u64) -> Self {
        let mut dice = Self(seed ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.throw();
        dice
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 when there is no room).
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.throw()) * bound as u128) >> 64) as usize
    }

    /// A fraction in [0, 1).
    pub fn fraction(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A waiting time whose mean is `mean`, exponentially distributed.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.fraction()).ln()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// How intended starts are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Independent users: exponential gaps (a Poisson process).
    #[default]
    Poisson,
    /// Equal gaps.
    Constant,
}

/// How the rate moves over a run.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    #[default]
    Flat,
    /// A day squeezed into so many seconds: quiet at its ends, twice the mean in its middle.
    Day { seconds: f64 },
}

/// The intended starts of one activity, in order.
#[derive(Clone, Debug)]
pub struct Arrivals {
    gap_ns: f64,
    spacing: Spacing,
    shape: Shape,
    start_ns: u64,
    stop_ns: u64,
    next_ns: f64,
    dice: Dice,
}

impl Arrivals {
    /// `rate` per second from `start_ns` until before `stop_ns`.
    pub fn new(rate: f64, spacing: Spacing, shape: Shape, start_ns: u64, stop_ns: u64, seed: u64) -> Self {
        let peak = match shape {
            Shape::Flat => rate,
            Shape::Day { .. } => rate * 2.0,
        };
        let mut arrivals = Self {
            gap_ns: if peak > 0.0 { 1e9 / peak } else { f64::INFINITY },
            spacing,
            shape,
            start_ns,
            stop_ns,
            next_ns: if peak > 0.0 { start_ns as f64 } else { f64::INFINITY },
            dice: Dice::new(seed),
        };
        if spacing == Spacing::Poisson {
            arrivals.step();
        }
        arrivals.thin();
        arrivals
    }

    /// When the next action is due; `None` when the activity is over.
    pub fn peek(&self) -> Option<u64> {
        (self.next_ns < self.stop_ns as f64).then_some(self.next_ns as u64)
    }

    /// The intended start of the next action if it is due by `now`.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        let at = self.peek().filter(|at| *at <= now)?;
        self.step();
        self.thin();
        Some(at)
    }

    fn step(&mut self) {
        self.next_ns += match self.spacing {
            Spacing::Constant => self.gap_ns,
            Spacing::Poisson => self.dice.exponential(self.gap_ns),
        };
    }

    /// Under a day's curve an arrival at the peak rate is kept with the chance the hour gives it.
    fn thin(&mut self) {
        let Shape::Day { seconds } = self.shape else { return };
        while self.next_ns < self.stop_ns as f64 {
            let hour = (self.next_ns - self.start_ns as f64) / (seconds * 1e9);
            let chance = (1.0 - (hour * std::f64::consts::TAU).cos()) / 2.0;
            if self.dice.fraction() < chance {
                return;
            }
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Dice, Shape, Spacing};

    const SECOND: u64 = 1_000_000_000;

    fn all(mut arrivals: Arrivals) -> Vec<u64> {
        std::iter::from_fn(|| arrivals.due(u64::MAX)).collect()
    }

    #[test]
    fn a_stalled_caller_still_gets_every_intended_start() {
        let mut arrivals = Arrivals::new(1000.0, Spacing::Constant, Shape::Flat, 0, 2 * SECOND, 1);
        let mut taken = Vec::new();
        while let Some(at) = arrivals.due(SECOND / 2) {
            taken.push(at);
        }
        assert_eq!(taken.len(), 501);
        // The caller sleeps for a second: what should have happened is due at once, with its old stamps.
        while let Some(at) = arrivals.due(3 * SECOND / 2) {
            taken.push(at);
        }
        assert_eq!(taken.len(), 1501);
        assert!(
            taken
                .iter()
                .enumerate()
                .all(|(n, at)| at.abs_diff(n as u64 * 1_000_000) <= 1)
        );
    }

    #[test]
    fn poisson_gaps_have_the_asked_mean_and_vary() {
        let starts = all(Arrivals::new(5000.0, Spacing::Poisson, Shape::Flat, 0, 20 * SECOND, 7));
        assert!((95_000..105_000).contains(&starts.len()), "{}", starts.len());
        let gaps: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().any(|gap| *gap > 800_000) && gaps.iter().any(|gap| *gap < 20_000));
    }

    #[test]
    fn the_same_seed_repeats_the_schedule() {
        let run = |seed| all(Arrivals::new(300.0, Spacing::Poisson, Shape::Flat, 0, SECOND, seed));
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn a_day_is_busy_in_its_middle_and_keeps_its_mean() {
        let day = Shape::Day { seconds: 10.0 };
        let starts = all(Arrivals::new(2000.0, Spacing::Poisson, day, 0, 10 * SECOND, 5));
        assert!((18_500..21_500).contains(&starts.len()), "{}", starts.len());
        let noon = starts
            .iter()
            .filter(|at| (4 * SECOND..6 * SECOND).contains(*at))
            .count();
        let night = starts.iter().filter(|at| **at < SECOND || **at > 9 * SECOND).count();
        assert!(noon > 5 * night, "{noon} at noon, {night} at night");
    }

    #[test]
    fn a_rate_of_nothing_is_no_action() {
        assert!(all(Arrivals::new(0.0, Spacing::Poisson, Shape::Flat, 0, SECOND, 5)).is_empty());
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut items: Vec<u32> = (0..100).collect();
        Dice::new(9).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
