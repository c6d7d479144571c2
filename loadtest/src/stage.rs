//! Where scenarios play: a server (ours or somebody's), the machine, the seed, the console.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use rookery_actors::time::Timestamp;

use crate::cast::{self, Cast};
use crate::cli::Common;
use crate::console::Console;
use crate::http::Http;
use crate::plan::{Acks, Plan, Size};
use crate::sample::{Machine, Sampler};
use crate::schedule::Dice;
use crate::server::{Recipe, Server};
use crate::trial::Trial;
use crate::{fleet, sys};

/// Connections from one source address, within what a server allows by default.
const PER_SOURCE: usize = 900;
/// Descriptors a process needs for other things than virtual clients.
const SPARE_FILES: u64 = 300;

pub struct Stage {
    pub common: Common,
    pub server: Option<Server>,
    pub target: SocketAddr,
    admin: Option<SocketAddr>,
    pub sampler: Sampler,
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
            server: None,
            target: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            sampler: Sampler::Nothing,
            parts: 0,
            common,
        };
        match stage.common.url.clone() {
            _ if !server => {}
            Some(url) => stage.find(&url)?,
            None => stage.fresh_server()?,
        }
        Ok(stage)
    }

    fn find(&mut self, url: &str) -> anyhow::Result<()> {
        self.target = address(url)?;
        self.admin = self.common.admin_url.as_deref().map(address).transpose()?;
        self.sampler = match (self.common.server_pid, self.admin) {
            (Some(pid), _) => Sampler::of_process(pid).context("reading the server's processor time")?,
            (None, Some(admin)) => Sampler::of_metrics(admin),
            (None, None) => Sampler::Nothing,
        };
        Ok(())
    }

    /// A server of our own on an empty directory; an earlier one is ended. Nothing happens where the user gave a URL.
    pub fn fresh_server(&mut self) -> anyhow::Result<()> {
        if self.common.url.is_some() {
            return Ok(());
        }
        self.server = None;
        self.console.say("starting the server");
        let binary = self.common.binary();
        let recipe = Recipe {
            binary: binary.canonicalize().with_context(|| {
                format!(
                    "no server at {} (build it, or name one by --server or --url)",
                    binary.display()
                )
            })?,
            cpus: self.common.server_cpu.clone().map(|cpus| cpus.0),
            environment: self.common.server_env.clone(),
        };
        self.server = Some(Server::start(recipe)?);
        self.follow_server()
    }

    /// After the server has been started again: its addresses and its process are new.
    pub fn follow_server(&mut self) -> anyhow::Result<()> {
        let server = self
            .server
            .as_ref()
            .context("this needs a server of our own: leave --url away")?;
        self.target = server.listen;
        self.admin = Some(server.admin);
        self.sampler = Sampler::of_process(server.pid()).context("reading the server's processor time")?;
        Ok(())
    }

    /// The server, where it is ours to kill.
    pub fn own_server(&mut self) -> anyhow::Result<&mut Server> {
        self.server
            .as_mut()
            .context("this scenario ends and starts the server itself: leave --url away")
    }

    pub fn seed(&self) -> u64 {
        self.common.seed
    }

    /// Signs people up and puts them on the cast.
    pub fn sign_up(&mut self, cast: &mut Cast, count: usize) -> anyhow::Result<()> {
        let run = self.nonce.wrapping_add(self.parts);
        self.parts += 1;
        let console = &self.console;
        let people = cast::sign_up(self.target, run, count, &|done| {
            console.count("signing up", done, count)
        })?;
        self.console.end();
        if people.len() < count {
            bail!("interrupted while signing up");
        }
        cast.people.extend(people);
        Ok(())
    }

    /// Makes one group of these people; the first owns it.
    pub fn group(&mut self, cast: &mut Cast, members: Vec<u32>) -> anyhow::Result<u32> {
        let owner = &cast.people[*members.first().context("a group needs somebody")? as usize];
        let others: Vec<_> = members[1..]
            .iter()
            .map(|member| cast.people[*member as usize].user)
            .collect();
        let name = format!("Load {}", cast.conversations.len());
        let id = cast::make_group(&mut Http::new(self.target), &name, owner, &others)?;
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
            server: self.target,
            sources: self.sources(clients.len()),
            acks: manner.acks,
            size: manner.size,
            unanswered: manner.unanswered,
            conversations: cast.conversations.clone(),
            clients,
        };
        let fleet = fleet::Fleet::start(plan, workers)?;
        Ok(Trial::new(self, fleet, cast, run, name, title))
    }

    fn sources(&self, clients: usize) -> Vec<Ipv4Addr> {
        let asked = self.common.sources;
        let loopback = self.target.ip().is_loopback() && self.target.is_ipv4();
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
        }
    }
}

/// The address of `http://host:port`.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
    let rest = rest.with_context(|| format!("{url}: only http:// is spoken here"))?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let authority = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut found = authority
        .to_socket_addrs()
        .with_context(|| format!("looking up {authority}"))?;
    found.next().with_context(|| format!("{authority} has no address"))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_url_names_an_address() {
        assert_eq!(address("http://127.0.0.1:8080/").unwrap().port(), 8080);
        assert_eq!(address("http://127.0.0.1").unwrap().port(), 80);
        assert!(address("https://127.0.0.1").is_err());
    }
}
