//! What a device sends and what it hears of it: several at once, each sent again until it is answered.

use std::collections::HashMap;
use std::time::Duration;

use rookery_actors::id::ConversationId;
use rookery_actors::protocol::Target;
use tokio::time::Instant;

/// A send that was not answered for so long is sent again, by a hasty device.
const HASTE: Duration = Duration::from_secs(3);

/// Sends of a device that may wait for their answers at once.
const MOST: usize = 4;

/// The sends of a device.
pub struct Sends {
    /// A patient device waits so long, and then something is wrong.
    patience: Option<Duration>,
    /// What will be sent, the next last.
    script: Vec<(String, Target)>,
    /// What was sent and not answered, in that order.
    waiting: Vec<Waiting>,
    count: u64,
    /// Of this connection what was answered at its first sending, by conversation: which send it was, and its seq.
    answered: HashMap<ConversationId, Vec<(u64, u64)>>,
}

/// A send without an answer.
struct Waiting {
    id: String,
    to: Target,
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

    /// What is to be sent now.
    pub fn take_due(&mut self, now: Instant, next: Instant) -> Result<Vec<(String, Target)>, String> {
        let (pause, mut due) = (self.patience.unwrap_or(HASTE), Vec::new());
        for waiting in &mut self.waiting {
            if waiting.again <= now {
                if self.patience.is_some() && waiting.first.is_some() {
                    return Err(format!("waits for an answer to {} for {pause:?}", waiting.id));
                }
                (waiting.again, waiting.first) = (now + pause, None);
                due.push((waiting.id.clone(), waiting.to));
            }
        }
        if next <= now
            && self.waiting.len() < MOST
            && let Some((id, to)) = self.script.pop()
        {
            self.count += 1;
            due.push((id.clone(), to));
            self.waiting.push(Waiting {
                id,
                to,
                again: now + pause,
                first: Some(self.count),
            });
        }
        Ok(due)
    }

    /// `sent` came; says what is wrong about it.
    pub fn sent(&mut self, id: &str, conversation: ConversationId, seq: u64) -> Result<(), String> {
        let Some(index) = self.waiting.iter().position(|waiting| waiting.id == id) else {
            return Ok(());
        };
        let Some(place) = self.waiting.remove(index).first else {
            return Ok(());
        };
        let answered = self.answered.entry(conversation).or_default();
        let swapped = |(other, at): &&(u64, u64)| (*other < place) != (*at < seq);
        let swapped = answered.iter().find(swapped).copied();
        answered.push((place, seq));
        swapped.map_or(Ok(()), |(other, at)| {
            Err(format!(
                "its sends {other} and {place} are {conversation} {at} and {seq}"
            ))
        })
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
