//! People who write to each other while something is broken, and the audit of what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::http::{Http, Reply};
use crate::support::{Client, Server, User, field, items, number, text};

/// Longer than anything takes that comes back by itself, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two messages of a sender: a fault is long, and the audit reads everything.
const PAUSE: Duration = Duration::from_millis(25);

/// That something cannot be done now, said as the contract has it: nothing was done and when to try again, or that nobody knows.
#[track_caller]
pub fn is_refused_for_now(reply: &Reply) {
    let problem = reply.problem();
    match reply.status {
        503 => assert!(reply.header("retry-after").is_some(), "{problem}"),
        status => assert_eq!(status, 504, "{problem}"),
    }
}

/// What a sender knows so far.
#[derive(Default)]
struct Told {
    /// The seq each message was answered with, in the order of sending.
    seqs: Vec<u64>,
    /// How often it was refused, by code.
    refused: BTreeMap<String, u64>,
}

/// Sends one message after the other, each until it is answered `sent`, as a client does.
struct Sender {
    name: &'static str,
    chat: String,
    told: Arc<Mutex<Told>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How a sender's messages travel.
enum Way {
    Http(Http),
    Socket(Box<Client>),
}

impl Way {
    /// Tries once; answers the seq, or the code of a well-formed refusal.
    async fn send(&mut self, chat: &str, id: &str) -> Result<u64, String> {
        let to = json!({"conversation": chat});
        match self {
            Self::Http(http) => {
                let reply = http
                    .post("/api/messages", json!({"to": to, "id": id, "body": id}))
                    .await;
                if reply.status < 300 {
                    return Ok(number(&reply.json()["seq"]));
                }
                is_refused_for_now(&reply);
                Err(text(&reply.json()["code"]))
            }
            Self::Socket(client) => {
                let answer = client
                    .request(json!({"t": "send", "to": to, "id": id, "body": id}))
                    .await;
                match answer["t"].as_str() {
                    Some("sent") => return Ok(number(&answer["seq"])),
                    _ => assert_eq!(answer["t"], "error", "{answer}"),
                }
                if answer["code"] == "unavailable" {
                    assert!(answer["retry_after_ms"].is_u64(), "{answer}");
                }
                Err(text(&answer["code"]))
            }
        }
    }
}

impl Sender {
    fn start(name: &'static str, mut way: Way, chat: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (told, chat) = (Arc::<Mutex<Told>>::default(), chat.to_owned());
        let (tell, to) = (Arc::clone(&told), chat.clone());
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                let id = format!("{name}-{}", tell.lock().seqs.len());
                loop {
                    match way.send(&to, &id).await {
                        Ok(seq) => break tell.lock().seqs.push(seq),
                        Err(code) => *tell.lock().refused.entry(code).or_default() += 1,
                    }
                    tokio::time::sleep(4 * PAUSE).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            name,
            chat,
            told,
            stop,
            task,
        }
    }

    fn sent(&self) -> usize {
        self.told.lock().seqs.len()
    }

    fn refused(&self, code: &str) -> u64 {
        self.told.lock().refused.get(code).copied().unwrap_or(0)
    }
}

/// Everything a conversation's history holds, oldest first, asked for until it is told: what was away may have much to catch up
/// with.
async fn whole_history(reader: &User, chat: &str) -> Vec<Value> {
    let began = Instant::now();
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map_or(0, |message| number(&message["seq"]));
        let page = reader
            .get(&format!("/api/messages/{chat}?after={after}&limit=500"))
            .await;
        if page.status != 200 && began.elapsed() < PATIENCE {
            is_refused_for_now(&page);
            tokio::time::sleep(4 * PAUSE).await;
            continue;
        }
        let page = page.is(200);
        all.extend(items(&page));
        if page["more"] == false {
            return all;
        }
    }
}

/// Three users, each at a node of its own: two direct conversations and a group, over HTTP and over a socket.
pub struct Traffic {
    pub users: [User; 3],
    senders: Vec<Sender>,
    /// Sockets that stay open all the time, and the conversations that must come through them whole.
    readers: Vec<(Client, Vec<String>)>,
}

