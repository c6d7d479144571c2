//! The actors of one node together: the ports they work on, the tables that find them, and the ways between them.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::router::{Handler, Puzzle, Router};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::calls::Calls;
use crate::conversation::actor::Msg;
use crate::conversation::state::Outcome;
use crate::conversation::table::Conversations;
use crate::defaults;
use crate::delivery::Rosters;
use crate::frames::Frames;
use crate::gather::{self, Gather, Inboxes, Queue, Repeats};
use crate::handover::Handover;
use crate::heads::Checks;
use crate::id::{ConnectionId, ConversationId, Numbers, UserId};
use crate::interchange::{Answer, Ask, Forwarded, Origin, Peer, Question, Reply};
use crate::introductions::Introductions;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::outstanding::{self, Outstanding, line};
use crate::ports::PortError;
use crate::ports::accounts::AccountStore;
use crate::ports::chats::ChatStore;
use crate::ports::files::Attachments;
use crate::ports::log::EventLog;
use crate::presence::Presence;
use crate::projector::{self, Projector};
use crate::protocol::{ErrorCode, Limits, Problem, ServerFrame};
use crate::recovery::Orphans;
use crate::sent_back::{Coming, SentBack};
use crate::session::cursors::{self, Cursors};
use crate::session::remote::berth::Berths;
use crate::session::remote::ends::Ends;
use crate::session::remote::post::Posts;
use crate::session::table::Sessions;
use crate::shard::life::Parked;
use crate::shard::{Courier, Shard};
use crate::supervisor::Supervisor;
use crate::time::Timestamp;
use crate::undelivered::Undelivered;

/// What the actors need of the world.
pub struct Ports {
    pub log: Arc<dyn EventLog>,
    pub chats: Arc<dyn ChatStore>,
    pub accounts: Arc<dyn AccountStore>,
    pub attachments: Arc<dyn Attachments>,
}

/// All that the actors of a node share.
pub struct Hub {
    pub node: NodeId,
    /// Tells what this process writes to the log from what any other does, its former self too.
    pub process: u64,
    pub router: Router<Peer>,
    pub limits: Arc<Limits>,
    pub runtime: Handle,
    pub log: Arc<dyn EventLog>,
    pub chats: Arc<dyn ChatStore>,
    pub accounts: Arc<dyn AccountStore>,
    pub attachments: Arc<dyn Attachments>,
    pub shards: Box<[Shard]>,
    pub conversations: Conversations,
    pub sessions: Sessions,
    pub rosters: Rosters,
    pub calls: Calls,
    pub projector: Projector,
    pub inboxes: Gather<Inboxes>,
    pub repeats: Gather<Repeats>,
    pub cursors: Cursors,
    pub presence: Presence,
    pub names: Names,
    pub orphans: Orphans,
    pub outstanding: Outstanding,
    pub sent_back: SentBack,
    pub handover: Handover,
    pub ends: Ends,
    pub berths: Berths,
    pub posts: Posts,
    pub checks: Checks,
    pub undelivered: Undelivered,
    pub introductions: Introductions,
    pub metrics: Metrics,
    /// The `sync` of one who missed nothing.
    pub nothing_missed: Frames,
    tasks: OnceLock<Vec<JoinHandle<()>>>,
}

