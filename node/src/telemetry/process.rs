//! What the operating system knows of this process, under the names every Prometheus client library uses.

use std::fmt::Write;
use std::fs;

use super::reference::Described;

/// Name, kind and meaning of each, in the order they are rendered.
pub const METRICS: [Described; 6] = [
    described(
        "process_cpu_seconds_total",
        "counter",
        "CPU time the process has used, user and system.",
    ),
    described(
        "process_resident_memory_bytes",
        "gauge",
        "Memory of the process that is in RAM.",
    ),
    described(
        "process_open_fds",
        "gauge",
        "File descriptors open now; a socket is one.",
    ),
    described(
        "process_max_fds",
        "gauge",
        "File descriptors the process may have open.",
    ),
    described("process_threads", "gauge", "Threads of the process."),
    described(
        "process_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
    ),
];

const fn described(name: &'static str, kind: &'static str, help: &'static str) -> Described {
    Described {
        name,
        kind,
        labels: &[],
        help,
    }
}

/// Reads the process's own `/proc`.
#[derive(Clone, Debug)]
pub struct Process {
    started: f64,
}

impl Default for Process {
    fn default() -> Self {
        let now = rookery_actors::time::Timestamp::now();
        Self {
            started: now.0 as f64 / 1000.0,
        }
    }
}

impl Process {
    /// Adds the figures to a page of metrics. What cannot be read (another system, no `/proc`) is left out.
    pub fn render(&self, out: &mut String) {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (stat, status, limits) = (read("stat"), read("status"), read("limits"));
        let figures = [
            cpu_seconds(&stat),
            number(&status, "VmRSS:", 1).map(|kib| kib * 1024.0),
            open_files(),
            number(&limits, "Max open files", 3),
            number(&status, "Threads:", 1),
            Some(self.started),
        ];
        for (metric, figure) in METRICS.iter().zip(figures) {
            let (Described { name, kind, help, .. }, Some(figure)) = (metric, figure) else {
                continue;
            };
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {figure}\n\n").ok();
        }
    }
}

/// Ticks a second in `/proc/self/stat`: USER_HZ, 100 on every architecture Linux runs this on.
const TICKS: f64 = 100.0;

/// User and system time. The command before the fields stands in brackets and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    // proc(5) numbers fields from 1; the state, the first one here, is its third, utime the 14th.
    let user: f64 = fields.nth(14 - 3)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// The word at a place of the line that starts so.
fn number(text: &str, start: &str, word: usize) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.split_whitespace().nth(word)?.parse().ok()
}

/// Linux 6.2 and later tell the number as the directory's size; before, every entry must be walked.
fn open_files() -> Option<f64> {
    let told = fs::metadata("/proc/self/fd").ok()?.len();
    if told > 0 {
        return Some(told as f64);
    }
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 9 0 100 1000 3";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let mut page = String::new();
        Process::default().render(&mut page);
        for metric in METRICS {
            assert!(
                page.contains(&format!("\n{} ", metric.name)),
                "{page} lacks {}",
                metric.name
            );
        }
    }
}
