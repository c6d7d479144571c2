//! A client as the contract wants one: it goes where `goaway` sends it, comes back with its device, acknowledges what it got,
//! and sends again what was not answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::opening::Opening;
use super::server::Endpoint;
use super::user::{User, number, text};
use super::{Client, places};

/// A message is sent so long after the one before was answered.
const PACE: Duration = Duration::from_millis(100);
/// What a caller may wait for anything at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which message (sender and client id) stands at which seq.
pub type Order = BTreeMap<u64, (String, String)>;

/// What became of a caller.
#[derive(Default, Debug)]
pub struct Report {
    pub user: String,
    pub goaways: Vec<Value>,
    /// How sockets ended that the client had not left.
    pub ended: Vec<Option<u16>>,
    /// Messages that were answered.
    pub sent: usize,
    /// How long the slowest took from its first sending to `sent`, and which it was.
    pub slowest: (Duration, String),
    /// All that `sent` and `message` told of the conversation.
    pub order: Order,
}

/// What a caller is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Send,
    /// See through what is not answered.
    Finish,
    /// Wait until everything up to that seq has come.
    Hear(u64),
}

/// A running caller.
pub struct Caller {
    task: watch::Sender<Task>,
    finished: watch::Receiver<bool>,
    life: JoinHandle<Report>,
}

impl Caller {
    /// Opens a socket there and sends to a conversation, one message after the other.
    pub async fn start(user: &User, endpoint: Endpoint, conversation: &str) -> Self {
        let socket = Opening::new(endpoint.clone()).token(&user.access).open().await;
        let life = Life {
            device: socket.device.clone(),
            socket,
            user: user.clone(),
            conversation: conversation.to_owned(),
            last: 0,
            waiting: None,
            due: Instant::now(),
            going: None,
            home: endpoint,
            since_then: Vec::new(),
            report: Report {
                user: user.id.clone(),
                ..Report::default()
            },
        };
        let (task, told) = watch::channel(Task::Send);
        let (finish, finished) = watch::channel(false);
        let life = tokio::spawn(life.live(told, finish));
        Self { task, finished, life }
    }

    /// No further message is sent; returns when the last is answered.
    pub async fn finish(&mut self) {
        self.task.send_replace(Task::Finish);
        self.finished.wait_for(|finished| *finished).await.ok();
    }

    /// Returns when everything up to `head` has come.
    pub async fn end(self, head: u64) -> Report {
        self.task.send_replace(Task::Hear(head));
        self.life.await.unwrap()
    }
}

struct Life {
    user: User,
    device: String,
    conversation: String,
    socket: Client,
    /// The last seq that came on this socket.
    last: u64,
    /// What is not answered, and since when.
    waiting: Option<(String, Instant)>,
    /// When the next message is sent.
    due: Instant,
    /// When to go, and where.
    going: Option<(Instant, Endpoint)>,
    /// Where to go when nobody says where.
    home: Endpoint,
    /// What happened since the last message was sent.
    since_then: Vec<String>,
    report: Report,
}

impl Life {
    async fn live(mut self, task: watch::Receiver<Task>, finish: watch::Sender<bool>) -> Report {
        let mut heard = Instant::now();
        loop {
            let task = *task.borrow();
            match task {
                Task::Finish if self.waiting.is_none() => drop(finish.send_replace(true)),
                Task::Hear(head) if self.report.order.len() as u64 >= head => return self.report,
                _ => {}
            }
            self.go_on(task == Task::Send).await;
            match tokio::time::timeout(PACE, self.socket.heard()).await {
                Ok(Ok(frame)) => {
                    heard = Instant::now();
                    self.take(&frame);
                }
                Ok(Err(code)) => self.come_back(code).await,
                Err(_) => assert!(heard.elapsed() < PATIENCE, "{}: nothing comes any more", self.user.name),
            }
        }
    }

