//! The `rookery` binary: load the configuration, start, print the addresses, wait for a signal, drain.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rookery_node::admin::Admin;
use rookery_node::cli::{Cli, Command, Failure, Status, commands, operator};
use rookery_node::config::{self, Config, Loaded};
use rookery_node::shutdown::{Lifecycle, Signal, Signals};
use rookery_node::telemetry::{self, Metrics};
use rookery_node::wiring::Node;
use rookery_node::{process, wiring};

/// How long threads may finish what they do when everything else has ended.
const LINGER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let ended = run(&Cli::parse());
    ended.unwrap_or_else(Failure::report)
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let load = || config::load(&cli.sources.flags(), config::environment());
    match cli.command.as_ref().unwrap_or(&Command::Serve) {
        Command::Serve => serve(&load()?),
        Command::Check => commands::check(&load()?),
        Command::PrintConfig => commands::print(&load()?.print()),
        Command::ExampleConfig => commands::print(&config::example()),
        Command::RotateKey => commands::rotate_key(&load()?.config),
        Command::Health { live } => operator::health(&load()?.config, *live),
        Command::Nodes { json } => operator::nodes(&load()?.config, *json),
        Command::Shards { json } => operator::shards(&load()?.config, *json),
        Command::Drain { json } => operator::drain(&load()?.config, *json),
        Command::Docs { page } => commands::docs(*page),
    }
}

fn serve(loaded: &Loaded) -> Result<ExitCode, Failure> {
    let config = &loaded.config;
    telemetry::log(&config.log)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = loaded.file.as_ref().map(|file| tracing::field::display(file.display())),
        "starting"
    );
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = process::runtime(config.process.worker_threads)?;
    let ended = runtime.block_on(live(config));
    runtime.shutdown_timeout(LINGER);
    ended
}

/// The life of a node. It is whole before it says where it listens, and gone when this returns.
async fn live(config: &Config) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::internal(format!("listen for signals: {error}")))?;
    let lifecycle = Lifecycle::default();
    let metrics = Metrics::install()?;
    tokio::spawn(metrics.clone().upkeep());

    let private = process::bind(config.process.admin_listen, process::ADMIN_BACKLOG, "admin_listen")?;
    let admin = Admin::start(private, lifecycle.clone(), metrics)
        .map_err(|error| Failure::internal(format!("start the admin listener: {error}")))?;
    let node = tokio::select! {
        // Boxed: all that is opened, one in the other, is deeper than the compiler looks into a future.
        opened = Box::pin(open(config, &admin, &lifecycle)) => opened?,
        name = signals.stop() => {
            tracing::info!(signal = name, "stopped while starting");
            return Ok(ExitCode::SUCCESS);
        }
    };
    lifecycle.ready();
    process::announce(config.gateway.scheme(), node.address(), admin.address());

    wait(&mut signals, &lifecycle, &node).await;
    let within = Duration::from_secs(config.process.drain_seconds.into());
    tokio::select! {
        drained = tokio::time::timeout(within, node.drain(within)) => drained.map_err(|_| {
            Failure::new(Status::No, "the drain took longer than `drain_seconds` and was cut short")
        })?,
        name = signals.stop() => {
            return Err(Failure::new(Status::No, format!("{name} came again: the drain was cut short")));
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn open(config: &Config, admin: &Admin, lifecycle: &Lifecycle) -> Result<Node, Failure> {
    let node = wiring::open(config, lifecycle).await?;
    admin.open(node.control(config)?);
    Ok(node)
}

/// Serves until somebody asks for the drain.
async fn wait(signals: &mut Signals, lifecycle: &Lifecycle, node: &Node) {
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => node.reload(),
                Signal::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    lifecycle.drain();
                    return;
                }
            },
            () = lifecycle.draining() => return,
        }
    }
}

/// jemalloc, told to give memory back soon after a storm of connections has passed.
#[cfg(feature = "jemalloc")]
mod allocator {
    #[global_allocator]
    static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// Read by jemalloc when it starts; `_RJEM_MALLOC_CONF` in the environment overrides it. Two arenas: measured as the
    /// fewest at which allocation does not contend, while every further one keeps pages of its own.
    // An exported symbol is unsafe to declare because it may clash with another; jemalloc itself declares this one weak.
    #[allow(unsafe_code)]
    #[unsafe(export_name = "_rjem_malloc_conf")]
    pub static MALLOC_CONF: &[u8] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2\0";
}
