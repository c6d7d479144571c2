//! What the server costs, read beside what the clients see: processor time and memory of its process, and the machine it is on.

use std::fs;
use std::net::SocketAddr;

use serde::Serialize;

use crate::http::Http;
use crate::sys::CpuClock;

/// Where the figures of one server come from.
enum Source {
    /// A process of this machine.
    Process { pid: u32, clock: CpuClock },
    /// The `process_*` metrics of a server elsewhere.
    Metrics { http: Http },
}

/// A process's memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, shared pages included.
    pub rss: u64,
    /// Resident and its own: heap and stacks.
    pub anonymous: u64,
}

/// What one server uses, through any number of restarts.
pub struct Gauge {
    name: String,
    source: Source,
    /// Processor time of processes that have ended, and of this one when it was last seen.
    ended_ns: u64,
    seen_ns: u64,
}

impl Gauge {
    pub fn of_process(name: &str, pid: u32) -> std::io::Result<Self> {
        let clock = CpuClock::of(pid)?;
        Ok(Self::new(name, Source::Process { pid, clock }))
    }

    pub fn of_metrics(name: &str, admin: SocketAddr) -> Self {
        let http = Http::new(admin);
        Self::new(name, Source::Metrics { http })
    }

    fn new(name: &str, source: Source) -> Self {
        Self {
            name: name.into(),
            source,
            ended_ns: 0,
            seen_ns: 0,
        }
    }

    /// Processor time so far, user and system, in nanoseconds; of one that has ended, as it was when last seen.
    fn cpu_ns(&mut self) -> u64 {
        let seen = match &mut self.source {
            Source::Process { clock, .. } => clock.read(),
            Source::Metrics { http } => metric(http, "process_cpu_seconds_total").map(|seconds| (seconds * 1e9) as u64),
        };
        self.seen_ns = seen.unwrap_or(self.seen_ns);
        self.ended_ns + self.seen_ns
    }

    fn memory(&mut self) -> Option<Memory> {
        match &mut self.source {
            Source::Process { pid, .. } => memory_of(*pid),
            Source::Metrics { http } => {
                let rss = metric(http, "process_resident_memory_bytes")? as u64;
                Some(Memory { rss, anonymous: rss })
            }
        }
    }

    /// Proportional set size: shared pages divided among those who share them. Slow to read.
    fn pss(&self) -> Option<u64> {
        let Source::Process { pid, .. } = self.source else {
            return None;
        };
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        kib(&text, "Pss:")
    }
}

/// The servers' gauges, and those of the services beside them.
#[derive(Default)]
pub struct Gauges {
    nodes: Vec<Gauge>,
    beside: Vec<Gauge>,
}

impl Gauges {
    pub fn of_nodes(nodes: Vec<Gauge>) -> Self {
        let beside = Vec::new();
        Self { nodes, beside }
    }

    /// A server or a service of that name is this process now; what it used before counts on.
    pub fn follow(&mut self, name: &str, pid: u32, is_node: bool) -> std::io::Result<()> {
        let gauges = if is_node { &mut self.nodes } else { &mut self.beside };
        let same =
            |known: &Gauge| known.name == name && matches!(known.source, Source::Process { pid: it, .. } if it == pid);
        if gauges.iter().any(same) {
            return Ok(());
        }
        let mut gauge = Gauge::of_process(name, pid)?;
        match gauges.iter_mut().find(|known| known.name == name) {
            Some(known) => {
                gauge.ended_ns = known.ended_ns + known.seen_ns;
                *known = gauge;
            }
            None => gauges.push(gauge),
        }
        Ok(())
    }

    /// Processor time of all servers so far.
    pub fn cpu_ns(&mut self) -> Option<u64> {
        let nodes = self.nodes.iter_mut().map(Gauge::cpu_ns);
        (nodes.len() > 0).then(|| nodes.sum())
    }

    /// Processor time of each server, where there are several, and of each service.
    pub fn apart(&mut self) -> Vec<(String, u64)> {
        let several = self.nodes.len() > 1;
        let nodes = self.nodes.iter_mut().filter(|_| several);
        nodes
            .chain(&mut self.beside)
            .map(|gauge| (gauge.name.clone(), gauge.cpu_ns()))
            .collect()
    }

    /// Memory of all servers that run.
    pub fn memory(&mut self) -> Option<Memory> {
        let each = self.nodes.iter_mut().filter_map(Gauge::memory);
        each.reduce(|a, b| Memory {
            rss: a.rss + b.rss,
            anonymous: a.anonymous + b.anonymous,
        })
    }

    /// Memory of each server, where there are several, and of each service.
    pub fn memory_apart(&mut self) -> Vec<(String, Memory)> {
        let several = self.nodes.len() > 1;
        let nodes = self.nodes.iter_mut().filter(|_| several);
        nodes
            .chain(&mut self.beside)
            .filter_map(|gauge| Some((gauge.name.clone(), gauge.memory()?)))
            .collect()
    }

    /// Proportional set size of all servers.
    pub fn pss(&self) -> Option<u64> {
        let each: Vec<u64> = self.nodes.iter().filter_map(Gauge::pss).collect();
        (!each.is_empty()).then(|| each.iter().sum())
    }
}

/// Reads a process's memory from `/proc`.
pub fn memory_of(pid: u32) -> Option<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Memory {
        rss: kib(&text, "VmRSS:")?,
        anonymous: kib(&text, "RssAnon:")?,
    })
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

fn metric(http: &mut Http, name: &str) -> Option<f64> {
    let answer = http.request("GET", "/metrics", None, b"").ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The machine a run was made on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub cpu: String,
    pub memory_mib: u64,
    pub kernel: String,
    pub open_files: u64,
}

impl Machine {
    pub fn read(open_files: u64) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        Self {
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            cpu: model.map_or(String::new(), |model| {
                model.trim_start_matches(['\t', ' ', ':']).to_owned()
            }),
            memory_mib: kib(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) / (1024 * 1024),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            open_files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CpuClock, Gauges, Machine, kib, memory_of};

    #[test]
    fn a_server_that_was_started_again_has_used_what_it_used_before() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut gauges = Gauges::default();
        gauges.follow("node1", std::process::id(), true).unwrap();
        let before = gauges.cpu_ns().unwrap();
        gauges.follow("node1", std::process::id(), true).unwrap();
        let counted = gauges.cpu_ns().unwrap();
        let used = CpuClock::of(std::process::id()).unwrap().read().unwrap();
        assert!(counted <= used, "a process that is followed again counts once");
        gauges.follow("node1", child.id(), true).unwrap();
        assert!(before > 0 && gauges.cpu_ns().unwrap() >= before);
        gauges.follow("kafka", std::process::id(), false).unwrap();
        assert_eq!(gauges.apart().len(), 1, "a lone server is the sum itself");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            gauges.cpu_ns().unwrap() >= before,
            "the end of a process takes nothing back"
        );
    }

    #[test]
    fn figures_in_kib_are_read_by_name() {
        let text = "VmPeak:\t  100 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(kib(text, "VmRSS:"), Some(2048 * 1024));
        assert_eq!(kib(text, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_this_machine_processors() {
        let memory = memory_of(std::process::id()).unwrap();
        assert!(memory.rss > 100_000 && memory.anonymous <= memory.rss);
        assert!(Machine::read(0).cores > 0);
    }
}
