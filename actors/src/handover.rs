//! Shards that come to this node and go from it as tables change.
//!
//! Losing: no command is taken any more; what is under way is read back, answered and stored; then conversations and sessions
//! leave the memory and the new owner is told. Gaining: the old owner is waited for, within bounds; then what the log has
//! beyond the store is read, what came early is answered, and the shard is open.
//!
//! None of this is needed for safety. Two nodes that both serve a shard append to the same log and compute the same state;
//! waiting only spares the clients the repeats and the store the double work.

mod wait;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::time::Instant;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::membership::{Epoch, Table};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout_at;

use self::wait::Heard;
use crate::conversation::actor::Msg;
use crate::defaults;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::interchange::{Ask, Change, Origin, Peer, Placing, Question};
use crate::ports::PortResult;
use crate::shard::life::{Opening, Phase};

/// A conversation that has not done yet what it was asked to, and what tells when it has.
type Late = (ConversationId, oneshot::Receiver<()>);

/// A shard that a table gave to this node, and the time that it is opened.
type Gained = (ShardId, Opening);

/// Hand-overs of this node.
#[derive(Default)]
pub struct Handover {
    /// One table at a time takes effect.
    turn: tokio::sync::Mutex<()>,
    /// The table that took effect last.
    placed: Mutex<Option<Arc<Table>>>,
    heard: Mutex<Heard>,
    /// Something was heard.
    news: Notify,
}

impl Hub {
    /// Makes a table take effect: returns when what this node lost is stored and closed. What it gained opens by itself.
    pub async fn place(self: &Arc<Self>, table: Table) {
        let epoch = table.epoch;
        self.router.install(table);
        let is_latest = || self.router.table().epoch <= epoch;
        if !is_latest() {
            return;
        }
        self.tell_everybody(Placing::Installed(epoch));
        let _turn = self.handover.turn.lock().await;
        if !is_latest() {
            return;
        }
        let table = self.router.table();
        let before = self.handover.placed.lock().replace(Arc::clone(&table));
        self.lose(epoch).await;
        self.gain(&table, before.as_deref());
        self.watch_berths();
        self.owners_changed(&table, before.as_deref());
        if before.is_some_and(|before| before.epoch.0 + 1 < table.epoch.0) {
            // Tables that never took effect here may have given users of this node's to another for a time.
            self.handover.heard.lock().served(table.epoch, self.others(&table));
            self.check_all();
            self.doubt_memberships();
        }
    }

    fn others<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t NodeId> {
        table.placement.nodes().iter().filter(|node| **node != self.node)
    }

    fn tell_everybody(&self, placing: Placing) {
        let table = self.router.table();
        for (node, error) in self.router.send_to_all(self.others(&table), 0, Peer::Place(placing)) {
            tracing::debug!(%node, %error, "a node was not told of the hand-over");
        }
    }

    /// Says to every node that a user's name changed.
    pub(crate) fn tell_renamed(&self, user: crate::id::UserId) {
        let table = self.router.table();
        self.router.send_to_all(self.others(&table), 0, Peer::Renamed(user));
    }

    fn tell_placing(&self, node: &NodeId, placing: Placing) -> bool {
        self.router.send_to_node(node, 0, Peer::Place(placing)).is_ok()
    }

    /// A node says something of its shards.
    pub(crate) fn placing(self: &Arc<Self>, from: &NodeId, placing: Placing) {
        let was_unaware = {
            let mut heard = self.handover.heard.lock();
            match placing {
                Placing::Installed(epoch) => heard.installed(from, epoch),
                Placing::Closed(epoch, shards) => heard.closed(from, epoch, &shards),
                Placing::Release(epoch, shards) => {
                    heard.asked(from, epoch, shards);
                    heard.installed(from, epoch)
                }
            }
        };
        if was_unaware {
            self.check_owned_by(from);
            self.doubt_memberships();
        }
        self.answer_placing();
        self.handover.news.notify_waiters();
    }

    /// Tells those who wait for shards what is closed here.
    fn answer_placing(&self) {
        let Some(epoch) = self.handover.placed.lock().as_ref().map(|table| table.epoch) else {
            return;
        };
        let closed = |shard: ShardId| {
            let shard = self.shards.get(usize::from(shard.0));
            shard.is_none_or(|shard| shard.life.phase() == Phase::Closed)
        };
        let answerable = self.handover.heard.lock().answerable(epoch, closed);
        for (node, shards) in answerable {
            self.tell_placing(&node, Placing::Closed(epoch, shards));
        }
    }

    /// A node is gone, or the link to it broke: nobody waits for it.
    pub(crate) fn handover_lost(&self, node: &NodeId) {
        self.handover.heard.lock().lost(node);
        self.handover.news.notify_waiters();
    }

