//! When what breaks, decided beforehand by a seed: the same seed and kinds, the same schedule, whatever the cluster makes of it.
//!
//! Faults come one after the other, each held for a while, then mended, then followed by calm, so that what users missed can
//! be put down to one of them. Kinds are drawn like cards: none comes a second time before all have come once.

use std::fmt;
use std::str::FromStr;

use crate::cluster::Kind;
use crate::schedule::Dice;

/// Something that breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// A node killed and started again.
    Kill,
    /// A node stopped in its tracks past its lease, then resumed.
    Pause,
    /// A node told to stop in order, and started again.
    Drain,
    /// A node more, which leaves in order after a while.
    Join,
    /// Two nodes that do not reach each other, while both reach everything else.
    Cut,
    /// A node whose wall clock jumps, and later jumps back.
    Clock,
    /// A service gone for a while.
    Gone(Kind),
}

impl Fault {
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Pause,
        Self::Drain,
        Self::Join,
        Self::Cut,
        Self::Clock,
        Self::Gone(Kind::Kafka),
        Self::Gone(Kind::Mongodb),
        Self::Gone(Kind::Redis),
        Self::Gone(Kind::S3),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Drain => "drain",
            Self::Join => "join",
            Self::Cut => "cut",
            Self::Clock => "clock",
            Self::Gone(kind) => kind.name(),
        }
    }

    /// The shortest and the longest time it is held, in ms.
    ///
    /// A killed node may be back before its lease of 1.75 s is over, or long after; a paused one always outlives it; services are
    /// gone for less than an answer may take (5 s), or for longer. A lone Kafka that stands still for longer than its controller
    /// takes it for alive (9 s, from its last word, which may be 2 s old) finds itself taken out of its own cluster, and tells that
    /// it has no brokers at all. A client that hears so forgets where they were (librdkafka 2.12.1), and some never look again.
    fn hold_ms(self) -> (u64, u64) {
        match self {
            Self::Kill => (0, 8_000),
            Self::Pause => (2_500, 8_000),
            Self::Drain => (0, 3_000),
            Self::Join => (3_000, 8_000),
            Self::Cut | Self::Clock => (1_000, 8_000),
            Self::Gone(Kind::Kafka) => (1_000, 6_500),
            Self::Gone(_) => (1_000, 10_000),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == text.trim());
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("{text:?} is no fault ({})", known.join(", "))
        })
    }
}

/// One fault of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Nothing is broken for so long before it.
    pub calm_ms: u64,
    pub fault: Fault,
    /// The node it befalls, and another one, by their places.
    pub node: usize,
    pub other: usize,
    /// A service is frozen rather than killed.
    pub frozen: bool,
    /// How far a node's clock jumps, in seconds; back where it is negative.
    pub jump_s: i64,
    pub hold_ms: u64,
}

impl Step {
    /// Whom it befalls, and how.
    pub fn subject(&self) -> String {
        let (node, other) = (self.node + 1, self.other + 1);
        match self.fault {
            Fault::Kill | Fault::Pause | Fault::Drain => format!("node{node}"),
            Fault::Clock => format!("node{node}, {}", jump(self.jump_s)),
            Fault::Join => "one more".into(),
            Fault::Cut => format!("node{node} and node{other}"),
            Fault::Gone(_) if self.frozen => "frozen".into(),
            Fault::Gone(_) => "killed".into(),
        }
    }
}

/// Calm between two faults: long enough for what one leaves behind to show, in ms.
const CALM_MS: (u64, u64) = (3_000, 7_000);
/// How far clocks jump: by minutes, as where a time server sets one that nobody set for long, or by hours, as where a time zone was
/// taken for another or a machine was halted.
const JUMP_MINUTES: (u64, u64) = (1, 59);
const JUMP_HOURS: (u64, u64) = (1, 6);
/// What mending takes beside the hold, as far as the schedule is concerned.
const MEND_MS: u64 = 3_000;

/// How long a schedule is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Length {
    Seconds(f64),
    Faults(usize),
}

/// The faults of a run over so many nodes. Every step takes the same number of throws, so that what befalls whom does not
/// hang on what came before.
pub fn timetable(seed: u64, length: Length, faults: &[Fault], nodes: usize) -> Vec<Step> {
    let mut dice = Dice::fork(seed, 6);
    // Dice of their own: with or without clocks, a seed has the same times and places for the same kinds.
    let mut jumps = Dice::fork(seed, 7);
    let mut steps = Vec::new();
    let (mut cards, mut elapsed_ms) = (Vec::new(), 0);
    if faults.is_empty() {
        return steps;
    }
    loop {
        if cards.is_empty() {
            cards = faults.to_vec();
            dice.shuffle(&mut cards);
        }
        let Some(fault) = cards.pop() else { return steps };
        let node = dice.below(nodes);
        let step = Step {
            calm_ms: between(&mut dice, CALM_MS),
            fault,
            node,
            other: (node + 1 + dice.below(nodes.saturating_sub(1))) % nodes.max(1),
            frozen: dice.below(2) == 1,
            jump_s: jump_s(&mut jumps),
            hold_ms: between(&mut dice, fault.hold_ms()),
        };
        elapsed_ms += step.calm_ms + step.hold_ms + MEND_MS;
        let enough = match length {
            Length::Seconds(seconds) => elapsed_ms as f64 > seconds * 1000.0,
            Length::Faults(count) => steps.len() >= count,
        };
        if enough {
            return steps;
        }
        steps.push(step);
    }
}

