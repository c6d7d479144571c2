//! What the clients say: messages on schedule, repeats after a failure, acks; written in one go a socket and turn.

use std::io::{self, Write};

use rookery_actors::id::UserId;
use rookery_actors::protocol::websocket::Opcode;

use super::connect::token;
use super::engine::{Engine, Later};
use super::payload::{self, Key};
use super::person::{Client, Pending, Stage};
use super::wire;
use crate::measure::Op;
use crate::plan::{Activity, Lane, Pace, What};
use crate::schedule::{Arrivals, Dice};

/// An emptied write buffer larger than this is given back.
const KEEP: usize = 512;

/// How often a client's patience doubles.
const MOST_DOUBLINGS: u32 = 3;

/// An activity that goes on.
pub(super) struct Running {
    what: What,
    arrivals: Arrivals,
    dice: Dice,
    next: usize,
}

impl Running {
    pub fn new(activity: Activity) -> Self {
        let Activity {
            mut what,
            rate,
            spacing,
            shape,
            start_ns,
            stop_ns,
            seed,
        } = activity;
        let mut dice = Dice::fork(seed, 2);
        if let What::Send { lanes, random: false } = &mut what {
            dice.shuffle(lanes);
        }
        Self {
            what,
            arrivals: Arrivals::new(rate, spacing, shape, start_ns, stop_ns, seed),
            dice,
            next: 0,
        }
    }

    pub fn peek(&self) -> Option<u64> {
        self.arrivals.peek()
    }

    fn choose<T: Copy>(items: &[T], random: bool, next: &mut usize, dice: &mut Dice) -> Option<T> {
        let place = if random {
            dice.below(items.len())
        } else {
            *next % items.len().max(1)
        };
        *next += 1;
        items.get(place).copied()
    }
}

impl Engine {
    /// Does what the activities have due.
    pub(super) fn act(&mut self, now: u64) {
        let mut running = std::mem::take(&mut self.running);
        for activity in &mut running {
            while let Some(intended) = activity.arrivals.due(now) {
                self.do_one(activity, intended, now);
            }
        }
        running.retain(|activity| activity.peek().is_some());
        running.append(&mut self.running);
        self.running = running;
    }

