//! How far conversations are whose owners are other nodes.
//!
//! A delivery may be lost with a link, or go to a node that has a user's session no more. Where the conversation goes on, the
//! next batch shows the hole; where nothing follows, nobody would notice. So a session that is loaded asks the owners of its
//! conversations, one request a node; and when a link broke, a delivery could not be sent, or an owner changed, the heads of
//! the conversations concerned are asked for again, until they are known. A session may have been loaded long before that: where
//! the owner has a conversation not in memory any more, the store is asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::Table;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::id::{ConversationId, Numbers, UserId};
use crate::interchange::Peer;
use crate::session::actor::Msg;
use crate::session::state::Delivered;
use crate::time::Timestamp;

/// Conversations whose heads are asked for in one round.
const ROUND: usize = 10_000;
/// Conversations in one question.
const QUESTION: usize = 1_000;
/// How long an answer may take before it is asked again.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// A conversation that is idle at an owner of so long a standing was stored before anybody could ask for it.
const SETTLED: Duration = Duration::from_secs(60);

/// How far a conversation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// 0 is not ahead of the store.
    pub head: u64,
    /// When something was last said; as long ago as can be, where the store knows it as well.
    pub active_at: Timestamp,
}

/// What nodes ask each other about heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Heads {
    /// How far are these? The receiver owns them, as far as the sender knows.
    Ask(u64, Vec<ConversationId>),
    /// In the order asked; nothing for those that the sender does not own.
    Are(u64, Vec<Option<Reach>>),
    /// Something of these conversations could not be delivered; of all, when none is named.
    Missed(Vec<ConversationId>),
    /// So could not who joined these.
    Joined(Vec<ConversationId>),
    /// Nor that these users left something.
    Left(Vec<UserId>),
}

/// Questions under way, and what has to be asked.
#[derive(Default)]
pub struct Checks {
    numbers: Numbers,
    asked: Mutex<HashMap<u64, oneshot::Sender<Vec<Option<Reach>>>>>,
    pending: Mutex<HashSet<ConversationId>>,
    /// A round is under way.
    turn: tokio::sync::Mutex<()>,
}

impl Checks {
    /// Whether something is to be asked.
    pub fn is_due(&self) -> bool {
        !self.pending.lock().is_empty()
    }

    fn add(&self, conversations: impl IntoIterator<Item = ConversationId>) {
        self.pending.lock().extend(conversations);
    }

    fn take(&self) -> Vec<ConversationId> {
        let mut pending = self.pending.lock();
        let round: Vec<_> = pending.iter().copied().take(ROUND).collect();
        for conversation in &round {
            pending.remove(conversation);
        }
        round
    }
}

impl Hub {
    pub(crate) fn heads(self: &Arc<Self>, from: &NodeId, heads: Heads) {
        match heads {
            Heads::Ask(number, conversations) => {
                let (core, from) = (Arc::clone(self), from.clone());
                self.runtime.spawn(async move {
                    let heads = core.heads_here(&conversations).await;
                    core.router
                        .send_to_node(&from, 0, Peer::Heads(Heads::Are(number, heads)))
                        .ok();
                });
            }
            Heads::Are(number, heads) => {
                let asked = self.checks.asked.lock().remove(&number);
                asked.map(|asked| asked.send(heads));
            }
            Heads::Missed(conversations) if conversations.is_empty() => self.check_owned_by(from),
            Heads::Missed(conversations) => self.checks.add(conversations),
            Heads::Joined(conversations) => self.seek_introductions(conversations),
            Heads::Left(users) => {
                let cells = users.iter().filter_map(|user| self.sessions.get(*user));
                cells.for_each(|cell| self.learn_from_store(cell));
            }
        }
    }

