//! What waits for the store: a pure queue.
//!
//! The store may refuse what one conversation has, for good and not because it is away; then that is set aside, and later changes
//! of that conversation behind it, while what others have goes on. It is tried again now and then.

use std::collections::HashMap;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::id::ConversationId;
use crate::ports::chats::{Entry, Projection, Step, StoredChange};
use crate::ports::log::Offset;

/// What one conversation has for the store, and which records of the log it comes of.
#[derive(Debug)]
pub struct Pending {
    pub projection: Projection,
    pub offsets: SmallVec<[Offset; 2]>,
    bytes: usize,
}

impl Pending {
    pub fn new(projection: Projection, offsets: &[Offset]) -> Self {
        Self {
            bytes: projection.weight(),
            projection,
            offsets: SmallVec::from_slice(offsets),
        }
    }

    fn append(&mut self, later: Self) {
        self.projection.append(later.projection);
        self.offsets.extend(later.offsets);
        self.bytes += later.bytes;
    }
}

/// Somebody who is to be told when everything that was pushed until now is stored.
#[derive(Debug)]
pub struct Flush {
    /// Of this conversation; of all where it is none, but for what the store refuses.
    pub of: Option<ConversationId>,
    pub done: oneshot::Sender<()>,
}

/// What is to be stored now.
#[derive(Debug, Default)]
pub struct Taken {
    pub pending: Vec<Pending>,
    pub flushes: Vec<Flush>,
}

/// See the module.
#[derive(Default)]
pub struct Waiting {
    /// By conversation, so that a conversation's projections of one commit are one.
    pending: HashMap<ConversationId, Pending>,
    /// What the store refused, with what came behind it.
    refused: HashMap<ConversationId, Pending>,
    flushes: Vec<Flush>,
    /// Bytes of what is pending.
    bytes: usize,
    /// Of what was taken.
    taken: usize,
    /// Of what is set aside.
    aside: usize,
}

impl Waiting {
    /// About how many bytes the store does not have yet.
    pub fn held(&self) -> usize {
        self.bytes + self.taken + self.aside
    }

    /// Bytes that the next `take` gives.
    pub fn pending(&self) -> usize {
        self.bytes
    }

    pub fn refuses(&self, conversation: ConversationId) -> bool {
        self.refused.contains_key(&conversation)
    }

    /// How many conversations have something that the store refuses.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    pub fn push(&mut self, new: Pending) {
        let conversation = new.projection.conversation;
        if let Some(refused) = self.refused.get_mut(&conversation) {
            self.aside += new.bytes;
            return refused.append(new);
        }
        self.bytes += new.bytes;
        match self.pending.get_mut(&conversation) {
            Some(known) => known.append(new),
            None => drop(self.pending.insert(conversation, new)),
        }
    }

    pub fn flush(&mut self, flush: Flush) {
        self.flushes.push(flush);
    }

    /// Takes all there is; what is set aside only with `refused`. Whoever takes says what became of it before taking again.
    pub fn take(&mut self, refused: bool) -> Taken {
        let mut pending: Vec<_> = std::mem::take(&mut self.pending).into_values().collect();
        self.taken = std::mem::take(&mut self.bytes);
        if refused {
            pending.extend(std::mem::take(&mut self.refused).into_values());
            self.taken += std::mem::take(&mut self.aside);
        }
        Taken {
            pending,
            flushes: std::mem::take(&mut self.flushes),
        }
    }

    /// What was taken is stored, but for what the store refused. Answers whom that satisfies.
    pub fn stored(&mut self, refused: Vec<Pending>, flushes: Vec<Flush>) -> Vec<oneshot::Sender<()>> {
        self.taken = 0;
        for mut one in refused {
            let conversation = one.projection.conversation;
            if let Some(later) = self.pending.remove(&conversation) {
                self.bytes -= later.bytes;
                one.append(later);
            }
            self.aside += one.bytes;
            self.refused.insert(conversation, one);
        }
        let (waits, done): (Vec<_>, Vec<_>) = flushes
            .into_iter()
            .partition(|flush| flush.of.is_some_and(|conversation| self.refuses(conversation)));
        self.flushes.extend(waits);
        done.into_iter().map(|flush| flush.done).collect()
    }
}

/// What an entry takes in memory beside what was written into it.
const ENTRY_BYTES: usize = 400;

impl Projection {
    /// About how many bytes these changes hold in memory until they are stored.
    fn weight(&self) -> usize {
        let entry = |step: &Step| match step {
            Step::Entry(entry) => ENTRY_BYTES + written(entry),
            Step::Joined(members) => ENTRY_BYTES * members.len(),
            _ => ENTRY_BYTES,
        };
        self.steps.iter().map(entry).sum()
    }

    fn append(&mut self, later: Self) {
        self.applied = later.applied;
        self.head = later.head;
        self.active_at = later.active_at;
        self.steps.extend(later.steps);
    }
}

