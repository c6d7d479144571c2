//! What the user sees while a run goes on: one line that moves on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::plan::Progress;

/// How often the line moves on a terminal, and how often a line is printed elsewhere.
const MOVE: Duration = Duration::from_millis(200);
const PRINT: Duration = Duration::from_secs(5);

pub struct Console {
    quiet: bool,
    terminal: bool,
    last: Mutex<Option<Instant>>,
}

impl Console {
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            last: Mutex::new(None),
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.end();
            eprintln!("{line}");
        }
    }

    /// How far a preparation is.
    pub fn count(&self, what: &str, done: usize, of: usize) {
        self.show(|| format!("{what}: {done} of {of}"));
    }

    /// How a run goes.
    pub fn progress(&self, what: &str, now: &Progress, cpu: Option<f64>, rss: Option<u64>, rates: (f64, f64)) {
        self.show(|| {
            let cpu = cpu.map_or(String::new(), |cores| format!(" | server {:.0}% cpu", cores * 100.0));
            let rss = rss.map_or(String::new(), |bytes| format!(" {} MiB", bytes / (1024 * 1024)));
            let sent = now
                .sent_ms
                .map_or(String::new(), |(p50, p99)| format!(" p50 {p50:.1} p99 {p99:.1} ms"));
            let delivered = now
                .delivered_ms
                .map_or(String::new(), |(p50, p99)| format!(" p50 {p50:.1} p99 {p99:.1} ms"));
            let broken = match now.violations {
                0 => String::new(),
                count => format!(" | {count} VIOLATIONS"),
            };
            format!(
                "{what}: {} online | sent {:.0}/s{sent} | delivered {:.0}/s{delivered} | open {}{cpu}{rss}{broken}",
                now.online, rates.0, rates.1, now.unanswered
            )
        });
    }

    fn show(&self, line: impl FnOnce() -> String) {
        if self.quiet {
            return;
        }
        let pause = if self.terminal { MOVE } else { PRINT };
        let Ok(mut last) = self.last.lock() else { return };
        if last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        // Elsewhere than on a terminal the first line waits its time too: most preparations are over before.
        let first = last.replace(Instant::now()).is_none();
        let mut out = std::io::stderr().lock();
        if self.terminal {
            drop(write!(out, "\r\x1b[K{}", line()).and_then(|()| out.flush()));
        } else if !first {
            drop(writeln!(out, "{}", line()));
        }
    }

    /// Ends a moving line.
    pub fn end(&self) {
        let Ok(mut last) = self.last.lock() else { return };
        if last.take().is_some() && self.terminal && !self.quiet {
            eprint!("\r\x1b[K");
        }
    }
}