    /// Closes the shards that are another's by the table.
    async fn lose(self: &Arc<Self>, epoch: Epoch) {
        let elsewhere = |shard: &&crate::shard::Shard| !self.router.is_local(shard.id);
        let open = [Phase::Opening, Phase::Open];
        let lost: Vec<ShardId> = self
            .shards
            .iter()
            .filter(elsewhere)
            .filter(|shard| shard.life.step(&open, Phase::Closing))
            .map(|shard| shard.id)
            .collect();
        for shard in self.shards.iter().filter(elsewhere) {
            for early in shard.life.take_early() {
                self.bounce(*early.ask, false);
            }
        }
        if !lost.is_empty() {
            self.close(&lost).await;
        }
        self.answer_placing();
        let mut owners: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
        for shard in lost {
            owners.entry(self.router.owner(shard)).or_default().push(shard);
        }
        for (node, shards) in owners {
            self.tell_placing(&node, Placing::Closed(epoch, shards));
        }
    }

    /// Sees through what is under way in these shards, then lets go of them.
    async fn close(self: &Arc<Self>, lost: &[ShardId]) {
        let started = Instant::now();
        let deadline = tokio::time::Instant::now() + defaults::CLOSE_WAIT;
        let shards: HashSet<ShardId> = lost.iter().copied().collect();
        let each = || lost.iter().map(|id| &self.shards[usize::from(id.0)]);
        each().for_each(|shard| shard.stop_appends());
        let settled = async {
            while !each().all(|shard| shard.is_settled()) {
                tokio::time::sleep(defaults::CLOSE_POLL).await;
            }
        };
        timeout_at(deadline, settled).await.ok();
        let settled = started.elapsed();
        // What was read back is applied by now, or stands in the mailboxes before what follows.
        let of_these = |bytes: &[u8; 16]| shards.contains(&self.shard(bytes).id);
        let conversations = self.conversations.of(|id| of_these(id.as_bytes()));
        self.ask_all(conversations, deadline, Msg::Settle).await;
        self.release_sessions(|user| of_these(user.as_bytes()), deadline).await;
        let released = started.elapsed();
        timeout_at(deadline, self.projector.flush()).await.ok();
        let stored = started.elapsed();
        for shard in each() {
            for (record, origin) in shard.end() {
                self.bounce(again(record.conversation, origin, record.command), true);
            }
        }
        let conversations = self.conversations.of(|id| of_these(id.as_bytes()));
        let late = self.ask_all(conversations.clone(), deadline, Msg::Retire).await;
        let is_late = |id: &ConversationId| late.iter().any(|(late, _)| late == id);
        for id in conversations.into_iter().filter(|id| !is_late(id)) {
            self.conversations.remove(id);
        }
        let waits = |id: ShardId| late.iter().any(|(late, _)| self.shard(late.as_bytes()).id == id);
        for shard in each().filter(|shard| !waits(shard.id)) {
            shard.life.step(&[Phase::Closing], Phase::Closed);
        }
        self.follow();
        self.close_late(late);
        tracing::info!(
            shards = lost.len(), took = ?started.elapsed(), ?settled, ?released, ?stored,
            "shards closed"
        );
    }

    /// Hands each of these conversations a message and waits until all are done with it; answers those that are not in time.
    async fn ask_all(
        self: &Arc<Self>,
        conversations: Vec<ConversationId>,
        deadline: tokio::time::Instant,
        msg: impl Fn(oneshot::Sender<()>) -> Msg,
    ) -> Vec<Late> {
        let ask = |conversation| {
            let (done, wait) = oneshot::channel();
            self.conversations.tell_hot(conversation, msg(done));
            (conversation, wait)
        };
        let asked: Vec<Late> = conversations.into_iter().map(ask).collect();
        let mut late = Vec::new();
        for (conversation, mut wait) in asked {
            if timeout_at(deadline, &mut wait).await.is_err() {
                late.push((conversation, wait));
            }
        }
        late
    }

    /// Waits for conversations that cannot leave the memory yet, because the store does not say what they are: what they were
    /// asked before has to go back before the shard may be opened here again, or it would come behind what is asked then, and
    /// the conversation would be here twice.
    fn close_late(self: &Arc<Self>, late: Vec<Late>) {
        let mut shards: BTreeMap<ShardId, Vec<Late>> = BTreeMap::new();
        for (conversation, wait) in late {
            let shard = self.shard(conversation.as_bytes()).id;
            shards.entry(shard).or_default().push((conversation, wait));
        }
        for (shard, late) in shards {
            let core = Arc::clone(self);
            self.runtime.spawn(async move {
                for (_, wait) in late {
                    wait.await.ok();
                }
                let _turn = core.handover.turn.lock().await;
                let life = &core.shards[usize::from(shard.0)].life;
                life.step(&[Phase::Closing], Phase::Closed);
                core.answer_placing();
                core.gain(&core.router.table(), None);
            });
        }
    }