    /// How far conversations of this node are; nothing for those that are not served here.
    pub(crate) async fn heads_here(&self, conversations: &[ConversationId]) -> Vec<Option<Reach>> {
        let now = Instant::now();
        let mut heads = Vec::with_capacity(conversations.len());
        let mut unsettled = Vec::new();
        for (index, conversation) in conversations.iter().enumerate() {
            let life = &self.shard(conversation.as_bytes()).life;
            let hot = self.conversations.reach(*conversation).unwrap_or_default();
            heads.push(life.is_open().then_some(hot));
            if life.is_open() && hot.head == 0 && life.opened_within(SETTLED, now) {
                unsettled.push(index);
            }
        }
        if unsettled.is_empty() {
            return heads;
        }
        let ids: Vec<_> = unsettled.iter().map(|index| conversations[*index]).collect();
        let stored = self.chats.heads(&ids).await;
        for (place, index) in unsettled.into_iter().enumerate() {
            heads[index] = stored.as_ref().ok().map(|stored| Reach {
                head: stored[place],
                ..Reach::default()
            });
        }
        heads
    }

    /// Asks the owners how far these conversations are; answers those that are known, and which are not.
    pub(crate) async fn ask_heads(
        self: &Arc<Self>,
        conversations: Vec<ConversationId>,
    ) -> (Vec<(ConversationId, Reach)>, Vec<ConversationId>) {
        let mut by_node: BTreeMap<NodeId, Vec<ConversationId>> = BTreeMap::new();
        for conversation in conversations {
            by_node
                .entry(self.node_of_shard(conversation.as_bytes()))
                .or_default()
                .push(conversation);
        }
        let mut questions = Vec::new();
        for (node, conversations) in &by_node {
            for some in conversations.chunks(QUESTION) {
                questions.push((some, self.ask_node(node, some)));
            }
        }
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for (asked, answer) in questions {
            let heads = match answer {
                Some(answer) => tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok),
                None => Some(self.heads_here(asked).await).filter(|_| self.is_own(asked)),
            };
            let heads = heads.unwrap_or_default();
            for (index, conversation) in asked.iter().enumerate() {
                match heads.get(index).copied().flatten() {
                    Some(reach) => known.push((*conversation, reach)),
                    None => unknown.push(*conversation),
                }
            }
        }
        (known, unknown)
    }

    fn is_own(&self, conversations: &[ConversationId]) -> bool {
        let first = conversations.first();
        first.is_some_and(|first| self.router.is_local(self.shard(first.as_bytes()).id))
    }

    fn ask_node(
        &self,
        node: &NodeId,
        conversations: &[ConversationId],
    ) -> Option<oneshot::Receiver<Vec<Option<Reach>>>> {
        if *node == self.node {
            return None;
        }
        let number = self.checks.numbers.take();
        let (asked, answer) = oneshot::channel();
        self.checks.asked.lock().insert(number, asked);
        let question = Peer::Heads(Heads::Ask(number, conversations.to_vec()));
        if self.router.send_to_node(node, 0, question).is_err() {
            self.checks.asked.lock().remove(&number);
        }
        Some(answer)
    }

    /// The table changed: whatever moved may have been delivered to nobody.
    pub(crate) fn owners_changed(self: &Arc<Self>, table: &Table, before: Option<&Table>) {
        let Some(before) = before else { return };
        let moved = |conversation: &ConversationId| {
            let shard = self.shard(conversation.as_bytes()).id;
            table.placement.owner(shard) != before.placement.owner(shard)
        };
        self.check_where(moved);
        let nodes = table.placement.nodes();
        if before.placement.nodes().iter().any(|node| !nodes.contains(node)) {
            self.doubt_memberships_later();
        }
        self.watch_again(|user| {
            let shard = self.shard(user.as_bytes()).id;
            table.placement.owner(shard) != before.placement.owner(shard)
        });
    }

    /// What a node delivered may be lost.
    pub(crate) fn check_owned_by(&self, node: &NodeId) {
        self.check_where(|conversation| self.node_of_shard(conversation.as_bytes()) == *node);
    }

    /// Whatever was delivered may have gone elsewhere.
    pub(crate) fn check_all(&self) {
        self.check_where(|_| true);
    }

    /// These heads are not known for sure.
    pub(crate) fn doubt_heads(&self, conversations: Vec<ConversationId>) {
        self.checks.add(conversations);
    }

    fn check_where(&self, concerned: impl Fn(&ConversationId) -> bool) {
        let mut found = HashSet::new();
        for cell in self.sessions.all() {
            // Those without a socket too: the link that took the delivery may have taken the socket, which comes back and
            // takes the session at its word.
            let state = cell.state();
            let conversations = state.standings.iter().map(|standing| standing.conversation);
            found.extend(conversations.filter(&concerned));
        }
        self.checks.add(found);
    }

    /// Asks for the heads that are in doubt.
    pub(crate) fn tend_heads(self: &Arc<Self>) {
        if !self.checks.is_due() {
            return;
        }
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            let Ok(_turn) = core.checks.turn.try_lock() else { return };
            let round = core.checks.take();
            let (known, unknown) = core.ask_heads(round).await;
            let (idle, mut known): (Vec<_>, HashMap<_, _>) = apart(known);
            let unread = core.read_heads(&idle, &mut known).await;
            core.raise_all(&known);
            core.checks.add(unknown.into_iter().chain(unread));
        });
    }

    /// Adds the stored heads of conversations that their owners have not at hand; answers those that could not be read.
    async fn read_heads(
        &self,
        idle: &[ConversationId],
        known: &mut HashMap<ConversationId, Reach>,
    ) -> Vec<ConversationId> {
        let mut unread = Vec::new();
        for some in idle.chunks(QUESTION) {
            let Ok(stored) = self.chats.heads(some).await else {
                unread.extend_from_slice(some);
                continue;
            };
            let reach = |head| Reach {
                head,
                ..Reach::default()
            };
            known.extend(some.iter().copied().zip(stored.into_iter().map(reach)));
        }
        unread
    }

    /// Raises the heads of whoever has these conversations.
    fn raise_all(self: &Arc<Self>, heads: &HashMap<ConversationId, Reach>) {
        for cell in self.sessions.all() {
            let behind = {
                let mut state = cell.state();
                let behind: Vec<_> = state
                    .standings
                    .iter()
                    .filter_map(|standing| Some((standing, *heads.get(&standing.conversation)?)))
                    .filter(|(standing, reach)| reach.head > standing.head)
                    .map(|(standing, reach)| (standing.conversation, reach))
                    .collect();
                let mut lagging = false;
                for (conversation, reach) in behind {
                    state.active(conversation, reach.active_at);
                    lagging |= state.raise(conversation, reach.head) == Delivered::NeedsReplay;
                }
                if lagging { state.lagging() } else { Vec::new() }
            };
            for connection in behind {
                self.tell_session(&cell, Msg::Replay(connection));
            }
        }
    }
}

/// Sets apart the conversations of which their owners only know that the store has all of them. That is enough for a session
/// that was loaded just now, but one that lives on may have missed what is stored since: a link that was cut for long, or a
/// clock that jumped, lets the conversation leave its owner's memory before anybody could ask.
fn apart(known: Vec<(ConversationId, Reach)>) -> (Vec<ConversationId>, HashMap<ConversationId, Reach>) {
    let (idle, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, reach)| reach.head == 0);
    let idle = idle.into_iter().map(|(conversation, _)| conversation);
    (idle.collect(), known.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_owners_have_not_in_memory_is_looked_up() {
        let [hot, idle] = [1, 2].map(|number| ConversationId(Uuid::from_u128(number)));
        let reach = Reach {
            head: 6,
            active_at: Timestamp(1),
        };
        let (looked_up, known) = apart(vec![(idle, Reach::default()), (hot, reach)]);
        assert_eq!((looked_up, known), (vec![idle], HashMap::from([(hot, reach)])));
    }
}
