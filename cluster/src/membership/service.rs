//! A node's membership, kept alive: the shell around the [machine](super::lease) and what Redis keeps.
//!
//! [`join`] answers once the node is in the cluster and knows it, as `Joining`: reachable, and owning nothing as long as
//! another node is up. Whoever constructs the node says when it is up. From then on a task renews the lease and brings
//! news, over a connection of its own; a second connection listens for changes, and what it misses the next heartbeat finds.
//!
//! **After a lapse** ([`Lease::lapsed`]) the node is in the cluster again by itself, as `Joining`. What it owned belongs to
//! others: let go of it, then say that it is up again.

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::lease::{Answer, Ask, Effect, Input, Machine, Standing, Timing};
use super::registry::{Registry, Trouble};
use super::{Cluster, Epoch, Fingerprint, Incarnation, NodeState};
use crate::id::NodeId;
use crate::metrics::Membership as Meters;
use crate::primary::{Primary, Target, Timeouts};
use crate::wire::Versions;

/// A Redis that takes longer to be met, or to answer, is taken for away. At least so many tries fit into a lease.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const TRIES_OF_A_LEASE: u32 = 4;
/// How long the listener waits before it tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_millis(250);

/// Where and how the cluster is kept.
#[derive(Clone)]
pub struct Settings {
    pub redis: Target,
    /// Of all names in Redis, so that several clusters share one.
    pub prefix: String,
    pub timing: Timing,
    /// The same for all nodes, for the life of the cluster.
    pub shards: u16,
    /// How long to try to join.
    pub wait: Duration,
}

/// What a node is to the others.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node: NodeId,
    pub weight: NonZeroU8,
    /// Where its peers reach it.
    pub address: SocketAddr,
    pub fingerprint: Fingerprint,
    pub public_url: Option<String>,
    /// The frames it speaks.
    pub versions: Versions,
}

/// The node did not get into the cluster.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CannotJoin {
    #[error("the membership cannot be kept: Redis at {at} does not answer as it should: {why}")]
    Redis { at: String, why: String },
    #[error(
        "this cluster has {theirs} shards, and this node is set to {ours}: a cluster keeps the number it began with"
    )]
    Shards { theirs: String, ours: u16 },
    #[error(
        "node {node} of this cluster speaks versions {theirs} of what nodes say to each other, and this node {ours}: they \
         would not understand each other"
    )]
    Versions {
        node: NodeId,
        theirs: Versions,
        ours: Versions,
    },
}

/// How a node stands in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    pub standing: Standing,
    /// None while it is not in it.
    pub incarnation: Option<Incarnation>,
}

/// A node's place in the cluster. Cheap to clone. When the last one is dropped the lease is no longer renewed, and the others
/// take the node for dead: whoever goes in peace calls [`Lease::leave`].
#[derive(Clone)]
pub struct Lease(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    cluster: watch::Receiver<Arc<Cluster>>,
    status: watch::Receiver<Status>,
    patience: Duration,
    /// End with the handle.
    _tasks: JoinSet<()>,
}

/// What the handle wishes of the task; bounded because later wishes take the place of earlier ones.
#[derive(Default)]
struct Wishes {
    state: Option<NodeState>,
    leave: bool,
    told: bool,
    heard: Option<Epoch>,
}

#[derive(Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    wished: Notify,
    lapsed: Notify,
}

impl Shared {
    fn wish(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut self.wishes.lock());
        self.wished.notify_one();
    }

    /// The wishes so far, as inputs.
    fn take(&self) -> Vec<Input> {
        let Wishes {
            state,
            leave,
            told,
            heard,
        } = std::mem::take(&mut *self.wishes.lock());
        let inputs = [
            state.map(Input::Be),
            heard.map(Input::Heard),
            told.then_some(Input::Told),
            leave.then_some(Input::Leave),
        ];
        inputs.into_iter().flatten().collect()
    }
}

