//! Where scenarios play: a server or a cluster (ours or somebody's), the machine, the seed, the console.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use rookery_actors::time::Timestamp;

use crate::cast::{self, Cast, Person};
use crate::cli::Common;
use crate::cluster::{Cluster, Kind, Order, Services, node_name};
use crate::console::Console;
use crate::ground::Ground;
use crate::http::{Http, address};
use crate::plan::{Acks, Plan, Route, Size};
use crate::sample::{Gauge, Gauges, Machine};
use crate::schedule::Dice;
use crate::server::Server;
use crate::trial::Trial;
use crate::{fleet, sys};

/// Connections from one source address, within what a server allows by default.
const PER_SOURCE: usize = 900;
/// Descriptors a process needs for other things than virtual clients.
const SPARE_FILES: u64 = 300;

pub struct Stage {
    pub common: Common,
    /// What we started; it ends before the services it stands on.
    pub cluster: Option<Cluster>,
    pub services: Option<Services>,
    /// Where the files of all that are.
    ground: Ground,
    /// Where clients may come in: one, or each node of a cluster.
    pub doors: Vec<SocketAddr>,
    pub gauges: Gauges,
    pub console: Console,
    pub machine: Machine,
    /// Distinguishes this run's accounts and messages from any other's.
    nonce: u32,
    parts: u32,
}

/// How the clients of a scenario behave.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub acks: Acks,
    pub size: Size,
    /// How many of its sends one client leaves unanswered at most.
    pub unanswered: u32,
    /// After so long without an answer a client takes another node; 0 waits for ever.
    pub patience_ms: u64,
    /// Every send is kept with its times.
    pub journal: bool,
}

impl Stage {
    /// Prepares the machine and finds or starts the server.
    ///
    /// Without `server` there is none: a scenario that needs none is to be played.
    pub fn open(common: Common, server: bool) -> anyhow::Result<Self> {
        let open_files = sys::raise_open_files();
        if let Some(cpus) = &common.load_cpu {
            sys::pin(&cpus.0).context("pinning the load side")?;
        }
        let now = Timestamp::now().0 as u64 ^ sys::now_ns();
        let mut stage = Self {
            console: Console::new(common.quiet),
            machine: Machine::read(open_files),
            nonce: Dice::fork(now, u64::from(std::process::id())).throw() as u32,
            cluster: None,
            services: None,
            ground: Ground::new("")?,
            doors: Vec::new(),
            gauges: Gauges::default(),
            parts: 0,
            common,
        };
        match stage.common.url.is_empty() {
            _ if !server => {}
            false => stage.find()?,
            true => stage.fresh_server()?,
        }
        Ok(stage)
    }

    fn find(&mut self) -> anyhow::Result<()> {
        let Common {
            url,
            admin_url,
            server_pid,
            ..
        } = &self.common;
        self.doors = url.iter().map(|url| address(url)).collect::<anyhow::Result<_>>()?;
        let by_pid = server_pid.iter().enumerate().map(|(n, pid)| {
            let gauge = Gauge::of_process(&node_name(n), *pid);
            gauge.context("reading the server's processor time")
        });
        let by_metrics = admin_url
            .iter()
            .enumerate()
            .map(|(n, url)| Ok(Gauge::of_metrics(&node_name(n), address(url)?)));
        let gauges: anyhow::Result<_> = match server_pid.is_empty() {
            false => by_pid.collect(),
            true => by_metrics.collect(),
        };
        self.gauges = Gauges::of_nodes(gauges?);
        if self.common.services.is_some() {
            self.find_services()?;
            self.follow_services();
        }
        Ok(())
    }

    /// A server or a cluster of our own on empty directories; an earlier one is ended. Nothing happens where the user gave a
    /// URL.
    pub fn fresh_server(&mut self) -> anyhow::Result<()> {
        if !self.common.url.is_empty() {
            return Ok(());
        }
        self.cluster = None;
        let clocks = self.common.clocks.as_ref();
        let order = Order {
            binary: self.common.found_binary()?,
            cpus: self.common.server_cpu.clone().map(|cpus| cpus.0),
            environment: self.common.server_env.clone(),
            ground: self.ground.path().to_path_buf(),
            clocks: clocks.and_then(|clocks| clocks.as_ref().ok().cloned()),
        };
        self.cluster = Some(match self.common.nodes {
            None => {
                self.console.say("starting the server");
                Cluster::alone(order)?
            }
            Some(nodes) => {
                self.find_services()?;
                self.console.say(&format!("starting {nodes} nodes"));
                let services = self.services.as_ref().context("there are no services")?;
                Cluster::start(order, nodes.max(1), services, self.common.cables)?
            }
        });
        self.gauges = Gauges::default();
        self.follow()
    }

    /// The same in a directory of that name, over fresh services where they are ours.
    pub fn fresh_ground(&mut self, name: &str) -> anyhow::Result<()> {
        self.cluster = None;
        if self.services.as_ref().is_some_and(Services::are_ours) {
            self.services = None;
        }
        self.ground = Ground::new(name)?;
        self.fresh_server()
    }

    /// The services of all clusters of this run: found or started once.
    fn find_services(&mut self) -> anyhow::Result<()> {
        if self.services.is_none() {
            self.console
                .say("looking for services, starting them where there are none");
            let told = self.common.services.as_deref();
            self.services = Some(Services::find_or_start(told, self.ground.path())?);
        }
        Ok(())
    }

