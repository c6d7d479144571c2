//! Which conversations of this node are active, and how a message reaches one whether it is or not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{ActorId, ActorRef, MessagingErr};
use tokio::time::Instant;

use super::actor::{self, Msg};
use crate::defaults;
use crate::heads::Reach;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::interchange::Ask;
use crate::striped::Striped;
use crate::time::Timestamp;

/// What others may know of an active conversation without asking it.
#[derive(Default)]
pub struct Hot {
    /// Messages in its mailbox. Raised under the table's lock, so that a conversation with none can leave safely.
    pub waiting: AtomicU32,
    /// The applied head; 0 until it is loaded.
    pub head: AtomicU64,
    /// When something was last said, in Unix milliseconds; 0 until it is loaded.
    pub active_at: AtomicI64,
    /// When it was last asked anything, in milliseconds since the table was made.
    used_at: AtomicU64,
}

struct Entry {
    actor: ActorRef<Msg>,
    hot: Arc<Hot>,
}

/// The active conversations of this node.
pub struct Conversations {
    table: Striped<ConversationId, Entry>,
    made: Instant,
}

impl Default for Conversations {
    fn default() -> Self {
        Self {
            table: Striped::default(),
            made: Instant::now(),
        }
    }
}

impl Conversations {
    /// A conversation was asked something now. How long ago is counted by the clock that no one sets: where the other one
    /// jumped, all would leave the memory at once, or none.
    pub fn touch(&self, hot: &Hot) {
        hot.used_at.store(self.elapsed(), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        self.made.elapsed().as_millis() as u64
    }

    fn part(&self, conversation: ConversationId) -> &Mutex<HashMap<ConversationId, Entry>> {
        self.table.part(conversation.as_bytes())
    }

    pub fn is_active(&self, conversation: ConversationId) -> bool {
        self.part(conversation).lock().contains_key(&conversation)
    }

    /// How far an active conversation is; all 0 until it is loaded.
    pub fn reach(&self, conversation: ConversationId) -> Option<Reach> {
        self.hot(conversation).map(|hot| Reach {
            head: hot.head.load(Ordering::Acquire),
            active_at: Timestamp(hot.active_at.load(Ordering::Acquire)),
        })
    }

    fn hot(&self, conversation: ConversationId) -> Option<Arc<Hot>> {
        self.part(conversation)
            .lock()
            .get(&conversation)
            .map(|entry| Arc::clone(&entry.hot))
    }

    /// Hands an ask to a conversation, unless too much waits there already: then it comes back.
    pub fn ask(&self, core: &Arc<Hub>, ask: Box<Ask>) -> Result<(), Box<Ask>> {
        let conversation = ask.conversation;
        match self.enter(core, conversation, defaults::MAILBOX) {
            Some(actor) => self.cast(core, conversation, actor, Msg::Ask(ask)),
            None => return Err(ask),
        }
        Ok(())
    }

    /// Hands a message to a conversation, activating it where it is not active.
    pub fn tell(&self, core: &Arc<Hub>, conversation: ConversationId, msg: Msg) {
        if let Some(actor) = self.enter(core, conversation, u32::MAX) {
            self.cast(core, conversation, actor, msg);
        }
    }

    /// Sends to an actor that was entered, or to the one that takes its place if it died.
    fn cast(&self, core: &Arc<Hub>, conversation: ConversationId, mut actor: ActorRef<Msg>, mut msg: Msg) {
        loop {
            match actor.cast(msg) {
                Err(MessagingErr::SendErr(back)) => {
                    let dead = || self.is(conversation, actor.get_id());
                    match core.orphans.keep(conversation, back, dead) {
                        Some(back) => msg = back,
                        None => return,
                    }
                }
                _ => return,
            }
            match self.enter(core, conversation, u32::MAX) {
                Some(successor) => actor = successor,
                None => return,
            }
        }
    }

    /// The actor of a conversation, with one more message counted as waiting for it; `None` when there are `most`.
    fn enter(&self, core: &Arc<Hub>, conversation: ConversationId, most: u32) -> Option<ActorRef<Msg>> {
        let mut part = self.part(conversation).lock();
        let entry = part.entry(conversation).or_insert_with(|| {
            let hot = Arc::new(Hot::default());
            self.touch(&hot);
            Entry {
                actor: actor::activate(core, conversation, Arc::clone(&hot)),
                hot,
            }
        });
        if entry.hot.waiting.load(Ordering::Relaxed) >= most {
            return None;
        }
        entry.hot.waiting.fetch_add(1, Ordering::AcqRel);
        Some(entry.actor.clone())
    }

    /// Tells a conversation only if it is active.
    pub fn tell_hot(&self, conversation: ConversationId, msg: Msg) {
        let actor = {
            let part = self.part(conversation).lock();
            let Some(entry) = part.get(&conversation) else { return };
            entry.hot.waiting.fetch_add(1, Ordering::AcqRel);
            entry.actor.clone()
        };
        actor.cast(msg).ok();
    }

    /// Takes a conversation off the table unless something waits for it; only then may its actor stop.
    pub fn leave(&self, conversation: ConversationId) -> bool {
        let mut part = self.part(conversation).lock();
        let idle = part
            .get(&conversation)
            .is_some_and(|entry| entry.hot.waiting.load(Ordering::Acquire) == 0);
        if idle {
            part.remove(&conversation);
        }
        idle
    }

    /// Forgets an actor that died. Another one that took its place stays.
    pub fn forget(&self, conversation: ConversationId, actor: ActorId) {
        let mut part = self.part(conversation).lock();
        if part
            .get(&conversation)
            .is_some_and(|entry| entry.actor.get_id() == actor)
        {
            part.remove(&conversation);
        }
    }

    fn is(&self, conversation: ConversationId, actor: ActorId) -> bool {
        self.part(conversation)
            .lock()
            .get(&conversation)
            .is_some_and(|entry| entry.actor.get_id() == actor)
    }

    /// Conversations nobody asked anything for so long.
    pub fn idle_for(&self, span: Duration) -> Vec<ConversationId> {
        let before = self.elapsed().saturating_sub(span.as_millis() as u64);
        let idle = |entry: &Entry| entry.hot.used_at.load(Ordering::Relaxed) < before;
        let of = |part: &Mutex<HashMap<_, Entry>>| {
            part.lock()
                .iter()
                .filter(|(_, entry)| idle(entry))
                .map(|(id, _)| *id)
                .collect::<Vec<_>>()
        };
        self.table.parts().flat_map(of).collect()
    }

    /// The active conversations that `wanted` picks.
    pub fn of(&self, wanted: impl Fn(&ConversationId) -> bool) -> Vec<ConversationId> {
        let of = |part: &Mutex<HashMap<_, Entry>>| part.lock().keys().copied().filter(&wanted).collect::<Vec<_>>();
        self.table.parts().flat_map(of).collect()
    }

    /// Takes a conversation off the table, whatever waits for it.
    pub fn remove(&self, conversation: ConversationId) {
        self.part(conversation).lock().remove(&conversation);
    }

    /// How many are active.
    pub fn count(&self) -> usize {
        self.table.count()
    }
}
