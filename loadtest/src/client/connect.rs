//! Connections: made on schedule from many source addresses, upgraded, lost, and made again.

use std::io;
use std::net::{SocketAddr, TcpStream};

use rookery_actors::protocol::CloseCode;
use socket2::{Domain, Protocol, Socket, Type};

use super::engine::{Engine, Later};
use super::person::Stage;
use super::wire::{self, Upgraded};
use crate::http::address;
use crate::measure::Op;
use crate::plan::{Pace, Who};
use crate::schedule::{Arrivals, Shape, Spacing};
use crate::sys::{bind_without_port, now_ns};

/// Waiting time before a lost connection is made again: the mean at the first failure, doubled up to the last.
const BACK_OFF_MS: (f64, f64) = (20.0, 1000.0);
/// The same after a server said that it has too much to do.
const OVERLOADED_MS: (f64, f64) = (1_000.0, 16_000.0);
/// A slow reader's receive buffer, so that the kernel does not read in its place.
const SLOW_BUFFER: usize = 4096;
/// How often a slow reader reads.
pub(super) const SLOW_TURN_NS: u64 = 200_000_000;

/// Clients that are to be connected one after the other.
pub(super) struct Connecting {
    arrivals: Arrivals,
    /// In reverse, the next one last.
    places: Vec<u32>,
}

impl Connecting {
    pub fn peek(&self) -> Option<u64> {
        self.arrivals.peek()
    }
}

impl Engine {
    pub(super) fn connect(&mut self, who: Who, rate: f64, start_ns: u64) {
        let mut places = self.places_of(who);
        places.reverse();
        self.connecting.push(Connecting {
            arrivals: Arrivals::new(rate, Spacing::Constant, Shape::Flat, start_ns, u64::MAX, 0),
            places,
        });
    }

    pub(super) fn connect_due(&mut self, now: u64) {
        let mut connecting = std::mem::take(&mut self.connecting);
        for group in &mut connecting {
            while !group.places.is_empty() {
                let Some(intended) = group.arrivals.due(now) else { break };
                if let Some(place) = group.places.pop() {
                    self.clients[place as usize].wanted = true;
                    self.open(place, intended);
                }
            }
        }
        connecting.retain(|group| !group.places.is_empty());
        connecting.append(&mut self.connecting);
        self.connecting = connecting;
    }

    /// Begins a connection that should have begun at `intended`.
    pub(super) fn open(&mut self, place: u32, intended: u64) {
        let client = &mut self.clients[place as usize];
        if !client.wanted || client.socket.is_some() {
            return;
        }
        client.intended = intended;
        self.meter.record(Op::Lag, intended, now_ns());
        match self.dial(place) {
            Ok(socket) => self.watch_new(place, socket),
            Err(error) => self.connect_failed(place, &format!("connect: {}", error.kind()), None),
        }
    }