/// Joins the cluster.
pub async fn join(settings: Settings, identity: Identity) -> Result<Lease, CannotJoin> {
    let patience = ANSWER_WITHIN.min(settings.timing.ttl / TRIES_OF_A_LEASE);
    let timeouts = Timeouts {
        connect: patience,
        answer: patience,
    };
    let primary = Primary::new(settings.redis.clone(), timeouts);
    let registry = Registry::new(
        primary.clone(),
        &settings.prefix,
        identity,
        settings.timing,
        settings.shards,
    );
    let shared = Arc::new(Shared::default());
    let machine = Machine::new(settings.timing, NodeState::Joining, Instant::now().into_std());
    let mut keeper = Keeper {
        registry,
        machine,
        shared: Arc::clone(&shared),
        meters: Meters::resolve(),
        cluster: None,
        status: watch::channel(Status {
            standing: Standing::Outside,
            incarnation: None,
        })
        .0,
        seen: None,
    };
    let status = keeper.status.subscribe();
    let cluster = keeper.enter(&settings).await?;
    let channel = keeper.registry.channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(keeper.keep());
    tasks.spawn(listen(primary, channel, Arc::clone(&shared)));
    Ok(Lease(Arc::new(Handle {
        shared,
        cluster,
        status,
        patience: settings.timing.ttl,
        _tasks: tasks,
    })))
}

impl Lease {
    /// The cluster as this node knows it, and each change of it.
    pub fn cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.0.cluster.clone()
    }

    /// How the node stands in it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Wants to be known as this from now on. The view says when it is.
    pub fn set_state(&self, state: NodeState) {
        self.0.shared.wish(|wishes| wishes.state = Some(state));
    }

    /// A peer spoke of this epoch: it may know of a change before this node does.
    pub fn heard(&self, epoch: Epoch) {
        self.0
            .shared
            .wish(|wishes| wishes.heard = wishes.heard.max(Some(epoch)));
    }

    /// Waits for the next lapse, or for one that nobody waited for: what this node owned belongs to others now.
    pub async fn lapsed(&self) {
        self.0.shared.lapsed.notified().await;
    }

    /// Leaves. When Redis does not answer for as long as a lease lives, the others will notice by themselves.
    pub async fn leave(&self) {
        self.0.shared.wish(|wishes| wishes.leave = true);
        let mut status = self.status();
        let left = status.wait_for(|status| matches!(status.standing, Standing::Left | Standing::Superseded));
        // Nothing is owed to a Redis that is away.
        timeout(self.0.patience, left).await.ok();
    }
}

