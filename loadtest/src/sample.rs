//! What the server costs, read beside what the clients see: processor time and memory of its process, and the machine it is on.

use std::fs;
use std::net::SocketAddr;

use serde::Serialize;

use crate::http::Http;
use crate::sys::CpuClock;

/// Where the figures come from.
pub enum Sampler {
    /// A process of this machine.
    Process {
        pid: u32,
        clock: CpuClock,
    },
    /// The `process_*` metrics of a server elsewhere.
    Metrics {
        http: Http,
    },
    Nothing,
}

/// A process's memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, shared pages included.
    pub rss: u64,
    /// Resident and its own: heap and stacks.
    pub anonymous: u64,
}

impl Sampler {
    pub fn of_process(pid: u32) -> std::io::Result<Self> {
        CpuClock::of(pid).map(|clock| Self::Process { pid, clock })
    }

    pub fn of_metrics(admin: SocketAddr) -> Self {
        Self::Metrics { http: Http::new(admin) }
    }

    /// Processor time so far, user and system, in nanoseconds.
    pub fn cpu_ns(&mut self) -> Option<u64> {
        match self {
            Self::Process { clock, .. } => clock.read(),
            Self::Metrics { http } => {
                let seconds = metric(http, "process_cpu_seconds_total")?;
                Some((seconds * 1e9) as u64)
            }
            Self::Nothing => None,
        }
    }

    pub fn memory(&mut self) -> Option<Memory> {
        match self {
            Self::Process { pid, .. } => memory_of(*pid),
            Self::Metrics { http } => {
                let rss = metric(http, "process_resident_memory_bytes")? as u64;
                Some(Memory { rss, anonymous: rss })
            }
            Self::Nothing => None,
        }
    }

    /// Proportional set size: shared pages divided among those who share them. Slow to read.
    pub fn pss(&self) -> Option<u64> {
        let Self::Process { pid, .. } = self else { return None };
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        kib(&text, "Pss:")
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
    use super::{Machine, kib, memory_of};

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
