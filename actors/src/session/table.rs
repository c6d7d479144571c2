//! The sessions of this node.

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::actor::SessionRef;
use super::state::State;
use crate::defaults;
use crate::id::{ConnectionId, ConversationId, UserId};
use crate::protocol::Limits;
use crate::striped::Striped;
use crate::time::Timestamp;

/// One session's record.
pub struct Cell {
    pub user: UserId,
    state: Mutex<State>,
    /// Sends that were not answered yet, in their order.
    unanswered: Mutex<Vec<Unanswered>>,
    /// Queued for saving cursors and sending receipts.
    pub dirty: AtomicBool,
    /// Tokens of the send budget, in thousandths, and when they were counted (Unix milliseconds, low 32 bits).
    budget: Mutex<(u32, u32)>,
    pub actor: Mutex<Option<SessionRef>>,
    /// Tasks about to attach to it.
    guests: AtomicU32,
    /// A send is to be sent again, because its outcome was left open or it was refused for now, since the session was loaded: any
    /// later one may repeat one of before.
    doubtful: AtomicBool,
    /// The session is another node's by now.
    gone: AtomicBool,
}

/// A send without an answer.
pub struct Unanswered {
    pub connection: ConnectionId,
    pub conversation: ConversationId,
    pub id: Box<str>,
    /// Its place among the sends of this node.
    pub number: u64,
    pub since: Instant,
}

/// A session that does not expire while this is held.
pub struct Guest(Arc<Cell>);

