//! The engine: one loop that takes commands, does what is due, and serves the sockets that are ready.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, TryRecvError};

use rookery_actors::id::ConversationId;

use super::connect::Connecting;
use super::person::Client;
use super::send::Running;
use crate::audit::{Cursor, Findings, Kind, Ledger, Violation, described};
use crate::chaos::Sent;
use crate::measure::Meter;
use crate::plan::{
    Acks, ClientEvidence, Command, ConversationPlan, Event, Evidence, Plan, Progress, Settled, Size, Who,
};
use crate::schedule::Dice;
use crate::sys::{Poller, Ready, Waker, now_ns};

/// Sockets served in one turn, so that a flood of readable ones does not hold up what is due.
const BATCH: usize = 256;
/// How often progress is told.
const TELL_NS: u64 = 250_000_000;
/// The longest sleep of an engine with nothing to do.
const IDLE_NS: u64 = 250_000_000;
/// Bytes one read takes at most, and so the most frames parsed in one go.
const READ: usize = 256 * 1024;

/// A conversation as an engine knows it.
pub(super) struct Conversation {
    pub id: ConversationId,
    /// Its id as it stands in frames.
    pub text: [u8; 36],
    pub plan: ConversationPlan,
    pub ledger: Ledger,
    /// The highest seq this or another engine knows of.
    pub head: u32,
}

/// Where clients may come in, and how it stands in their requests.
pub(super) struct Door {
    pub address: SocketAddr,
    pub host: String,
}

impl Door {
    fn new(address: SocketAddr) -> Self {
        let host = address.to_string();
        Self { address, host }
    }
}

/// Something to do later for one client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Later {
    Reconnect,
    Retry,
    SlowRead,
    Ack,
    /// To the door that a `goaway` named, or any other.
    Leave,
    /// To another door, if nothing has answered on this connection.
    GiveUp,
}

pub struct Engine {
    pub(super) run: u32,
    pub(super) doors: Vec<Door>,
    pub(super) sources: Vec<Ipv4Addr>,
    pub(super) next_source: usize,
    /// How many entries the server replays of one conversation, and of all, as it greeted.
    pub(super) replays: (u64, u64),
    pub(super) acks: Acks,
    pub(super) size: Size,
    pub(super) unanswered_limit: usize,
    pub(super) patience_ns: u64,
    /// Every send that was answered, where they are kept.
    pub(super) journal: Option<Vec<Sent>>,
    pub(super) dice: Dice,
    pub(super) poller: Poller,
    pub(super) clients: Vec<Client>,
    /// Place in `clients` by number.
    pub(super) places: HashMap<u32, u32>,
    /// By number.
    pub(super) conversations: Vec<Option<Conversation>>,
    pub(super) by_id: HashMap<ConversationId, u32>,
    pub(super) connecting: Vec<Connecting>,
    pub(super) running: Vec<Running>,
    /// When, what, for whom, and for which generation of their socket.
    pub(super) later: BinaryHeap<Reverse<(u64, Later, u32, u32)>>,
    pub(super) dirty: Vec<u32>,
    pub(super) buffer: Vec<u8>,
    pub(super) meter: Meter,
    pub(super) findings: Findings,
    pub(super) online: u64,
    next_tell: u64,
    tell: Box<dyn FnMut(Event)>,
}

impl Engine {
    /// An engine without clients yet; `tell` takes what it has to say.
    pub fn new(tell: impl FnMut(Event) + 'static) -> io::Result<Self> {
        Ok(Self {
            run: 0,
            doors: Vec::new(),
            sources: Vec::new(),
            next_source: 0,
            replays: (0, u64::MAX),
            acks: Acks::Never,
            size: Size { min: 64, max: 64 },
            unanswered_limit: 64,
            patience_ns: 0,
            journal: None,
            dice: Dice::new(0),
            poller: Poller::new(BATCH)?,
            clients: Vec::new(),
            places: HashMap::new(),
            conversations: Vec::new(),
            by_id: HashMap::new(),
            connecting: Vec::new(),
            running: Vec::new(),
            later: BinaryHeap::new(),
            dirty: Vec::new(),
            buffer: vec![0; READ],
            meter: Meter::default(),
            findings: Findings::default(),
            online: 0,
            next_tell: 0,
            tell: Box::new(tell),
        })
    }

