//! Own messages of which a connection was told by `sent` before their turn came in its stream: they are left out there.

use crate::id::ConversationId;

/// So many are noted; of the oldest beyond them the client hears twice, which it tells by the seq.
const TOLD: usize = 256;

/// Own messages that are still due in the stream.
#[derive(Debug, Default)]
pub struct Told(Vec<(ConversationId, u64)>);

impl Told {
    pub fn note(&mut self, conversation: ConversationId, seq: u64) {
        if self.has(conversation, seq) {
            return;
        }
        if self.0.len() >= TOLD {
            self.0.remove(0);
        }
        self.0.push((conversation, seq));
    }

    pub fn has(&self, conversation: ConversationId, seq: u64) -> bool {
        self.0.contains(&(conversation, seq))
    }

    /// Whether any is of that conversation.
    pub fn concerns(&self, conversation: ConversationId) -> bool {
        self.0.iter().any(|(known, _)| *known == conversation)
    }

    /// The stream of a conversation has come so far.
    pub fn pass(&mut self, conversation: ConversationId, seq: u64) {
        if !self.0.is_empty() {
            self.0.retain(|(known, told)| *known != conversation || *told > seq);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConversationId, u64)> {
        self.0.iter().copied()
    }
}
