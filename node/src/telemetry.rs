//! What the process says of itself: log lines on standard error, and metrics in Prometheus' text format.
//!
//! The recorder has no listener of its own: the admin listener renders it. What the operating system knows of the process
//! is read when somebody asks, never on a timer.

mod process;
mod reference;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::EnvFilter;

pub use self::process::Process;
pub use self::reference::{Described, documented, table};
use crate::cli::Failure;
use crate::config::{Log, LogFormat};

/// What is logged unless the filter names it: ractor keeps a live span an actor at `info`, some 360 bytes each.
const QUIET: &str = "ractor=warn";
/// Upper bounds of histograms in seconds: half a fast in-memory answer to a request that hangs.
const SECONDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Upper bounds of histograms that count things.
const COUNTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0];
/// How often the recorder folds what was recorded since; between scrapes nothing else bounds it.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts logging. A panic anywhere becomes one log line instead of raw text between them.
pub fn log(settings: &Log) -> Result<(), Failure> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(settings)?)
        .with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = match settings.format {
        LogFormat::Text => subscriber.with_ansi(colours).try_init(),
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
    started.map_err(|error| Failure::internal(format!("start logging: {error}")))?;
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("a value that is no text");
        let thread = std::thread::current();
        tracing::error!(at, thread = thread.name(), "panicked: {what}");
    }));
    Ok(())
}

fn filter(settings: &Log) -> Result<EnvFilter, Failure> {
    let written = &settings.filter;
    let names_ractor = written.split(',').any(|part| part.trim_start().starts_with("ractor"));
    let whole = if names_ractor {
        written.clone()
    } else {
        format!("{written},{QUIET}")
    };
    EnvFilter::try_new(&whole).map_err(|error| Failure::internal(format!("read log.filter {written:?}: {error}")))
}

/// The metrics of this process, to be rendered.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
    process: Process,
}

impl Metrics {
    /// Installs the recorder and tells it what each metric means. Once, before any handle is made.
    pub fn install() -> Result<Self, Failure> {
        let failed = |error| Failure::internal(format!("start the metrics: {error}"));
        let recorder = PrometheusBuilder::new()
            .set_buckets(&COUNTS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS))
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(failed)?;
        crate::metrics::describe();
        rookery_cluster::metrics::describe();
        metrics::gauge!("node_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self {
            recorder,
            process: Process::default(),
        })
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = self.recorder.render();
        self.process.render(&mut text);
        text
    }

    /// Keeps the recorder's buffers small, for as long as the process lives.
    pub async fn upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.recorder.run_upkeep();
        }
    }
}
