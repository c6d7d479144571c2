//! What a projection writes, worked out without the store: pure, so that it is tested without one.

use std::collections::BTreeMap;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{
    Entry, Member, Profile, Projection, Step, StoredChange, StoredMessage, StoredUpdate,
};
use rookery_actors::ports::log::Offset;
use rookery_actors::time::Timestamp;

/// Everything one conversation takes from a batch.
pub struct Plan {
    pub conversation: ConversationId,
    pub applied: Offset,
    pub head: u64,
    pub active_at: Timestamp,
    pub profile: Option<Profile>,
    /// The group goes: nothing else of the plan is to be written.
    pub deleted: bool,
    /// New messages by seq, with the updates of this batch folded in, and the seq of the last of those.
    pub messages: BTreeMap<u64, (StoredMessage, u64)>,
    /// New updates in order, by the message they name.
    pub updates: BTreeMap<u64, Vec<StoredUpdate>>,
    /// What becomes of the members that the batch names.
    pub roster: Roster,
}

/// What becomes of members, each once.
pub type Roster = BTreeMap<UserId, Standing>;

/// How a user stands in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Member(Member),
    /// `was`: a member in between, so that there is somebody to remember whoever was stored before.
    Gone {
        was: bool,
    },
}

/// Plans of a batch, one a conversation.
pub fn of(batch: Vec<Projection>) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::with_capacity(batch.len());
    let mut places = BTreeMap::new();
    for projection in batch {
        let place = *places.entry(projection.conversation).or_insert(plans.len());
        if place == plans.len() {
            plans.push(Plan::empty(&projection));
        }
        plans[place].take(projection);
    }
    for plan in &mut plans {
        plan.fold();
    }
    plans
}

impl Plan {
    fn empty(projection: &Projection) -> Self {
        Self {
            conversation: projection.conversation,
            applied: 0,
            head: 0,
            active_at: projection.active_at,
            profile: None,
            deleted: false,
            messages: BTreeMap::new(),
            updates: BTreeMap::new(),
            roster: Roster::new(),
        }
    }

    fn take(&mut self, projection: Projection) {
        if projection.applied <= self.applied {
            return;
        }
        self.applied = projection.applied;
        self.head = self.head.max(projection.head);
        self.active_at = projection.active_at;
        for step in projection.steps {
            match step {
                Step::Profile(profile) => self.profile = Some(profile),
                Step::Entry(entry) => self.entry(&entry),
                Step::Joined(members) => self.join(members),
                Step::Left(users) => self.leave(users),
                Step::Deleted => self.deleted = true,
            }
        }
    }

    fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Message(message) => {
                self.messages.entry(message.seq).or_insert_with(|| (message.clone(), 0));
            }
            Entry::Update(update) => self.updates.entry(update.of).or_default().push(update.clone()),
        }
    }

    fn join(&mut self, members: Vec<Member>) {
        self.roster.extend(
            members
                .into_iter()
                .map(|member| (member.user, Standing::Member(member))),
        );
    }

    fn leave(&mut self, users: Vec<UserId>) {
        for user in users {
            leave(&mut self.roster, user);
        }
    }

    /// Folds updates into messages that are new themselves; a text that a deletion takes out is never written.
    fn fold(&mut self) {
        for (of, updates) in &mut self.updates {
            updates.sort_by_key(|update| update.seq);
            updates.dedup_by_key(|update| update.seq);
            let Some((message, folded)) = self.messages.get_mut(of) else {
                continue;
            };
            for update in updates.iter() {
                message.fold(update);
                *folded = update.seq;
            }
            if message.deleted {
                updates.iter_mut().for_each(take_text);
            }
        }
    }
}

/// The later of two standings of a user, the earlier of which may be remembered.
pub fn stand(roster: &mut Roster, user: UserId, standing: Standing) {
    match standing {
        Standing::Gone { was: false } => leave(roster, user),
        later => drop(roster.insert(user, later)),
    }
}

fn leave(roster: &mut Roster, user: UserId) {
    let was = match roster.get(&user) {
        Some(Standing::Member(_)) => true,
        Some(Standing::Gone { was }) => *was,
        None => false,
    };
    roster.insert(user, Standing::Gone { was });
}

fn take_text(update: &mut StoredUpdate) {
    if let StoredChange::Edit { body } = &mut update.change {
        *body = None;
    }
}

/// Folds updates into a message that is stored with those up to the seq `folded`; answers the seq of the last that was new.
pub fn fold_new(message: &mut StoredMessage, folded: u64, updates: &[StoredUpdate]) -> Option<u64> {
    let new: Vec<_> = updates.iter().filter(|update| update.seq > folded).collect();
    for update in &new {
        message.fold(update);
    }
    new.last().map(|update| update.seq)
}

/// Whether updates may have left text in the history of a message that is deleted.
pub fn leaves_text(updates: &[StoredUpdate]) -> bool {
    updates
        .iter()
        .any(|update| matches!(update.change, StoredChange::Edit { .. } | StoredChange::Delete))
}

#[cfg(test)]
mod tests;
