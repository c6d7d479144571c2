//! What users were promised and shown, and whether it holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{ChatStore, Entry, StoredChange};

/// Who gave a message which client id, or what to change one to.
pub type Name = (UserId, String);

#[derive(Default)]
pub struct Ledger(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// What was asked to be sent where, and how much had been asked for before.
    asked: HashMap<Name, (ConversationId, usize)>,
    /// Edits that a client asked for again when it was open whether they had been made.
    twice: HashSet<Name>,
    /// Changes that were answered with a conflict: their message was deleted. They may have been made before.
    given_up: HashSet<Name>,
    /// What was answered `sent`, or `ok`.
    sent: HashMap<Name, u64>,
    /// What each device was shown, by its number.
    shown: BTreeMap<(usize, ConversationId), BTreeMap<u64, Name>>,
    /// The head of a group when a user joined it.
    joined: HashMap<(UserId, ConversationId), u64>,
    /// Who is no member of a group for the time being, and how much had been asked for when it was so.
    gone: HashMap<(UserId, ConversationId), usize>,
    wrong: Option<String>,
}

impl Ledger {
    /// Something happened that must not. The first counts.
    pub fn wrong(&self, what: String) {
        self.0.lock().wrong.get_or_insert(what);
    }

    pub fn verdict(&self) -> Result<(), String> {
        self.0.lock().wrong.clone().map_or(Ok(()), Err)
    }

    pub fn asked(&self, name: Name, conversation: ConversationId) {
        let mut books = self.0.lock();
        let before = books.asked.len();
        books.asked.entry(name).or_insert((conversation, before));
    }

    /// An edit is asked for again.
    pub fn may_stand_twice(&self, name: Name) {
        self.0.lock().twice.insert(name);
    }

    /// A change was refused for good.
    pub fn given_up(&self, name: Name) {
        self.0.lock().given_up.insert(name);
    }

    pub fn sent(&self, name: &Name, seq: u64) {
        let before = self.0.lock().sent.insert(name.clone(), seq);
        if before.is_some_and(|before| before != seq) {
            self.wrong(format!("{name:?} was answered seq {before:?}, then {seq}"));
        }
    }

    /// A device of a user was shown a message.
    pub fn shown(&self, device: usize, user: UserId, conversation: ConversationId, seq: u64, name: Name) {
        let mut books = self.0.lock();
        let asked = books.asked.get(&name).map(|(_, before)| *before);
        let gone = books.gone.get(&(user, conversation));
        if gone.zip(asked).is_some_and(|(gone, asked)| asked >= *gone) {
            drop(books);
            return self.wrong(format!(
                "device {device} was shown {name:?}, {conversation} {seq}, when its user was gone"
            ));
        }
        let of_device = books.shown.entry((device, conversation)).or_default();
        let before = of_device.insert(seq, name.clone());
        if before.as_ref().is_some_and(|before| *before != name) {
            drop(books);
            self.wrong(format!(
                "device {device} was shown {before:?} and {name:?} as {conversation} {seq}"
            ));
        }
    }

    /// A user is to see a group from behind that seq on.
    pub fn joined(&self, user: UserId, group: ConversationId, seq: u64) {
        self.0.lock().joined.insert((user, group), seq);
    }

    /// A user is no member of a group any more, and is to see nothing of it that is asked for from now on,
    pub fn goes(&self, user: UserId, group: ConversationId) {
        let mut books = self.0.lock();
        let asked = books.asked.len();
        books.gone.insert((user, group), asked);
    }

    /// until it may be a member again.
    pub fn comes(&self, user: UserId, group: ConversationId) {
        self.0.lock().gone.remove(&(user, group));
    }

    /// The conversations of which a device was shown anything.
    pub fn conversations(&self, device: usize) -> Vec<ConversationId> {
        let books = self.0.lock();
        let of_device = books.shown.keys().filter(|(shown_to, _)| *shown_to == device);
        of_device.map(|(_, conversation)| *conversation).collect()
    }

