//! The scenarios: each a short script over a stage, a cast and a fleet.

mod calibrate;
mod chaos;
mod cold;
mod connect;
mod crash;
mod direct;
mod fanout;
mod idle;
mod mixed;
mod resume;
mod storm;

pub use calibrate::calibrate;
pub use chaos::{play_chaos, prepare_chaos};
pub use cold::cold;
pub use connect::connect;
pub use crash::crash;
pub use direct::direct;
pub use fanout::fanout;
pub use idle::idle;
pub use mixed::mixed;
pub use resume::resume;
pub use storm::storm;

use crate::cli::{Rate, Scenario};
use crate::measure::Op;
use crate::report::Section;
use crate::search::{Bar, highest};
use crate::stage::Stage;
use crate::trial::{Measured, Trial, spacing_name};

/// When nobody more has come for so long, the run goes on without the rest.
const CONNECT_PATIENCE_S: f64 = 120.0;
/// Connects a second while a scenario prepares.
const PREPARE_RATE: f64 = 2_000.0;
/// Two rates nearer together than this share are the same to a search.
const NEAR: f64 = 0.06;

/// Plays one scenario.
pub fn play(stage: &mut Stage, scenario: &Scenario) -> anyhow::Result<Section> {
    match scenario {
        Scenario::Idle(options) => idle(stage, options),
        Scenario::Connect(options) => connect(stage, options),
        Scenario::Storm(options) => storm(stage, options),
        Scenario::Direct(options) => direct(stage, options),
        Scenario::Fanout(options) => fanout(stage, options),
        Scenario::Resume(options) => resume(stage, options),
        Scenario::Mixed(options) => mixed(stage, options),
        Scenario::Crash(options) => crash(stage, options),
        Scenario::Cold(options) => cold(stage, options),
        Scenario::Calibrate(options) => calibrate(options),
        Scenario::Chaos(options) => chaos::play(stage, options),
        Scenario::Table(_) | Scenario::ClusterTable(_) => anyhow::bail!("it is many scenarios"),
    }
}

/// One rate, or the highest that passes: shared by the scenarios that send at a rate.
fn at_rates(
    trial: &mut Trial<'_>,
    rate: &Rate,
    attempt: impl Fn(&mut Trial<'_>, f64) -> anyhow::Result<Measured>,
) -> anyhow::Result<()> {
    let spacing = spacing_name(trial.stage.common.spacing);
    trial.section.set("spacing", spacing);
    trial.section.set("seconds", rate.seconds);
    if !rate.search {
        trial.section.set("rate", rate.rate);
        let measured = attempt(trial, rate.rate)?;
        messages(trial, &measured);
        return Ok(());
    }
    let bar = Bar {
        p99_ms: rate.limit_ms,
        near: NEAR,
        seconds: rate.search_seconds,
    };
    trial
        .section
        .set("search", format!("p99 < {} ms, nothing lost", rate.limit_ms));
    match highest(trial, bar, rate.rate, attempt)? {
        Some((rate, measured)) => {
            trial
                .section
                .figure("highest_rate", rate, "/s", "the highest rate that passed, messages");
            messages(trial, &measured);
        }
        None => trial.section.notes.push("no rate passed".into()),
    }
    Ok(())
}

/// The figures of a window in which messages were sent.
fn messages(trial: &mut Trial<'_>, measured: &Measured) {
    let counts = &measured.window.counts;
    let section = &mut trial.section;
    section.latencies(&measured.window);
    section.figure(
        "messages_per_second",
        measured.per_second(counts.answered),
        "/s",
        "answered `sent`",
    );
    section.figure(
        "deliveries_per_second",
        measured.per_second(counts.delivered),
        "/s",
        "received by clients",
    );
    if let Some(us) = measured.cpu_us_per(counts.answered) {
        section.figure(
            "cpu_per_message",
            us,
            "us",
            "server processor time for each message, all it causes included",
        );
    }
    if let Some(us) = measured.cpu_us_per(counts.delivered) {
        section.figure("cpu_per_delivery", us, "us", "server processor time for each delivery");
    }
    costs(section, measured);
    if counts.receipts > 0 {
        section.figure(
            "receipts_per_second",
            measured.per_second(counts.receipts),
            "/s",
            "receipt frames received",
        );
    }
    if !measured.settled.is_calm() {
        let settled = &measured.settled;
        section.notes.push(format!(
            "15 s after the window: {} unanswered, {} offline, {} behind",
            settled.unanswered, settled.offline, settled.behind
        ));
    }
}

/// What both sides used during a window.
fn costs(section: &mut Section, measured: &Measured) {
    if let Some(cores) = measured.cores() {
        section.figure(
            "server_cores",
            cores,
            "",
            "processors the server used during the window",
        );
    }
    for (name, ns) in &measured.apart {
        let cores = *ns as f64 / 1e9 / measured.seconds;
        section.figure(&format!("cores_{name}"), cores, "", "of it alone, during the window");
    }
    section.figure(
        "load_cores",
        measured.load_cores(),
        "",
        "processors the load side used during the window",
    );
    if let Some(lag) = measured.window.millis(Op::Lag, 99.0) {
        section.figure(
            "load_lag_p99",
            lag,
            "ms",
            "how late the load side itself was; large values taint the latencies",
        );
    }
}