    /// After servers or services have been started again: their addresses and processes are new.
    pub fn follow(&mut self) -> anyhow::Result<()> {
        let cluster = self
            .cluster
            .as_ref()
            .context("this needs a server of our own: leave --url away")?;
        self.doors = cluster.doors();
        for (n, node) in cluster.nodes.iter().enumerate() {
            let followed = self.gauges.follow(&node_name(n), node.pid(), true);
            followed.context("reading the server's processor time")?;
        }
        self.follow_services();
        Ok(())
    }

    /// After services have been started again: their processes are new.
    pub fn follow_services(&mut self) {
        let Some(services) = &self.services else { return };
        for kind in Kind::ALL {
            // A service that has gone is somebody else's to complain about.
            if let Some(pid) = services.pid(kind) {
                drop(self.gauges.follow(kind.name(), pid, false));
            }
        }
    }

    /// The server, where it is one alone and ours to kill.
    pub fn own_server(&mut self) -> anyhow::Result<&mut Server> {
        self.cluster
            .as_mut()
            .and_then(Cluster::alone_mut)
            .context("this scenario ends and starts one server itself: leave --url and --nodes away")
    }

    /// Leaves data and logs of what we started behind, and says where; nothing where the server was somebody's.
    pub fn keep(&mut self) -> Option<PathBuf> {
        self.cluster.as_mut().map(Cluster::keep);
        self.services.as_ref().map(Services::keep);
        let path = self.ground.path();
        let kept = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        kept.then(|| path.to_path_buf())
    }

    pub fn seed(&self) -> u64 {
        self.common.seed
    }

    /// Signs people up and puts them on the cast.
    pub fn sign_up(&mut self, cast: &mut Cast, count: usize) -> anyhow::Result<()> {
        let run = self.nonce.wrapping_add(self.parts);
        self.parts += 1;
        let console = &self.console;
        let people = cast::sign_up(&self.doors, run, count, &|done| {
            console.count("signing up", done, count)
        })?;
        self.console.end();
        if people.len() < count {
            bail!("interrupted while signing up");
        }
        let from = cast.people.len();
        cast.people.extend(people);
        self.find_homes(&mut cast.people[from..])
    }

    /// Finds everybody's door where that is asked for: it is another one once nodes have come, gone or been started anew.
    pub fn find_homes(&self, people: &mut [Person]) -> anyhow::Result<()> {
        if self.doors.len() < 2 || self.common.route != Route::Home {
            return Ok(());
        }
        let count = people.len();
        let console = &self.console;
        let found = cast::find_homes(&self.doors, people, &|done| console.count("finding homes", done, count));
        console.end();
        found
    }

    /// Makes one group of these people; the first owns it.
    pub fn group(&mut self, cast: &mut Cast, members: Vec<u32>) -> anyhow::Result<u32> {
        let owner = &cast.people[*members.first().context("a group needs somebody")? as usize];
        let others: Vec<_> = members[1..]
            .iter()
            .map(|member| cast.people[*member as usize].user)
            .collect();
        let name = format!("Load {}", cast.conversations.len());
        let id = cast::make_group(
            &mut Http::among(&self.doors, cast.conversations.len()),
            &name,
            owner,
            &others,
        )?;
        Ok(cast.add_group(id, members))
    }

    /// Divides people into groups of so many.
    pub fn groups_of(&mut self, cast: &mut Cast, people: std::ops::Range<u32>, size: usize) -> anyhow::Result<()> {
        let all: Vec<u32> = people.collect();
        let groups: Vec<_> = all.chunks(size.max(1)).map(<[u32]>::to_vec).collect();
        let count = groups.len();
        for (n, members) in groups.into_iter().enumerate() {
            self.group(cast, members)?;
            self.console.count("making groups", n + 1, count);
        }
        self.console.end();
        Ok(())
    }

    /// Puts the cast on stage: engines with everybody's sockets, none of them open yet.
    pub fn begin(&mut self, name: &str, title: &str, cast: Cast, manner: Manner) -> anyhow::Result<Trial<'_>> {
        let clients = cast.clients();
        let per_engine = self.machine.open_files.saturating_sub(SPARE_FILES).max(100) as usize;
        let workers = self
            .common
            .workers
            .unwrap_or_else(|| clients.len().div_ceil(per_engine))
            .max(1);
        let run = self.nonce.wrapping_add(0x1000_0000).wrapping_add(self.parts);
        self.parts += 1;
        let plan = Plan {
            run,
            seed: self.seed(),
            doors: self.doors.clone(),
            sources: self.sources(clients.len()),
            acks: manner.acks,
            size: manner.size,
            unanswered: manner.unanswered,
            patience_ms: manner.patience_ms,
            journal: manner.journal,
            conversations: cast.conversations.clone(),
            clients,
        };
        let fleet = fleet::Fleet::start(plan, workers)?;
        Ok(Trial::new(self, fleet, cast, run, name, title))
    }

    fn sources(&self, clients: usize) -> Vec<Ipv4Addr> {
        let asked = self.common.sources;
        let loopback = self.doors.iter().all(|door| door.ip().is_loopback() && door.is_ipv4());
        let count = asked.unwrap_or(clients.div_ceil(PER_SOURCE));
        if !loopback || count <= 1 {
            return Vec::new();
        }
        let nth = |n: usize| Ipv4Addr::new(127, 0, (n / 250) as u8, (n % 250) as u8 + 2);
        (0..count.min(60_000)).map(nth).collect()
    }

    /// The manner most scenarios begin with.
    pub fn manner(&self, acks: Acks) -> Manner {
        Manner {
            acks,
            size: self.common.size.0,
            unanswered: 64,
            patience_ms: 0,
            journal: false,
        }
    }
}
