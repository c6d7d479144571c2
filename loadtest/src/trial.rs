//! One scenario as it is played: the fleet, the figures as they come, and the reckoning at the end.

mod keeper;

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::audit::{Book, Entry, fetch};
use crate::cast::Cast;
use crate::chaos::Sent;
use crate::fleet::Fleet;
use crate::http::Http;
use crate::measure::{Counts, Window};
use crate::plan::{Activity, Command, Settled, What, Who};
use crate::report::{Point, Section};
use crate::sample::Memory;
use crate::schedule::{Dice, Shape, Spacing};
use crate::stage::Stage;
use crate::sys::{CpuClock, interrupted, now_ns};

use self::keeper::Keeper;

/// How often a point is taken.
const POINT_NS: u64 = 500_000_000;
/// From a command to the first thing it makes due, so that every engine has it by then.
const LEAD_NS: u64 = 50_000_000;
/// How long the end of a run may take to come to rest.
const FINAL_PATIENCE_S: f64 = 60.0;
/// How often it is looked whether something has come about.
const LOOK_NS: u64 = 20_000_000;
/// Histories read at once.
const READERS: usize = 4;

pub struct Trial<'a> {
    pub stage: &'a mut Stage,
    pub fleet: Fleet,
    pub cast: Cast,
    pub section: Section,
    run: u32,
    began_ns: u64,
    eye: Eye,
    load: Vec<CpuClock>,
    keeper: Keeper,
    begun: u64,
}

/// What was seen when the last point was taken.
#[derive(Clone, Copy, Default)]
struct Eye {
    at_ns: u64,
    total: Counts,
    cpu_ns: Option<u64>,
    load_ns: u64,
}

/// Processor time of the servers, of the load side, and of each server and service by name.
struct Costs {
    cpu_ns: Option<u64>,
    load_ns: u64,
    apart: Vec<(String, u64)>,
}

impl Costs {
    fn since(self, earlier: Self) -> Self {
        let before = |name: &str| {
            earlier
                .apart
                .iter()
                .find(|(known, _)| known == name)
                .map_or(0, |(_, ns)| *ns)
        };
        let apart = self.apart.into_iter().map(|(name, ns)| {
            let spent = ns.saturating_sub(before(&name));
            (name, spent)
        });
        Self {
            cpu_ns: difference(self.cpu_ns, earlier.cpu_ns),
            load_ns: self.load_ns.saturating_sub(earlier.load_ns),
            apart: apart.collect(),
        }
    }
}

/// The figures of one window.
pub struct Measured {
    pub window: Window,
    pub seconds: f64,
    /// Of the server, while the window was open.
    pub cpu_ns: Option<u64>,
    pub load_ns: u64,
    /// Of each node of a cluster and of each service, by name.
    pub apart: Vec<(String, u64)>,
    /// What was still open when patience ended.
    pub settled: Settled,
}

impl Measured {
    /// Server processor time for each of so many, in microseconds.
    pub fn cpu_us_per(&self, count: u64) -> Option<f64> {
        self.cpu_ns
            .filter(|_| count > 0)
            .map(|ns| ns as f64 / 1000.0 / count as f64)
    }

    pub fn cores(&self) -> Option<f64> {
        self.cpu_ns.map(|ns| ns as f64 / 1e9 / self.seconds)
    }

    pub fn load_cores(&self) -> f64 {
        self.load_ns as f64 / 1e9 / self.seconds
    }

    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }
}

/// Something to go on during a window.
pub struct Doing {
    pub what: What,
    pub rate: f64,
    pub shape: Shape,
}

impl Doing {
    pub fn new(what: What, rate: f64) -> Self {
        Self {
            what,
            rate,
            shape: Shape::Flat,
        }
    }
}

