//! The promises under faults, by simulation: real actors of several nodes over one log and one store in memory, on one
//! thread and a clock that jumps from event to event, so that thousands of schedules pass in a minute.
//!
//! A seed says which nodes die, stand still, are cut off, drain and come back, when the log and the store fail, how long
//! each payload takes, and who sends what when. At the end of each schedule everything is mended, and then must hold:
//!
//! * **Acknowledged means kept**: whatever was answered `sent` is in the store, at the seq that was named.
//! * **One order**: each conversation's seqs are 1, 2, 3, ... without a hole.
//! * **Once**: no client id made two messages, whatever was retried where; every answer to it named one seq.
//! * **Exact resume**: every device saw every message of its conversations, none twice on one connection or out of order,
//!   and each as it is stored.
//! * **Nothing made up**: what is stored was sent.
//! * **It goes on**: every send was answered at last.
//!
//! `ROOKERY_SIMULATION=FROM..TO` runs other seeds than the usual ones, and a single one with its story printed:
//! `ROOKERY_SIMULATION=42..43`.
#![allow(clippy::unwrap_used)]

mod device;
mod gate;
mod ledger;
mod plan;
mod story;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Enough to meet every fault in most company; few enough for every run of the tests.
const USUAL: Range<u64> = 0..100;

fn seeds() -> Range<u64> {
    let Ok(chosen) = std::env::var("ROOKERY_SIMULATION") else {
        return USUAL;
    };
    let bounds = chosen
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.expect("ROOKERY_SIMULATION is two numbers with `..` between them")
}

#[test]
fn the_promises_hold_whatever_fails() {
    let (seeds, begin) = (seeds(), Instant::now());
    let alone = seeds.end - seeds.start == 1;
    let next = AtomicU64::new(seeds.start);
    let broken = std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let run = || {
            let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end);
            std::iter::from_fn(take).find_map(|seed| Some((seed, story::run(seed, alone).err()?)))
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap())
            .min_by_key(|(seed, _)| *seed)
    });
    if let Some((seed, what)) = broken {
        panic!(
            "seed {seed}: {what}\nrun it alone with ROOKERY_SIMULATION={seed}..{}",
            seed + 1
        );
    }
    let (count, took) = (seeds.end - seeds.start, begin.elapsed());
    println!(
        "{count} schedules in {took:?}, {:.0} a minute",
        count as f64 / took.as_secs_f64() * 60.0
    );
}

#[test]
fn a_seed_repeats_its_plan() {
    assert_eq!(plan::of(7), plan::of(7));
    assert_ne!(plan::of(7), plan::of(8));
}