/// Every node drained and started again at once, in order.
pub fn rolling(nodes: usize) -> Vec<Step> {
    let step = |node| Step {
        calm_ms: CALM_MS.0,
        fault: Fault::Drain,
        node,
        other: node,
        frozen: false,
        jump_s: 0,
        hold_ms: 0,
    };
    (0..nodes).map(step).collect()
}

/// Forward or back, minutes or hours: each as often as the other.
fn jump_s(dice: &mut Dice) -> i64 {
    let forward = dice.below(2) == 1;
    let (range, unit) = match dice.below(2) {
        0 => (JUMP_MINUTES, 60),
        _ => (JUMP_HOURS, 3600),
    };
    let seconds = between(dice, range) as i64 * unit;
    if forward { seconds } else { -seconds }
}

/// A jump in words.
fn jump(seconds: i64) -> String {
    let way = if seconds < 0 { "back" } else { "forward" };
    match seconds.abs() {
        far if far % 3600 == 0 => format!("{} h {way}", far / 3600),
        far => format!("{} min {way}", far / 60),
    }
}

fn between(dice: &mut Dice, (least, most): (u64, u64)) -> u64 {
    least + dice.below((most - least + 1) as usize) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Fault, Length, Step, rolling, timetable};

    const MINUTES: Length = Length::Seconds(600.0);

    #[test]
    fn the_same_seed_repeats_the_schedule_and_another_does_not() {
        let plan = |seed| timetable(seed, MINUTES, &Fault::ALL, 3);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn a_longer_schedule_begins_as_a_shorter_one() {
        let long = timetable(7, MINUTES, &Fault::ALL, 3);
        let short = timetable(7, Length::Seconds(200.0), &Fault::ALL, 3);
        assert!(!short.is_empty() && short.len() < long.len());
        assert_eq!(short, long[..short.len()]);
        assert_eq!(timetable(7, Length::Faults(12), &Fault::ALL, 3), long[..12]);
    }

    #[test]
    fn every_fault_comes_once_before_any_comes_again() {
        let steps = timetable(3, Length::Faults(20), &Fault::ALL, 3);
        for hand in steps.chunks(10) {
            let kinds: BTreeSet<Fault> = hand.iter().map(|step| step.fault).collect();
            assert_eq!(kinds.len(), 10);
        }
    }

    #[test]
    fn every_node_is_befallen_and_no_link_leads_from_a_node_to_itself() {
        let steps = timetable(3, Length::Faults(200), &[Fault::Kill, Fault::Cut], 3);
        assert!(
            steps
                .iter()
                .all(|step| step.node < 3 && step.other < 3 && step.node != step.other)
        );
        let befallen: BTreeSet<usize> = steps.iter().map(|step| step.node).collect();
        assert_eq!(befallen.len(), 3);
        assert!(steps.iter().any(|step| step.hold_ms < 1_000) && steps.iter().any(|step| step.hold_ms > 5_000));
    }

    #[test]
    fn a_rolling_restart_takes_each_node_once_in_order() {
        let nodes: Vec<usize> = rolling(3).iter().map(|step| step.node).collect();
        assert_eq!(nodes, [0, 1, 2]);
    }

    #[test]
    fn a_pause_outlives_the_lease() {
        let steps = timetable(9, Length::Faults(100), &[Fault::Pause], 2);
        assert!(steps.iter().all(|step| step.hold_ms > 2_000));
    }

    #[test]
    fn clocks_jump_forward_and_back_by_minutes_and_by_hours() {
        let steps = timetable(9, Length::Faults(100), &[Fault::Clock], 3);
        let jumps: Vec<i64> = steps.iter().map(|step| step.jump_s).collect();
        assert!(jumps.iter().all(|jump| (60..=6 * 3600).contains(&jump.abs())));
        for (from, to) in [(-6 * 3600, -3600), (-3540, -60), (60, 3540), (3600, 6 * 3600)] {
            let of_kind = jumps.iter().filter(|jump| (from..=to).contains(*jump)).count();
            assert!(of_kind > 10, "{of_kind} of a hundred from {from} to {to} s");
        }
    }

    #[test]
    fn a_clock_says_whose_it_is_and_where_it_jumps() {
        let step = |jump_s| Step {
            fault: Fault::Clock,
            jump_s,
            ..rolling(2)[1]
        };
        assert_eq!(step(7200).subject(), "node2, 2 h forward");
        assert_eq!(step(-720).subject(), "node2, 12 min back");
    }

    #[test]
    fn without_faults_there_is_no_schedule() {
        assert!(timetable(1, MINUTES, &[], 3).is_empty());
    }

    #[test]
    fn faults_are_read_by_their_names() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert!("meteor".parse::<Fault>().unwrap_err().contains("kafka"));
    }
}
