//! All engines of a run as one: commands go out to those they concern, answers come back joined.
//!
//! One engine is a thread of this process. Where one process's file limit is too small, engines are processes of this same
//! program, commanded by JSON lines through their standard input, answering through their standard output.

mod link;

pub use link::{WORKER, serve_as_worker};

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};

use self::link::Link;
use crate::measure::Window;
use crate::plan::{Activity, Command, Event, Evidence, Plan, Progress, Settled, What, Who};
use crate::sys::now_ns;

/// How long engines may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Fleet {
    links: Vec<Link>,
    events: Receiver<(usize, Event)>,
    progress: Vec<Progress>,
}

impl Fleet {
    /// Starts the engines and tells each its part of the plan.
    pub fn start(plan: Plan, workers: usize) -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let mut links = Vec::new();
        for n in 0..workers {
            let link = match workers {
                1 => Link::thread(sender.clone()),
                _ => Link::process(n, sender.clone()),
            };
            links.push(link.context("starting a load engine")?);
        }
        let mut fleet = Self {
            progress: vec![Progress::default(); links.len()],
            links,
            events,
        };
        for n in 0..workers {
            fleet.tell(n, Command::Plan(Box::new(part(&plan, n, workers))))?;
        }
        Ok(fleet)
    }

    /// Process ids of engines that are processes of their own.
    pub fn pids(&self) -> Vec<u32> {
        self.links.iter().filter_map(Link::pid).collect()
    }

    pub fn connect(&mut self, who: &Who, rate: f64, start_ns: u64) -> anyhow::Result<()> {
        let workers = self.links.len();
        for n in 0..workers {
            let rate = rate / workers as f64;
            let who = share(who, n, workers);
            self.tell(n, Command::Connect { who, rate, start_ns })?;
        }
        Ok(())
    }

    pub fn cut(&mut self, who: &Who) -> anyhow::Result<()> {
        let workers = self.links.len();
        (0..workers).try_for_each(|n| self.tell(n, Command::Cut(share(who, n, workers))))
    }

    /// Starts an activity on the engines that have its clients, each at its share of the rate.
    pub fn begin(&mut self, activity: &Activity) -> anyhow::Result<()> {
        let workers = self.links.len();
        let all = size(&activity.what).max(1);
        for n in 0..workers {
            let what = part_of(&activity.what, n, workers);
            let rate = activity.rate * size(&what) as f64 / all as f64;
            let seed = activity.seed.wrapping_add(n as u64);
            let part = Activity {
                what,
                rate,
                seed,
                ..activity.clone()
            };
            self.tell(n, Command::Start(part))?;
        }
        Ok(())
    }

    /// A command for everybody alike.
    pub fn all(&mut self, command: &Command) -> anyhow::Result<()> {
        (0..self.links.len()).try_for_each(|n| self.tell(n, command.clone()))
    }

    fn tell(&mut self, n: usize, command: Command) -> anyhow::Result<()> {
        self.links[n].tell(command)
    }

    /// Takes in what the engines tell until that moment.
    pub fn listen_until(&mut self, until_ns: u64) -> anyhow::Result<()> {
        loop {
            let left = until_ns.saturating_sub(now_ns());
            match self.events.recv_timeout(Duration::from_nanos(left)) {
                Ok((n, event)) => self.note(n, event)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => bail!("all load engines have ended"),
            }
        }
    }

    fn note(&mut self, n: usize, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Progress(progress) => self.progress[n] = *progress,
            Event::Failed(why) => bail!("load engine {n} failed: {why}"),
            Event::Measures(_) | Event::Settled(_) | Event::Evidence(_) => {}
        }
        Ok(())
    }

    /// Asks every engine and takes one answer of each.
    fn ask<T>(&mut self, command: &Command, pick: impl Fn(Event) -> Result<T, Event>) -> anyhow::Result<Vec<T>> {
        self.all(command)?;
        let mut answers = Vec::new();
        while answers.len() < self.links.len() {
            let (n, event) = self
                .events
                .recv_timeout(PATIENCE)
                .context("waiting for a load engine")?;
            match pick(event) {
                Ok(answer) => answers.push(answer),
                Err(event) => self.note(n, event)?,
            }
        }
        Ok(answers)
    }

    /// The figures of the window opened last.
    pub fn measures(&mut self) -> anyhow::Result<Window> {
        let mut window = Window::default();
        let answers = self.ask(&Command::Measures, |event| match event {
            Event::Measures(measures) => Ok(measures),
            event => Err(event),
        })?;
        answers.iter().for_each(|measures| window.add(measures));
        Ok(window)
    }

    /// What is still open, all engines together.
    pub fn settled(&mut self, heads: Vec<(u32, u32)>) -> anyhow::Result<Settled> {
        let answers = self.ask(&Command::Settle { heads }, |event| match event {
            Event::Settled(settled) => Ok(settled),
            event => Err(event),
        })?;
        let mut all = Settled::default();
        for answer in answers {
            all.running += answer.running;
            all.unanswered += answer.unanswered;
            all.offline += answer.offline;
            all.behind += answer.behind;
            if self.links.len() > 1 {
                all.heads.extend(answer.heads);
            }
        }
        all.heads.sort_unstable();
        all.heads.reverse();
        all.heads.dedup_by_key(|(conversation, _)| *conversation);
        Ok(all)
    }

    /// What all engines saw, for the audit.
    pub fn evidence(&mut self) -> anyhow::Result<Vec<Evidence>> {
        self.ask(&Command::Evidence, |event| match event {
            Event::Evidence(evidence) => Ok(*evidence),
            event => Err(event),
        })
    }

    /// The latest of what the engines told of themselves, joined.
    pub fn progress(&self) -> Progress {
        let mut all = Progress::default();
        for one in &self.progress {
            all.at_ns = all.at_ns.max(one.at_ns);
            all.online += one.online;
            all.unanswered += one.unanswered;
            all.violations += one.violations;
            all.total.add(&one.total);
            all.sent_ms = slower(all.sent_ms, one.sent_ms);
            all.delivered_ms = slower(all.delivered_ms, one.delivered_ms);
        }
        all
    }
}

