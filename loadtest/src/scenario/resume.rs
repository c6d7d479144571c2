//! Devices cut off, some messages missed each, back in waves: all must have exactly what they missed.

use super::{CONNECT_PATIENCE_S, PREPARE_RATE};
use crate::cast::Cast;
use crate::cli::Resume;
use crate::measure::{Op, Window};
use crate::plan::{Acks, Command, Lane, What, Who};
use crate::report::Section;
use crate::stage::Stage;
use crate::sys::interrupted;
use crate::trial::{Doing, Trial};

/// How long a wave may take.
const WAVE_PATIENCE_S: f64 = 30.0;
/// Devices that miss messages never send: others do, at this rate.
const SEND_RATE: f64 = 500.0;
/// Rate at which a wave connects: all at once.
const AT_ONCE: f64 = 1e6;

pub fn resume(stage: &mut Stage, options: &Resume) -> anyhow::Result<Section> {
    let (cast, speakers) = prepare(stage, options)?;
    let manner = stage.manner(Acks::Every { ms: 100 });
    let title = format!(
        "{} devices cut off, {} messages missed each, back {} at a time",
        options.devices, options.missed, options.wave
    );
    let mut trial = stage.begin("resume", &title, cast, manner)?;
    trial.section.set("devices", options.devices);
    trial.section.set("missed", options.missed);
    trial.section.set("wave", options.wave);
    trial.section.set("group", options.group);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    speak(&mut trial, &speakers, 1)?;
    let (mut all, mut cpu_ns, mut elapsed_ms, mut rounds) = (Window::default(), Some(0u64), 0.0, 0);
    for _ in 0..options.rounds {
        if interrupted() {
            break;
        }
        let round = round(&mut trial, options, &speakers)?;
        all.join(&round.window);
        cpu_ns = cpu_ns.zip(round.cpu_ns).map(|(sum, more)| sum + more);
        elapsed_ms += round.elapsed_ms;
        rounds += 1;
    }
    let back = all.latency(Op::Resume).map_or(0, |resumed| resumed.len());
    let section = &mut trial.section;
    section.latencies(&all);
    section.figure(
        "resumed",
        back as f64,
        "",
        "devices that came back and have all they missed, over all rounds",
    );
    section.figure(
        "replayed_again",
        all.counts.replayed as f64,
        "",
        "messages sent again although acked",
    );
    if rounds > 0 {
        let about = "time until all waves had everything, mean of the rounds, pauses between waves left out";
        section.figure("elapsed", elapsed_ms / f64::from(rounds), "ms", about);
    }
    if let Some(ns) = cpu_ns.filter(|_| back > 0) {
        let about = "server processor time for each device that came back";
        section.figure("cpu_per_resume", ns as f64 / 1000.0 / back as f64, "us", about);
    }
    trial.finish()
}

/// The devices, then those who speak while they are away; and where each speaks.
fn prepare(stage: &mut Stage, options: &Resume) -> anyhow::Result<(Cast, Vec<Lane>)> {
    let mut cast = Cast::default();
    let devices = options.devices as u32;
    let mut speakers = Vec::new();
    if options.group == 0 {
        stage.sign_up(&mut cast, options.devices * 2)?;
        for device in 0..devices {
            let conversation = cast.add_direct(device, devices + device);
            speakers.push((devices + device, conversation));
        }
        return Ok((cast, speakers));
    }
    let groups = options.devices.div_ceil(options.group);
    stage.sign_up(&mut cast, options.devices + groups)?;
    for group in 0..groups as u32 {
        let first = group * options.group as u32;
        let mut members: Vec<u32> = (first..devices.min(first + options.group as u32)).collect();
        members.push(devices + group);
        let conversation = stage.group(&mut cast, members)?;
        speakers.push((devices + group, conversation));
    }
    Ok((cast, speakers))
}

/// Every speaker says so many things.
fn speak(trial: &mut Trial<'_>, speakers: &[Lane], times: usize) -> anyhow::Result<()> {
    let what = What::Send {
        lanes: speakers.to_vec(),
        random: false,
    };
    // Equal gaps from the start: exactly so many arrivals fit.
    let count = (speakers.len() * times) as f64;
    let stage_spacing = std::mem::replace(&mut trial.stage.common.spacing, crate::schedule::Spacing::Constant);
    let spoken = trial.measure(0.0, (count - 0.5) / SEND_RATE, vec![Doing::new(what, SEND_RATE)]);
    trial.stage.common.spacing = stage_spacing;
    spoken.map(drop)
}

struct Round {
    window: Window,
    cpu_ns: Option<u64>,
    elapsed_ms: f64,
}

fn round(trial: &mut Trial<'_>, options: &Resume, speakers: &[Lane]) -> anyhow::Result<Round> {
    // Everything had is acked, and the server has the acks, before the line is cut.
    trial.fleet.all(&Command::Flush)?;
    trial.rest(1.5)?;
    let devices: Vec<u32> = (0..options.devices as u32).collect();
    trial.fleet.cut(&Who::These(devices.clone()))?;
    trial.rest(0.5)?;
    speak(trial, speakers, options.missed)?;
    let mut round = Round {
        window: Window::default(),
        cpu_ns: Some(0),
        elapsed_ms: 0.0,
    };
    for wave in devices.chunks(options.wave.max(1)) {
        let measured = trial.connect(&Who::These(wave.to_vec()), AT_ONCE, WAVE_PATIENCE_S)?;
        round.elapsed_ms += measured.window.millis(Op::Resume, 100.0).unwrap_or(0.0);
        round.cpu_ns = round.cpu_ns.zip(measured.cpu_ns).map(|(sum, more)| sum + more);
        round.window.join(&measured.window);
    }
    Ok(round)
}
