//! Asks whose conversation another node owns, until they are answered.
//!
//! An ask of another node may get lost with its link, or find that its owner is none any more. So the asker keeps it, sends it
//! again to whoever owns the conversation by then, and answers it itself when its time is over. Sending again is safe: a
//! client message id never makes two messages, an idempotency key never two edits ([`Change`]), and what else may have been
//! done already is answered as if it had been done now ([`settled`]).
//!
//! A user's sends and changes of messages in a conversation are asked in their order ([`table`]): none goes to a node while an
//! earlier one waits for another; nor does a send while an earlier send is unanswered since it was asked on this node, which
//! owned the conversation then.

mod table;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use rookery_cluster::transport::SendError;

use crate::conversation::command::Command;
use crate::conversation::state::Outcome;
use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConversationId, Numbers};
#[cfg(doc)]
use crate::interchange::Change;
use crate::interchange::{Answer, Ask, Forwarded, Origin, Peer, Question, Reply};
use crate::protocol::{ErrorCode, Problem};
use crate::session::table::Cell;

use self::table::{Due, Table, Waiting};
pub use self::table::{Line, line};

/// The asks that wait.
#[derive(Default)]
pub struct Outstanding {
    numbers: Numbers,
    table: Mutex<Table>,
    /// How many there are: those who ask on this node look at no more where there is none.
    count: AtomicUsize,
}

impl Outstanding {
    /// The place of a send among those of this node, wherever it will be asked.
    pub fn number(&self) -> u64 {
        self.numbers.take()
    }

    fn insert(&self, waiting: Waiting) -> Option<u64> {
        let mut table = self.table.lock();
        if table.waiting.len() >= defaults::OUTSTANDING {
            return None;
        }
        let ticket = waiting.ask.origin.number().unwrap_or_else(|| self.number());
        table.insert(ticket, waiting);
        self.count.store(table.waiting.len(), Ordering::Release);
        Some(ticket)
    }

    fn remove(&self, table: &mut Table, ticket: u64) -> Option<Waiting> {
        let waiting = table.remove(ticket);
        self.count.store(table.waiting.len(), Ordering::Release);
        waiting
    }

    /// Whether an earlier send of its line waits: then it must wait behind it, although its conversation is this node's now.
    pub fn precede(&self, ask: &Ask) -> bool {
        self.count() > 0 && line(ask).is_some_and(|line| self.table.lock().lines.contains_key(&line))
    }

    /// A node is gone, or the link to it: what was sent to it may have been done, and is to be asked again.
    fn lost(&self, node: &NodeId) -> Vec<u64> {
        let mut again = Vec::new();
        for (ticket, waiting) in self.table.lock().waiting.iter_mut() {
            if waiting.sent.as_ref().is_some_and(|(to, _)| to == node) {
                waiting.sent = None;
                waiting.doubtful = true;
                again.push(*ticket);
            }
        }
        again.sort_unstable();
        again
    }