fn slower(a: Option<(f64, f64)>, b: Option<(f64, f64)>) -> Option<(f64, f64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// The clients of one engine, and the conversations they are in.
fn part(plan: &Plan, n: usize, workers: usize) -> Plan {
    let mut part = plan.clone();
    part.clients.retain(|client| is_of(client.number, n, workers));
    let mut used = vec![false; plan.conversations.len()];
    for client in &part.clients {
        client
            .conversations
            .iter()
            .for_each(|number| used[*number as usize] = true);
    }
    part.conversations
        .retain(|conversation| used[conversation.number as usize]);
    part.seed = plan.seed.wrapping_add(n as u64);
    part
}

fn is_of(number: u32, n: usize, workers: usize) -> bool {
    number as usize % workers == n
}

fn share(who: &Who, n: usize, workers: usize) -> Who {
    match who {
        Who::All => Who::All,
        Who::These(numbers) => Who::These(
            numbers
                .iter()
                .copied()
                .filter(|number| is_of(*number, n, workers))
                .collect(),
        ),
    }
}

fn part_of(what: &What, n: usize, workers: usize) -> What {
    let mut what = what.clone();
    match &mut what {
        What::Send { lanes, .. } | What::Typing { lanes } | What::React { lanes } | What::History { lanes } => {
            lanes.retain(|(number, _)| is_of(*number, n, workers));
        }
        What::Reconnect { clients, .. } => clients.retain(|number| is_of(*number, n, workers)),
    }
    what
}

fn size(what: &What) -> usize {
    match what {
        What::Send { lanes, .. } | What::Typing { lanes } | What::React { lanes } | What::History { lanes } => {
            lanes.len()
        }
        What::Reconnect { clients, .. } => clients.len(),
    }
}
