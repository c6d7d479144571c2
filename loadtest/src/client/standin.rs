//! A server that is none: just enough of the protocol for the engine's own tests, and ways to misbehave.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rookery_actors::id::{ConversationId, DeviceId, UserId};
use rookery_actors::protocol::server::{GoawayReason, Hello, SyncItem};
use rookery_actors::protocol::view::{Kind, Message};
use rookery_actors::protocol::{ClientFrame, Codec, Limits, ServerFrame};
use rookery_actors::time::Timestamp;

/// What the stand-in does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Every tenth message is answered and given to nobody.
    Swallow,
    /// Every tenth message is delivered twice.
    Repeat,
    /// Every tenth message is under its successor's seq for some.
    Confuse,
    /// The first connection of everybody is closed after its fifth message.
    HangUp,
    /// Everybody is told after their fifth message to go to another door.
    SendAway(SocketAddr),
    /// Nobody is told anything after their fifth message, though it is taken and the connection stays.
    FallSilent,
}

#[derive(Default)]
struct State {
    log: Vec<Message>,
    seen: HashMap<String, u64>,
    sockets: HashMap<UserId, TcpStream>,
    acked: HashMap<UserId, u64>,
    said: HashMap<UserId, u32>,
}

pub struct Standin {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepted: Arc<AtomicUsize>,
}

/// Whose socket it is: the token is the user's id.
fn user_of(head: &str) -> UserId {
    let (_, rest) = head.split_once("Bearer ").unwrap();
    rest.split("\r\n").next().unwrap().parse().unwrap()
}

impl Standin {
    pub fn start(conversation: ConversationId, fault: Fault) -> Self {
        Self::over(Arc::default(), conversation, fault)
    }

    /// Another door to the same server.
    pub fn beside(&self, conversation: ConversationId, fault: Fault) -> Self {
        Self::over(self.state.clone(), conversation, fault)
    }

    fn over(state: Arc<Mutex<State>>, conversation: ConversationId, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let standin = Self {
            address: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            state: state.clone(),
        };
        let accepted = standin.accepted.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                accepted.fetch_add(1, Ordering::Relaxed);
                let state = state.clone();
                std::thread::spawn(move || serve(socket, conversation, &state, fault));
            }
        });
        standin
    }

    /// Connections that were made to this door.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How far everybody who acked anything has acked, at least.
    pub fn acked(&self) -> u64 {
        let state = self.state.lock().unwrap();
        state.acked.values().min().copied().unwrap_or(0)
    }

    pub fn messages(&self) -> usize {
        self.state.lock().unwrap().log.len()
    }
}

fn say(socket: &mut TcpStream, frame: &ServerFrame) {
    let text = serde_json::to_vec(frame).unwrap();
    let mut out = vec![0x81];
    match text.len() {
        size @ 0..=125 => out.push(size as u8),
        size => {
            out.push(126);
            out.extend((size as u16).to_be_bytes());
        }
    }
    out.extend(text);
    drop(socket.write_all(&out));
}

fn serve(mut socket: TcpStream, conversation: ConversationId, shared: &Mutex<State>, fault: Fault) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let user = user_of(std::str::from_utf8(&head).unwrap());
    socket.write_all(super::UPGRADED).ok()?;
    greet(&mut socket, user, conversation, shared);
    loop {
        let mut start = [0; 2];
        socket.read_exact(&mut start).ok()?;
        let size = match start[1] & 0x7f {
            126 => {
                let mut size = [0; 2];
                socket.read_exact(&mut size).ok()?;
                usize::from(u16::from_be_bytes(size))
            }
            size => usize::from(size),
        };
        let mut rest = vec![0; size + 4];
        socket.read_exact(&mut rest).ok()?;
        let (key, payload) = rest.split_at_mut(4);
        payload.iter_mut().enumerate().for_each(|(n, byte)| *byte ^= key[n & 3]);
        if start[0] == 0x81 {
            let request = Codec::Json.read(payload).unwrap();
            let mut state = shared.lock().unwrap();
            obey(&mut state, user, conversation, request.frame, fault);
        }
    }
}

fn greet(socket: &mut TcpStream, user: UserId, conversation: ConversationId, shared: &Mutex<State>) {
    let mut state = shared.lock().unwrap();
    let hello = Hello {
        user,
        device: DeviceId::fresh(),
        connection: String::new(),
        node: String::new(),
        heartbeat_s: 30,
        limits: Limits::default(),
    };
    say(socket, &ServerFrame::Hello(Box::new(hello)));
    let acked = state.acked.get(&user).copied().unwrap_or(0);
    let head = state.log.len() as u64;
    let item = SyncItem {
        id: conversation,
        kind: Kind::Group,
        title: String::new(),
        head,
        delivered: acked,
        read: 0,
        unread: 0,
    };
    let conversations = if head > acked { vec![item] } else { Vec::new() };
    say(
        socket,
        &ServerFrame::Sync {
            conversations,
            more: false,
        },
    );
    for message in &state.log[acked as usize..] {
        say(socket, &ServerFrame::Message(Box::new(message.clone())));
    }
    state.sockets.insert(user, socket.try_clone().unwrap());
}

fn obey(state: &mut State, user: UserId, conversation: ConversationId, frame: ClientFrame, fault: Fault) {
    match frame {
        ClientFrame::Send(send) => {
            let known = state.seen.get(&send.id).copied();
            let seq = known.unwrap_or(state.log.len() as u64 + 1);
            let at = Timestamp::now();
            if known.is_none() {
                state.seen.insert(send.id.clone(), seq);
                let message = Message {
                    conversation,
                    seq,
                    id: send.id.clone(),
                    from: user,
                    at,
                    body: send.body.unwrap_or_default(),
                    data: None,
                    attachments: Vec::new(),
                    reply_to: None,
                    mentions: Vec::new(),
                    edited_at: None,
                    deleted: false,
                    reactions: Vec::new(),
                };
                state.log.push(message.clone());
                fan_out(state, &message, fault);
            }
            let sent = ServerFrame::Sent {
                id: send.id,
                conversation,
                seq,
                at,
                duplicate: known.is_some(),
            };
            let said = state.said.entry(user).or_default();
            *said += 1;
            if fault == Fault::FallSilent && *said >= 5 {
                state.sockets.remove(&user);
            }
            if let Some(socket) = state.sockets.get_mut(&user) {
                match fault {
                    Fault::HangUp if *said == 5 => return drop(socket.shutdown(std::net::Shutdown::Both)),
                    Fault::SendAway(to) if *said == 5 => say(
                        socket,
                        &ServerFrame::Goaway {
                            reason: GoawayReason::Drain,
                            reconnect_after_ms: 5,
                            url: Some(format!("http://{to}")),
                        },
                    ),
                    _ => {}
                }
                say(socket, &sent);
            }
        }
        ClientFrame::Ack { seq, .. } => {
            state.acked.insert(user, seq);
        }
        _ => {}
    }
}

fn fan_out(state: &mut State, message: &Message, fault: Fault) {
    let tenth = message.seq % 10 == 5;
    let others = state.sockets.iter_mut().filter(|(user, _)| **user != message.from);
    for (nth, (_, socket)) in others.enumerate() {
        if tenth && fault == Fault::Swallow {
            continue;
        }
        let mut message = message.clone();
        if tenth && fault == Fault::Confuse && nth == 0 {
            message.seq += 1;
        }
        say(socket, &ServerFrame::Message(Box::new(message.clone())));
        if tenth && fault == Fault::Repeat {
            say(socket, &ServerFrame::Message(Box::new(message)));
        }
    }
}
