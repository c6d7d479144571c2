//! A client: connects to some node, sends, retries what was not answered with the same id, acks what it is shown, and comes
//! back when it is cut off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_actors::frames::Frames;
use rookery_actors::id::{ConnectionId, ConversationId, DeviceId, LoginId, UserId};
use rookery_actors::outlet::{Outlet, Pushed, Urgency};
use rookery_actors::protocol::client::Request;
use rookery_actors::protocol::server::Change;
use rookery_actors::protocol::{ClientFrame, CloseCode, Codec, ErrorCode, ServerFrame, Target};
use rookery_actors::system::{Arrival, Link};
use rookery_actors::testkit::frames::text;
use rookery_cluster::testkit::lot::Lot;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::ledger::{Ledger, Name, deletion};
use crate::plan::Habit;
use crate::sends::{Sends, What};
use crate::world::{Node, World};

/// A client of a user.
pub struct Device {
    pub number: usize,
    pub user: UserId,
    login: LoginId,
    id: Option<DeviceId>,
    sends: Sends,
    /// What it does about messages.
    habit: Habit,
    /// The messages it knows of, and whether they are its user's own.
    known: BTreeMap<ConversationId, BTreeMap<u64, bool>>,
    acked: BTreeMap<ConversationId, u64>,
    lot: Lot,
    world: Arc<World>,
    ledger: Arc<Ledger>,
    /// Says what it does.
    told: bool,
}

/// What of a node a client sees.
struct Socket {
    id: ConnectionId,
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Default)]
struct Inner {
    got: Vec<ServerFrame>,
    closed: bool,
    code: Option<CloseCode>,
}

impl Outlet for Socket {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn codec(&self) -> Codec {
        Codec::Json
    }

    fn push(&self, frames: &Frames, _: Urgency) -> Pushed {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Pushed::Closed;
        }
        inner.got.extend_from_slice(frames.frames());
        self.news.notify_one();
        Pushed::Taken
    }

    fn close(&self, code: CloseCode) {
        {
            let mut inner = self.inner.lock();
            inner.closed = true;
            inner.code.get_or_insert(code);
        }
        self.news.notify_one();
    }
}

/// Why a connection is over.
#[derive(PartialEq)]
enum Over {
    CutOff,
    /// Of its own will.
    Left,
}

impl Device {
    pub fn new(
        number: usize,
        user: UserId,
        sends: Sends,
        lot: Lot,
        world: &Arc<World>,
        ledger: &Arc<Ledger>,
        told: bool,
    ) -> Self {
        Self {
            number,
            user,
            login: LoginId::from_slice(&[100 + number as u8; 16]).unwrap(),
            id: None,
            sends,
            habit: Habit::Sends,
            known: BTreeMap::new(),
            acked: BTreeMap::new(),
            lot,
            world: Arc::clone(world),
            ledger: Arc::clone(ledger),
            told,
        }
    }

    /// The same device, which says something about messages too.
    pub fn with_habit(self, habit: Habit) -> Self {
        Self { habit, ..self }
    }