/// Listens for changes.
async fn listen(primary: Primary, channel: String, shared: Arc<Shared>) {
    loop {
        if let Ok(mut messages) = primary.subscribe(&channel).await {
            // What was published before is found by looking.
            shared.wish(|wishes| wishes.told = true);
            while messages.next().await.is_some() {
                shared.wish(|wishes| wishes.told = true);
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// The task that keeps the lease.
struct Keeper {
    registry: Registry,
    machine: Machine,
    shared: Arc<Shared>,
    meters: Meters,
    /// None while the node is entering.
    cluster: Option<watch::Sender<Arc<Cluster>>>,
    status: watch::Sender<Status>,
    /// Whether Redis was there the last time it was asked.
    seen: Option<bool>,
}

impl Keeper {
    /// Until the node is in the cluster and knows its table.
    async fn enter(&mut self, settings: &Settings) -> Result<watch::Receiver<Arc<Cluster>>, CannotJoin> {
        let deadline = Instant::now() + settings.wait;
        loop {
            let stranger = self.stranger();
            let settled = self.registry.cluster().filter(|_| self.registry.is_settled());
            if let Some(cluster) = settled.filter(|_| stranger.is_none()) {
                let (sender, receiver) = watch::channel(Arc::new(cluster));
                self.meters.cluster(&receiver.borrow(), None);
                self.cluster = Some(sender);
                return Ok(receiver);
            }
            if let Some(Trouble::Shards(theirs)) = self.registry.trouble() {
                let (theirs, ours) = (theirs.clone(), settings.shards);
                return Err(CannotJoin::Shards { theirs, ours });
            }
            if timeout_at(deadline, self.step()).await.is_err() {
                if let Some(stranger) = stranger {
                    self.withdraw().await;
                    return Err(stranger);
                }
                let why = match self.registry.trouble() {
                    Some(Trouble::Redis(why)) => why.clone(),
                    _ => format!("no answer within {:?}", settings.wait),
                };
                let at = settings.redis.to_string();
                return Err(CannotJoin::Redis { at, why });
            }
        }
    }

    /// A member that would not understand this node. Nodes that come later give way, so of two only one does; and one that is
    /// on its way out may be waited for.
    fn stranger(&self) -> Option<CannotJoin> {
        let stranger = self.registry.stranger(self.machine.incarnation()?)?;
        Some(CannotJoin::Versions {
            node: stranger.node.clone(),
            theirs: stranger.versions,
            ours: self.registry.versions(),
        })
    }

    /// Is in the cluster no more, so that nobody has to find out.
    async fn withdraw(&mut self) {
        if let Some(incarnation) = self.machine.incarnation() {
            self.registry.ask(Ask::Release(incarnation)).await;
        }
    }

    async fn keep(mut self) {
        while self.machine.wake().is_some() {
            self.step().await;
        }
    }

    /// Waits for something to happen, and does what follows from it.
    async fn step(&mut self) {
        let inputs = tokio::select! {
            () = until(self.machine.wake()) => vec![Input::Tick],
            () = self.shared.wished.notified() => self.shared.take(),
        };
        for input in inputs {
            let effects = self.machine.handle(input, now());
            self.tell();
            self.carry_out(effects).await;
        }
    }

    async fn carry_out(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Lapsed => self.lapse(),
                    Effect::Ask(ask) => {
                        let sent = now();
                        let answer = self.ask(ask).await;
                        self.note(answer);
                        next.extend(self.machine.handle(Input::Answered { sent, answer }, now()));
                        self.tell();
                        self.registry.settle().await;
                        self.tell();
                    }
                }
            }
            effects = next;
        }
    }

    /// Asks Redis; meanwhile time passes, and wishes are taken.
    async fn ask(&mut self, ask: Ask) -> Answer {
        let Self {
            registry,
            machine,
            shared,
            status,
            ..
        } = self;
        let asking = registry.ask(ask);
        tokio::pin!(asking);
        loop {
            let inputs = tokio::select! {
                answer = &mut asking => return answer,
                () = until(machine.wake()) => vec![Input::Tick],
                () = shared.wished.notified() => shared.take(),
            };
            // While an answer is awaited nothing else is asked.
            for input in inputs {
                machine.handle(input, now());
            }
            tell_status(status, machine);
        }
    }

    /// Says what is new.
    fn tell(&mut self) {
        tell_status(&self.status, &self.machine);
        let (Some(sender), Some(cluster)) = (&self.cluster, self.registry.cluster()) else {
            return;
        };
        let before = sender.borrow().clone();
        if *before != cluster {
            self.meters.cluster(&cluster, Some(&before));
            sender.send_replace(Arc::new(cluster));
        }
    }

    fn note(&mut self, answer: Answer) {
        self.meters.answered(answer);
        let there = answer != Answer::Failed;
        if self.seen.replace(there) == Some(!there) {
            match self.registry.trouble() {
                Some(Trouble::Redis(why)) if !there => tracing::warn!(why, "the membership is frozen: Redis is away"),
                _ => tracing::info!("Redis is back"),
            }
        }
    }

    fn lapse(&mut self) {
        self.meters.lapsed();
        if self.machine.standing() == Standing::Superseded {
            tracing::error!("another process bears this node's name; this one is out of the cluster");
        } else {
            tracing::warn!("this node's lease ran out; what it owned belongs to others, and it joins anew");
        }
        self.shared.lapsed.notify_one();
    }
}

fn tell_status(sender: &watch::Sender<Status>, machine: &Machine) {
    let status = Status {
        standing: machine.standing(),
        incarnation: machine.incarnation(),
    };
    sender.send_if_modified(|told| std::mem::replace(told, status) != status);
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn until(wake: Option<std::time::Instant>) {
    match wake {
        Some(wake) => sleep_until(Instant::from_std(wake)).await,
        None => std::future::pending().await,
    }
}
