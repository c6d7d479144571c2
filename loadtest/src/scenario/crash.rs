//! `kill -9` at random instants while it is spoken to, again and again; everybody reconnects and repeats what was not answered.

use anyhow::Context;

use super::{CONNECT_PATIENCE_S, PREPARE_RATE};
use crate::cast::Cast;
use crate::cli::Crash;
use crate::plan::{Acks, Command, What, Who};
use crate::report::Section;
use crate::schedule::Dice;
use crate::stage::Stage;
use crate::sys::{interrupted, now_ns};
use crate::trial::{Doing, Trial};

/// The shortest time from a start to the next kill, in seconds.
const SHORTEST: f64 = 0.1;

pub fn crash(stage: &mut Stage, options: &Crash) -> anyhow::Result<Section> {
    stage.own_server()?;
    let mut cast = Cast::default();
    let users = options.users as u32;
    stage.sign_up(&mut cast, options.users)?;
    stage.groups_of(&mut cast, 0..users, 20)?;
    for pair in 0..users / 2 {
        cast.add_direct(pair * 2, pair * 2 + 1);
    }
    let manner = stage.manner(Acks::Every { ms: 200 });
    let title = format!("{} rounds of kill -9 under {}/s", options.rounds, options.rate);
    let mut trial = stage.begin("crash", &title, cast, manner)?;
    trial.section.set("rounds", options.rounds);
    trial.section.set("users", options.users);
    trial.section.set("rate", options.rate);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let what = What::Send {
        lanes: trial.cast.lanes(),
        random: true,
    };
    let start = now_ns() + 50_000_000;
    trial.fleet.all(&Command::Window {
        from_ns: start,
        to_ns: u64::MAX,
    })?;
    trial.begin(Doing::new(what, options.rate), start, u64::MAX)?;
    let mut dice = Dice::fork(trial.stage.seed(), 5);
    let (mut rounds, mut down_s) = (0, Vec::new());
    while rounds < options.rounds && !interrupted() {
        let up = SHORTEST + dice.fraction() * (options.longest - SHORTEST).max(0.0);
        trial.rest(up)?;
        down_s.push(round(&mut trial).with_context(|| format!("round {}", rounds + 1))?);
        rounds += 1;
    }
    trial.rest(options.longest)?;
    trial.fleet.all(&Command::Halt)?;
    let settled = trial.settle(60.0)?;
    let window = trial.fleet.measures()?;
    if !settled.is_calm() {
        trial.section.notes.push(format!(
            "in the end {} unanswered, {} behind",
            settled.unanswered, settled.behind
        ));
    }
    let (counts, seconds) = (window.counts, (now_ns() - start) as f64 / 1e9);
    let section = &mut trial.section;
    section.latencies(&window);
    section.figure(
        "messages_per_second",
        counts.answered as f64 / seconds,
        "/s",
        "answered `sent`, kills included",
    );
    section.figure(
        "kills",
        f64::from(rounds),
        "",
        "kill -9 while messages were on their way",
    );
    let slowest = down_s.iter().copied().fold(0.0, f64::max);
    section.figure(
        "slowest_start",
        slowest * 1000.0,
        "ms",
        "from the kill to ready again, the slowest round",
    );
    section.figure("retried", counts.retried as f64, "", "sends repeated with the same id");
    trial.finish()
}

/// One kill and one start; the seconds between the kill and readiness.
fn round(trial: &mut Trial<'_>) -> anyhow::Result<f64> {
    let server = trial.stage.own_server()?;
    if server.is_gone() {
        anyhow::bail!("the server has ended by itself");
    }
    let began = now_ns();
    server.kill()?;
    let before = server.listen;
    server.start_again()?;
    let after = server.listen;
    let took = (now_ns() - began) as f64 / 1e9;
    trial.stage.follow()?;
    if before != after {
        trial.fleet.all(&Command::Retarget(vec![after]))?;
    }
    Ok(took)
}