    /// How far a device of a user has seen a conversation without a hole.
    pub fn seen(&self, device: usize, user: UserId, conversation: ConversationId) -> u64 {
        let books = self.0.lock();
        let shown = books.shown.get(&(device, conversation));
        let joined = books.joined.get(&(user, conversation)).copied().unwrap_or(0);
        let seqs = shown.into_iter().flat_map(|shown| shown.range(joined + 1..));
        let whole = (joined + 1..)
            .zip(seqs)
            .take_while(|(expected, (seq, _))| expected == *seq);
        whole.last().map_or(0, |(seq, _)| seq)
    }

    /// Whether the store has all that was promised, nothing twice and nothing else.
    pub async fn check_store(&self, chats: &dyn ChatStore) -> Result<(), String> {
        let asked = self.0.lock().asked.clone();
        let mut conversations: Vec<_> = asked.values().map(|(conversation, _)| *conversation).collect();
        conversations.sort_unstable();
        conversations.dedup();
        let mut stored: HashMap<Name, Vec<u64>> = HashMap::new();
        for conversation in conversations {
            let entries = chats.entries(conversation, 1, u64::MAX, usize::MAX).await;
            for (expected, entry) in (1..).zip(entries.map_err(|error| error.to_string())?) {
                if entry.seq() != expected {
                    return Err(format!("{conversation} has {} where {expected} is due", entry.seq()));
                }
                let name = name_of(conversation, entry);
                if asked.get(&name).is_none_or(|(to, _)| *to != conversation) {
                    return Err(format!("{name:?} in {conversation} was made up"));
                }
                stored.entry(name).or_default().push(expected);
            }
        }
        let books = self.0.lock();
        let twice = stored
            .iter()
            .find(|(name, seqs)| seqs.len() > 1 && !books.twice.contains(*name));
        if let Some((name, seqs)) = twice {
            return Err(format!("{name:?} is {seqs:?} of {:?}", books.asked.get(name)));
        }
        for (name, seq) in &books.sent {
            let seqs = stored.get(name);
            if seqs.is_none_or(|seqs| !seqs.contains(seq)) {
                return Err(format!("{name:?} was answered seq {seq}, and is {seqs:?}"));
            }
        }
        let is_open = |name: &&Name| !books.sent.contains_key(*name) && !books.given_up.contains(*name);
        let unanswered = books.asked.keys().find(is_open);
        unanswered.map_or(Ok(()), |name| Err(format!("{name:?} was never answered")))
    }

    /// Whether a device was shown all of the conversations of its user, as they are.
    pub async fn check_device(
        &self,
        device: usize,
        user: UserId,
        of: &[ConversationId],
        chats: &dyn ChatStore,
    ) -> Result<(), String> {
        for conversation in of {
            let joined = self.0.lock().joined.get(&(user, *conversation)).copied();
            let from = joined.unwrap_or(0) + 1;
            let entries = chats.entries(*conversation, from, u64::MAX, usize::MAX).await;
            let books = self.0.lock();
            let shown = books.shown.get(&(device, *conversation));
            for entry in entries.map_err(|error| error.to_string())? {
                let seq = entry.seq();
                let name = shown.and_then(|shown| shown.get(&seq));
                let expected = name_of(*conversation, entry);
                if name != Some(&expected) {
                    return Err(format!(
                        "device {device} was shown {name:?} where {conversation} {seq} is {expected:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What the deletion of a message is known by: there is but one.
pub fn deletion(conversation: ConversationId, of: u64) -> String {
    format!("the deletion of {conversation} {of}")
}

fn name_of(conversation: ConversationId, entry: Entry) -> Name {
    match entry {
        Entry::Message(message) => (message.from, message.id),
        Entry::Update(update) => match update.change {
            StoredChange::React { emoji, .. } => (update.from, emoji),
            StoredChange::Edit { body } => (update.from, body.unwrap_or_default()),
            StoredChange::Delete => (update.from, deletion(conversation, update.of)),
        },
    }
}