impl Hub {
    /// Starts the actors. A node alone reads back what the log has beyond the store, then serves; one of a cluster serves
    /// what tables give it.
    pub async fn start(
        router: Router<Peer>,
        ports: Ports,
        limits: Arc<Limits>,
        unstored_bytes: usize,
    ) -> Result<Arc<Self>, PortError> {
        let own = Arc::new(OnceLock::new());
        let mut shards = Vec::with_capacity(usize::from(ports.log.shards()));
        for number in 0..ports.log.shards() {
            let supervisor = Supervisor::start(Arc::clone(&own)).await;
            let supervisor = supervisor.map_err(|error| PortError::Broken(format!("start a supervisor: {error}")))?;
            shards.push(Shard::new(ShardId(number), supervisor));
        }
        let (inboxes, wanted) = Gather::new();
        let (repeats, sought) = Gather::new();
        let core = Arc::new(Self {
            node: router.own().clone(),
            process: Numbers::default().take(),
            router,
            runtime: Handle::current(),
            log: ports.log,
            chats: ports.chats,
            accounts: ports.accounts,
            attachments: ports.attachments,
            shards: shards.into(),
            conversations: Conversations::default(),
            sessions: Sessions::new(Arc::clone(&limits)),
            limits,
            rosters: Rosters::default(),
            calls: Calls::default(),
            projector: Projector::new(unstored_bytes),
            inboxes,
            repeats,
            cursors: Cursors::default(),
            presence: Presence::default(),
            names: Names::default(),
            orphans: Orphans::default(),
            outstanding: Outstanding::default(),
            sent_back: SentBack::default(),
            handover: Handover::default(),
            ends: Ends::default(),
            berths: Berths::default(),
            posts: Posts::default(),
            checks: Checks::default(),
            undelivered: Undelivered::default(),
            introductions: Introductions::default(),
            metrics: Metrics::default(),
            nothing_missed: Frames::one(ServerFrame::Sync {
                conversations: Vec::new(),
                more: false,
            }),
            tasks: OnceLock::new(),
        });
        own.set(Arc::downgrade(&core)).ok();
        core.router.serve(Arc::new(Inbox(Arc::downgrade(&core))));
        core.log.start(Arc::new(Courier {
            core: Arc::downgrade(&core),
        }));
        core.tasks.set(background(&core, wanted, sought)).ok();
        if core.router.is_alone() {
            core.open_all().await?;
        }
        Ok(core)
    }

    /// The shard of an id.
    pub fn shard(&self, id: &[u8; 16]) -> &Shard {
        &self.shards[usize::from(ShardId::of(id, self.shards.len() as u16).0)]
    }

    /// Asks a conversation's owner; the answer goes to the ask's origin.
    pub fn ask(self: &Arc<Self>, ask: Ask) {
        let shard = self.shard(ask.conversation.as_bytes());
        // A send keeps its place where it has to wait: what was asked here before the shard went may come back yet.
        let is_in_turn = line(&ask).is_none() || (shard.life.is_open() && !self.outstanding.precede(&ask));
        if self.router.is_local(shard.id) && is_in_turn {
            self.asked(Box::new(ask));
        } else {
            self.forward(ask);
        }
    }

    /// Sends to a node, in order with everything else about that conversation. What is lost on a broken link is replayed: the
    /// next batch shows the hole, or the node is told that it missed something. False when it is lost already.
    pub fn send(&self, node: &NodeId, conversation: ConversationId, peer: Peer) -> bool {
        let lane = u64::from(self.shard(conversation.as_bytes()).id.0);
        let sent = self.router.send_to_node(node, lane, peer);
        if let Err(error) = &sent {
            tracing::debug!(%node, %error, "a delivery to a node is lost");
            self.undelivered.missed(node, conversation);
        }
        sent.is_ok()
    }

    /// Sends the same to several nodes, as [`send`](Self::send) would.
    pub fn send_to_all(&self, nodes: &[NodeId], conversation: ConversationId, peer: Peer) {
        let lane = u64::from(self.shard(conversation.as_bytes()).id.0);
        for (node, error) in self.router.send_to_all(nodes, lane, peer) {
            tracing::debug!(%node, %error, "a delivery to a node is lost");
            self.undelivered.missed(node, conversation);
        }
    }

    /// The node that owns a user's session.
    pub fn node_of(&self, user: UserId) -> NodeId {
        self.node_of_shard(user.as_bytes())
    }

    /// The node that owns an id.
    pub fn node_of_shard(&self, id: &[u8; 16]) -> NodeId {
        self.router.owner(self.shard(id).id)
    }

    /// Sends an answer to the node of whoever asked.
    pub fn send_to_origin(self: &Arc<Self>, answer: Answer) {
        match &answer.to {
            Origin::Node { node, .. } => {
                let node = node.clone();
                self.answer_node(&node, answer);
            }
            _ => self.answered(answer),
        }
    }

    fn receive(self: &Arc<Self>, from: &NodeId, peer: Peer) {
        match peer {
            Peer::Forward(forwarded) => self.forwarded_here(*forwarded),
            Peer::Answer(answer) => self.answered(*answer),
            Peer::Deliver(conversation, delivery) => self.deliver_from(from, conversation, delivery),
            Peer::Notify(users, frames) => self.notify(&users, &frames),
            Peer::Place(placing) => self.placing(from, placing),
            Peer::Bag(bag) => self.unpack(from, bag),
            Peer::Heads(heads) => self.heads(from, heads),
            Peer::WantRoster(conversation) => self.introduce(from, conversation),
            Peer::Presence(whereabouts) => self.whereabouts(from, &whereabouts),
            Peer::Renamed(user) => self.names.forget(user),
        }
    }

