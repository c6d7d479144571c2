//! A restart with much stored: how long until it is ready, and what it holds in memory then.

use super::{CONNECT_PATIENCE_S, PREPARE_RATE};
use crate::cast::Cast;
use crate::cli::Cold;
use crate::plan::{Acks, What, Who};
use crate::report::Section;
use crate::stage::Stage;
use crate::trial::Doing;

/// Those who talk; the rest are accounts.
const TALKERS: usize = 1000;
/// Restarts measured; the slowest counts.
const STARTS: usize = 3;

pub fn cold(stage: &mut Stage, options: &Cold) -> anyhow::Result<Section> {
    stage.own_server()?;
    let empty = stage.gauges.memory();
    let mut cast = Cast::default();
    let talkers = TALKERS.min(options.users);
    stage.sign_up(&mut cast, talkers)?;
    for pair in 0..talkers as u32 / 2 {
        cast.add_direct(pair * 2, pair * 2 + 1);
    }
    stage.groups_of(&mut cast, 0..talkers as u32, 100)?;
    let mut others = Cast::default();
    stage.sign_up(&mut others, options.users - talkers)?;
    let manner = stage.manner(Acks::Every { ms: 1000 });
    let title = format!(
        "ready again with {} users and {} messages stored",
        options.users, options.messages
    );
    let mut trial = stage.begin("cold", &title, cast, manner)?;
    trial.section.set("users", options.users);
    trial.section.set("messages", options.messages);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let mut lanes = trial.cast.lanes();
    lanes.retain(|(_, conversation)| *conversation < (talkers / 2) as u32);
    let what = What::Send { lanes, random: false };
    let seconds = options.messages as f64 / options.rate;
    let stored = trial.measure(0.0, seconds, vec![Doing::new(what, options.rate)])?;
    let answered = stored.window.counts.answered;
    trial.fleet.cut(&Who::All)?;
    let mut starts = Vec::new();
    let mut memory = None;
    for _ in 0..STARTS {
        let server = trial.stage.own_server()?;
        let stop = server.stop()?;
        let start = server.start_again()?;
        starts.push((start.as_secs_f64(), stop.as_secs_f64()));
        trial.stage.follow()?;
        trial.rest(1.0)?;
        memory = trial.memory();
    }
    let section = &mut trial.section;
    section.figure("stored", answered as f64, "", "messages stored before the restarts");
    let slowest = |pick: fn(&(f64, f64)) -> f64| starts.iter().map(pick).fold(0.0, f64::max) * 1000.0;
    section.figure(
        "start",
        slowest(|(start, _)| *start),
        "ms",
        "from its start to ready, the slowest of the restarts",
    );
    section.figure(
        "stop",
        slowest(|(_, stop)| *stop),
        "ms",
        "from SIGTERM to its end, the slowest",
    );
    if let (Some(empty), Some(memory)) = (empty, memory) {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        section.figure("rss_empty", mib(empty.rss), "MiB", "an empty server");
        section.figure("rss_started", mib(memory.rss), "MiB", "after the restart");
        section.figure(
            "rss_beyond",
            mib(memory.rss) - mib(empty.rss),
            "MiB",
            "beyond an empty server",
        );
    }
    let doors = trial.stage.doors.clone();
    trial.fleet.all(&crate::plan::Command::Retarget(doors))?;
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    trial.finish()
}