    /// Goes where it was sent when nothing is on its way, and sends when that is due.
    async fn go_on(&mut self, sends: bool) {
        let now = Instant::now();
        if let Some((id, since)) = &self.waiting {
            return assert!(now - *since < PATIENCE, "{id} of {} was never answered", self.user.name);
        }
        if let Some((_, endpoint)) = self.going.take_if(|(at, _)| *at <= now) {
            self.open(endpoint).await;
        }
        if sends && self.due <= now {
            let id = format!("{}-{}", self.user.name, self.report.sent);
            self.write(&id);
            self.waiting = Some((id, now));
            self.since_then.clear();
        }
    }

    fn happens(&mut self, what: &str) {
        if let Some((_, since)) = &self.waiting {
            self.since_then.push(format!("{what} after {:?}", since.elapsed()));
        }
    }

    fn write(&self, id: &str) {
        self.socket
            .write_send(json!({"conversation": self.conversation}), id, id);
    }

    fn take(&mut self, frame: &Value) {
        self.happens(frame["t"].as_str().unwrap());
        match frame["t"].as_str() {
            Some("sent") => self.sent(frame),
            Some("message") => {
                let seq = number(&frame["seq"]);
                assert!(
                    seq > self.last,
                    "{}: seq {seq} came after {}",
                    self.user.name,
                    self.last
                );
                self.last = seq;
                let (seq, message) = places(frame);
                self.note(seq, message);
                // Seldom enough that some come again after a reconnect, and often enough that they are few.
                if seq % 5 == 0 {
                    self.socket.ack(&self.conversation, seq);
                }
            }
            Some("goaway") => {
                let after = Duration::from_millis(number(&frame["reconnect_after_ms"]));
                let to = frame["url"].as_str().map_or(self.home.clone(), at);
                self.going = Some((Instant::now() + after, to));
                self.report.goaways.push(frame.clone());
            }
            Some("gap") => panic!("{} after {}: {frame}", self.user.name, self.last),
            // Sent again with the next turn of the loop, as a client does.
            Some("error") => self.again(frame),
            _ => {}
        }
    }

    fn sent(&mut self, frame: &Value) {
        let id = text(&frame["id"]);
        if let Some((_, since)) = self.waiting.take_if(|(waiting, _)| *waiting == id) {
            let which = || format!("{id} on {}: {:?}", self.socket.hello["node"], self.since_then);
            let took = (since.elapsed(), which());
            self.report.slowest = took.max(std::mem::take(&mut self.report.slowest));
            self.report.sent += 1;
            self.due = Instant::now() + PACE;
        }
        self.note(number(&frame["seq"]), (self.user.id.clone(), id));
    }

    fn again(&mut self, frame: &Value) {
        let code = text(&frame["code"]);
        assert!(["unavailable", "timeout"].contains(&code.as_str()), "{frame}");
        if let Some((id, _)) = &self.waiting {
            self.write(id);
        }
    }

    fn note(&mut self, seq: u64, message: (String, String)) {
        let known = self.report.order.entry(seq).or_insert_with(|| message.clone());
        assert_eq!(*known, message, "{}: two messages at seq {seq}", self.user.name);
    }

    /// The socket ended by itself.
    async fn come_back(&mut self, code: Option<u16>) {
        self.happens("the end of the socket");
        self.report.ended.push(code);
        let to = self.going.take().map_or(self.home.clone(), |(_, to)| to);
        self.open(to).await;
        if let Some((id, _)) = &self.waiting {
            self.write(id);
        }
    }

    async fn open(&mut self, endpoint: Endpoint) {
        let opening = Opening::new(endpoint).token(&self.user.access).device(&self.device);
        self.socket = opening.open().await;
        assert_eq!(self.socket.device, self.device, "{} goes on", self.user.name);
        self.last = 0;
    }
}

/// Where a URL points.
fn at(url: &str) -> Endpoint {
    let address = url.strip_prefix("ws://").and_then(|rest| rest.strip_suffix("/ws"));
    let address = address
        .unwrap_or_else(|| panic!("{url} is no socket of ours"))
        .parse()
        .unwrap();
    Endpoint::new([address; 2])
}