    pub(crate) fn asked(self: &Arc<Self>, ask: Box<Ask>) {
        let shard = self.shard(ask.conversation.as_bytes());
        if shard.life.is_open() {
            self.asked_open(ask);
        } else if self.router.is_local(shard.id) {
            self.park(shard, ask, Coming::InTurn, defaults::CALL_DEADLINE);
        } else {
            self.bounce(*ask, false);
        }
    }

    /// Another node asks. Where its table is the newer one, this node may not know yet what it owns.
    fn forwarded_here(self: &Arc<Self>, forwarded: Forwarded) {
        let Forwarded { ask, epoch, within_ms } = forwarded;
        let coming = self.sent_back.coming(&ask);
        if coming == Coming::Overtaking {
            return self.bounce(ask, false);
        }
        let shard = self.shard(ask.conversation.as_bytes());
        if shard.life.is_open() {
            self.asked_open(Box::new(ask));
        } else if self.router.is_local(shard.id) || epoch > self.router.table().epoch {
            self.park(shard, Box::new(ask), coming, Duration::from_millis(within_ms.into()));
        } else {
            self.bounce(ask, false);
        }
    }

    /// Keeps a command until its shard is open.
    fn park(self: &Arc<Self>, shard: &Shard, ask: Box<Ask>, coming: Coming, within: Duration) {
        match shard.life.park(ask, coming, Instant::now() + within) {
            Parked::Kept => {}
            Parked::Open(ask) => self.asked_open(ask),
            Parked::Full(ask) => self.answer(
                ask.origin,
                Err(Problem::unavailable("too much waits for a moving shard")),
            ),
        }
    }

    /// A command whose shard is served here.
    pub(crate) fn asked_open(self: &Arc<Self>, ask: Box<Ask>) {
        if let Question::User(_) = &ask.question {
            return self.asked_of_user(*ask);
        }
        if let Question::Summary { user, read } = ask.question
            && !self.conversations.is_active(ask.conversation)
        {
            return self.summarize(*ask, user, read);
        }
        self.ask_conversation(ask);
    }

    /// Hands an ask to its conversation, loading it where it is not in memory, unless too much waits there.
    pub(crate) fn ask_conversation(self: &Arc<Self>, ask: Box<Ask>) {
        if let Err(refused) = self.conversations.ask(self, ask) {
            self.answer(
                refused.origin,
                Err(Problem::unavailable("the conversation is overloaded")),
            );
        }
    }

    pub(crate) fn answered(self: &Arc<Self>, Answer { to, reply }: Answer) {
        match to {
            Origin::Nobody => {}
            Origin::Node { ticket, .. } => self.relayed(ticket, reply),
            Origin::Call { call, .. } => self.calls.answered(call, reply),
            Origin::Socket {
                user,
                connection,
                request,
                send,
                ..
            } => {
                if send.is_some() {
                    self.metrics.sent.increment(u64::from(reply.is_ok()));
                }
                self.answer_socket(user, connection, request, send.is_some(), reply);
            }
        }
    }

    /// Answers a connection, by its session or by what holds it since that is elsewhere.
    fn answer_socket(
        self: &Arc<Self>,
        user: UserId,
        connection: ConnectionId,
        request: Option<String>,
        send: bool,
        reply: Result<Reply, Problem>,
    ) {
        let Some(cell) = self.sessions.get(user) else {
            return self.answer_departed(connection, answer_frame(request, reply));
        };
        let is_again = reply.as_ref().is_err_and(Problem::is_for_now);
        let finish = |id: &Option<String>| {
            if send {
                if is_again {
                    cell.doubt();
                }
                cell.finish_send(connection, id.as_deref().unwrap_or_default());
            }
        };
        let mut state = cell.state();
        // Under one lock: who takes its sockets off a session finds what is unanswered then, and not less.
        if state.connection(connection).is_some() {
            finish(&request);
            state.answer(connection, answer_frame(request, reply)).ok();
            return;
        }
        drop(state);
        self.answer_departed(connection, answer_frame(request.clone(), reply));
        finish(&request);
    }

