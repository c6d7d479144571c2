//! One virtual client: a user with one device, what it wants, and what it has.

use std::collections::VecDeque;
use std::net::TcpStream;

use rookery_actors::id::{DeviceId, UserId};

use crate::audit::Cursor;
use crate::chaos::Sent;
use crate::plan::{ClientPlan, Pace, UNANSWERED};

/// Where a client is between wanting a connection and having one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Off,
    /// The TCP connection is being made.
    Connecting,
    /// The upgrade is asked for.
    Opening,
    /// Upgraded; `hello` or the last `sync` is still to come.
    Greeting,
    Live,
}

/// A message on its way: kept until it is answered, through any number of reconnects.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub n: u32,
    pub conversation: u32,
    pub intended: u64,
    /// Written to the present connection, and when.
    pub written: bool,
    pub since: u64,
    /// Written to any connection: writing it again is a retry.
    pub tried: bool,
}

impl Pending {
    /// As the journal keeps it.
    pub fn sent(&self, answered_ns: u64) -> Sent {
        Sent {
            conversation: self.conversation,
            intended_ns: self.intended,
            answered_ns,
        }
    }
}

#[derive(Debug)]
pub struct Client {
    pub number: u32,
    pub user: UserId,
    pub token: Box<str>,
    pub device: Option<DeviceId>,
    pub pace: Pace,
    pub stage: Stage,
    /// It should be connected.
    pub wanted: bool,
    pub hello: bool,
    pub intended: u64,
    /// Where it comes in; beyond the doors there are, they are counted round.
    pub door: u32,
    /// Where a `goaway` sends it.
    pub next_door: Option<u32>,
    pub socket: Option<TcpStream>,
    /// Tells events and timers of an earlier socket from those of this one.
    pub generation: u32,
    /// The socket took less than we had.
    pub blocked: bool,
    /// In the engine's list of those with something to write, or to ack.
    pub dirty: bool,
    pub ack_due: bool,
    /// It is to be looked at whether its patience has ended.
    pub watched: bool,
    /// Connections given up since the last answer.
    pub gave_up: u32,
    /// It came back to missed messages and does not have them all yet.
    pub catching_up: bool,
    pub hold_until: u64,
    pub failures: u32,
    /// Bytes of a frame that isn't whole.
    pub partial: Vec<u8>,
    pub out: Vec<u8>,
    pub cursors: Vec<Cursor>,
    pub pending: VecDeque<Pending>,
    /// For each message it tried to send: conversation and answered seq.
    pub attempts: Vec<(u32, u32)>,
}

impl Client {
    pub fn new(plan: ClientPlan) -> Self {
        let mut conversations = plan.conversations;
        conversations.sort_unstable();
        Self {
            number: plan.number,
            user: plan.user,
            token: plan.token.into(),
            device: None,
            pace: plan.pace,
            stage: Stage::Off,
            wanted: false,
            hello: false,
            intended: 0,
            door: plan.door,
            next_door: None,
            socket: None,
            generation: 0,
            blocked: false,
            dirty: false,
            ack_due: false,
            watched: false,
            gave_up: 0,
            catching_up: false,
            hold_until: 0,
            failures: 0,
            partial: Vec::new(),
            out: Vec::new(),
            cursors: conversations.into_iter().map(Cursor::new).collect(),
            pending: VecDeque::new(),
            attempts: Vec::new(),
        }
    }

    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// It reads all it is sent, and must have everything in the end.
    pub fn is_fast(&self) -> bool {
        self.pace == Pace::Fast
    }

    pub fn cursor(&mut self, conversation: u32) -> Option<&mut Cursor> {
        let place = self
            .cursors
            .binary_search_by_key(&conversation, |cursor| cursor.conversation);
        place.ok().map(|place| &mut self.cursors[place])
    }

    /// Takes up a message to send; it is written when the connection and the limits allow.
    pub fn intend(&mut self, conversation: u32, intended: u64) {
        let n = self.attempts.len() as u32;
        self.attempts.push((conversation, UNANSWERED));
        self.pending.push_back(Pending {
            n,
            conversation,
            intended,
            written: false,
            since: 0,
            tried: false,
        });
    }

    /// Takes the message off the list of those without an answer.
    pub fn settle(&mut self, n: u32) -> Option<Pending> {
        let place = self.pending.iter().position(|pending| pending.n == n)?;
        self.pending.remove(place)
    }

    /// The socket is gone, and with it whatever was put off; what was not answered must be written again.
    pub fn disconnect(&mut self) {
        self.socket = None;
        self.stage = Stage::Off;
        self.generation = self.generation.wrapping_add(1);
        self.hello = false;
        self.blocked = false;
        self.watched = false;
        self.ack_due = false;
        self.partial = Vec::new();
        self.out = Vec::new();
        self.pending.iter_mut().for_each(|pending| pending.written = false);
        self.cursors.iter_mut().for_each(Cursor::reconnected);
    }
}