impl Traffic {
    pub async fn start(server: &Server) -> Self {
        let users = server.users(["Ada", "Brian", "Cleo"]).await;
        let [ada, brian, cleo] = &users;
        let (first, second) = (ada.direct(brian).await, brian.direct(cleo).await);
        let group = ada.group("All", &[brian, cleo]).await;
        let readers = vec![
            (brian.connect().await, vec![first.clone(), group.clone()]),
            (cleo.connect().await, vec![second.clone()]),
        ];
        let socket = Way::Socket(Box::new(brian.connect().await));
        let senders = vec![
            Sender::start("ada", Way::Http(ada.http()), &first),
            Sender::start("brian", socket, &second),
            Sender::start("ada-too", Way::Http(ada.http()), &group),
            Sender::start("cleo", Way::Http(cleo.http()), &group),
        ];
        Self {
            users,
            senders,
            readers,
        }
    }

    /// Waits until every sender has so many more messages answered.
    pub async fn goes_on(&self, messages: usize) {
        let wanted: Vec<usize> = self.senders.iter().map(|sender| sender.sent() + messages).collect();
        let done = |(sender, wanted): (&Sender, &usize)| sender.sent() >= *wanted;
        self.until("messages are sent", || self.senders.iter().zip(&wanted).all(done))
            .await;
    }

    /// Waits until some sender has so many more messages answered.
    pub async fn goes_on_in_part(&self, messages: usize) {
        let before: Vec<usize> = self.senders.iter().map(Sender::sent).collect();
        let done = |(sender, before): (&Sender, &usize)| sender.sent() >= *before + messages;
        self.until("a message is sent", || self.senders.iter().zip(&before).any(done))
            .await;
    }

    /// Waits until every sender has been told once more that its message cannot be taken now.
    pub async fn is_refused(&self) {
        let refused = |sender: &Sender| sender.refused("unavailable");
        let before: Vec<u64> = self.senders.iter().map(refused).collect();
        let done = |(sender, before): (&Sender, &u64)| refused(sender) > *before;
        self.until("messages are refused", || self.senders.iter().zip(&before).all(done))
            .await;
    }

    /// How often anybody was refused, for whatever reason.
    pub fn refusals(&self) -> u64 {
        let of = |sender: &Sender| sender.told.lock().refused.values().sum::<u64>();
        self.senders.iter().map(of).sum()
    }

    async fn until(&self, what: &str, so: impl Fn() -> bool) {
        let began = Instant::now();
        while !so() {
            if began.elapsed() > PATIENCE || self.senders.iter().any(|sender| sender.task.is_finished()) {
                let told = |sender: &Sender| {
                    let told = sender.told.lock();
                    format!("{}: {} sent, refused {:?}", sender.name, told.seqs.len(), told.refused)
                };
                let told: Vec<_> = self.senders.iter().map(told).collect();
                panic!("waiting until {what}, after {:?}: {told:?}", began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the senders when they have their answers, and holds what they were told against what everybody can read.
    pub async fn end(mut self) {
        for sender in &self.senders {
            sender.stop.send_replace(true);
        }
        let mut chats: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
        for sender in &mut self.senders {
            tokio::time::timeout(PATIENCE, &mut sender.task)
                .await
                .unwrap_or_else(|_| panic!("{}'s last message has no answer", sender.name))
                .unwrap();
            let chat = chats.entry(sender.chat.clone()).or_default();
            let seqs = sender.told.lock().seqs.clone();
            assert!(seqs.is_sorted_by(|one, next| one < next), "{}: {seqs:?}", sender.name);
            for (n, seq) in seqs.into_iter().enumerate() {
                let twice = chat.insert(seq, format!("{}-{n}", sender.name));
                assert_eq!(twice, None, "two messages have the seq {seq}");
            }
        }
        for (chat, sent) in &chats {
            let expected: Vec<Value> = sent.values().map(|id| json!(id)).collect();
            assert!(sent.keys().copied().eq(1..=sent.len() as u64), "a seq is missing");
            let [_, brian, _] = &self.users;
            let history = whole_history(brian, chat).await;
            assert_eq!(
                field(&history, "id"),
                expected,
                "what was sent is what is there, in order"
            );
        }
        for (client, whole) in &mut self.readers {
            for chat in whole {
                let live = client.stream(chat, 1, chats[chat].len() as u64).await;
                let expected: Vec<Value> = chats[chat].values().map(|id| json!(id)).collect();
                assert_eq!(
                    field(&live, "id"),
                    expected,
                    "what came is what was sent, once and in order"
                );
            }
        }
    }
}
