//! The actors of one node together: the ports they work on, the tables that find them, and the ways between them.

use std::sync::{Arc, OnceLock, Weak};

use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::router::{Handler, Router};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::calls::Calls;
use crate::conversation::actor::Msg;
use crate::conversation::state::Outcome;
use crate::conversation::table::Conversations;
use crate::defaults;
use crate::delivery::Rosters;
use crate::frames::Frames;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Answer, Ask, Origin, Peer, Reply};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::outlet::Urgency;
use crate::ports::PortError;
use crate::ports::accounts::AccountStore;
use crate::ports::chats::ChatStore;
use crate::ports::files::Attachments;
use crate::ports::log::EventLog;
use crate::presence::Presence;
use crate::projector::{self, Projector};
use crate::protocol::{ErrorCode, Limits, Problem, ServerFrame};
use crate::recovery::Orphans;
use crate::session::cursors::{self, Cursors};
use crate::session::table::Sessions;
use crate::session::{Loader, run_loader};
use crate::shard::{Courier, Shard};
use crate::supervisor::Supervisor;
use crate::time::Timestamp;

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
    pub loader: Loader,
    pub cursors: Cursors,
    pub presence: Presence,
    pub names: Names,
    pub orphans: Orphans,
    pub metrics: Metrics,
    /// The `sync` of one who missed nothing.
    pub nothing_missed: Frames,
    tasks: OnceLock<Vec<JoinHandle<()>>>,
}

impl Hub {
    /// Starts the actors: reads back what the log has beyond the store, then serves.
    pub async fn start(router: Router<Peer>, ports: Ports, limits: Arc<Limits>) -> Result<Arc<Self>, PortError> {
        let ends = ports.log.ends().await?;
        let committed = ports.log.committed().await?;
        let own = Arc::new(OnceLock::new());
        let mut shards = Vec::with_capacity(ends.len());
        for (number, committed) in committed.into_iter().enumerate() {
            let supervisor = Supervisor::start(Arc::clone(&own)).await;
            let supervisor = supervisor.map_err(|error| PortError::Broken(format!("start a supervisor: {error}")))?;
            shards.push(Shard::new(ShardId(number as u16), committed, supervisor));
        }
        let (loader, wanted) = Loader::new();
        let core = Arc::new(Self {
            node: router.own().clone(),
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
            projector: Projector::default(),
            loader,
            cursors: Cursors::default(),
            presence: Presence::default(),
            names: Names::default(),
            orphans: Orphans::default(),
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
        let tasks = vec![
            tokio::spawn(projector::run(Arc::downgrade(&core))),
            tokio::spawn(run_loader(Arc::downgrade(&core), wanted)),
            tokio::spawn(cursors::run(Arc::downgrade(&core))),
            tokio::spawn(sweep(Arc::downgrade(&core))),
        ];
        core.tasks.set(tasks).ok();
        for (shard, end) in core.shards.iter().zip(ends) {
            shard.recover(&core, end).await?;
        }
        Ok(core)
    }

    /// The shard of an id.
    pub fn shard(&self, id: &[u8; 16]) -> &Shard {
        &self.shards[usize::from(ShardId::of(id, self.shards.len() as u16).0)]
    }

    /// Asks a conversation's owner; the answer goes to the ask's origin.
    pub fn ask(self: &Arc<Self>, ask: Ask) {
        let shard = self.shard(ask.conversation.as_bytes()).id;
        let origin = ask.origin.clone();
        if let Err(error) = self.router.send_to_shard(shard, Peer::Ask(Box::new(ask))) {
            self.answer(
                origin,
                Err(Problem::unavailable(format!("the conversation's node: {error}"))),
            );
        }
    }

    /// Sends to a node, in order with everything else about that conversation. What is lost on a broken link is replayed: the
    /// next batch shows the hole.
    pub fn send(&self, node: &NodeId, conversation: ConversationId, peer: Peer) {
        let lane = u64::from(self.shard(conversation.as_bytes()).id.0);
        if let Err(error) = self.router.send_to_node(node, lane, peer) {
            tracing::debug!(%node, %error, "a delivery to a node is lost");
        }
    }

    /// The node that owns a user's session.
    pub fn node_of(&self, user: UserId) -> NodeId {
        self.router.owner(self.shard(user.as_bytes()).id)
    }

    /// Sends an answer to the node of whoever asked.
    pub fn send_to_origin(&self, answer: Answer) {
        let (Origin::Socket { node, .. } | Origin::Call { node, .. }) = &answer.to else {
            return;
        };
        if *node == self.node {
            return self.answered(answer);
        }
        let (node, lane) = (node.clone(), 0);
        if let Err(error) = self.router.send_to_node(&node, lane, Peer::Answer(Box::new(answer))) {
            tracing::debug!(%node, %error, "an answer to a node is lost");
        }
    }

    fn receive(self: &Arc<Self>, peer: Peer) {
        match peer {
            Peer::Ask(ask) => self.asked(ask),
            Peer::Answer(answer) => self.answered(*answer),
            Peer::Deliver(conversation, delivery) => self.deliver(conversation, delivery),
            Peer::Notify(users, frames) => self.notify(&users, &frames),
        }
    }

    fn asked(self: &Arc<Self>, ask: Box<Ask>) {
        let conversation = ask.conversation;
        if self.conversations.waiting(conversation) >= defaults::MAILBOX {
            return self.answer(ask.origin, Err(Problem::unavailable("the conversation is overloaded")));
        }
        self.conversations.tell(self, conversation, Msg::Ask(ask));
    }

    fn answered(&self, Answer { to, reply }: Answer) {
        match to {
            Origin::Nobody => {}
            Origin::Call { call, .. } => self.calls.answered(call, reply),
            Origin::Socket {
                user,
                connection,
                request,
                send,
                ..
            } => {
                let Some(cell) = self.sessions.get(user) else { return };
                if send {
                    cell.finish_send(matches!(&reply, Err(problem) if problem.code == ErrorCode::Timeout));
                    self.metrics.sent.increment(u64::from(reply.is_ok()));
                }
                let frame = Frames::one(answer_frame(request, reply));
                if let Some(attached) = cell.state().connection(connection) {
                    attached.outlet.push(&frame, Urgency::Answer);
                }
            }
        }
    }

    /// What one who is no member is told.
    pub async fn outsider(&self, conversation: ConversationId, user: UserId) -> Problem {
        match self.chats.was_member(conversation, user).await {
            Ok(true) => Problem::new(ErrorCode::NotMember, "no longer a member of this conversation"),
            Ok(false) => Problem::not_found("conversation"),
            Err(error) => error.into(),
        }
    }

    /// Stores everything that waits, then stops the background tasks.
    pub async fn drain(self: &Arc<Self>) {
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

/// Takes what nodes send, this one or another.
struct Inbox(Weak<Hub>);

impl Handler<Peer> for Inbox {
    fn handle(&self, _: &NodeId, message: Peer) {
        if let Some(core) = self.0.upgrade() {
            core.receive(message);
        }
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
        let before = Timestamp(Timestamp::now().0 - defaults::PASSIVATE_AFTER.as_millis() as i64);
        for conversation in core.conversations.idle_since(before) {
            core.conversations.tell_hot(conversation, Msg::Passivate);
        }
    }
}
