//! What goes wrong when, by the seed.

use std::time::Duration;

use rookery_cluster::testkit::lot::Lot;

/// Nodes that are there from the beginning, and one that may join.
pub const FIRST: [&str; 3] = ["a", "b", "c"];
pub const ALL: [&str; 4] = ["a", "b", "c", "d"];

/// The first seed with a group.
pub const GROUPS: u64 = 500_000;
/// The first seed whose group loses members too.
pub const LEAVERS: u64 = 750_000;

/// The first seed whose users react to messages and edit their own.
pub const CHANGES: u64 = 1_000_000_000;
/// The first seed whose users delete some of their own too, and the first of no kind.
pub const DELETIONS: u64 = 2_000_000_000;
pub const END: u64 = 3_000_000_000;

/// Until then something may go wrong.
pub const TROUBLE: Duration = Duration::from_secs(12);

/// What users do about messages: each does what those before do too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    Sends,
    /// They react to messages and edit their own.
    Changes,
    /// They delete some of their own.
    Deletes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies, and is started again after a time.
    Kill(&'static str, Duration),
    /// Its peers do not hear it; the log, the store and its clients do: an owner that does not know that it is none.
    Isolate(&'static str, Duration),
    /// It stands still: nothing goes in or out.
    Freeze(&'static str, Duration),
    /// Two nodes do not hear each other.
    Cut(&'static str, &'static str, Duration),
    /// The log refuses a node's appends.
    LogAway(&'static str, Duration),
    /// The log refuses everybody's.
    LogOut(Duration),
    /// The log takes a node's appends, and the node does not learn of some.
    LogMute(&'static str, Duration),
    /// The store does not answer a node.
    StoreAway(&'static str, Duration),
    /// It hands over and leaves, and comes back after a time.
    Drain(&'static str, Duration),
    /// It joins; or, where it is a member already, nothing happens.
    Join(&'static str),
    /// The wall clock of all jumps by so many milliseconds.
    Jump(i64),
}

/// Whether a seed's nodes only come and go as they are told to, so that nobody has to wait for long.
pub fn is_orderly(seed: u64) -> bool {
    seed.is_multiple_of(6)
}

/// Whether a seed's users have a group beside their direct conversations: of each million the second half.
pub fn has_group(seed: u64) -> bool {
    seed % 1_000_000 >= GROUPS
}

/// Whether members of that group go and come back: of each million the last quarter.
pub fn has_leavers(seed: u64) -> bool {
    seed % 1_000_000 >= LEAVERS
}

/// What a seed's users do about messages.
pub fn habit(seed: u64) -> Habit {
    match seed {
        DELETIONS.. => Habit::Deletes,
        CHANGES.. => Habit::Changes,
        _ => Habit::Sends,
    }
}

/// What goes wrong, by when.
pub fn of(seed: u64) -> Vec<(Duration, Fault)> {
    let mut lot = Lot::new(seed);
    let count = 1 + lot.below(6);
    let fault = if is_orderly(seed) { order } else { fault };
    let mut plan: Vec<_> = (0..count).map(|_| (moment(&mut lot), fault(&mut lot))).collect();
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn moment(lot: &mut Lot) -> Duration {
    Duration::from_millis(500 + lot.below(TROUBLE.as_millis() as u64 - 500))
}

fn order(lot: &mut Lot) -> Fault {
    let time = Duration::from_millis(50 + lot.below(2500));
    match lot.below(3) {
        0 => Fault::Join("d"),
        _ => Fault::Drain(lot.pick(&FIRST).unwrap(), time),
    }
}

fn fault(lot: &mut Lot) -> Fault {
    let node = *lot.pick(&FIRST).unwrap();
    let time = Duration::from_millis(50 + lot.below(*lot.clone().pick(&[300, 2500, 5000]).unwrap()));
    match lot.below(14) {
        0 | 1 => Fault::Kill(node, time),
        2 => Fault::Isolate(node, time),
        3 | 4 => Fault::Freeze(node, time),
        5 | 6 => {
            let others: Vec<_> = ALL.into_iter().filter(|other| *other != node).collect();
            Fault::Cut(node, lot.pick(&others).unwrap(), time)
        }
        7 => Fault::LogAway(node, time),
        8 => Fault::LogMute(node, time),
        9 => Fault::StoreAway(node, time),
        10 => Fault::Drain(node, time),
        11 => Fault::LogOut(time),
        12 => Fault::Jump(lot.below(7_200_000) as i64 - 3_600_000),
        _ => Fault::Join("d"),
    }
}
