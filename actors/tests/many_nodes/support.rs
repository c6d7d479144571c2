//! Nodes of one process: real actors over one log and one store in memory, linked by the in-memory network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::defaults::UNSTORED_BYTES;
use rookery_actors::frames::Frames;
use rookery_actors::id::{ConnectionId, ConversationId, DeviceId, LoginId, UserId};
use rookery_actors::interchange::Peer;
use rookery_actors::outlet::{Outlet, Pushed, Urgency};
use rookery_actors::protocol::client::Request;
use rookery_actors::protocol::{ClientFrame, CloseCode, Codec, ErrorCode, Limits, ServerFrame, Target};
use rookery_actors::system::{Arrival, Link, Ports, System};
use rookery_actors::testkit::frames::text;
use rookery_actors::testkit::memory::{Services, Writer};
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::{Epoch, Member, NodeState, Table, View};
use rookery_cluster::router::Router;
use rookery_cluster::testkit::{deadline, listen};
use rookery_cluster::transport::Transport as _;
use rookery_cluster::transport::memory::{Endpoint, Network};
use rookery_cluster::wire::Wire as _;

pub const SHARDS: u16 = 16;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Much less than how long an ask is waited for.
pub const SOON: Duration = Duration::from_secs(7);

/// Nodes that come and go, and what they share.
pub struct World {
    pub services: Services,
    network: Network,
    pub nodes: BTreeMap<&'static str, System>,
    /// Each node's hand on the log.
    pub writers: BTreeMap<&'static str, Arc<Writer>>,
    epoch: u64,
    limits: Arc<Limits>,
    sockets: AtomicU64,
}

