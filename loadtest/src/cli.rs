//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

mod scenarios;

pub use scenarios::{
    Calibrate, Chaos, ClusterTable, Cold, Connect, Crash, Direct, Fanout, Idle, Mixed, Rate, Resume, Storm, Table,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::cluster::Clocks;
use crate::plan::{Route, Size};
use crate::schedule::Spacing;
use crate::threshold::Threshold;

const EXAMPLES: &str = "\
Examples:
  # 15,000 idle connections against a server started for it
  rookery-load idle --clients 15000

  # the highest rate of direct messages with p99 < 250 ms, server and load on a core each
  rookery-load direct --search --server-cpu 0 --load-cpu 1

  # a group of 1,000 at 20 messages a second on a running server, with a page of plots, as a gate in CI
  rookery-load fanout --url http://127.0.0.1:8080 --members 1000 --rate 20 \\
      --html fanout.html --fail-if 'delivered.p99>15ms' --fail-if 'audit.violations>0'

  # a cluster of three nodes over Kafka, MongoDB, Redis and S3 of its own, pairs across its nodes
  rookery-load direct --nodes 3 --rate 500

  # five minutes of faults for each of four seeds, over three nodes
  rookery-load chaos --minutes 5 --seed 1 --seeds 4 --html chaos.html

  # pauses and losses of services over a cluster that is running
  rookery-load chaos --url http://127.0.0.1:8081 --url http://127.0.0.1:8082 --server-pid 4711 --server-pid 4712 \\
      --services data-cluster/services

  # kill -9 twenty times under load; exit status 2 if anything was lost, doubled, reordered or made up
  rookery-load crash --rounds 20

Exit status: 0 passed, 1 a threshold was exceeded, 2 the audit found a violation, 3 the run failed, 64 wrong usage.
Figures that thresholds can name stand in the report: NAME or OPERATION.p50|p90|p99|p999|max|mean|count,
audit.violations|lost|duplicated|reordered|gapped|phantom|corrupted, counts.NAME, incidents.NAME, each with SCENARIO/ before
it where several ran.

A server that is already running must allow what one machine does in place of many: raise its limits.signups_per_minute, and
for large fleets connections_per_address, connects_per_second and messages_per_second. A server started here has them raised.";

/// A load harness for WebSocket chat fleets: open-loop schedules, honest latencies, and an audit that is always on.
///
/// Every message is accounted for: at the end of each scenario the histories are read back and held against what every client
/// saw and every sender was told.
#[derive(Parser, Debug)]
#[command(name = "rookery-load", version, after_help = EXAMPLES, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    pub scenario: Scenario,
    #[command(flatten)]
    pub common: Common,
}

