//! A reconnect storm: a share of all connections drops at once, and everybody comes straight back.

use super::{CONNECT_PATIENCE_S, PREPARE_RATE};
use crate::cast::Cast;
use crate::cli::Storm;
use crate::measure::{Op, Window};
use crate::plan::{Acks, Who};
use crate::report::Section;
use crate::schedule::Dice;
use crate::stage::Stage;
use crate::sys::interrupted;

pub fn storm(stage: &mut Stage, options: &Storm) -> anyhow::Result<Section> {
    let mut cast = Cast::default();
    stage.sign_up(&mut cast, options.clients)?;
    stage.groups_of(&mut cast, 0..options.clients as u32, options.group)?;
    let manner = stage.manner(Acks::Never);
    let title = format!(
        "{:.0}% of {} connections drop and come back, {} times",
        options.share * 100.0,
        options.clients,
        options.rounds
    );
    let mut trial = stage.begin("storm", &title, cast, manner)?;
    trial.section.set("clients", options.clients);
    trial.section.set("share", options.share);
    trial.section.set("rate", options.rate);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let mut dice = Dice::fork(trial.stage.seed(), 3);
    let (mut all, mut cpu_ns, mut slowest) = (Window::default(), Some(0), 0.0f64);
    for _ in 0..options.rounds {
        if interrupted() {
            break;
        }
        let mut clients: Vec<u32> = (0..options.clients as u32).collect();
        dice.shuffle(&mut clients);
        clients.truncate((options.clients as f64 * options.share.clamp(0.0, 1.0)) as usize);
        let who = Who::These(clients);
        trial.fleet.cut(&who)?;
        let measured = trial.connect(&who, options.rate, CONNECT_PATIENCE_S)?;
        slowest = slowest.max(measured.window.millis(Op::Sync, 100.0).unwrap_or(0.0));
        cpu_ns = cpu_ns.zip(measured.cpu_ns).map(|(sum, more)| sum + more);
        all.join(&measured.window);
        trial.rest(1.0)?;
    }
    let section = &mut trial.section;
    section.latencies(&all);
    let connects = all.counts.connects;
    section.figure("reconnects", connects as f64, "", "over all rounds");
    section.figure("slowest", slowest, "ms", "the last one back, of the slowest round");
    if let Some(ns) = cpu_ns.filter(|_| connects > 0) {
        let about = "server processor time for each that dropped and came back";
        section.figure("cpu_per_reconnect", ns as f64 / 1000.0 / connects as f64, "us", about);
    }
    trial.finish()
}
