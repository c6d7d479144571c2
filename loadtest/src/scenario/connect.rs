//! What a connection costs: upgrade, token check, `hello`, `sync` with nothing missed; as a new device, and resumed.

use super::CONNECT_PATIENCE_S;
use crate::cast::Cast;
use crate::cli::Connect;
use crate::plan::{Acks, Who};
use crate::report::{Latency, Section};
use crate::stage::Stage;
use crate::trial::{Measured, Trial};

/// Rest between the rounds, so that one's ends are not in the other's figures.
const REST_S: f64 = 2.0;

pub fn connect(stage: &mut Stage, options: &Connect) -> anyhow::Result<Section> {
    let mut cast = Cast::default();
    stage.sign_up(&mut cast, options.clients)?;
    stage.groups_of(&mut cast, 0..options.clients as u32, options.group)?;
    let manner = stage.manner(Acks::Never);
    let title = format!(
        "{} devices at {}/s, in groups of {}",
        options.clients, options.rate, options.group
    );
    let mut trial = stage.begin("connect", &title, cast, manner)?;
    trial.section.set("clients", options.clients);
    trial.section.set("rate", options.rate);
    trial.rest(REST_S)?;
    let fresh = trial.connect(&Who::All, options.rate, CONNECT_PATIENCE_S)?;
    note(&mut trial, "new", "a new device of a user", &fresh);
    trial.fleet.cut(&Who::All)?;
    trial.rest(REST_S)?;
    let again = trial.connect(&Who::All, options.rate, CONNECT_PATIENCE_S)?;
    note(&mut trial, "resumed", "a device that was here before", &again);
    trial.finish()
}

fn note(trial: &mut Trial<'_>, name: &str, about: &str, measured: &Measured) {
    let connects = measured.window.counts.connects;
    if let Some(us) = measured.cpu_us_per(connects) {
        let about = format!("server processor time for each connect, {about}");
        trial
            .section
            .figure(&format!("cpu_per_connect_{name}"), us, "us", &about);
    }
    trial.section.figure(
        &format!("connects_per_second_{name}"),
        measured.per_second(connects),
        "/s",
        "",
    );
    for op in [crate::measure::Op::Connect, crate::measure::Op::Sync] {
        if let Some(histogram) = measured.window.latency(op) {
            trial
                .section
                .latencies
                .push(Latency::of(&format!("{}_{name}", op.name()), histogram));
        }
    }
}