/// Options of every scenario.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// A running server, as http://HOST:PORT, repeated for each node of a cluster; without it one is started
    #[arg(long, global = true, help_heading = "Server")]
    pub url: Vec<String>,
    /// Its admin listener, for its processor time and memory where it is no process of this machine; repeated as --url is
    #[arg(long, global = true, help_heading = "Server", requires = "url")]
    pub admin_url: Vec<String>,
    /// The process id of the running server, for its processor time and memory; repeated as --url is
    #[arg(long, global = true, help_heading = "Server", requires = "url")]
    pub server_pid: Vec<u32>,
    /// Start a cluster of so many nodes, over services that run already or are started with it
    #[arg(long, global = true, help_heading = "Server", conflicts_with = "url")]
    pub nodes: Option<usize>,
    /// The cluster's services: the directory where `deploy/services/up` left them, or a file of what it printed (or the same
    /// variables in the environment); or, to start them, the directory of that script [default: the repository's]
    #[arg(long, global = true, help_heading = "Server", value_name = "PATH")]
    pub services: Option<PathBuf>,
    /// The server to start [default: the one beside this program, else target/release/rookery]
    #[arg(long, global = true, help_heading = "Server", value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Processors the started server may use, as 0 or 0,2-3
    #[arg(long, global = true, help_heading = "Server", value_name = "LIST")]
    pub server_cpu: Option<CpuList>,
    /// A setting of the started server, as ROOKERY_LIMITS__FRAME_BYTES=65536; may be repeated
    #[arg(long, global = true, help_heading = "Server", value_name = "KEY=VALUE", value_parser = setting)]
    pub server_env: Vec<(String, String)>,
    /// Keep data and logs of what was started here, also of a run that passed
    #[arg(long, global = true, help_heading = "Server")]
    pub keep: bool,
    /// The links between the nodes that are started can be cut.
    #[arg(skip)]
    pub cables: bool,
    /// The wall clocks of the nodes that are started can jump, or why they cannot.
    #[arg(skip)]
    pub clocks: Option<Result<Arc<Clocks>, String>>,

    /// Processors the load side may use
    #[arg(long, global = true, help_heading = "Load", value_name = "LIST")]
    pub load_cpu: Option<CpuList>,
    /// By which node of a cluster a client comes in
    #[arg(long, global = true, help_heading = "Load", value_enum, default_value_t)]
    pub route: Route,
    /// Processes to spread the clients over; by default as few as the limit of open files allows
    #[arg(long, global = true, help_heading = "Load")]
    pub workers: Option<usize>,
    /// Loopback source addresses (127.0.0.2 and on) to spread connections over; by default one for every 900
    #[arg(long, global = true, help_heading = "Load")]
    pub sources: Option<usize>,
    /// How intended starts are spread
    #[arg(long, global = true, help_heading = "Load", value_enum, default_value_t)]
    pub spacing: Spacing,
    /// Bytes of a message's text, as 100 or 20-400
    #[arg(long, global = true, help_heading = "Load", default_value = "100")]
    pub size: SizeRange,
    /// Repeats a run: its schedule, sizes and choices
    #[arg(long, global = true, help_heading = "Load", default_value_t = 1)]
    pub seed: u64,
    /// Messages of histories to read back for the audit; what clients saw is always checked in full
    #[arg(long, global = true, help_heading = "Load", default_value_t = 400_000)]
    pub audit_messages: u64,

    /// Write the report as JSON
    #[arg(long, global = true, help_heading = "Report", value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one page with plots
    #[arg(long, global = true, help_heading = "Report", value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Fail when this holds, as 'sent.p99>15ms'; may be repeated
    #[arg(long, global = true, help_heading = "Report", value_name = "THRESHOLD")]
    pub fail_if: Vec<Threshold>,
    /// No progress on standard error
    #[arg(long, short, global = true, help_heading = "Report")]
    pub quiet: bool,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Scenario {
    /// Many connections that do nothing: memory and heartbeat cost of each
    Idle(Idle),
    /// What a connection costs: upgrade, token check, hello, sync; new devices, then resumed ones
    Connect(Connect),
    /// Drop a share of the connections at once and let them come back
    Storm(Storm),
    /// Pairs that talk to each other
    Direct(Direct),
    /// Groups in which everybody is online
    Fanout(Fanout),
    /// Devices cut off that miss messages and come back in waves
    Resume(Resume),
    /// A realistic day: lurkers, chatters, slow readers, reconnects, typing, reactions
    Mixed(Mixed),
    /// kill -9 and restart the server while it is spoken to
    Crash(Crash),
    /// How long a restart with much stored takes, and what it holds in memory
    Cold(Cold),
    /// How much one load engine takes in on this machine: what a delivery costs the load side
    Calibrate(Calibrate),
    /// A cluster under load while nodes and services are killed, paused, cut off, drained and added; --nodes 3 unless said
    /// otherwise
    Chaos(Chaos),
    /// The whole table of goals, with what was measured; server and load on a processor each unless told otherwise
    Table(Table),
    /// The goals of a cluster, with what was measured; --nodes 3 unless said otherwise, beside one node over the same services
    ClusterTable(ClusterTable),
}

impl Common {
    /// The server to start, which is there.
    pub fn found_binary(&self) -> anyhow::Result<PathBuf> {
        let binary = self.binary();
        binary.canonicalize().with_context(|| {
            format!(
                "no server at {} (build it, or name one by --server or --url)",
                binary.display()
            )
        })
    }

    /// The server to start.
    pub fn binary(&self) -> PathBuf {
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("rookery")).filter(|path| path.exists());
        let built = || PathBuf::from("target/release/rookery");
        self.server.clone().or_else(beside).unwrap_or_else(built)
    }

    /// Server and load on a processor each, where the user did not choose.
    pub fn pin_apart(&mut self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.url.is_empty() && self.server_cpu.is_none() && self.load_cpu.is_none() && cores > 1 {
            self.server_cpu = Some(CpuList(vec![0]));
            self.load_cpu = Some(CpuList(vec![1]));
        }
    }
}

/// Processors, as `0` or `0,2-3`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuList(pub Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim()
                .parse::<usize>()
                .map_err(|_| format!("{text:?} is no processor"))
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
                None => cpus.push(number(part)?),
            }
        }
        Ok(Self(cpus))
    }
}

/// Sizes, as `100` or `20-400`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeRange(pub Size);

impl FromStr for SizeRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| format!("{text:?} is no size"));
        let (min, max) = (number(min)?, number(max)?);
        let least = crate::client::payload::STAMP;
        if min < least || max < min {
            return Err(format!("sizes go up, and {least} bytes is the least"));
        }
        Ok(Self(Size { min, max }))
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!("0,2-4".parse(), Ok(CpuList(vec![0, 2, 3, 4])));
        assert!("a".parse::<CpuList>().is_err());
        assert_eq!("20-400".parse(), Ok(SizeRange(Size { min: 20, max: 400 })));
        assert!("400-20".parse::<SizeRange>().is_err() && "3".parse::<SizeRange>().is_err());
    }

    #[test]
    fn options_may_stand_after_the_scenario() {
        let line = [
            "rookery-load",
            "direct",
            "--pairs",
            "5",
            "--fail-if",
            "sent.p99>15ms",
            "--server-cpu",
            "0",
        ];
        let cli = Cli::try_parse_from(line).unwrap();
        assert_eq!(cli.common.fail_if.len(), 1);
        assert!(matches!(cli.scenario, Scenario::Direct(Direct { pairs: 5, .. })));
    }
}
