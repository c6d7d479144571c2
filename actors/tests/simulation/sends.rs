//! What a device says and what it hears of it: several at once, each said again until it is answered.

use std::collections::HashMap;
use std::time::Duration;

use rookery_actors::id::ConversationId;
use rookery_actors::protocol::Target;
use tokio::time::Instant;

use crate::ledger::deletion;

/// A send that was not answered for so long is sent again, by a hasty device.
const HASTE: Duration = Duration::from_secs(3);

/// Sends of a device that may wait for their answers at once.
const MOST: usize = 4;

/// What is said: a message, or something about one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Message(Target),
    Reaction(ConversationId, u64),
    Edit(ConversationId, u64),
    Deletion(ConversationId, u64),
}

impl What {
    /// What it is known by where it stands: its own id, but for a deletion, which has no place for one.
    pub fn name(self, id: &str) -> String {
        match self {
            Self::Deletion(conversation, seq) => deletion(conversation, seq),
            _ => id.to_owned(),
        }
    }
}

/// The sends of a device.
pub struct Sends {
    /// A patient device waits so long, and then something is wrong.
    patience: Option<Duration>,
    /// What will be sent where, the next last.
    script: Vec<(String, Target)>,
    /// What was sent and not answered, in that order.
    waiting: Vec<Waiting>,
    count: u64,
    /// Of this connection what was answered at its first saying, by what keeps its order: what place it had, and its seq.
    answered: HashMap<InOrder, Vec<(u64, u64)>>,
}

/// What one connection says keeps its order: messages of a conversation, edits of a message.
type InOrder = (ConversationId, Option<u64>);

/// A send without an answer.
struct Waiting {
    id: String,
    what: What,
    again: Instant,
    /// Which send of the device it is; nothing once it was refused or sent again.
    first: Option<u64>,
}

impl Sends {
    pub fn new(script: Vec<(String, Target)>, patience: Option<Duration>) -> Self {
        Self {
            patience,
            script,
            waiting: Vec::new(),
            count: 0,
            answered: HashMap::new(),
        }
    }

    pub fn are_all_answered(&self) -> bool {
        self.script.is_empty() && self.waiting.is_empty()
    }

    pub fn are_all_sent(&self) -> bool {
        self.script.is_empty()
    }

    /// A new connection: what was not answered on the one before is sent again at once, in its order.
    pub fn reconnected(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            waiting.again = now;
            waiting.first = None;
        }
        self.answered.clear();
    }

    /// When something has to be sent, the next of the script being due at `next`.
    pub fn due(&self, next: Instant) -> Option<Instant> {
        let again = self.waiting.iter().map(|waiting| waiting.again).min();
        let next = (!self.script.is_empty() && self.waiting.len() < MOST).then_some(next);
        again.into_iter().chain(next).min()
    }

    /// What is to be said now, and whether it was before; `choose` says what comes of the next of the script.
    pub fn take_due(
        &mut self,
        now: Instant,
        next: Instant,
        choose: impl FnOnce(Target) -> What,
    ) -> Result<Vec<(String, What, bool)>, String> {
        let (pause, mut due) = (self.patience.unwrap_or(HASTE), Vec::new());
        for waiting in &mut self.waiting {
            if waiting.again <= now {
                if self.patience.is_some() && waiting.first.is_some() {
                    return Err(format!("waits for an answer to {} for {pause:?}", waiting.id));
                }
                (waiting.again, waiting.first) = (now + pause, None);
                due.push((waiting.id.clone(), waiting.what, true));
            }
        }
        if next <= now
            && self.waiting.len() < MOST
            && let Some((id, to)) = self.script.pop()
        {
            self.count += 1;
            let what = choose(to);
            due.push((id.clone(), what, false));
            self.waiting.push(Waiting {
                id,
                what,
                again: now + pause,
                first: Some(self.count),
            });
        }
        Ok(due)
    }

    /// `sent` came; says what is wrong about it.
    pub fn sent(&mut self, id: &str, conversation: ConversationId, seq: u64) -> Result<(), String> {
        let waiting = self.take(id).and_then(|waiting| waiting.first);
        waiting.map_or(Ok(()), |place| self.in_order((conversation, None), place, seq))
    }

    fn take(&mut self, id: &str) -> Option<Waiting> {
        let index = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.remove(index))
    }

    fn in_order(&mut self, of: InOrder, place: u64, seq: u64) -> Result<(), String> {
        let answered = self.answered.entry(of).or_default();
        let swapped = |(other, at): &&(u64, u64)| (*other < place) != (*at < seq);
        let swapped = answered.iter().find(swapped).copied();
        answered.push((place, seq));
        swapped.map_or(Ok(()), |(other, at)| {
            Err(format!(
                "what it said at places {other} and {place} is {of:?} {at} and {seq}"
            ))
        })
    }

    /// `ok` came: what it is known by, and its seq; or what is wrong about it. Nothing where nothing waited for it any more.
    pub fn done(&mut self, id: &str, seq: Option<u64>) -> Option<Result<(String, u64), String>> {
        let waiting = self.take(id)?;
        let Some(seq) = seq else {
            return Some(Err(format!("was told of no seq of {id}")));
        };
        let in_order = match (waiting.what, waiting.first) {
            (What::Edit(conversation, of), Some(place)) => self.in_order((conversation, Some(of)), place, seq),
            _ => Ok(()),
        };
        Some(in_order.map(|()| (waiting.what.name(id), seq)))
    }

    /// It cannot be made, now or later.
    pub fn give_up(&mut self, id: &str) {
        self.take(id);
    }

    /// An error came for a send.
    pub fn refused(&mut self, id: &str, again: Instant) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == id) {
            waiting.again = again;
            waiting.first = None;
            // What was sent behind it may overtake it now.
            self.answered.clear();
        }
    }
}
