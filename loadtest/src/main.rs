//! `rookery-load`: evidence for what a chat server holds, and that it loses nothing.
//!
//! A scenario is a script ([`scenario`]) over a stage (the server, the machine), a cast (accounts and conversations, made over
//! HTTP) and a fleet (engines that drive the sockets). Engines act on an open-loop [`schedule`], [`measure`] latencies from
//! intended starts, and keep what the [`audit`] needs. The controller samples the server beside it and writes the [`report`].
//! It knows the server only by its public contract: nothing of it is linked but the protocol's types.

mod audit;
mod cast;
mod chaos;
mod cli;
mod client;
mod cluster;
mod console;
mod fleet;
mod ground;
mod http;
mod measure;
mod plan;
mod report;
mod sample;
mod scenario;
mod schedule;
mod search;
mod server;
mod stage;
mod sys;
mod table;
mod threshold;
mod trial;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use rookery_actors::time::Timestamp;

use crate::cli::{Cli, CpuList, Scenario};
use crate::cluster::Cluster;
use crate::report::{Outcome, Report, Row, Section, ServerFacts};
use crate::server::Server;
use crate::stage::Stage;

/// Exit statuses, as `--help` lists them.
const EXCEEDED: u8 = 1;
const VIOLATED: u8 = 2;
const FAILED: u8 = 3;
const USAGE: u8 = 64;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(fleet::WORKER) {
        return match fleet::serve_as_worker() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rookery-load engine: {error:#}");
                ExitCode::from(FAILED)
            }
        };
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(cli) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::ThresholdExceeded) => ExitCode::from(EXCEEDED),
        Ok(Outcome::AuditFailed) => ExitCode::from(VIOLATED),
        Ok(Outcome::Failed) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("rookery-load: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(mut cli: Cli) -> anyhow::Result<Outcome> {
    let began = (Timestamp::now(), Instant::now());
    sys::catch_interrupts();
    match &cli.scenario {
        Scenario::Table(_) => cli.common.pin_apart(),
        Scenario::Chaos(options) => scenario::prepare_chaos(&mut cli.common, options)?,
        Scenario::ClusterTable(_) => cli.common.nodes = cli.common.nodes.or(Some(table::NODES)),
        _ => {}
    }
    let mut stage = Stage::open(
        cli.common,
        !matches!(cli.scenario, Scenario::Calibrate(_) | Scenario::ClusterTable(_)),
    )?;
    let played = match &cli.scenario {
        Scenario::Table(options) => table::play_table(&mut stage, options),
        Scenario::ClusterTable(options) => table::play_cluster_table(&mut stage, options),
        Scenario::Chaos(options) => scenario::play_chaos(&mut stage, options),
        scenario => scenario::play(&mut stage, scenario).map(|section| (vec![section], Vec::new())),
    };
    stage.console.end();
    let (sections, rows) = match played {
        Ok(played) => played,
        Err(error) => {
            keep(&mut stage);
            return Err(error);
        }
    };
    let report = reported(&stage, began, sections, rows);
    print!("{}", report::text(&report));
    write(&stage, &report)?;
    let bad = stage.common.keep || matches!(report.outcome, Outcome::AuditFailed | Outcome::Failed);
    // Of chaos each seed is judged apart, and has been.
    if bad && !matches!(cli.scenario, Scenario::Chaos(_)) {
        keep(&mut stage);
    }
    Ok(report.outcome)
}

fn keep(stage: &mut Stage) {
    if let Some(kept) = stage.keep() {
        eprintln!("data and logs are kept in {}", kept.display());
    }
}

fn reported(stage: &Stage, began: (Timestamp, Instant), sections: Vec<Section>, table: Vec<Row>) -> Report {
    let thresholds: Vec<_> = stage
        .common
        .fail_if
        .iter()
        .map(|threshold| threshold.judge(&sections))
        .collect();
    let violated = sections.iter().any(|section| section.audit.violations > 0);
    let outcome = match () {
        () if violated => Outcome::AuditFailed,
        () if sections.iter().any(|section| section.failed) => Outcome::Failed,
        () if thresholds.iter().any(|judged| judged.exceeded) => Outcome::ThresholdExceeded,
        () => Outcome::Passed,
    };
    let cpus = |list: &Option<CpuList>| list.as_ref().map_or("any".into(), |list| format!("{:?}", list.0));
    let ours = stage.cluster.as_ref();
    let version = ours.and_then(|_| Server::version(&stage.common.binary()));
    let doors: Vec<String> = stage.doors.iter().map(ToString::to_string).collect();
    Report {
        harness: format!("rookery-load {}", env!("CARGO_PKG_VERSION")),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        seed: stage.common.seed,
        began: began.0.to_string(),
        seconds: began.1.elapsed().as_secs_f64(),
        machine: stage.machine.clone(),
        server: ServerFacts {
            address: doors.join(", "),
            version: version.unwrap_or_else(|| "a server".into()),
            settings: ours.map(Cluster::settings).unwrap_or_default(),
            processors: cpus(&stage.common.server_cpu),
            load_processors: cpus(&stage.common.load_cpu),
        },
        sections,
        table,
        thresholds,
        outcome,
    }
}

fn write(stage: &Stage, report: &Report) -> anyhow::Result<()> {
    if let Some(path) = &stage.common.json {
        let text = serde_json::to_string_pretty(report)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &stage.common.html {
        std::fs::write(path, report::html(report)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
