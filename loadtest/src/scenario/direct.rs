//! Pairs that talk: frame in, durable, `sent`, delivered; with `--receipts` every message acked and read.

use super::{CONNECT_PATIENCE_S, PREPARE_RATE, at_rates};
use crate::cast::Cast;
use crate::cli::Direct;
use crate::plan::{Acks, What, Who};
use crate::report::Section;
use crate::stage::Stage;
use crate::trial::Doing;

/// Unanswered sends for each client at which a rate is given up: it will not pass.
const HOPELESS_S: f64 = 3.0;

pub fn direct(stage: &mut Stage, options: &Direct) -> anyhow::Result<Section> {
    let mut cast = Cast::default();
    stage.sign_up(&mut cast, options.pairs * 2)?;
    for (a, b) in pairs(&cast) {
        cast.add_direct(a, b);
    }
    let (name, acks) = match options.receipts {
        true => ("receipts", Acks::Each),
        false => ("direct", Acks::Never),
    };
    let manner = stage.manner(acks);
    let title = format!("{} pairs, both sides send", options.pairs);
    let mut trial = stage.begin(name, &title, cast, manner)?;
    trial.section.set("pairs", options.pairs);
    trial.section.set(
        "acks",
        if options.receipts {
            "every message acked and read"
        } else {
            "none"
        },
    );
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let lanes = trial.cast.lanes();
    // The first message of a pair makes its conversation: that is done before anything is measured.
    let first = lanes.len() as f64;
    let seconds = first / PREPARE_RATE;
    let all = |lanes: &[(u32, u32)]| What::Send {
        lanes: lanes.to_vec(),
        random: false,
    };
    trial.measure(0.0, seconds, vec![Doing::new(all(&lanes), PREPARE_RATE)])?;
    let rate = &options.rate;
    at_rates(&mut trial, rate, |trial, per_second| {
        let doing = vec![Doing::new(all(&lanes), per_second)];
        let hopeless = Some((per_second * HOPELESS_S) as u64 + 1000);
        trial.measure_within(rate.warm_up, rate.seconds, doing, hopeless)
    })?;
    trial.finish()
}

/// Everybody with somebody who comes in by another door, where there are several and as far as it goes.
fn pairs(cast: &Cast) -> Vec<(u32, u32)> {
    let mut order: Vec<u32> = (0..cast.people.len() as u32).collect();
    order.sort_by_key(|number| cast.people[*number as usize].door);
    let (first, second) = order.split_at(order.len() / 2);
    let known = cast.people.iter().all(|person| person.door.is_some());
    match known {
        true => first.iter().copied().zip(second.iter().copied()).collect(),
        false => (0..first.len() as u32).map(|pair| (pair * 2, pair * 2 + 1)).collect(),
    }
}