impl<'a> Trial<'a> {
    pub fn new(stage: &'a mut Stage, fleet: Fleet, cast: Cast, run: u32, name: &str, title: &str) -> Self {
        let pids = std::iter::once(std::process::id()).chain(fleet.pids());
        stage.console.say(&format!("{name}: {title}"));
        Self {
            load: pids.filter_map(|pid| CpuClock::of(pid).ok()).collect(),
            section: Section::new(name, title),
            keeper: Keeper::new(stage.doors.clone()),
            began_ns: now_ns(),
            eye: Eye::default(),
            begun: 0,
            stage,
            fleet,
            cast,
            run,
        }
    }

    /// Connects at a rate and waits until all are live, or nobody more has come for `patience_s`; the window is from the first
    /// intended connect to the last one live.
    pub fn connect(&mut self, who: &Who, rate: f64, patience_s: f64) -> anyhow::Result<Measured> {
        let start = now_ns() + LEAD_NS;
        self.fleet.all(&Command::Window {
            from_ns: start,
            to_ns: u64::MAX,
        })?;
        self.watch(start.saturating_sub(1_000_000))?;
        let before = self.costs();
        self.fleet.connect(who, rate, start)?;
        let settled = self.settle(patience_s)?;
        let spent = self.costs().since(before);
        self.measured(start, now_ns(), spent, settled)
    }

    /// Keeps activities going: a warm-up that counts for nothing, then the window; then waits until all is answered.
    pub fn measure(&mut self, warm_up_s: f64, seconds: f64, doing: Vec<Doing>) -> anyhow::Result<Measured> {
        self.measure_within(warm_up_s, seconds, doing, None)
    }

    /// The same, given up as soon as more than so many sends are unanswered.
    pub fn measure_within(
        &mut self,
        warm_up_s: f64,
        seconds: f64,
        doing: Vec<Doing>,
        most_unanswered: Option<u64>,
    ) -> anyhow::Result<Measured> {
        let start = now_ns() + LEAD_NS;
        let from = start + (warm_up_s * 1e9) as u64;
        let mut to = from + (seconds * 1e9) as u64;
        self.fleet.all(&Command::Window {
            from_ns: from,
            to_ns: to,
        })?;
        for doing in doing {
            self.begin(doing, start, to)?;
        }
        self.watch_within(from, most_unanswered)?;
        let before = self.costs();
        let enough = self.watch_within(to, most_unanswered)?;
        if !enough || interrupted() {
            self.fleet.all(&Command::Halt)?;
            to = to.min(now_ns());
        }
        let spent = self.costs().since(before);
        let settled = self.settle(15.0)?;
        self.measured(from, to.max(from + 1), spent, settled)
    }

    /// Starts one activity.
    pub fn begin(&mut self, doing: Doing, start_ns: u64, stop_ns: u64) -> anyhow::Result<()> {
        self.begun += 1;
        self.fleet.begin(&Activity {
            what: doing.what,
            rate: doing.rate,
            spacing: self.stage.common.spacing,
            shape: doing.shape,
            start_ns,
            stop_ns,
            seed: Dice::fork(self.stage.seed(), self.begun).throw(),
        })
    }

    fn measured(&mut self, from: u64, to: u64, spent: Costs, settled: Settled) -> anyhow::Result<Measured> {
        Ok(Measured {
            window: self.fleet.measures()?,
            seconds: to.saturating_sub(from) as f64 / 1e9,
            cpu_ns: spent.cpu_ns,
            load_ns: spent.load_ns,
            apart: spent.apart,
            settled,
        })
    }

    /// What both sides have used so far.
    fn costs(&mut self) -> Costs {
        Costs {
            cpu_ns: self.stage.gauges.cpu_ns(),
            load_ns: self.load_ns(),
            apart: self.stage.gauges.apart(),
        }
    }

    fn load_ns(&self) -> u64 {
        self.load.iter().filter_map(|clock| clock.read()).sum()
    }

    /// Does nothing but watch.
    pub fn rest(&mut self, seconds: f64) -> anyhow::Result<()> {
        self.watch(now_ns() + (seconds * 1e9) as u64)
    }