impl Deref for Guest {
    type Target = Arc<Cell>;
    fn deref(&self) -> &Arc<Cell> {
        &self.0
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Cell {
    fn new(user: UserId, limits: &Limits) -> Self {
        Self {
            user,
            state: Mutex::new(State::loading()),
            unanswered: Mutex::default(),
            dirty: AtomicBool::new(false),
            budget: Mutex::new((limits.messages_burst.saturating_mul(1000), Timestamp::now().0 as u32)),
            actor: Mutex::new(None),
            guests: AtomicU32::new(0),
            doubtful: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes a send off the user's budget; otherwise says in how many milliseconds to come back.
    pub fn admit(&self, limits: &Limits, now: Timestamp) -> Result<(), u64> {
        let mut budget = self.budget.lock();
        let elapsed = (now.0 as u32).wrapping_sub(budget.1);
        let refill = u64::from(elapsed) * u64::from(limits.messages_per_second);
        let full = u64::from(limits.messages_burst) * 1000;
        let tokens = (u64::from(budget.0) + refill).min(full);
        *budget = (tokens as u32, now.0 as u32);
        if tokens < 1000 {
            return Err((1000 - tokens).div_ceil(u64::from(limits.messages_per_second.max(1))));
        }
        budget.0 -= 1000;
        Ok(())
    }

    /// Notes a send as unanswered, unless there are too many.
    pub fn start_send(&self, most: u32, send: Unanswered) -> bool {
        let mut unanswered = self.unanswered.lock();
        let admitted = unanswered.len() < most as usize;
        if admitted {
            unanswered.push(send);
        }
        admitted
    }

    /// What a connection sent to a conversation before one of its sends and waits for; but not for what is so old that it must
    /// have been lost with its conversation's actor.
    pub fn sends_before(
        &self,
        connection: ConnectionId,
        conversation: ConversationId,
        number: u64,
        now: Instant,
    ) -> Vec<u64> {
        let unanswered = self.unanswered.lock();
        let of_line = |send: &&Unanswered| send.connection == connection && send.conversation == conversation;
        let young = |send: &&Unanswered| now.duration_since(send.since) < defaults::CALL_DEADLINE;
        let earlier = unanswered.iter().filter(|send| send.number < number);
        earlier.filter(of_line).filter(young).map(|send| send.number).collect()
    }

    /// The conversations to which a connection's sends were not answered yet.
    pub fn unanswered(&self, connection: ConnectionId) -> Vec<ConversationId> {
        let unanswered = self.unanswered.lock();
        let own = unanswered.iter().filter(|send| send.connection == connection);
        own.map(|send| send.conversation).collect()
    }

    /// Waits for no answers to a connection's sends any more; says to which conversations they went.
    pub fn forget_sends(&self, connection: ConnectionId) -> Vec<ConversationId> {
        let mut unanswered = self.unanswered.lock();
        let forgotten = unanswered.extract_if(.., |send| send.connection == connection);
        forgotten.map(|send| send.conversation).collect()
    }

    /// Says that the session is another node's from now on. Called under the state's lock, so that nobody attaches after it.
    pub fn go(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    /// From now on any send may repeat one of before.
    pub fn doubt(&self) {
        self.doubtful.store(true, Ordering::Release);
    }

    /// A send was answered; says to which conversation it was.
    pub fn finish_send(&self, connection: ConnectionId, id: &str) -> Option<ConversationId> {
        let mut unanswered = self.unanswered.lock();
        let of = |send: &Unanswered| send.connection == connection && *send.id == *id;
        let index = unanswered.iter().position(of)?;
        let conversation = unanswered.remove(index).conversation;
        if unanswered.is_empty() {
            // Most sessions are idle most of the time: they keep no room for it.
            *unanswered = Vec::new();
        }
        Some(conversation)
    }
}

/// The sessions of this node, and those among them that nobody is connected to.
pub struct Sessions {
    table: Striped<UserId, Arc<Cell>>,
    /// Sessions whose last connection went, oldest first; they may be connected again by now.
    vacant: Mutex<VecDeque<(Timestamp, Arc<Cell>)>>,
    limits: Arc<Limits>,
}

impl Sessions {
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            table: Striped::default(),
            vacant: Mutex::default(),
            limits,
        }
    }

    fn part(&self, user: UserId) -> &Mutex<HashMap<UserId, Arc<Cell>>> {
        self.table.part(user.as_bytes())
    }

    pub fn get(&self, user: UserId) -> Option<Arc<Cell>> {
        self.part(user).lock().get(&user).cloned()
    }

    /// The session of a user, made (still to be loaded) where there is none. It stays while its guest does.
    pub fn get_or_make(&self, user: UserId) -> Guest {
        let mut part = self.part(user).lock();
        let cell = part
            .entry(user)
            .or_insert_with(|| Arc::new(Cell::new(user, &self.limits)));
        cell.guests.fetch_add(1, Ordering::AcqRel);
        Guest(Arc::clone(cell))
    }

    /// The last connection went: the session is kept for a while.
    pub fn vacated(&self, cell: Arc<Cell>, now: Timestamp) {
        self.vacant.lock().push_back((now, cell));
    }

    /// Sessions whose time is over, taken off the table. One that somebody is connected to, or that has cursors to save,
    /// stays.
    pub fn expire(&self, now: Timestamp) -> Vec<Arc<Cell>> {
        let mut expired = Vec::new();
        loop {
            let cell = {
                let mut vacant = self.vacant.lock();
                let over = |(since, _): &(Timestamp, Arc<Cell>)| now.0 - since.0 >= defaults::GRACE.as_millis() as i64;
                let full = vacant.len() > defaults::GRACE_SESSIONS;
                match vacant.front() {
                    Some(front) if full || over(front) => vacant.pop_front().map(|(_, cell)| cell),
                    _ => None,
                }
            };
            let Some(cell) = cell else { return expired };
            if self.remove_if_vacant(&cell, now) {
                expired.push(cell);
            }
        }
    }

    fn remove_if_vacant(&self, cell: &Arc<Cell>, now: Timestamp) -> bool {
        let mut part = self.part(cell.user).lock();
        let state = cell.state.lock();
        let alone = cell.guests.load(Ordering::Acquire) == 0;
        let vacant = state.attached.is_empty();
        let idle = alone && !cell.dirty.load(Ordering::Acquire);
        if vacant && idle {
            if part.get(&cell.user).is_some_and(|known| Arc::ptr_eq(known, cell)) {
                part.remove(&cell.user);
            }
        } else if vacant {
            self.vacant.lock().push_back((now, Arc::clone(cell)));
        }
        vacant && idle
    }

    /// Forgets a session that its only guest could not load. With other guests it stays: they may still load it.
    pub fn discard(&self, cell: &Arc<Cell>) {
        let mut part = self.part(cell.user).lock();
        let alone = cell.guests.load(Ordering::Acquire) <= 1;
        if alone && !cell.state.lock().is_loaded() && part.get(&cell.user).is_some_and(|known| Arc::ptr_eq(known, cell))
        {
            part.remove(&cell.user);
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Cell>> {
        let of = |part: &Mutex<HashMap<UserId, Arc<Cell>>>| part.lock().values().cloned().collect::<Vec<_>>();
        self.table.parts().flat_map(of).collect()
    }

    /// The sessions of these users.
    pub fn of(&self, whose: impl Fn(&UserId) -> bool) -> Vec<Arc<Cell>> {
        let mut found = Vec::new();
        for part in self.table.parts() {
            let part = part.lock();
            found.extend(
                part.iter()
                    .filter(|(user, _)| whose(user))
                    .map(|(_, cell)| Arc::clone(cell)),
            );
        }
        found
    }

    /// Takes a session off the table.
    pub fn remove(&self, cell: &Arc<Cell>) {
        let mut part = self.part(cell.user).lock();
        if part.get(&cell.user).is_some_and(|known| Arc::ptr_eq(known, cell)) {
            part.remove(&cell.user);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.table.count()
    }
}
