//! The options of each scenario.

use clap::Args;

use crate::chaos::Fault;

#[derive(Args, Clone, Debug)]
pub struct Idle {
    /// Connections, one user each
    #[arg(long, default_value_t = 15_000)]
    pub clients: usize,
    /// Members of each group
    #[arg(long, default_value_t = 100)]
    pub group: usize,
    /// Connects a second
    #[arg(long, default_value_t = 2_000.0)]
    pub rate: f64,
    /// How long they idle while it is measured: two heartbeats or more
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
}

#[derive(Args, Clone, Debug)]
pub struct Connect {
    /// Connections, one user each
    #[arg(long, default_value_t = 4_000)]
    pub clients: usize,
    /// Members of each group
    #[arg(long, default_value_t = 100)]
    pub group: usize,
    /// Connects a second of those that come one by one
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// Connects at once of those that come in waves
    #[arg(long, default_value_t = 200)]
    pub wave: usize,
}

#[derive(Args, Clone, Debug)]
pub struct Storm {
    /// Connections, one user each
    #[arg(long, default_value_t = 5_000)]
    pub clients: usize,
    /// Members of each group
    #[arg(long, default_value_t = 100)]
    pub group: usize,
    /// Share of the connections dropped each time
    #[arg(long, default_value_t = 0.5)]
    pub share: f64,
    /// Reconnects a second; the default is as fast as the machine can
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
}

#[derive(Args, Clone, Debug)]
pub struct Rate {
    /// Messages a second, all together; the first rate tried of a search
    #[arg(long, default_value_t = 2_000.0)]
    pub rate: f64,
    /// Measured seconds of each rate
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before that count for nothing
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// Find the highest rate with nothing lost and p99 below the limit
    #[arg(long)]
    pub search: bool,
    /// The limit of a search, in ms
    #[arg(long, default_value_t = 250.0)]
    pub limit_ms: f64,
    /// No new rate is tried after so many seconds
    #[arg(long, default_value_t = 120.0)]
    pub search_seconds: f64,
}

#[derive(Args, Clone, Debug)]
pub struct Direct {
    /// Pairs of users; both sides send
    #[arg(long, default_value_t = 1_000)]
    pub pairs: usize,
    /// Every message is acked and read, and receipts must arrive
    #[arg(long)]
    pub receipts: bool,
    #[command(flatten)]
    pub rate: Rate,
}

#[derive(Args, Clone, Debug)]
pub struct Fanout {
    #[arg(long, default_value_t = 1_000)]
    pub members: usize,
    #[arg(long, default_value_t = 1)]
    pub groups: usize,
    #[command(flatten)]
    pub rate: Rate,
}

#[derive(Args, Clone, Debug)]
pub struct Resume {
    #[arg(long, default_value_t = 2_000)]
    pub devices: usize,
    /// Messages each device misses
    #[arg(long, default_value_t = 5)]
    pub missed: usize,
    /// Devices that come back at once
    #[arg(long, default_value_t = 200)]
    pub wave: usize,
    /// Members of each group; 0 for a direct conversation each
    #[arg(long, default_value_t = 100)]
    pub group: usize,
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
}

#[derive(Args, Clone, Debug)]
pub struct Mixed {
    #[arg(long, default_value_t = 2_000)]
    pub users: usize,
    /// Messages a second on the day's average; twice as many at noon
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// How long the day is
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Share of users who read slower than they are written to
    #[arg(long, default_value_t = 0.03)]
    pub slow: f64,
}

#[derive(Args, Clone, Debug)]
pub struct Crash {
    #[arg(long, default_value_t = 20)]
    pub rounds: u32,
    #[arg(long, default_value_t = 200)]
    pub users: usize,
    /// Messages a second while it is up, and while it is down
    #[arg(long, default_value_t = 3_000.0)]
    pub rate: f64,
    /// The longest time between a start and the next kill, in seconds; the seed decides
    #[arg(long, default_value_t = 2.0)]
    pub longest: f64,
}

#[derive(Args, Clone, Debug)]
pub struct Cold {
    #[arg(long, default_value_t = 100_000)]
    pub users: usize,
    #[arg(long, default_value_t = 1_000_000)]
    pub messages: u64,
    /// Messages a second while they are stored
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
}

#[derive(Args, Clone, Debug)]
pub struct Calibrate {
    /// Connections fed at once
    #[arg(long, default_value_t = 1_000)]
    pub connections: u32,
    /// Messages that share a write
    #[arg(long, default_value_t = 20)]
    pub batch: u64,
    /// Messages each connection is fed
    #[arg(long, default_value_t = 6_000)]
    pub messages: u64,
}

#[derive(Args, Clone, Debug)]
pub struct Table {
    /// A tenth of everything: to see that it works, not what it holds
    #[arg(long)]
    pub quick: bool,
    /// Only scenarios whose line contains this
    #[arg(long)]
    pub only: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct Chaos {
    /// How long faults go on for, with each seed
    #[arg(long, default_value_t = 3.0)]
    pub minutes: f64,
    /// So many faults, in place of minutes
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Restart each node once in order, one after the other, in place of a schedule
    #[arg(long, conflicts_with_all = ["minutes", "rounds", "faults"])]
    pub rolling: bool,
    /// So many seeds, one after another, from --seed on; each on fresh nodes
    #[arg(long, default_value_t = 1)]
    pub seeds: u64,
    /// Faults to choose from: kill, pause, drain, join, cut, clock (of nodes), kafka, mongodb, redis, s3 [default: all that can be
    /// had here; a clock needs a C compiler]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub faults: Vec<Fault>,
    #[arg(long, default_value_t = 60)]
    pub users: usize,
    /// Messages a second, all together
    #[arg(long, default_value_t = 150.0)]
    pub rate: f64,
    /// Seconds after which a client gives up a node that says nothing, and takes another; doubled each time in vain
    #[arg(long, default_value_t = 5.0)]
    pub patience: f64,
}

#[derive(Args, Clone, Debug)]
pub struct ClusterTable {
    /// A tenth of everything: to see that it works, not what it holds
    #[arg(long)]
    pub quick: bool,
    /// Only lines that contain this
    #[arg(long)]
    pub only: Option<String>,
    /// How often a node is killed
    #[arg(long, default_value_t = 20)]
    pub kills: usize,
    /// Connections of each node; all together is what the line tells
    #[arg(long, default_value_t = 5_000)]
    pub connections: usize,
}