    /// Starts to open the shards that are this node's by the table.
    fn gain(self: &Arc<Self>, table: &Arc<Table>, before: Option<&Table>) {
        let mut groups: BTreeMap<Option<NodeId>, Vec<Gained>> = BTreeMap::new();
        for shard in table.placement.shards_of(&self.node) {
            if let Some(opening) = self.shards[usize::from(shard.0)].life.begin_to_open() {
                let owner = before.map(|before| before.placement.owner(shard).clone());
                groups.entry(owner).or_default().push((shard, opening));
            }
        }
        for (owner, shards) in groups {
            let (core, table) = (Arc::clone(self), Arc::clone(table));
            self.runtime
                .spawn(async move { core.open(&table, owner, shards).await });
        }
    }

    /// Opens shards that one node had, or of which this one does not know who had them.
    async fn open(self: Arc<Self>, table: &Table, owner: Option<NodeId>, shards: Vec<Gained>) {
        let started = Instant::now();
        let others: Vec<NodeId> = self.others(table).cloned().collect();
        let mut had = owner.map_or_else(|| others.clone(), |owner| vec![owner]);
        had.retain(|node| *node != self.node);
        self.await_release(table.epoch, &shards, &had, &others).await;
        self.follow();
        let mut pause = defaults::LOAD_RETRY;
        while let Err(error) = self.read_up(&shards).await {
            error.log("open shards; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(defaults::CLOSE_WAIT);
        }
        tracing::info!(shards = shards.len(), took = ?started.elapsed(), "shards opened");
    }

    /// Waits until those who had the shards have closed them and everybody knows whose they are; but not for ever.
    async fn await_release(&self, epoch: Epoch, shards: &[Gained], had: &[NodeId], others: &[NodeId]) {
        let deadline = tokio::time::Instant::now() + defaults::HAND_OVER_WAIT;
        for node in had {
            let ids = shards.iter().map(|(id, _)| *id).collect();
            if !self.tell_placing(node, Placing::Release(epoch, ids)) {
                self.handover_lost(node);
            }
        }
        loop {
            let mut news = std::pin::pin!(self.handover.news.notified());
            news.as_mut().enable();
            if self.may_open(epoch, shards, had, others) {
                break;
            }
            if timeout_at(deadline, news).await.is_err() {
                tracing::warn!(
                    ?epoch,
                    ?had,
                    "shards are opened although not everybody said that they may be"
                );
                break;
            }
        }
        self.handover.heard.lock().served(epoch, others);
    }

    fn may_open(&self, epoch: Epoch, shards: &[Gained], had: &[NodeId], others: &[NodeId]) -> bool {
        let heard = self.handover.heard.lock();
        let opens = |(id, opening): &&Gained| self.shards[usize::from(id.0)].life.is_opening(*opening);
        let mut opening = shards.iter().filter(opens);
        opening.all(|(id, _)| heard.may_open(*id, epoch, had, others))
    }

    /// Reads what the log has of these shards beyond the store, and serves each as soon as it is read.
    async fn read_up(self: &Arc<Self>, shards: &[Gained]) -> PortResult<()> {
        let committed = self.log.committed().await?;
        let shard = |id: ShardId| &self.shards[usize::from(id.0)];
        let begun = shards
            .iter()
            .filter(|(id, opening)| shard(*id).begin(*opening, committed[usize::from(id.0)]));
        let begun: Vec<Gained> = begun.copied().collect();
        let ends = &self.log.ends().await?;
        let read = stream::iter(begun).map(|(id, opening)| async move {
            shard(id).recover(self, ends[usize::from(id.0)]).await?;
            self.serve(id, opening);
            Ok(())
        });
        // One that cannot be read keeps no other from being served.
        let read: Vec<PortResult<()>> = read.buffer_unordered(defaults::READ_UP_AT_ONCE).collect().await;
        read.into_iter().collect()
    }

    /// Answers what came early, then opens the shard; or closes it again when it was lost meanwhile.
    pub(crate) fn serve(self: &Arc<Self>, shard: ShardId, opening: Opening) {
        let life = &self.shards[usize::from(shard.0)].life;
        while let Some(early) = life.open_or_early(opening, Instant::now()) {
            if early.is_empty() {
                return;
            }
            for early in early {
                // What went back before this came would be overtaken by it.
                match self.sent_back.overtakes(&early.ask) {
                    true => self.bounce(*early.ask, false),
                    false => self.asked_open(early.ask),
                }
            }
        }
    }

    /// The log is to tell of others' records in the shards that are served here.
    fn follow(&self) {
        let served = self.shards.iter().filter(|shard| shard.life.phase() != Phase::Closed);
        self.log.follow(&served.map(|shard| shard.id).collect::<Vec<_>>());
    }
}

/// A command whose append came to nothing that this node would know, as it was asked.
pub fn again(conversation: ConversationId, origin: Origin, command: crate::conversation::command::Command) -> Ask {
    use crate::conversation::command::Command;
    let question = match command {
        Command::Update {
            from,
            of,
            change,
            idempotency,
        } => Question::Change(Change {
            from,
            of,
            change,
            idempotency,
        }),
        command => Question::Do { command, repeat: false },
    };
    Ask {
        conversation,
        origin,
        question,
    }
}