    /// Goes on until it is dropped; `done` hears when everything was answered.
    pub async fn run(mut self, done: Arc<Notify>) {
        let mut told = false;
        loop {
            let Some(node) = self.world.any_node() else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let socket = Arc::new(Socket {
                id: self.world.connection(),
                inner: Mutex::default(),
                news: Notify::new(),
            });
            let arrival = Arrival {
                user: self.user,
                login: self.login,
                device: self.id,
                device_name: "simulated".into(),
            };
            let attached = node.system.attach(arrival, socket.clone());
            self.tell(|| format!("tries {}", node.name));
            if let Ok(Ok(link)) = timeout(Duration::from_secs(15), attached).await {
                let over = self.converse(&node, &link, &socket, &done, &mut told).await;
                if over == Over::Left || !node.mood.is(|mood| &mood.dead) {
                    link.detach();
                }
                socket.inner.lock().closed = true;
                self.tell(|| format!("is off {}", node.name));
            }
            let pause = 20 + self.lot.below(300);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn converse(&mut self, node: &Node, link: &Link, socket: &Socket, done: &Notify, told: &mut bool) -> Over {
        let mut next_send = Instant::now() + self.pause();
        // A client that has nothing more to say stays to listen.
        let leaves = Instant::now() + Duration::from_millis(1000 + self.lot.below(12_000));
        // What was not answered on the connection before is sent again on this one.
        self.sends.reconnected(Instant::now());
        let mut latest = BTreeMap::new();
        loop {
            let look = Instant::now() + Duration::from_millis(500);
            let due = self.sends.due(next_send).unwrap_or(look);
            let _ = timeout_at(due.min(look), socket.news.notified()).await;
            let (got, closed, code) = {
                let mut inner = socket.inner.lock();
                (std::mem::take(&mut inner.got), inner.closed, inner.code)
            };
            for frame in got {
                self.hear(frame, &mut latest);
            }
            if code == Some(CloseCode::NodeStopping) {
                self.wrong("was told that its node stops, which it does not");
            }
            if closed || node.mood.is(|mood| &mood.dead) {
                return Over::CutOff;
            }
            self.ack(link);
            if self.sends.are_all_answered() && !std::mem::replace(told, true) {
                done.notify_one();
            }
            if self.id.is_some() && !self.sends.are_all_sent() && Instant::now() > leaves && self.lot.percent(50) {
                return Over::Left;
            }
            if Instant::now() >= due {
                self.say(link, next_send);
                if Instant::now() >= next_send {
                    next_send = Instant::now() + self.pause();
                }
            }
        }
    }

    fn wrong(&self, what: &str) {
        self.tell(|| format!("finds wrong: {what}"));
        self.ledger.wrong(format!("device {} {what}", self.number));
    }

    fn tell(&self, what: impl Fn() -> String) {
        if self.told {
            println!(
                "{:>6} ms: device {} {}",
                self.world.clock().as_millis(),
                self.number,
                what()
            );
        }
    }

    fn pause(&mut self) -> Duration {
        let most = *self.lot.clone().pick(&[30, 300, 1500]).unwrap();
        Duration::from_millis(self.lot.below(most))
    }

    fn name(&self, id: &str) -> Name {
        (self.user, id.to_owned())
    }

    /// Sends what is due.
    fn say(&mut self, link: &Link, next: Instant) {
        let (user, habit, known, lot) = (self.user, self.habit, &self.known, &mut self.lot);
        let choose = |to| {
            match habit >= Habit::Changes && lot.percent(40) {
                true => about(known.get(&conversation(user, to)), conversation(user, to), habit, lot),
                false => None,
            }
            .unwrap_or(What::Message(to))
        };
        let due = self.sends.take_due(Instant::now(), next, choose);
        for (id, what, again) in due.unwrap_or_else(|what| {
            self.wrong(&what);
            Vec::new()
        }) {
            let name = self.name(&what.name(&id));
            if again && matches!(what, What::Edit(..)) {
                self.ledger.may_stand_twice(name.clone());
            }
            let (conversation, frame) = match what {
                What::Message(to) => (conversation(self.user, to), text(&id, to)),
                What::Reaction(conversation, seq) => (
                    conversation,
                    ClientFrame::React {
                        conversation,
                        seq,
                        emoji: id.clone(),
                        remove: false,
                    },
                ),
                What::Edit(conversation, seq) => (
                    conversation,
                    ClientFrame::Edit {
                        conversation,
                        seq,
                        body: id.clone(),
                    },
                ),
                What::Deletion(conversation, seq) => (conversation, ClientFrame::Delete { conversation, seq }),
            };
            self.ledger.asked(name, conversation);
            self.tell(|| format!("says {frame:?}"));
            link.frame(Request { id: Some(id), frame });
        }
    }

    fn hear(&mut self, frame: ServerFrame, latest: &mut BTreeMap<ConversationId, u64>) {
        self.tell(|| match &frame {
            ServerFrame::Hello(hello) => format!("is greeted as {}", hello.device),
            ServerFrame::Message(message) => format!("is shown {} {}", message.conversation, message.seq),
            other => format!("hears {other:?}"),
        });
        match frame {
            ServerFrame::Hello(hello) => self.id = Some(hello.device),
            ServerFrame::Message(message) => {
                let of = self.known.entry(message.conversation).or_default();
                of.insert(message.seq, message.from == self.user);
                let name = (message.from, message.id.clone());
                self.is_shown(message.conversation, message.seq, name, latest);
            }
            ServerFrame::Update(update) => {
                let text = match update.change {
                    Change::React { emoji, .. } => emoji,
                    Change::Edit { body } => body.unwrap_or_default(),
                    Change::Delete => deletion(update.conversation, update.of),
                };
                self.is_shown(update.conversation, update.seq, (update.from, text), latest);
            }
            ServerFrame::Sent {
                id, conversation, seq, ..
            } => {
                let name = self.name(&id);
                self.known.entry(conversation).or_default().insert(seq, true);
                self.ledger.sent(&name, seq);
                self.ledger.shown(self.number, self.user, conversation, seq, name);
                if let Err(what) = self.sends.sent(&id, conversation, seq) {
                    self.wrong(&what);
                }
            }
            ServerFrame::Ok { id: Some(id), seq } => match self.sends.done(&id, seq) {
                Some(Ok((name, seq))) => self.ledger.sent(&self.name(&name), seq),
                Some(Err(what)) => self.wrong(&what),
                None => {}
            },
            ServerFrame::Error {
                code: ErrorCode::Conflict,
                id: Some(id),
                ..
            } if self.habit == Habit::Deletes => {
                self.sends.give_up(&id);
                self.ledger.given_up(self.name(&id));
            }
            ServerFrame::Error { id, retry_after_ms, .. } => {
                let pause = Duration::from_millis(retry_after_ms.unwrap_or(100).clamp(20, 2000));
                if let Some(id) = id {
                    self.sends.refused(&id, Instant::now() + pause);
                }
            }
            // Nothing here is so long that a replay would leave some of it out.
            ServerFrame::Gap { conversation, from, to } => {
                self.wrong(&format!("was told that {conversation} {from} to {to} are left out"));
            }
            _ => {}
        }
    }

    /// An entry came.
    fn is_shown(&self, conversation: ConversationId, seq: u64, name: Name, latest: &mut BTreeMap<ConversationId, u64>) {
        let before = latest.insert(conversation, seq).unwrap_or(0);
        if before >= seq {
            self.wrong(&format!("was shown {conversation} {seq} after {before}"));
        }
        self.ledger.shown(self.number, self.user, conversation, seq, name);
    }

    /// Says how far this device has got, where that is further than before.
    fn ack(&mut self, link: &Link) {
        for conversation in self.ledger.conversations(self.number) {
            let seen = self.ledger.seen(self.number, self.user, conversation);
            let acked = self.acked.entry(conversation).or_default();
            if seen > *acked && self.lot.percent(70) {
                *acked = seen;
                link.frame(Request {
                    id: None,
                    frame: ClientFrame::Ack {
                        conversation,
                        seq: seen,
                    },
                });
            }
        }
    }
}

fn conversation(from: UserId, to: Target) -> ConversationId {
    match to {
        Target::User(user) => ConversationId::direct(from, user),
        Target::Conversation(conversation) => conversation,
    }
}

/// Something to say about one of the messages that are known, if there is one. What may be deleted is not edited: a deletion takes
/// the texts of edits, by which they are known here.
fn about(
    known: Option<&BTreeMap<u64, bool>>,
    conversation: ConversationId,
    habit: Habit,
    lot: &mut Lot,
) -> Option<What> {
    let known: Vec<_> = known?.iter().collect();
    let (seq, is_own) = *lot.pick(&known)?;
    Some(match *is_own && lot.percent(50) {
        true if habit == Habit::Deletes && seq.is_multiple_of(3) => What::Deletion(conversation, *seq),
        true => What::Edit(conversation, *seq),
        false => What::Reaction(conversation, *seq),
    })
}
