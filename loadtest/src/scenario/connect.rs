//! What a connection costs: upgrade, token check, `hello`, `sync` with nothing missed; as a new device, and resumed. Half of
//! the devices come one by one at a steady rate, where each is a lone event; half come in waves, as a fleet does after a loss.

use super::CONNECT_PATIENCE_S;
use crate::cast::Cast;
use crate::cli::Connect;
use crate::measure::{Op, Window};
use crate::plan::{Acks, Who};
use crate::report::{Latency, Section};
use crate::stage::Stage;
use crate::trial::{Measured, Trial};

/// Rest between the rounds, so that one's ends are not in the other's figures.
const REST_S: f64 = 2.0;
/// Rate at which a wave connects: all at once.
const AT_ONCE: f64 = 1e6;

pub fn connect(stage: &mut Stage, options: &Connect) -> anyhow::Result<Section> {
    let mut cast = Cast::default();
    let clients = options.clients as u32;
    stage.sign_up(&mut cast, options.clients)?;
    stage.groups_of(&mut cast, 0..clients, options.group)?;
    let manner = stage.manner(Acks::Never);
    let title = format!(
        "{} devices, half at {}/s and half {} at a time, in groups of {}",
        options.clients, options.rate, options.wave, options.group
    );
    let mut trial = stage.begin("connect", &title, cast, manner)?;
    trial.section.set("clients", options.clients);
    trial.section.set("rate", options.rate);
    trial.section.set("wave", options.wave);
    let (lone, crowd): (Vec<u32>, Vec<u32>) = (0..clients).partition(|client| *client < clients / 2);
    trial.rest(REST_S)?;
    for (name, about) in [
        ("new", "a new device of a user"),
        ("resumed", "a device that was here before"),
    ] {
        let measured = trial.connect(&Who::These(lone.clone()), options.rate, CONNECT_PATIENCE_S)?;
        let seconds = measured.seconds;
        let alone = Round::of(measured, seconds);
        alone.note(&mut trial.section, name, &format!("{about}, one by one"));
        trial.rest(REST_S)?;
        let waves = waves(&mut trial, &crowd, options.wave)?;
        waves.note(
            &mut trial.section,
            &format!("{name}_wave"),
            &format!("{about}, in waves"),
        );
        trial.fleet.cut(&Who::All)?;
        trial.rest(REST_S)?;
    }
    trial.finish()
}

/// Connects of one kind.
#[derive(Default)]
struct Round {
    window: Window,
    cpu_ns: Option<u64>,
    seconds: f64,
}

impl Round {
    fn of(measured: Measured, seconds: f64) -> Self {
        Self {
            window: measured.window,
            cpu_ns: measured.cpu_ns,
            seconds,
        }
    }

    fn join(&mut self, other: &Self) {
        self.window.join(&other.window);
        self.cpu_ns = self.cpu_ns.zip(other.cpu_ns).map(|(sum, more)| sum + more);
        self.seconds += other.seconds;
    }

    fn note(&self, section: &mut Section, name: &str, about: &str) {
        let connects = self.window.counts.connects;
        if let Some(ns) = self.cpu_ns.filter(|_| connects > 0) {
            let us = ns as f64 / 1000.0 / connects as f64;
            let about = format!("server processor time for each connect, {about}");
            section.figure(&format!("cpu_per_connect_{name}"), us, "us", &about);
        }
        let rate = connects as f64 / self.seconds.max(f64::EPSILON);
        section.figure(&format!("connects_per_second_{name}"), rate, "/s", "");
        for op in [Op::Connect, Op::Sync] {
            if let Some(histogram) = self.window.latency(op) {
                let name = format!("{}_{name}", op.name());
                section.latencies.push(Latency::of(&name, histogram));
            }
        }
    }
}

/// Each wave comes when the one before is there.
fn waves(trial: &mut Trial<'_>, clients: &[u32], wave: usize) -> anyhow::Result<Round> {
    let mut all = Round {
        cpu_ns: Some(0),
        ..Round::default()
    };
    for wave in clients.chunks(wave.max(1)) {
        let measured = trial.connect(&Who::These(wave.to_vec()), AT_ONCE, CONNECT_PATIENCE_S)?;
        let seconds = measured.window.millis(Op::Sync, 100.0).unwrap_or(0.0) / 1000.0;
        all.join(&Round::of(measured, seconds));
    }
    Ok(all)
}
