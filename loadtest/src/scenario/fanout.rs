//! Groups in which everybody is online: one message in, a thousand out.

use super::{CONNECT_PATIENCE_S, PREPARE_RATE, at_rates};
use crate::cast::Cast;
use crate::cli::Fanout;
use crate::plan::{Acks, What, Who};
use crate::report::Section;
use crate::stage::Stage;
use crate::trial::Doing;

/// Seconds of sends without an answer at which a rate is given up: it will not pass.
const HOPELESS_S: f64 = 3.0;

pub fn fanout(stage: &mut Stage, options: &Fanout) -> anyhow::Result<Section> {
    let mut cast = Cast::default();
    let people = options.members * options.groups;
    stage.sign_up(&mut cast, people)?;
    stage.groups_of(&mut cast, 0..people as u32, options.members)?;
    let manner = stage.manner(Acks::Never);
    let title = format!("{} groups of {} members online", options.groups, options.members);
    let mut trial = stage.begin("fanout", &title, cast, manner)?;
    trial.section.set("groups", options.groups);
    trial.section.set("members", options.members);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let lanes = trial.cast.lanes();
    let rate = &options.rate;
    at_rates(&mut trial, rate, |trial, per_second| {
        let what = What::Send {
            lanes: lanes.clone(),
            random: false,
        };
        let hopeless = Some((per_second * HOPELESS_S) as u64 + 100);
        trial.measure_within(rate.warm_up, rate.seconds, vec![Doing::new(what, per_second)], hopeless)
    })?;
    trial.finish()
}