    /// Wakes the engine after a command was put in its channel.
    pub fn waker(&self) -> Waker {
        self.poller.waker()
    }

    /// Runs until the commands end.
    pub fn run(mut self, commands: &Receiver<Command>) -> io::Result<()> {
        let mut ready: Vec<Ready> = Vec::with_capacity(BATCH);
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let now = now_ns();
            self.meter.tick(now);
            self.act(now);
            self.connect_due(now);
            self.wake_due(now);
            self.flush_dirty();
            self.report_progress(now);
            let wait = self.next_due().saturating_sub(now_ns()).min(IDLE_NS);
            self.poller.wait(wait, &mut ready)?;
            for event in ready.drain(..) {
                self.serve(event);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Plan(plan) => self.adopt(*plan),
            Command::Connect { who, rate, start_ns } => self.connect(who, rate, start_ns),
            Command::Cut(who) => self.cut(who),
            Command::Start(activity) => self.running.push(Running::new(activity)),
            Command::Halt => self.running.clear(),
            Command::Flush => self.ack_all(),
            Command::Window { from_ns, to_ns } => self.meter.open(from_ns, to_ns),
            Command::Measures => {
                self.meter.tick(now_ns());
                let measures = self.meter.measures();
                (self.tell)(Event::Measures(Box::new(measures)));
            }
            Command::Settle { heads } => self.settle(heads),
            Command::Tokens(tokens) => self.renew(tokens),
            Command::Retarget(doors) => self.doors = doors.into_iter().map(Door::new).collect(),
            Command::Evidence => {
                let evidence = self.evidence();
                (self.tell)(Event::Evidence(Box::new(evidence)));
            }
        }
    }

    fn adopt(&mut self, plan: Plan) {
        self.run = plan.run;
        self.doors = plan.doors.into_iter().map(Door::new).collect();
        self.sources = plan.sources;
        self.acks = plan.acks;
        self.size = plan.size;
        self.unanswered_limit = plan.unanswered as usize;
        self.patience_ns = plan.patience_ms * 1_000_000;
        self.journal = plan.journal.then(Vec::new);
        self.dice = Dice::fork(plan.seed, 1);
        for plan in plan.conversations {
            let place = plan.number as usize;
            if self.conversations.len() <= place {
                self.conversations.resize_with(place + 1, || None);
            }
            let mut text = [0; 36];
            plan.id.0.hyphenated().encode_lower(&mut text);
            self.by_id.insert(plan.id, plan.number);
            self.conversations[place] = Some(Conversation {
                id: plan.id,
                text,
                plan,
                ledger: Ledger::default(),
                head: 0,
            });
        }
        for plan in plan.clients {
            self.places.insert(plan.number, self.clients.len() as u32);
            self.clients.push(Client::new(plan));
        }
    }

    /// The number of a door, known so far or not.
    pub(super) fn door(&mut self, address: SocketAddr) -> u32 {
        let known = self.doors.iter().position(|door| door.address == address);
        let place = known.unwrap_or_else(|| {
            self.doors.push(Door::new(address));
            self.doors.len() - 1
        });
        place as u32
    }

    /// The places of those a command is for.
    pub(super) fn places_of(&self, who: Who) -> Vec<u32> {
        match who {
            Who::All => (0..self.clients.len() as u32).collect(),
            Who::These(numbers) => {
                let place = |number| self.places.get(&number).copied();
                numbers.into_iter().filter_map(place).collect()
            }
        }
    }

    fn next_due(&self) -> u64 {
        let activities = self.running.iter().filter_map(Running::peek).min();
        let connects = self.connecting.iter().filter_map(Connecting::peek).min();
        let later = self.later.peek().map(|Reverse((at, ..))| *at);
        let due = [activities, connects, later, Some(self.next_tell)];
        due.into_iter().flatten().min().unwrap_or(self.next_tell)
    }

    fn wake_due(&mut self, now: u64) {
        while let Some(Reverse((at, what, place, generation))) = self.later.peek().copied() {
            if at > now {
                return;
            }
            self.later.pop();
            if self.clients[place as usize].generation != generation {
                continue;
            }
            match what {
                Later::Reconnect => self.open(place, at),
                Later::Retry => self.pump(place, now),
                Later::SlowRead => self.read_slowly(place, now),
                Later::Ack => self.ack(place),
                Later::Leave => self.leave(place, at),
                Later::GiveUp => self.give_up(place, now),
            }
        }
    }