    fn due(&self, now: Instant, owner: impl Fn(ConversationId) -> NodeId) -> Vec<(u64, Due)> {
        let mut table = self.table.lock();
        let mut due = Vec::new();
        for (ticket, waiting) in table.waiting.iter_mut() {
            let act = waiting.due(now, || owner(waiting.ask.conversation));
            if act != Due::Nothing {
                waiting.doubtful |= waiting.sent.is_some();
                due.push((*ticket, act));
            }
        }
        due.sort_unstable_by_key(|(ticket, _)| *ticket);
        due
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Hub {
    /// Asks a conversation's owner on another node.
    pub(crate) fn forward(self: &Arc<Self>, ask: Ask) {
        if ask.origin == Origin::Nobody {
            // Nobody waits for it.
            self.mention(ask).ok();
            return;
        }
        self.see_through(ask, false);
    }

    /// Keeps an ask until it is answered, whoever owns its conversation; `doubtful` says that it may have been done already.
    fn see_through(self: &Arc<Self>, ask: Ask, doubtful: bool) {
        let (origin, line) = (ask.origin.clone(), line(&ask));
        let waiting = Waiting {
            session: self.session_of(&ask),
            ask,
            sent: None,
            deadline: Instant::now() + defaults::CALL_DEADLINE,
            doubtful,
        };
        match self.outstanding.insert(waiting) {
            Some(ticket) => {
                self.send_ask(ticket);
                // It may be one that came back, and others have waited for that.
                line.into_iter().for_each(|line| self.send_behind(&line, ticket));
            }
            None => self.answer(origin, Err(Problem::unavailable("too much waits for other nodes"))),
        }
    }

    /// Who knows what else the connection that asks has sent.
    fn session_of(&self, ask: &Ask) -> Option<Arc<Cell>> {
        match &ask.origin {
            Origin::Socket {
                user, send: Some(_), ..
            } => self.sessions.get(*user),
            _ => None,
        }
    }

    /// Sends what waits behind one of a line, as far as it need not wait any more.
    fn send_behind(self: &Arc<Self>, line: &Line, ticket: u64) {
        let unsent = self.outstanding.table.lock().unsent_behind(line, ticket);
        unsent.into_iter().for_each(|ticket| self.send_ask(ticket));
    }

    /// Passes on what nobody waits for; an error where there is no way to the owner now.
    pub(crate) fn mention(&self, ask: Ask) -> Result<(), SendError> {
        let shard = self.shard(ask.conversation.as_bytes()).id;
        let forwarded = self.forwarded(ask, Duration::ZERO);
        self.router.send_to_shard(shard, forwarded)
    }

    fn forwarded(&self, ask: Ask, within: Duration) -> Peer {
        Peer::Forward(Box::new(Forwarded {
            ask,
            epoch: self.router.table().epoch,
            within_ms: within.as_millis() as u32,
        }))
    }

    /// Sends an ask that waits to its conversation's owner as of now.
    fn send_ask(self: &Arc<Self>, ticket: u64) {
        let mut table = self.outstanding.table.lock();
        let Some(waiting) = table.waiting.get(&ticket) else {
            return;
        };
        let owner = self.node_of_shard(waiting.ask.conversation.as_bytes());
        let held_up = table.is_held_up(ticket, &owner, Instant::now());
        let Some(waiting) = table.waiting.get_mut(&ticket) else {
            return;
        };
        if held_up {
            waiting.sent = None;
            return;
        }
        let ask = Ask {
            conversation: waiting.ask.conversation,
            origin: Origin::Node {
                node: self.node.clone(),
                ticket,
                connection: waiting.ask.origin.connection(),
            },
            question: waiting.question(),
        };
        let within = waiting.deadline.saturating_duration_since(Instant::now());
        waiting.sent = Some((owner.clone(), Instant::now()));
        if owner == self.node {
            drop(table);
            return self.asked(Box::new(ask));
        }
        let lane = u64::from(self.shard(ask.conversation.as_bytes()).id.0);
        // Under the lock, so that asks of one sender leave in their order.
        let sent = self.router.send_to_node(&owner, lane, self.forwarded(ask, within));
        match sent {
            Ok(()) => {}
            Err(error @ SendError::TooLarge { .. }) => {
                let waiting = self.outstanding.remove(&mut table, ticket);
                drop(table);
                if let Some(waiting) = waiting {
                    self.answer(waiting.ask.origin, Err(Problem::unavailable(error.to_string())));
                }
            }
            Err(_) => waiting.sent = None,
        }
    }

    /// A node answered one of these.
    pub(crate) fn relayed(self: &Arc<Self>, ticket: u64, reply: Result<Reply, Problem>) {
        let mut table = self.outstanding.table.lock();
        if let Ok(Reply::NotOwner { epoch, appended }) = reply {
            let Some(waiting) = table.waiting.get_mut(&ticket) else {
                return;
            };
            waiting.sent = None;
            waiting.doubtful |= appended;
            drop(table);
            // Where this node's table is the older one, it waits for the newer.
            if self.router.table().epoch > epoch {
                self.send_ask(ticket);
            }
            return;
        }
        let Some(waiting) = self.outstanding.remove(&mut table, ticket) else {
            return;
        };
        drop(table);
        let reply = settled(&waiting.ask, waiting.doubtful, reply);
        let line = line(&waiting.ask);
        self.answer(waiting.ask.origin, reply);
        // Only now its session knows that nothing waits behind it any more.
        line.into_iter().for_each(|line| self.send_behind(&line, ticket));
    }

    /// What cannot be done here goes to the owner: `appended` says that it may stand in the log already.
    pub(crate) fn bounce(self: &Arc<Self>, ask: Ask, appended: bool) {
        match &ask.origin {
            Origin::Nobody => {}
            Origin::Node { .. } => {
                self.sent_back.note(&ask, Instant::now());
                let epoch = self.router.table().epoch;
                self.answer(ask.origin, Ok(Reply::NotOwner { epoch, appended }));
            }
            Origin::Socket { .. } | Origin::Call { .. } if appended => self.see_through(ask, true),
            Origin::Socket { .. } | Origin::Call { .. } => self.ask(ask),
        }
    }

    /// A node is gone or the link to it broke: what waits for its answers is asked again.
    pub(crate) fn ask_again(self: &Arc<Self>, node: &NodeId) {
        for ticket in self.outstanding.lost(node) {
            self.send_ask(ticket);
        }
    }

    /// Looks after what waits: sends it again where there is an owner to send it to, and answers what has waited too long.
    pub(crate) fn tend_outstanding(self: &Arc<Self>, now: Instant) {
        if self.outstanding.count() > 0 {
            let owner = |conversation: ConversationId| self.node_of_shard(conversation.as_bytes());
            for (ticket, due) in self.outstanding.due(now, owner) {
                match due {
                    Due::Nothing => {}
                    Due::Send => self.send_ask(ticket),
                    Due::GiveUp => self.give_up(ticket),
                }
            }
        }
        self.sent_back.forget_old(now);
        for shard in &self.shards {
            if !shard.life.is_open() {
                for early in shard.life.overdue(now) {
                    self.answer(early.ask.origin, Err(no_owner()));
                }
            }
        }
    }

    /// Whether anything here waits for another node.
    fn is_something_awaited(&self) -> bool {
        self.outstanding.count() > 0
            || self.berths.is_unsettled()
            || self.undelivered.is_due()
            || self.checks.is_due()
            || self.introductions.is_due()
    }

    /// Waits, for a moment, until what was asked of other nodes is answered.
    pub(crate) async fn finish_asks(&self) {
        let deadline = Instant::now() + defaults::ANSWER_PATIENCE;
        while self.outstanding.count() > 0 && Instant::now() < deadline {
            tokio::time::sleep(defaults::OUTSTANDING_INTERVAL).await;
        }
    }

    fn give_up(self: &Arc<Self>, ticket: u64) {
        let waiting = self.outstanding.remove(&mut self.outstanding.table.lock(), ticket);
        if let Some(waiting) = waiting {
            let problem = if waiting.doubtful || waiting.sent.is_some() {
                crate::calls::no_answer()
            } else {
                no_owner()
            };
            self.answer(waiting.ask.origin, Err(problem));
        }
    }

    /// Where an answer to an ask is to go: to the node that forwarded it.
    pub(crate) fn answer_node(self: &Arc<Self>, node: &NodeId, answer: Answer) {
        if *node == self.node {
            return self.answered(answer);
        }
        let to = answer.to.clone();
        match self.router.send_to_node(node, 0, Peer::Answer(Box::new(answer))) {
            Ok(()) => {}
            Err(SendError::TooLarge { .. }) => {
                let reply = Err(Problem::unavailable("the answer is too large to be passed on"));
                self.router
                    .send_to_node(node, 0, Peer::Answer(Box::new(Answer { to, reply })))
                    .ok();
            }
            Err(error) => self.answer_later(node, to, &error),
        }
    }
}

impl Hub {
    /// An answer could not be sent. What it said is lost; the asker learns, as soon as it can be told, that it has to ask
    /// again.
    fn answer_later(self: &Arc<Self>, node: &NodeId, to: Origin, error: &SendError) {
        tracing::debug!(%node, %error, "an answer to a node is lost; it is to ask again");
        let (core, node) = (Arc::clone(self), node.clone());
        self.runtime.spawn(async move {
            let epoch = core.router.table().epoch;
            let lost = || {
                let reply = Ok(Reply::NotOwner { epoch, appended: true });
                Peer::Answer(Box::new(Answer { to: to.clone(), reply }))
            };
            for _ in 0..ANSWER_TRIES {
                tokio::time::sleep(defaults::OUTSTANDING_INTERVAL).await;
                match core.router.send_to_node(&node, 0, lost()) {
                    Err(SendError::Full(_)) => {}
                    // Told, or out of reach: then the asker has lost the link, and asks again by itself.
                    _ => return,
                }
            }
        });
    }
}

/// How often an asker is told that its answer was lost, before it finds out by itself.
const ANSWER_TRIES: usize = 20;

fn no_owner() -> Problem {
    Problem::unavailable("the conversation is moving to another node; nothing was done")
}

/// An answer to what may have been done before: what a first sending did is no failure of the second.
fn settled(ask: &Ask, doubtful: bool, reply: Result<Reply, Problem>) -> Result<Reply, Problem> {
    let (Question::Do { command, .. }, Err(problem), true) = (&ask.question, &reply, doubtful) else {
        return reply;
    };
    let was_done = match command {
        Command::Create { .. } => problem.code == ErrorCode::Conflict,
        Command::Remove { .. } | Command::Delete { .. } => {
            matches!(problem.code, ErrorCode::NotFound | ErrorCode::NotMember)
        }
        _ => false,
    };
    if was_done {
        return Ok(Reply::Done {
            conversation: ask.conversation,
            outcome: Outcome::Settled,
        });
    }
    reply
}

/// Tends what waits, until the core is gone.
pub async fn run(core: Weak<Hub>) {
    let (mut beaten, mut pause) = (Instant::now(), defaults::OUTSTANDING_INTERVAL);
    loop {
        tokio::time::sleep(pause).await;
        let Some(core) = core.upgrade() else { return };
        let now = Instant::now();
        core.tend_outstanding(now);
        core.tend_berths(now);
        core.tell_missed();
        core.tend_heads();
        core.tend_introductions(now);
        if now.duration_since(beaten) >= defaults::BEAT_INTERVAL {
            beaten = now;
            core.beat();
        }
        pause = match core.is_something_awaited() {
            true => defaults::OUTSTANDING_INTERVAL,
            false => defaults::RESTING_INTERVAL,
        };
    }
}

#[cfg(test)]
#[path = "outstanding/tests.rs"]
mod tests;