impl World {
    /// A cluster of these nodes, all up.
    pub async fn of(names: &[&'static str]) -> Self {
        Self::linked(names, 10_000).await
    }

    /// The same, with links that take so many payloads at once.
    pub async fn linked(names: &[&'static str], capacity: usize) -> Self {
        deadline::of_this_test();
        let mut world = Self {
            services: Services::new(SHARDS),
            network: Network::new(capacity),
            nodes: BTreeMap::new(),
            writers: BTreeMap::new(),
            epoch: 1,
            limits: Arc::new(Limits {
                messages_per_second: 100_000,
                messages_burst: 100_000,
                ..Limits::default()
            }),
            sockets: AtomicU64::new(1),
        };
        for name in names {
            world.start(name).await;
        }
        world.place(names).await;
        world
    }

    /// Starts a node, which owns nothing yet.
    pub async fn start(&mut self, name: &'static str) {
        let node = NodeId::from(name);
        let transport = Arc::new(self.network.join(node.clone()));
        let router = Router::new(node, table(0, &[name]), transport);
        let writer = self.services.log.writer();
        let ports = Ports {
            log: writer.clone(),
            ..self.services.ports()
        };
        let system = System::start(router, ports, Arc::clone(&self.limits), UNSTORED_BYTES).await;
        self.writers.insert(name, writer);
        self.nodes.insert(name, system.expect("the node starts"));
    }

    /// From now on these nodes own the shards; all nodes are told at once.
    pub async fn place(&mut self, owners: &[&'static str]) {
        let everybody: Vec<_> = self.nodes.keys().copied().collect();
        self.place_at(&everybody, owners).await;
    }

    /// As `place`, but only these nodes are told.
    pub async fn place_at(&mut self, told: &[&'static str], owners: &[&'static str]) {
        self.epoch += 1;
        let mut placing = tokio::task::JoinSet::new();
        for name in told {
            let (system, table) = (self.nodes[name].clone(), table(self.epoch, owners));
            placing.spawn(async move { system.place(table).await });
        }
        placing.join_all().await;
    }

    /// A node dies: its links break, and nobody hears of it again.
    pub fn kill(&mut self, name: &'static str) -> System {
        self.network.leave(&NodeId::from(name));
        let dead = self.nodes.remove(name).expect("it lives");
        for system in self.nodes.values() {
            system.peer_lost(&NodeId::from(name));
        }
        dead
    }

    /// What is for that node, which is dead, is taken from now on and never answered, as by a link that is still being made.
    pub fn swallow(&self, name: &'static str) -> Endpoint {
        self.network.join(NodeId::from(name))
    }

    /// A node that the test itself plays.
    pub fn play(&self, name: &'static str) -> Played {
        let endpoint = self.network.join(NodeId::from(name));
        let heard = listen(&endpoint);
        Played { endpoint, heard }
    }

    /// A user whose session is at home on that node.
    pub fn user_of(&self, home: &str) -> UserId {
        let any = self.nodes.values().next().expect("there is a node");
        let user = std::iter::repeat_with(UserId::fresh).find(|user| any.home(*user) == NodeId::from(home));
        let user = user.expect("some user is at home there");
        self.services.accounts.add(user, home);
        user
    }

    /// Connects a user to a node, with a new device or one that comes back.
    pub async fn connect(&self, node: &str, user: UserId, device: Option<(DeviceId, LoginId)>) -> Client {
        let socket = Arc::new(Socket::new(self.sockets.fetch_add(1, Ordering::Relaxed)));
        let login = device.map_or_else(LoginId::fresh, |(_, login)| login);
        let arrival = Arrival {
            user,
            login,
            device: device.map(|(device, _)| device),
            device_name: "test".into(),
        };
        let link = self.nodes[node]
            .attach(arrival, socket.clone())
            .await
            .expect("attached");
        let link = Arc::new(link);
        socket
            .wait("a hello", |got| matches!(got.first(), Some(ServerFrame::Hello(_))))
            .await;
        let device = match &socket.got.lock()[0] {
            ServerFrame::Hello(hello) => hello.device,
            _ => unreachable!("it was waited for"),
        };
        Client {
            user,
            login,
            device,
            socket,
            link,
        }
    }
}

pub fn table(epoch: u64, owners: &[&'static str]) -> Table {
    let member = |name: &&'static str| Member {
        state: NodeState::Up,
        ..Member::alone(NodeId::from(*name))
    };
    let view = View::new(Epoch(epoch), owners.iter().map(member).collect());
    Table::of(&view, SHARDS).expect("a table")
}

/// A node as others know it: by what it sends, and what it is sent.
pub struct Played {
    endpoint: Endpoint,
    heard: Receiver<(NodeId, Bytes)>,
}

impl Played {
    pub fn send(&self, to: &str, bytes: Bytes) {
        self.endpoint.send(&to.into(), 0, bytes).unwrap();
    }

    pub fn say(&self, to: &str, peer: &Peer) {
        self.send(to, peer.encode());
    }

    /// What it hears until something is what is waited for.
    pub async fn hear<T>(&self, mut wanted: impl FnMut(Peer) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            while let Ok((_, bytes)) = self.heard.try_recv() {
                if let Some(found) = wanted(Peer::decode(&bytes).unwrap()) {
                    return found;
                }
            }
            assert!(since.elapsed() < SOON, "it was not said");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A connected user.
pub struct Client {
    pub user: UserId,
    pub login: LoginId,
    pub device: DeviceId,
    pub socket: Arc<Socket>,
    pub link: Arc<Link>,
}

impl Client {
    pub fn say(&self, frame: ClientFrame, id: Option<&str>) {
        let id = id.map(str::to_owned);
        self.link.frame(Request { id, frame });
    }

    pub fn send(&self, to: Target, id: &str) {
        self.say(text(id, to), Some(id));
    }

    /// Sends and waits for `sent`; answers its seq.
    pub async fn sent(&self, to: Target, id: &str) -> u64 {
        self.send(to, id);
        self.socket
            .wait(&format!("sent {id}"), |got| seq_of(got, id).is_some())
            .await;
        let seq = seq_of(&self.socket.got.lock(), id);
        seq.expect("it was waited for")
    }

    /// As `sent`, but asks again with the same id where the outcome is left open.
    pub async fn sent_at_last(&self, to: Target, id: &str) -> u64 {
        let sent = |frame: &ServerFrame| match frame {
            ServerFrame::Sent { id: known, seq, .. } if known == id => Some(*seq),
            _ => None,
        };
        let left_open = |got: &[ServerFrame]| got.iter().filter(|frame| is_left_open(frame, id)).count();
        loop {
            let before = left_open(&self.socket.got.lock());
            self.send(to, id);
            let answered = |got: &[ServerFrame]| got.iter().any(|it| sent(it).is_some()) || left_open(got) > before;
            self.socket.wait(&format!("an answer to {id}"), answered).await;
            if let Some(seq) = self.socket.got.lock().iter().find_map(sent) {
                return seq;
            }
        }
    }

    pub fn ack(&self, conversation: ConversationId, seq: u64) {
        self.say(ClientFrame::Ack { conversation, seq }, None);
    }

    /// Waits until everything of a conversation up to that seq is here, by message or by `sent`, each message once and all
    /// in order.
    pub async fn whole(&self, conversation: ConversationId, upto: u64) {
        let missing = |got: &[ServerFrame]| {
            let mut known = vec![false; upto as usize + 1];
            for frame in got {
                match frame {
                    ServerFrame::Message(message) if message.conversation == conversation => {
                        known[message.seq as usize] = true;
                    }
                    ServerFrame::Sent {
                        conversation: of, seq, ..
                    } if *of == conversation => known[*seq as usize] = true,
                    _ => {}
                }
            }
            (1..=upto).filter(|seq| !known[*seq as usize]).collect::<Vec<_>>()
        };
        let started = Instant::now();
        loop {
            let lacks = missing(&self.socket.got.lock());
            if lacks.is_empty() {
                break;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{} lacks {lacks:?}; closed {:?}",
                self.user,
                self.socket.closed.lock()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let seqs = self.socket.seqs(conversation);
        assert!(
            seqs.is_sorted_by(|one, next| one < next),
            "out of order or twice: {seqs:?}"
        );
    }

    /// Waits until something of a conversation at or beyond that seq is here.
    pub async fn reaches(&self, conversation: ConversationId, seq: u64) {
        let what = format!("{} reaches {seq}", self.user);
        self.socket.wait(&what, |got| highest(got, conversation) >= seq).await;
    }
}

/// The seq that `sent` named for a client id.
fn seq_of(got: &[ServerFrame], id: &str) -> Option<u64> {
    got.iter().find_map(|frame| match frame {
        ServerFrame::Sent { id: known, seq, .. } if known == id => Some(*seq),
        ServerFrame::Error {
            id: Some(known),
            code,
            message,
            ..
        } if known == id => panic!("{id}: {code:?} {message}"),
        _ => None,
    })
}

fn is_left_open(frame: &ServerFrame, id: &str) -> bool {
    matches!(frame, ServerFrame::Error { id: Some(known), code: ErrorCode::Timeout, .. } if known == id)
}

fn highest(got: &[ServerFrame], conversation: ConversationId) -> u64 {
    seqs(got, conversation).into_iter().max().unwrap_or(0)
}

/// The seqs of a conversation's messages, in the order of their coming.
pub fn seqs(got: &[ServerFrame], conversation: ConversationId) -> Vec<u64> {
    let of = |frame: &ServerFrame| match frame {
        ServerFrame::Message(message) if message.conversation == conversation => Some(message.seq),
        _ => None,
    };
    got.iter().filter_map(of).collect()
}

/// A socket that notes what it is given.
pub struct Socket {
    id: ConnectionId,
    pub full: AtomicBool,
    pub refused: AtomicBool,
    pub closed: Mutex<Option<CloseCode>>,
    pub got: Mutex<Vec<ServerFrame>>,
}

impl Socket {
    fn new(id: u64) -> Self {
        Self {
            id: ConnectionId(id),
            full: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            closed: Mutex::default(),
            got: Mutex::default(),
        }
    }

    /// Waits until what came is as `wanted` says.
    pub async fn wait(&self, what: &str, wanted: impl Fn(&[ServerFrame]) -> bool) {
        let started = Instant::now();
        while !wanted(&self.got.lock()) {
            if started.elapsed() > PATIENCE {
                let got = self.got.lock();
                let last: Vec<_> = got.iter().rev().take(5).collect();
                panic!(
                    "waited for {what}; {} came, the last {last:?}; closed {:?}",
                    got.len(),
                    self.closed.lock()
                );
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn seqs(&self, conversation: ConversationId) -> Vec<u64> {
        seqs(&self.got.lock(), conversation)
    }

    pub fn count(&self, wanted: impl Fn(&ServerFrame) -> bool) -> usize {
        self.got.lock().iter().filter(|frame| wanted(frame)).count()
    }
}

impl Outlet for Socket {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn codec(&self) -> Codec {
        Codec::Json
    }

    fn push(&self, frames: &Frames, urgency: Urgency) -> Pushed {
        if self.closed.lock().is_some() {
            return Pushed::Closed;
        }
        if urgency == Urgency::Sequenced && self.full.load(Ordering::Acquire) {
            self.refused.store(true, Ordering::Release);
            return Pushed::Full;
        }
        self.got.lock().extend_from_slice(frames.frames());
        Pushed::Taken
    }

    fn close(&self, code: CloseCode) {
        self.closed.lock().get_or_insert(code);
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    eventually(what, async || holds()).await;
}

/// Waits until a condition holds that has to be asked for.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