    /// Puts something off.
    pub(super) fn at(&mut self, when: u64, what: Later, place: u32) {
        let generation = self.clients[place as usize].generation;
        self.later.push(Reverse((when, what, place, generation)));
    }

    pub(super) fn conversation(&mut self, number: u32) -> Option<&mut Conversation> {
        self.conversations.get_mut(number as usize)?.as_mut()
    }

    fn report_progress(&mut self, now: u64) {
        if now < self.next_tell {
            return;
        }
        self.next_tell = now + TELL_NS;
        let [sent_ms, delivered_ms] = self.meter.recent();
        let progress = Progress {
            at_ns: now,
            online: self.online,
            unanswered: self.unanswered(),
            total: self.meter.total,
            sent_ms,
            delivered_ms,
            violations: self.findings.total(),
        };
        (self.tell)(Event::Progress(Box::new(progress)));
    }

    fn unanswered(&self) -> u64 {
        let total = &self.meter.total;
        total.intended - total.answered - total.refused
    }

    fn settle(&mut self, heads: Vec<(u32, u32)>) {
        for (number, head) in heads {
            if let Some(conversation) = self.conversation(number) {
                conversation.head = conversation.head.max(head);
            }
        }
        let acked = self.acks == Acks::Each;
        let mut settled = Settled {
            running: self.running.len() as u64 + self.connecting.len() as u64,
            unanswered: self.unanswered(),
            ..Settled::default()
        };
        for client in &self.clients {
            settled.offline += u64::from(client.wanted && !client.is_live());
            if client.is_live() && client.is_fast() {
                let behind = |cursor: &&Cursor| {
                    let conversation = self.conversations[cursor.conversation as usize].as_ref();
                    conversation.is_some_and(|conversation| {
                        cursor.done() < conversation.head
                            || (acked && conversation.plan.pair.is_some() && cursor.peer_read < cursor.own)
                    })
                };
                settled.behind += client.cursors.iter().filter(behind).count() as u64;
            }
        }
        let known = self
            .conversations
            .iter()
            .flatten()
            .filter(|conversation| conversation.head > 0);
        settled.heads = known
            .map(|conversation| (conversation.plan.number, conversation.head))
            .collect();
        (self.tell)(Event::Settled(Box::new(settled)));
    }

    fn renew(&mut self, tokens: Vec<(u32, String)>) {
        for (number, token) in tokens {
            let Some(place) = self.places.get(&number).copied() else {
                continue;
            };
            if self.clients[place as usize].is_live() {
                self.reauthenticate(place, &token);
            }
            self.clients[place as usize].token = token.into();
        }
    }

    fn evidence(&mut self) -> Evidence {
        let client = |client: &Client| ClientEvidence {
            number: client.number,
            attempts: client.attempts.clone(),
            reached: client
                .cursors
                .iter()
                .map(|cursor| (cursor.conversation, cursor.done(), cursor.missing()))
                .collect(),
            complete: client.is_live() && client.is_fast(),
        };
        let ledger = |conversation: &mut Conversation| {
            let ledger = std::mem::take(&mut conversation.ledger);
            (conversation.plan.number, ledger.into_seen())
        };
        let mut journal = self.journal.take().unwrap_or_default();
        let open = self.clients.iter().flat_map(|client| &client.pending);
        journal.extend(open.map(|pending| pending.sent(0)));
        Evidence {
            total: self.meter.total,
            incidents: self.meter.incidents.clone(),
            clients: self.clients.iter().map(client).collect(),
            ledgers: self.conversations.iter_mut().flatten().map(ledger).collect(),
            findings: self.findings.clone(),
            journal,
        }
    }

    /// Notes a broken promise that one client saw.
    pub(super) fn violation(&mut self, kind: Kind, place: u32, conversation: u32, seq: u64, key: u64, detail: String) {
        let client = &self.clients[place as usize];
        let name = match self.conversations.get(conversation as usize) {
            Some(Some(conversation)) => conversation.id.to_string(),
            _ => String::new(),
        };
        self.findings.add(Violation {
            kind,
            conversation: name,
            seq,
            id: if key == 0 { String::new() } else { described(key) },
            who: format!("client {} (user {})", client.number, client.user),
            detail,
        });
    }
}