    /// What one who is no member is told.
    pub async fn outsider(&self, conversation: ConversationId, user: UserId) -> Problem {
        match self.chats.was_member(conversation, user).await {
            Ok(true) => Problem::new(ErrorCode::NotMember, "no longer a member of this conversation"),
            Ok(false) => Problem::not_found("conversation"),
            Err(error) => error.into(),
        }
    }

    /// Opens every shard: there is no other node.
    async fn open_all(self: &Arc<Self>) -> Result<(), PortError> {
        let ends = self.log.ends().await?;
        let committed = self.log.committed().await?;
        for ((shard, end), committed) in self.shards.iter().zip(ends).zip(committed) {
            let opening = shard
                .life
                .begin_to_open()
                .expect("a shard of a node that starts is closed");
            shard.begin(opening, committed);
            shard.recover(self, end).await?;
            self.serve(shard.id, opening);
        }
        Ok(())
    }

    /// A node is gone, or the link to it broke: what was on its way between it and this one is lost.
    pub fn peer_lost(self: &Arc<Self>, node: &NodeId) {
        self.handover_lost(node);
        self.link_broken(node);
        self.sent_back.lost(node);
        self.undelivered.link_lost(node);
        // Of those that left since, nobody may have heard here: the next delivery has the owner asked who is left.
        self.rosters
            .forget_all(|conversation| self.node_of_shard(conversation.as_bytes()) == *node);
        self.check_owned_by(node);
        self.ask_again(node);
    }

    /// Stores everything that waits, then stops the background tasks.
    pub async fn drain(self: &Arc<Self>) {
        self.finish_asks().await;
        self.projector.flush().await;
        self.save_cursors(Timestamp::now()).await;
        self.projector.flush().await;
        for task in self.tasks.get().into_iter().flatten() {
            task.abort();
        }
        for shard in &self.shards {
            shard.supervisor.stop();
        }
    }
}

/// What runs beside the actors, until the core is gone.
fn background(core: &Arc<Hub>, wanted: Queue<Inboxes>, sought: Queue<Repeats>) -> Vec<JoinHandle<()>> {
    let core = || Arc::downgrade(core);
    vec![
        tokio::spawn(projector::run(core())),
        tokio::spawn(gather::run(core(), wanted)),
        tokio::spawn(gather::run(core(), sought)),
        tokio::spawn(cursors::run(core())),
        tokio::spawn(sweep(core())),
        tokio::spawn(outstanding::run(core())),
    ]
}

/// Takes what nodes send, this one or another.
struct Inbox(Weak<Hub>);

impl Handler<Peer> for Inbox {
    fn handle(&self, from: &NodeId, message: Peer) {
        if let Some(core) = self.0.upgrade() {
            core.receive(from, message);
        }
    }

    fn puzzled(&self, from: &NodeId, bytes: &Bytes) -> Puzzle {
        let core = self.0.upgrade();
        core.map_or(Puzzle::Later, |core| core.puzzled(from, bytes))
    }
}

fn answer_frame(id: Option<String>, reply: Result<Reply, Problem>) -> ServerFrame {
    match reply {
        Ok(Reply::Done {
            conversation,
            outcome: Outcome::Sent { seq, at, duplicate },
        }) => ServerFrame::Sent {
            id: id.unwrap_or_default(),
            conversation,
            seq,
            at,
            duplicate,
        },
        Ok(Reply::Done {
            outcome: Outcome::Updated { seq },
            ..
        }) => ServerFrame::Ok { id, seq: Some(seq) },
        Ok(Reply::Repeated { seq }) => ServerFrame::Ok { id, seq },
        Ok(_) => ServerFrame::Ok { id, seq: None },
        Err(problem) => ServerFrame::error(id, problem),
    }
}

/// Lets idle conversations leave the memory, until the core is gone.
async fn sweep(core: Weak<Hub>) {
    let mut ticks = tokio::time::interval(defaults::PASSIVATE_AFTER / 8);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(core) = core.upgrade() else { return };
        for conversation in core.conversations.idle_for(defaults::PASSIVATE_AFTER) {
            core.conversations.tell_hot(conversation, Msg::Passivate);
        }
    }
}