    fn dial(&mut self, place: u32) -> io::Result<TcpStream> {
        let client = &self.clients[place as usize];
        let to = self.doors[client.door as usize % self.doors.len()].address;
        let slow = matches!(client.pace, Pace::Slow { .. });
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        if !self.sources.is_empty() {
            let source = self.sources[self.next_source % self.sources.len()];
            self.next_source += 1;
            bind_without_port(&socket)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(socket.into())
    }

    fn watch_new(&mut self, place: u32, socket: TcpStream) {
        let client = &mut self.clients[place as usize];
        client.generation = client.generation.wrapping_add(1);
        let token = token(place, client.generation);
        if let Err(error) = self.poller.add(&socket, token, false, true) {
            return self.connect_failed(place, &format!("epoll: {}", error.kind()), None);
        }
        client.socket = Some(socket);
        client.stage = Stage::Connecting;
        self.watch(place, now_ns());
    }

    /// The TCP connection is there, or has failed: ask for the upgrade.
    pub(super) fn connected(&mut self, place: u32) {
        let client = &mut self.clients[place as usize];
        let Some(socket) = &client.socket else { return };
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                return self.connect_failed(place, &format!("connect: {}", error.kind()), None);
            }
        }
        let token = token(place, client.generation);
        let read = client.pace == Pace::Fast;
        if let Err(error) = self.poller.change(socket, token, read, false) {
            return self.connect_failed(place, &format!("epoll: {}", error.kind()), None);
        }
        client.stage = Stage::Opening;
        let device = client.device.map(|device| device.to_string());
        let host = &self.doors[client.door as usize % self.doors.len()].host;
        wire::upgrade(host, device.as_deref(), &client.token, &mut client.out);
        self.write_out(place);
        if !read {
            self.at(now_ns() + SLOW_TURN_NS, Later::SlowRead, place);
        }
    }

    /// Reads the answer to the upgrade; says how many bytes of it there were, or that it was refused (`None`).
    pub(super) fn upgraded(&mut self, place: u32, bytes: &[u8]) -> Option<usize> {
        match wire::upgraded(bytes) {
            Upgraded::NotYet => Some(0),
            Upgraded::Yes(length) => {
                let client = &mut self.clients[place as usize];
                client.stage = Stage::Greeting;
                let conversations = &self.conversations;
                client.catching_up = client.cursors.iter().any(|cursor| {
                    let conversation = conversations[cursor.conversation as usize].as_ref();
                    conversation.is_some_and(|conversation| cursor.done() < conversation.head)
                });
                self.online += 1;
                Some(length)
            }
            Upgraded::No { status, retry_after } => {
                self.connect_failed(place, &format!("upgrade: {status}"), retry_after);
                None
            }
        }
    }

    fn connect_failed(&mut self, place: u32, why: &str, retry_after_s: Option<u64>) {
        self.meter.total.connect_failures += 1;
        self.meter.incident(why);
        self.lost(place, BACK_OFF_MS, retry_after_s);
    }

    /// A connection is gone that was wanted.
    pub(super) fn closed(&mut self, place: u32, why: &str) {
        self.ended(place, why, BACK_OFF_MS);
    }

    /// The server has closed a connection that was wanted.
    pub(super) fn closed_with(&mut self, place: u32, code: u16) {
        let overloaded = code == CloseCode::Overloaded as u16;
        let back_off = if overloaded { OVERLOADED_MS } else { BACK_OFF_MS };
        self.ended(place, &format!("close {code}"), back_off);
    }

    fn ended(&mut self, place: u32, why: &str, back_off: (f64, f64)) {
        if matches!(self.clients[place as usize].stage, Stage::Connecting | Stage::Opening) {
            return self.connect_failed(place, &format!("upgrade: {why}"), None);
        }
        self.meter.total.closes += 1;
        self.meter.incident(why);
        self.lost(place, back_off, None);
    }

    fn lost(&mut self, place: u32, (first, last): (f64, f64), retry_after_s: Option<u64>) {
        self.drop_socket(place);
        self.go_elsewhere(place);
        let client = &mut self.clients[place as usize];
        if !client.wanted {
            return;
        }
        let mean = (first * f64::from(1u32 << client.failures.min(10))).min(last);
        client.failures += 1;
        let wait_ms = self.dice.exponential(mean).min(3.0 * last) + retry_after_s.unwrap_or(0) as f64 * 1000.0;
        self.at(now_ns() + (wait_ms * 1e6) as u64, Later::Reconnect, place);
    }

    /// The next time by another door, where there are several.
    fn go_elsewhere(&mut self, place: u32) {
        let others = self.doors.len().saturating_sub(1);
        let step = 1 + self.dice.below(others) as u32;
        let client = &mut self.clients[place as usize];
        if others > 0 {
            client.door = (client.door % (others as u32 + 1)) + step;
        }
    }

    /// A `goaway`: the client leaves when it is told to, for the node it is told. With one server there is nowhere to go.
    pub(super) fn sent_away(&mut self, place: u32, after_ms: u64, url: Option<&str>) {
        self.meter.incident("goaway");
        if self.doors.len() < 2 {
            return;
        }
        match url.and_then(|url| address(url).ok()) {
            Some(named) => self.clients[place as usize].next_door = Some(self.door(named)),
            None => self.clients[place as usize].next_door = None,
        }
        self.at(now_ns() + after_ms * 1_000_000, Later::Leave, place);
    }

    pub(super) fn leave(&mut self, place: u32, now: u64) {
        self.drop_socket(place);
        match self.clients[place as usize].next_door.take() {
            Some(door) => self.clients[place as usize].door = door,
            None => self.go_elsewhere(place),
        }
        self.open(place, now);
    }

    /// Lets go of the socket; closing it takes it out of the poller.
    pub(super) fn drop_socket(&mut self, place: u32) {
        let client = &mut self.clients[place as usize];
        if matches!(client.stage, Stage::Greeting | Stage::Live) {
            self.online -= 1;
        }
        client.disconnect();
    }

    /// Drops sockets as a train in a tunnel does.
    pub(super) fn cut(&mut self, who: Who) {
        for place in self.places_of(who) {
            self.clients[place as usize].wanted = false;
            self.drop_socket(place);
        }
    }
}

/// What the poller says of a client's present socket.
pub(super) fn token(place: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(place)
}