/// The text and data of an entry, in bytes.
fn written(entry: &Entry) -> usize {
    match entry {
        Entry::Message(message) => {
            message.content.body.len() + message.content.data.as_ref().map_or(0, |data| data.as_str().len())
        }
        Entry::Update(update) => match &update.change {
            StoredChange::Edit { body } => body.as_ref().map_or(0, String::len),
            StoredChange::Delete | StoredChange::React { .. } => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use rookery_cluster::id::ShardId;
    use uuid::Uuid;

    use super::*;
    use crate::time::Timestamp;

    fn id(number: u128) -> ConversationId {
        ConversationId(Uuid::from_u128(number))
    }

    fn change(number: u128, offset: Offset) -> Pending {
        let projection = Projection {
            conversation: id(number),
            shard: ShardId(0),
            applied: offset,
            head: offset,
            active_at: Timestamp(0),
            steps: vec![Step::Left(Vec::new())],
        };
        Pending::new(projection, &[offset])
    }

    /// Everything taken, as conversation and offsets.
    fn seen(taken: &Taken) -> Vec<(ConversationId, Vec<Offset>)> {
        let one = |one: &Pending| (one.projection.conversation, one.offsets.to_vec());
        let mut seen: Vec<_> = taken.pending.iter().map(one).collect();
        seen.sort();
        seen
    }

    fn flush(waiting: &mut Waiting, of: Option<ConversationId>) -> oneshot::Receiver<()> {
        let (done, stored) = oneshot::channel();
        waiting.flush(Flush { of, done });
        stored
    }

    fn tell(done: Vec<oneshot::Sender<()>>) {
        done.into_iter().for_each(|done| done.send(()).unwrap());
    }

    #[test]
    fn what_is_taken_is_held_until_it_is_stored() {
        let mut waiting = Waiting::default();
        waiting.push(change(1, 5));
        waiting.push(change(2, 6));
        waiting.push(change(1, 7));
        assert_eq!(waiting.held(), 3 * ENTRY_BYTES);
        let taken = waiting.take(false);
        assert_eq!(seen(&taken), [(id(1), vec![5, 7]), (id(2), vec![6])]);
        waiting.push(change(1, 8));
        assert_eq!((waiting.held(), waiting.pending()), (4 * ENTRY_BYTES, ENTRY_BYTES));
        tell(waiting.stored(Vec::new(), taken.flushes));
        assert_eq!(waiting.held(), ENTRY_BYTES);
    }

    #[test]
    fn what_is_refused_gathers_what_comes_behind_it_and_others_go_on() {
        let mut waiting = Waiting::default();
        waiting.push(change(1, 5));
        waiting.push(change(2, 6));
        let mut taken = waiting.take(false);
        // While that is being stored, both say more.
        waiting.push(change(1, 7));
        waiting.push(change(2, 8));
        taken.pending.retain(|one| one.projection.conversation == id(1));
        tell(waiting.stored(taken.pending, taken.flushes));
        waiting.push(change(1, 9));
        assert!(waiting.refuses(id(1)) && !waiting.refuses(id(2)));
        assert_eq!((waiting.held(), waiting.pending()), (4 * ENTRY_BYTES, ENTRY_BYTES));

        let taken = waiting.take(false);
        assert_eq!(seen(&taken), [(id(2), vec![8])]);
        tell(waiting.stored(Vec::new(), taken.flushes));
        assert_eq!(waiting.held(), 3 * ENTRY_BYTES);

        let again = waiting.take(true);
        assert_eq!(seen(&again), [(id(1), vec![5, 7, 9])]);
        assert_eq!(waiting.held(), 3 * ENTRY_BYTES);
        tell(waiting.stored(Vec::new(), again.flushes));
        assert_eq!((waiting.held(), waiting.refused()), (0, 0));
    }

    #[test]
    fn a_flush_of_all_does_not_wait_for_what_is_refused_and_one_of_that_does() {
        let mut waiting = Waiting::default();
        waiting.push(change(1, 5));
        waiting.push(change(2, 6));
        let mut of_all = flush(&mut waiting, None);
        let mut of_one = flush(&mut waiting, Some(id(1)));
        let mut of_two = flush(&mut waiting, Some(id(2)));
        let mut taken = waiting.take(false);
        taken.pending.retain(|one| one.projection.conversation == id(1));
        tell(waiting.stored(taken.pending, taken.flushes));
        assert!(of_all.try_recv().is_ok() && of_two.try_recv().is_ok());
        assert!(of_one.try_recv().is_err());

        let taken = waiting.take(false);
        tell(waiting.stored(Vec::new(), taken.flushes));
        assert!(of_one.try_recv().is_err(), "it was not even tried");
        let taken = waiting.take(true);
        tell(waiting.stored(Vec::new(), taken.flushes));
        assert!(of_one.try_recv().is_ok());
    }
}
