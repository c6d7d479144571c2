//! What becomes of a conversation whose actor panicked: another takes its place, from the store and the log.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ractor::ActorId;

use crate::conversation::actor::{Body, Msg, Readback};
use crate::conversation::command::Record;
use crate::defaults;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::interchange::Origin;
use crate::ports::PortResult;
use crate::supervisor::Key;

/// Messages for conversations whose actor is dead and not replaced yet.
#[derive(Default)]
pub struct Orphans(Mutex<HashMap<ConversationId, Vec<Msg>>>);

impl Orphans {
    /// Keeps a message until the conversation is back. `dead` says, under this lock, whether it still is away; otherwise the
    /// message comes back.
    pub fn keep(&self, conversation: ConversationId, msg: Msg, dead: impl Fn() -> bool) -> Option<Msg> {
        let mut orphans = self.0.lock();
        if dead() {
            orphans.entry(conversation).or_default().push(msg);
            None
        } else {
            Some(msg)
        }
    }
}

impl Hub {
    /// A child failed: makes good what it owed.
    pub fn restart(self: &Arc<Self>, key: Key, actor: ActorId) {
        match key {
            Key::Conversation(conversation) => {
                let core = Arc::clone(self);
                self.runtime
                    .spawn(async move { core.recover(conversation, actor).await });
            }
            Key::Session(user) => {
                let Some(cell) = self.sessions.get(user) else { return };
                *cell.actor.lock() = None;
                let state = cell.state();
                for attached in &state.attached {
                    attached.outlet.close(crate::protocol::CloseCode::Overloaded);
                }
            }
        }
    }

    /// Everything the dead actor had projected is stored first; then its successor gets what the log has beyond that, and
    /// then what came meanwhile.
    async fn recover(self: &Arc<Self>, conversation: ConversationId, actor: ActorId) {
        self.projector.flush_of(conversation).await;
        let records = loop {
            match self.unstored_records(conversation).await {
                Ok(records) => break records,
                Err(error) => {
                    error.log(format_args!(
                        "read the log of failed conversation {conversation}; trying again"
                    ));
                    tokio::time::sleep(defaults::LOAD_RETRY).await;
                }
            }
        };
        let mut orphans = self.orphans.0.lock();
        self.conversations.forget(conversation, actor);
        self.conversations.tell(self, conversation, Msg::Apply(records));
        for msg in orphans.remove(&conversation).unwrap_or_default() {
            self.conversations.tell(self, conversation, msg);
        }
    }

    async fn unstored_records(&self, conversation: ConversationId) -> PortResult<Vec<Readback>> {
        let shard = self.shard(conversation.as_bytes());
        let mut from = self.log.committed().await?[usize::from(shard.id.0)];
        let end = shard.next();
        let mut records = Vec::new();
        while from < end {
            let read = self.log.read(shard.id, from, defaults::REPLAY_RECORDS).await?;
            let Some(last) = read.last() else { break };
            from = last.offset + 1;
            records.extend(
                read.into_iter()
                    .filter(|record| record.offset < end)
                    .filter_map(|record| {
                        let decoded = Record::decode(record.payload.clone()).ok()?;
                        (decoded.conversation == conversation).then_some(Readback {
                            offset: record.offset,
                            record: Body::Foreign(record.payload),
                            origin: Origin::Nobody,
                        })
                    }),
            );
        }
        Ok(records)
    }
}
