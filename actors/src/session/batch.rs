//! What a conversation's owner sends to a node for the sessions there: consecutive entries, encoded once.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::conversation::command::SentBy;
use crate::frames::Frames;
use crate::id::{ConnectionId, ConversationId};
use crate::time::Timestamp;

/// Consecutive entries of a conversation.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub conversation: ConversationId,
    pub first: u64,
    pub last: u64,
    pub at: Timestamp,
    /// One frame an entry.
    pub frames: Frames,
    /// The socket each entry was sent from, where it is to get `sent` instead.
    pub senders: SmallVec<[SentBy; 1]>,
}

impl Batch {
    pub fn sent_by(&self, index: usize) -> SentBy {
        self.senders.get(index).copied().flatten()
    }

    pub fn is_sent_by(&self, connection: ConnectionId) -> bool {
        self.senders.contains(&Some(connection))
    }
}