    fn do_one(&mut self, activity: &mut Running, intended: u64, now: u64) {
        let Running { what, dice, next, .. } = activity;
        match what {
            What::Send { lanes, random } => {
                if let Some(lane) = Running::choose(lanes, *random, next, dice) {
                    self.send(lane, intended, now);
                }
            }
            What::Typing { lanes } => {
                if let Some(lane) = Running::choose(lanes, true, next, dice) {
                    self.say_about(lane, r#"{"t":"typing","conversation":""#, r#""}"#);
                }
            }
            What::History { lanes } => {
                if let Some(lane) = Running::choose(lanes, true, next, dice) {
                    self.say_about(lane, r#"{"t":"history","id":"h","conversation":""#, r#"","limit":50}"#);
                }
            }
            What::React { lanes } => {
                if let Some(lane) = Running::choose(lanes, true, next, dice) {
                    self.react(lane, dice.throw());
                }
            }
            What::Reconnect { clients, away_ms } => {
                let away = away_ms.0 + dice.below((away_ms.1 - away_ms.0 + 1) as usize) as u64;
                let place = Running::choose(clients, true, next, dice);
                if let Some(place) = place.and_then(|number| self.places.get(&number).copied()) {
                    self.drop_socket(place);
                    self.clients[place as usize].wanted = true;
                    self.at(now + away * 1_000_000, Later::Reconnect, place);
                }
            }
        }
    }

    fn send(&mut self, (number, conversation): Lane, intended: u64, now: u64) {
        let Some(place) = self.places.get(&number).copied() else {
            return;
        };
        self.meter.total.intended += 1;
        self.meter.record(Op::Lag, intended, now);
        self.clients[place as usize].intend(conversation, intended);
        self.pump(place, now);
    }

    /// Writes messages that wait, as many as may be unanswered.
    pub(super) fn pump(&mut self, place: u32, now: u64) {
        let client = &self.clients[place as usize];
        if client.stage != Stage::Live || client.pending.is_empty() || now < client.hold_until {
            return;
        }
        for n in 0..client.pending.len().min(self.unanswered_limit) {
            let pending = &mut self.clients[place as usize].pending[n];
            if pending.written {
                continue;
            }
            self.meter.total.sends += 1;
            self.meter.total.retried += u64::from(pending.tried);
            (pending.written, pending.tried, pending.since) = (true, true, now);
            let pending = *pending;
            self.write_send(place, pending);
            self.watch(place, now);
        }
    }

    /// How long a client waits: twice as long each time that it gave up in vain, so that impatience is no load of its own.
    fn patience_ns(&self, place: u32) -> u64 {
        self.patience_ns << self.clients[place as usize].gave_up.min(MOST_DOUBLINGS)
    }

    /// Looks at a client again when its patience ends.
    pub(super) fn watch(&mut self, place: u32, since: u64) {
        let until = since + self.patience_ns(place);
        let client = &mut self.clients[place as usize];
        if self.patience_ns > 0 && !client.watched {
            client.watched = true;
            self.at(until, Later::GiveUp, place);
        }
    }

    /// The time has come to leave a connection that was not answered, or to look again later.
    pub(super) fn give_up(&mut self, place: u32, now: u64) {
        let patience = self.patience_ns(place);
        let client = &mut self.clients[place as usize];
        client.watched = false;
        let written = client.pending.iter().filter(|pending| pending.written);
        let why = match written.map(|pending| pending.since).min() {
            _ if client.stage != Stage::Live => "not greeted in time",
            Some(since) if since + patience <= now => "a send not answered in time",
            Some(since) => return self.watch(place, since),
            None => return,
        };
        client.gave_up += 1;
        self.closed(place, why);
    }

    fn write_send(&mut self, place: u32, pending: Pending) {
        let Some(Some(conversation)) = self.conversations.get(pending.conversation as usize) else {
            return;
        };
        let client = &self.clients[place as usize];
        let peer = conversation.plan.pair.map(|pair| other(pair, client.user).0);
        let (kind, target) = match peer {
            Some(user) => ("user", user),
            None => ("conversation", conversation.id.0),
        };
        let key = Key::new(client.number, pending.n);
        let spread = self.size.max.saturating_sub(self.size.min) as u64 + 1;
        let size = self.size.min + (key.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) % spread) as usize;
        let (id, body) = (key.id(self.run), payload::body(key, pending.intended, size));
        let mut uuid = [0; 36];
        let parts: [&[u8]; 9] = [
            br#"{"t":"send","id":""#,
            id.as_bytes(),
            br#"","to":{""#,
            kind.as_bytes(),
            br#"":""#,
            target.hyphenated().encode_lower(&mut uuid).as_bytes(),
            br#""},"body":""#,
            body.as_bytes(),
            br#""}"#,
        ];
        self.say(place, Opcode::Text, &parts);
    }

    fn say_about(&mut self, (number, conversation): Lane, before: &str, after: &str) {
        let Some(place) = self.places.get(&number).copied() else {
            return;
        };
        let Some(Some(conversation)) = self.conversations.get(conversation as usize) else {
            return;
        };
        // A direct conversation comes to be with its first message: before, there is nothing to say about it.
        let text = conversation.text;
        if conversation.head > 0 && self.clients[place as usize].is_live() {
            self.say(place, Opcode::Text, &[before.as_bytes(), &text, after.as_bytes()]);
        }
    }

    /// Reacts to a message the client has seen.
    fn react(&mut self, (number, conversation): Lane, throw: u64) {
        let Some(place) = self.places.get(&number).copied() else {
            return;
        };
        let Some(cursor) = self.clients[place as usize].cursor(conversation) else {
            return;
        };
        let seq = 1 + throw % u64::from(cursor.done().max(1));
        let Some(Some(known)) = self.conversations.get(conversation as usize) else {
            return;
        };
        let seen = known.ledger.seen().get(seq as usize - 1).copied().unwrap_or(0);
        if seen == 0 || seen == crate::audit::UPDATE {
            return;
        }
        let after = format!(r#"","seq":{seq},"emoji":"👍"}}"#);
        self.say_about(
            (number, conversation),
            r#"{"t":"react","id":"r","conversation":""#,
            &after,
        );
    }

    pub(super) fn reauthenticate(&mut self, place: u32, token: &str) {
        let parts: [&[u8]; 3] = [br#"{"t":"reauth","id":"a","token":""#, token.as_bytes(), br#""}"#];
        self.say(place, Opcode::Text, &parts);
    }

    /// Acks all progress of a client since the last time.
    pub(super) fn ack(&mut self, place: u32) {
        let client = &mut self.clients[place as usize];
        client.ack_due = false;
        if !matches!(client.stage, Stage::Live | Stage::Greeting) {
            return;
        }
        for at in 0..client.cursors.len() {
            let cursor = &mut self.clients[place as usize].cursors[at];
            if cursor.done() > cursor.acked {
                cursor.acked = cursor.done();
                let (number, seq) = (cursor.conversation, cursor.acked);
                self.say_how_far(place, "ack", number, seq);
            }
        }
    }

    pub(super) fn ack_all(&mut self) {
        (0..self.clients.len() as u32).for_each(|place| self.ack(place));
        self.flush_dirty();
    }

    pub(super) fn ack_and_read(&mut self, place: u32, at: usize, seq: u32) {
        let cursor = &mut self.clients[place as usize].cursors[at];
        cursor.acked = cursor.acked.max(seq);
        let number = cursor.conversation;
        self.say_how_far(place, "ack", number, seq);
        self.say_how_far(place, "read", number, seq);
    }

    fn say_how_far(&mut self, place: u32, what: &str, number: u32, seq: u32) {
        let Some(Some(conversation)) = self.conversations.get(number as usize) else {
            return;
        };
        let text = conversation.text;
        let mut digits = [0; 10];
        let digits = decimal(seq, &mut digits);
        self.meter.total.acks += 1;
        let parts: [&[u8]; 7] = [
            br#"{"t":""#,
            what.as_bytes(),
            br#"","conversation":""#,
            &text,
            br#"","seq":"#,
            digits,
            b"}",
        ];
        self.say(place, Opcode::Text, &parts);
    }

    /// Queues one frame; it leaves with all others of this turn.
    pub(super) fn say(&mut self, place: u32, opcode: Opcode, parts: &[&[u8]]) {
        let mask = self.dice.throw() as u32;
        let client = &mut self.clients[place as usize];
        wire::write(opcode, mask, parts, &mut client.out);
        if !client.dirty {
            client.dirty = true;
            self.dirty.push(place);
        }
    }

    pub(super) fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            self.clients[place as usize].dirty = false;
            if !self.clients[place as usize].blocked {
                self.write_out(place);
            }
        }
        self.dirty = dirty;
    }

    /// Writes what the socket takes; the rest waits until it is writable.
    pub(super) fn write_out(&mut self, place: u32) {
        match self.clients[place as usize].write() {
            Ok(count) => {
                self.meter.total.bytes_out += count as u64;
                self.watch_blocked(place);
            }
            Err(error) => self.closed(place, &format!("write: {}", error.kind())),
        }
    }

    fn watch_blocked(&mut self, place: u32) {
        let client = &mut self.clients[place as usize];
        let blocked = !client.out.is_empty();
        if blocked == client.blocked {
            return;
        }
        client.blocked = blocked;
        let Some(socket) = &client.socket else { return };
        let token = token(place, client.generation);
        let read = client.pace == Pace::Fast;
        if let Err(error) = self.poller.change(socket, token, read, blocked) {
            self.closed(place, &format!("epoll: {}", error.kind()));
        }
    }
}

impl Client {
    fn write(&mut self) -> io::Result<usize> {
        let Some(mut socket) = self.socket.as_ref() else {
            self.out.clear();
            return Ok(0);
        };
        let mut written = 0;
        while written < self.out.len() {
            match socket.write(&self.out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..written);
        if self.out.is_empty() && self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        Ok(written)
    }
}

fn other(pair: [UserId; 2], user: UserId) -> UserId {
    if pair[0] == user { pair[1] } else { pair[0] }
}

fn decimal(mut value: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}