    /// Waits until nothing is open, at most so long after the last of those who connect has come.
    pub fn settle(&mut self, patience_s: f64) -> anyhow::Result<Settled> {
        let patience_ns = (patience_s * 1e9) as u64;
        let (mut end, mut online) = (now_ns() + patience_ns, 0);
        let mut heads = Vec::new();
        loop {
            let settled = self.fleet.settled(heads.clone())?;
            if self.fleet.progress().online > online {
                online = self.fleet.progress().online;
                end = now_ns() + patience_ns;
            }
            let calm = settled.is_calm() && settled.heads == heads;
            if calm || now_ns() >= end || (interrupted() && settled.unanswered == 0 && settled.running == 0) {
                return Ok(settled);
            }
            heads.clone_from(&settled.heads);
            let pause = if settled.is_calm() { 0 } else { 10_000_000 };
            self.watch_anyway(now_ns() + pause)?;
            if interrupted() {
                self.fleet.all(&Command::Halt)?;
            }
        }
    }

    /// Watches until that moment, or until the user has had enough.
    pub fn watch(&mut self, until_ns: u64) -> anyhow::Result<()> {
        self.watch_within(until_ns, None).map(drop)
    }

    /// False when it gave up for too much that is unanswered.
    fn watch_within(&mut self, until_ns: u64, most_unanswered: Option<u64>) -> anyhow::Result<bool> {
        while now_ns() < until_ns && !interrupted() {
            self.watch_anyway(until_ns.min(now_ns() + POINT_NS / 2))?;
            if most_unanswered.is_some_and(|most| self.fleet.progress().unanswered > most) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn watch_anyway(&mut self, until_ns: u64) -> anyhow::Result<()> {
        self.fleet.listen_until(until_ns)?;
        if now_ns() >= self.eye.at_ns + POINT_NS {
            self.take_point();
        }
        let renewed = self.keeper.turn(&mut self.cast.people);
        if !renewed.is_empty() {
            self.section
                .notes
                .push(format!("{} access tokens were renewed", renewed.len()));
            self.fleet.all(&Command::Tokens(renewed))?;
        }
        Ok(())
    }

    fn take_point(&mut self) {
        let progress = self.fleet.progress();
        let now = Eye {
            at_ns: now_ns(),
            total: progress.total,
            cpu_ns: self.stage.gauges.cpu_ns(),
            load_ns: self.load_ns(),
        };
        let last = std::mem::replace(&mut self.eye, now);
        if last.at_ns == 0 {
            return;
        }
        let seconds = (now.at_ns - last.at_ns) as f64 / 1e9;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let rss = self.stage.gauges.memory().map(|memory| memory.rss);
        let cores = difference(now.cpu_ns, last.cpu_ns).map(|ns| ns as f64 / 1e9 / seconds);
        let point = Point {
            second: (now.at_ns - self.began_ns) as f64 / 1e9,
            online: progress.online,
            sent_per_second: rate(now.total.answered, last.total.answered),
            delivered_per_second: rate(now.total.delivered, last.total.delivered),
            sent_p50_ms: progress.sent_ms.map(|(p50, _)| p50),
            sent_p99_ms: progress.sent_ms.map(|(_, p99)| p99),
            delivered_p50_ms: progress.delivered_ms.map(|(p50, _)| p50),
            delivered_p99_ms: progress.delivered_ms.map(|(_, p99)| p99),
            server_cores: cores,
            server_rss_mib: rss.map(|bytes| bytes as f64 / (1024.0 * 1024.0)),
            load_cores: rate(now.load_ns, last.load_ns) / 1e9,
        };
        let rates = (point.sent_per_second, point.delivered_per_second);
        self.stage
            .console
            .progress(&self.section.name, &progress, cores, rss, rates);
        self.section.points.push(point);
    }

    /// The server's memory as it is now.
    pub fn memory(&mut self) -> Option<Memory> {
        self.stage.gauges.memory()
    }

    /// Watches until that holds; false when patience has ended before.
    pub fn watch_until(
        &mut self,
        patience_s: f64,
        mut holds: impl FnMut(&mut Stage) -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let end = now_ns() + (patience_s * 1e9) as u64;
        while !holds(self.stage)? {
            if now_ns() >= end {
                return Ok(false);
            }
            self.watch_anyway(now_ns() + LOOK_NS)?;
        }
        Ok(true)
    }

    /// Comes to rest, audits everything, and hands over the results.
    pub fn finish(self) -> anyhow::Result<Section> {
        self.close().map(|(section, _)| section)
    }

    /// The same, with the times of every send where the manner keeps them.
    pub fn close(mut self) -> anyhow::Result<(Section, Vec<Sent>)> {
        let settled = self.settle(FINAL_PATIENCE_S)?;
        if !settled.is_calm() {
            self.section.notes.push(format!(
                "not at rest after {FINAL_PATIENCE_S} s: {} unanswered, {} clients offline, {} behind",
                settled.unanswered, settled.offline, settled.behind
            ));
        }
        self.take_point();
        for (name, memory) in self.stage.gauges.memory_apart() {
            let mib = memory.rss as f64 / (1024.0 * 1024.0);
            self.section
                .figure(&format!("rss_{name}"), mib, "MiB", "resident in the end");
        }
        self.stage.console.end();
        let mut evidence = self.fleet.evidence()?;
        let journal = evidence
            .iter_mut()
            .flat_map(|part| std::mem::take(&mut part.journal))
            .collect();
        let mut incidents: BTreeMap<String, u64> = BTreeMap::new();
        for part in &evidence {
            self.section.counts.add(&part.total);
            for (name, count) in &part.incidents {
                *incidents.entry(name.clone()).or_default() += count;
            }
        }
        let names = self
            .cast
            .conversations
            .iter()
            .map(|conversation| conversation.id)
            .collect();
        let mut book = Book::new(self.run, names, evidence);
        self.read_histories(&mut book)?;
        self.section.audit = book.close();
        self.section.incidents = incidents;
        self.section.interrupted = interrupted();
        Ok((self.section, journal))
    }

    /// Fetches histories, in an order the seed decides, until the budget of messages is used up.
    fn read_histories(&mut self, book: &mut Book) -> anyhow::Result<()> {
        let mut left = self.stage.common.audit_messages;
        let mut order: Vec<u32> = (0..self.cast.conversations.len() as u32).collect();
        Dice::fork(self.stage.seed(), 99).shuffle(&mut order);
        order.retain(|number| {
            let size = u64::from(book.head(*number));
            let taken = size > 0 && (left > 0);
            left = left.saturating_sub(if taken { size } else { 0 });
            taken
        });
        let total = order.len();
        let queue = Mutex::new(order);
        let read: Mutex<Vec<(u32, Vec<Entry>)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let work = |reader| -> anyhow::Result<()> {
                let mut http = Http::among(&self.stage.doors, reader);
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.pop());
                    let Some(number) = next else { return Ok(()) };
                    let member = self.cast.members[number as usize][0];
                    let token = &self.cast.people[member as usize].token;
                    let id = self.cast.conversations[number as usize].id;
                    let entries = fetch(&mut http, id, token)?;
                    if let Ok(mut read) = read.lock() {
                        read.push((number, entries));
                        self.stage.console.count("audit: reading histories", read.len(), total);
                    }
                }
            };
            let threads: Vec<_> = (0..READERS).map(|reader| scope.spawn(move || work(reader))).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or(Ok(())))
        })?;
        self.stage.console.end();
        for (number, entries) in read.into_inner().unwrap_or_default() {
            book.history(number, &entries);
        }
        Ok(())
    }
}

fn difference(after: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// The way arrivals are spaced, by name.
pub fn spacing_name(spacing: Spacing) -> &'static str {
    match spacing {
        Spacing::Poisson => "poisson",
        Spacing::Constant => "constant",
    }
}
