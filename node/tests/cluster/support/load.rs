//! A load on a cluster and the account of it: callers with sockets and posters over HTTP, all in one group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::caller::{Caller, Order, Report};
use super::http::Http;
use super::server::Endpoint;
use super::starvation::Starvation;
use super::user::{User, number, text};
use super::{Cluster, places};

/// Callers at each node.
const CALLERS: usize = 3;
const POSTERS: usize = 2;
/// A message is posted so long after the one before was answered.
const PACE: Duration = Duration::from_millis(100);
/// How often it is tried how long a plain request takes.
const PROBE: Duration = Duration::from_millis(50);

/// The nodes that take requests, as a balancer knows them.
type Doors = Arc<Mutex<BTreeMap<usize, Endpoint>>>;

/// Running callers and posters.
pub struct Load {
    pub owner: User,
    pub group: String,
    /// By node.
    callers: Vec<Vec<Caller>>,
    posters: Vec<JoinHandle<Posted>>,
    probe: JoinHandle<Duration>,
    starvation: Starvation,
    doors: Doors,
    stop: watch::Sender<bool>,
}

/// What a poster knows.
#[derive(Default)]
struct Posted {
    order: Order,
    slowest: (Duration, String),
}

/// What became of a load.
pub struct Account {
    /// By the node at which they began.
    pub callers: Vec<Vec<Report>>,
    /// How long the slowest message took to be answered, and which it was.
    pub slowest: (Duration, String),
    /// How long the slowest of many plain reads took: what this machine, and its store, are worth now.
    pub hiccup: Duration,
    /// How many times as long as on a machine of its own a piece of work took at the worst.
    pub stretch: f64,
    pub sent: usize,
}

impl Load {
    /// Callers at each node, among them some whose session is on the one named; and posters.
    pub async fn start(cluster: &Cluster, home: usize) -> Self {
        let owner = cluster.user("Owner").await;
        let mut users = Vec::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            let mut here = Vec::new();
            for turn in 0.. {
                if here.len() == CALLERS {
                    break;
                }
                let user = User::sign_up(node.endpoint(), &format!("Caller{index}x{turn}")).await;
                let lives = user.get("/api/connect").await.is(200);
                // The first of each node has its session on that one.
                if !here.is_empty() || text(&lives["node"]) == format!("node{home}") {
                    here.push(user);
                }
            }
            users.push(here);
        }
        let members: Vec<_> = users.iter().flatten().collect();
        let group = owner.group("Load", &members).await;
        let mut callers = Vec::new();
        for (users, node) in users.iter().zip(&cluster.nodes) {
            callers.push(join_all(users.iter().map(|user| Caller::start(user, node.endpoint(), &group))).await);
        }
        let doors: BTreeMap<_, _> = cluster.nodes.iter().map(|node| node.endpoint()).enumerate().collect();
        let (doors, (stop, stopped)) = (Arc::new(Mutex::new(doors)), watch::channel(false));
        let posters = (0..POSTERS).map(|number| {
            let (owner, group, doors) = (owner.clone(), group.clone(), Arc::clone(&doors));
            tokio::spawn(post(owner, number, group, doors, stopped.clone()))
        });
        let posters: Vec<_> = posters.collect();
        Self {
            posters,
            probe: tokio::spawn(probe(owner.clone(), Arc::clone(&doors), stopped)),
            starvation: Starvation::watch(),
            owner,
            group,
            callers,
            doors,
            stop,
        }
    }

    /// No request goes to that node any more.
    pub fn avoid(&self, node: usize) {
        self.doors.lock().unwrap().remove(&node);
    }

    /// Requests may go to that node again.
    pub fn allow(&self, node: usize, endpoint: Endpoint) {
        self.doors.lock().unwrap().insert(node, endpoint);
    }

    /// Ends all and holds what everybody saw against the history.
    pub async fn end(self) -> Account {
        self.stop.send_replace(true);
        let posted = join_all(self.posters).await;
        let mut callers = self.callers;
        join_all(callers.iter_mut().flatten().map(Caller::finish)).await;
        let history = self.owner.whole_history(&self.group).await;
        let history: Order = history.iter().map(places).collect();
        let head = history.len() as u64;
        let heard = callers
            .into_iter()
            .map(async |here| join_all(here.into_iter().map(|it| it.end(head))).await);
        let callers = join_all(heard).await;
        assert!(history.keys().copied().eq(1..=head), "a hole in the history");
        let distinct: BTreeSet<_> = history.values().collect();
        assert_eq!(distinct.len(), history.len(), "a message is there twice");
        let mut slowest = (Duration::ZERO, String::new());
        let mut sent = 0;
        for posted in posted {
            let posted = posted.unwrap();
            assert!(
                posted
                    .order
                    .iter()
                    .all(|(seq, message)| history.get(seq) == Some(message))
            );
            slowest = slowest.max(posted.slowest);
            sent += posted.order.len();
        }
        for report in callers.iter().flatten() {
            assert_eq!(report.order, history, "{} saw something else", report.user);
            slowest = slowest.max(report.slowest.clone());
            sent += report.sent;
        }
        assert_eq!(sent, history.len(), "what was answered is there, and nothing else");
        Account {
            callers,
            slowest,
            hiccup: self.probe.await.unwrap(),
            stretch: self.starvation.end(),
            sent,
        }
    }
}

/// Posts through whichever node takes requests, one after the other; none may fail.
async fn post(owner: User, number_of: usize, group: String, doors: Doors, stopped: watch::Receiver<bool>) -> Posted {
    let mut posted = Posted::default();
    while !*stopped.borrow() {
        let turn = posted.order.len();
        let door = door(&doors, turn + number_of);
        let id = format!("p{number_of}-{turn}");
        let body = json!({"to": {"conversation": group}, "id": id, "body": id});
        let began = Instant::now();
        let answer = Http::new(door)
            .with_token(&owner.access)
            .post("/api/messages", body)
            .await;
        // Sent again from node to node, where one went in between, it may be a repeat.
        let message = answer.succeeds();
        posted.slowest = (began.elapsed(), id.clone()).max(posted.slowest);
        posted.order.insert(number(&message["seq"]), (owner.id.clone(), id));
        tokio::time::sleep(PACE).await;
    }
    posted
}

/// Makes plain requests; none may fail.
async fn probe(owner: User, doors: Doors, stopped: watch::Receiver<bool>) -> Duration {
    let mut slowest = Duration::ZERO;
    for turn in 0.. {
        if *stopped.borrow() {
            break;
        }
        let began = Instant::now();
        let http = Http::new(door(&doors, turn)).with_token(&owner.access);
        http.get("/api/users/me").await.is(200);
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(PROBE).await;
    }
    slowest
}

fn door(doors: &Doors, turn: usize) -> Endpoint {
    let doors = doors.lock().unwrap();
    doors.values().nth(turn % doors.len()).unwrap().clone()
}
