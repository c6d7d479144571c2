//! Conversations, memberships and cursors in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::MemoryAccounts;
use crate::id::{ConversationId, DeviceId, UserId};
use crate::ports::chats::{
    ChatStore, CursorUpdate, Cursors, DEDUPE_WINDOW, DeviceCursors, Entry, Inbox, Member, Membership, OVERVIEW_ENTRIES,
    Overview, Profile, Projection, RecentChange, RecentId, Snapshot, Sought, Span, Step, StoredChange, StoredMessage,
    StoredUpdate,
};
use crate::ports::{PortError, PortResult};
use crate::time::Timestamp;

/// All conversations.
pub struct MemoryChats {
    accounts: Arc<MemoryAccounts>,
    chats: Mutex<BTreeMap<ConversationId, Chat>>,
    /// Conversations of which nothing more is taken.
    refused: Mutex<Vec<ConversationId>>,
    /// How often entries of a range were read.
    ranges: AtomicU64,
    /// Whether loads of conversations have to wait.
    held: watch::Sender<bool>,
    /// Whether a message that is asked for is refused.
    away: AtomicBool,
}

#[derive(Default)]
struct Chat {
    profile: Option<Profile>,
    deleted: bool,
    head: u64,
    applied: u64,
    active_at: Timestamp,
    members: BTreeMap<UserId, Kept>,
    past: BTreeSet<UserId>,
    entries: BTreeMap<u64, Entry>,
    ids: HashMap<(UserId, String), (u64, Timestamp)>,
}

/// A member with cursors and settings.
struct Kept {
    member: Member,
    read: u64,
    delivered: u64,
    devices: BTreeMap<DeviceId, u64>,
    muted_until: Option<Timestamp>,
    pinned: bool,
}

impl Kept {
    fn new(member: Member) -> Self {
        Self {
            read: member.joined_seq,
            delivered: member.joined_seq,
            member,
            devices: BTreeMap::new(),
            muted_until: None,
            pinned: false,
        }
    }
}

impl Chat {
    fn project(&mut self, projection: Projection) {
        if projection.applied <= self.applied {
            return;
        }
        self.applied = projection.applied;
        if self.deleted {
            return;
        }
        self.head = projection.head;
        self.active_at = projection.active_at;
        for step in projection.steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Profile(profile) => self.profile = Some(profile),
            Step::Entry(entry) => self.enter(entry.as_ref().clone()),
            Step::Joined(members) => {
                for member in members {
                    match self.members.get_mut(&member.user) {
                        Some(kept) => kept.member = member,
                        None => drop(self.members.insert(member.user, Kept::new(member))),
                    }
                }
            }
            Step::Left(users) => {
                for user in users {
                    if self.members.remove(&user).is_some() {
                        self.past.insert(user);
                    }
                }
            }
            Step::Deleted => self.bury(),
        }
    }

    fn bury(&mut self) {
        let empty = Profile::Group {
            name: String::new(),
            photo: None,
            description: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            last_change: None,
        };
        *self = Self {
            profile: Some(empty),
            deleted: true,
            applied: self.applied,
            active_at: self.active_at,
            ..Self::default()
        };
    }

    fn enter(&mut self, entry: Entry) {
        if self.entries.contains_key(&entry.seq()) {
            return;
        }
        match &entry {
            Entry::Message(message) => {
                let sent = (message.seq, message.at);
                self.ids.insert((message.from, message.id.clone()), sent);
            }
            Entry::Update(update) => self.fold(update),
        }
        let seq = entry.seq();
        self.entries.insert(seq, entry);
        self.scrub(seq);
    }

    fn fold(&mut self, update: &StoredUpdate) {
        let Some(Entry::Message(message)) = self.entries.get_mut(&update.of) else {
            return;
        };
        message.fold(update);
    }

    /// Takes the text out of the edits of a message that is deleted.
    fn scrub(&mut self, seq: u64) {
        let Some(Entry::Update(update)) = self.entries.get(&seq) else {
            return;
        };
        let of = update.of;
        if !matches!(self.entries.get(&of), Some(Entry::Message(message)) if message.deleted) {
            return;
        }
        for entry in self.entries.values_mut() {
            if let Entry::Update(update) = entry
                && update.of == of
                && matches!(update.change, StoredChange::Edit { .. })
            {
                update.change = StoredChange::Edit { body: None };
            }
        }
    }

    fn messages(&self) -> impl DoubleEndedIterator<Item = &StoredMessage> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Message(message) => Some(message),
            Entry::Update(_) => None,
        })
    }

    fn unread(&self, user: UserId, (after, upto): (u64, u64), most: u32) -> u32 {
        let unread = self
            .messages()
            .filter(|message| message.seq > after && message.seq <= upto && message.from != user);
        unread.take(most as usize).count() as u32
    }

    fn overview(&self, user: UserId, read: u64) -> Option<Overview> {
        let within = self.head.saturating_sub(read) <= OVERVIEW_ENTRIES;
        (within && self.members.contains_key(&user)).then_some(())?;
        Some(Overview {
            profile: self.profile.clone()?,
            head: self.head,
            unread: self.unread(user, (read, self.head), u32::MAX),
            latest: self.messages().next_back().cloned(),
        })
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let recent = self.messages().rev().take(DEDUPE_WINDOW).map(|message| RecentId {
            from: message.from,
            id: message.id.clone(),
            seq: message.seq,
            at: message.at,
        });
        let mut recent: Vec<_> = recent.collect();
        recent.reverse();
        let known_after = self.head.saturating_sub(DEDUPE_WINDOW as u64);
        let latest = self.entries.range(known_after + 1..).map(|(_, entry)| entry);
        Some(Snapshot {
            profile: self.profile.clone()?,
            head: self.head,
            applied: self.applied,
            active_at: self.active_at,
            members: self.members.values().map(|kept| kept.member.clone()).collect(),
            recent,
            changes: latest.filter_map(RecentChange::of).collect(),
            deleted: self.deleted,
        })
    }
}

impl MemoryChats {
    pub fn new(accounts: Arc<MemoryAccounts>) -> Self {
        Self {
            accounts,
            chats: Mutex::default(),
            refused: Mutex::default(),
            ranges: AtomicU64::new(0),
            held: watch::Sender::new(false),
            away: AtomicBool::new(false),
        }
    }

    /// From now on no single message is told, or again each, as by a store that is away for a moment.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// From now on whatever changes that conversation is refused, or no longer, as by a store that finds it too large.
    pub fn refuse(&self, conversation: ConversationId, refuse: bool) {
        let mut refused = self.refused.lock();
        refused.retain(|known| *known != conversation);
        refused.extend(refuse.then_some(conversation));
    }

    fn refuses(&self, conversation: ConversationId) -> bool {
        self.refused.lock().contains(&conversation)
    }

    /// Holds loads of conversations back, as a store does that is slow; letting go answers them.
    pub fn hold(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    /// How often entries of a range were read until now.
    pub fn ranges_read(&self) -> u64 {
        self.ranges.load(Ordering::Relaxed)
    }

    fn with<T>(&self, conversation: ConversationId, act: impl FnOnce(&mut Chat) -> T) -> Option<T> {
        self.chats.lock().get_mut(&conversation).map(act)
    }

    fn inbox(&self, user: UserId) -> Inbox {
        let devices = self.accounts.devices_of(user);
        let chats = self.chats.lock();
        let of = |(id, chat): (&ConversationId, &Chat)| {
            let kept = chat.members.get(&user)?;
            Some(Membership {
                conversation: *id,
                head: chat.head,
                active_at: chat.active_at,
                joined_seq: kept.member.joined_seq,
                joined_at: kept.member.joined_at,
                read: kept.read,
                delivered: kept.delivered,
                muted_until: kept.muted_until,
                pinned: kept.pinned,
            })
        };
        let cursors = |device: DeviceId| {
            let of = |(id, chat): (&ConversationId, &Chat)| {
                let seq = chat.members.get(&user)?.devices.get(&device)?;
                Some((*id, *seq))
            };
            chats.iter().filter_map(of).collect()
        };
        Inbox {
            memberships: chats.iter().filter_map(of).collect(),
            devices: devices
                .into_iter()
                .map(|device| DeviceCursors {
                    cursors: cursors(device.id),
                    device: device.id,
                    login: device.login,
                    name: device.name,
                    created_at: device.created_at,
                    last_seen_at: device.last_seen_at,
                })
                .collect(),
        }
    }
}

#[async_trait]
impl ChatStore for MemoryChats {
    async fn conversation(&self, conversation: ConversationId) -> PortResult<Option<Snapshot>> {
        self.held.subscribe().wait_for(|held| !held).await.ok();
        Ok(self.with(conversation, |chat| chat.snapshot()).flatten())
    }

    async fn overview(&self, conversation: ConversationId, user: UserId, read: u64) -> PortResult<Option<Overview>> {
        Ok(self.with(conversation, |chat| chat.overview(user, read)).flatten())
    }

    async fn project(&self, batch: Vec<Projection>) -> PortResult<()> {
        if let Some(one) = batch.iter().find(|one| self.refuses(one.conversation)) {
            return Err(PortError::Broken(format!(
                "{} was made to be refused",
                one.conversation
            )));
        }
        let mut chats = self.chats.lock();
        for projection in batch {
            chats.entry(projection.conversation).or_default().project(projection);
        }
        Ok(())
    }

    async fn entries(&self, conversation: ConversationId, from: u64, to: u64, limit: usize) -> PortResult<Vec<Entry>> {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        let of = |chat: &mut Chat| match from <= to {
            true => chat
                .entries
                .range(from..=to)
                .map(|(_, entry)| entry.clone())
                .take(limit)
                .collect(),
            false => Vec::new(),
        };
        Ok(self.with(conversation, of).unwrap_or_default())
    }

    async fn messages(
        &self,
        conversation: ConversationId,
        span: Span,
        limit: usize,
    ) -> PortResult<(Vec<StoredMessage>, bool)> {
        let of = |chat: &mut Chat| -> Vec<StoredMessage> {
            let messages = chat.messages();
            match span {
                Span::Before(before) => {
                    let below = messages.rev().filter(|message| message.seq < before);
                    below.take(limit.saturating_add(1)).cloned().collect()
                }
                Span::After(after) => {
                    let beyond = messages.filter(|message| message.seq > after);
                    beyond.take(limit.saturating_add(1)).cloned().collect()
                }
            }
        };
        let mut page = self.with(conversation, of).unwrap_or_default();
        let more = page.len() > limit;
        page.truncate(limit);
        Ok((page, more))
    }

    async fn message(&self, conversation: ConversationId, seq: u64) -> PortResult<Option<StoredMessage>> {
        if self.away.load(Ordering::Relaxed) {
            return Err(PortError::Unavailable("the store is away".into()));
        }
        let of = |chat: &mut Chat| match chat.entries.get(&seq) {
            Some(Entry::Message(message)) => Some(message.clone()),
            _ => None,
        };
        Ok(self.with(conversation, of).flatten())
    }

    async fn find(&self, sought: &[Sought]) -> PortResult<Vec<Option<(u64, Timestamp)>>> {
        let found = sought.iter().map(|one| {
            let of = |chat: &mut Chat| chat.ids.get(&(one.from, one.id.clone())).copied();
            self.with(one.conversation, of).flatten()
        });
        Ok(found.collect())
    }

    async fn unread(
        &self,
        conversation: ConversationId,
        user: UserId,
        after: u64,
        upto: u64,
        most: u32,
    ) -> PortResult<u32> {
        let of = |chat: &mut Chat| chat.unread(user, (after, upto), most);
        Ok(self.with(conversation, of).unwrap_or_default())
    }

    async fn inboxes(&self, users: &[UserId]) -> PortResult<Vec<Inbox>> {
        Ok(users.iter().map(|user| self.inbox(*user)).collect())
    }

    async fn heads(&self, conversations: &[ConversationId]) -> PortResult<Vec<u64>> {
        let chats = self.chats.lock();
        Ok(conversations
            .iter()
            .map(|id| chats.get(id).map_or(0, |chat| chat.head))
            .collect())
    }

    async fn save_cursors(&self, updates: Vec<CursorUpdate>) -> PortResult<()> {
        let mut chats = self.chats.lock();
        for update in updates {
            let chat = chats.get_mut(&update.conversation);
            let Some(kept) = chat.and_then(|chat| chat.members.get_mut(&update.user)) else {
                continue;
            };
            kept.read = kept.read.max(update.read);
            kept.delivered = kept.delivered.max(update.delivered);
            for (device, seq) in update.devices {
                let known = kept.devices.entry(device).or_default();
                *known = seq.max(*known);
            }
        }
        Ok(())
    }

    async fn save_preferences(
        &self,
        user: UserId,
        conversation: ConversationId,
        muted_until: Option<Option<Timestamp>>,
        pinned: Option<bool>,
    ) -> PortResult<bool> {
        let of = |chat: &mut Chat| {
            let Some(kept) = chat.members.get_mut(&user) else {
                return false;
            };
            kept.muted_until = muted_until.unwrap_or(kept.muted_until);
            kept.pinned = pinned.unwrap_or(kept.pinned);
            true
        };
        Ok(self.with(conversation, of).unwrap_or_default())
    }

    async fn receipts(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortResult<Vec<Cursors>> {
        let of = |chat: &mut Chat| {
            let beyond = chat
                .members
                .iter()
                .filter(|(user, _)| after.is_none_or(|after| **user > after));
            let cursors = beyond.take(limit).map(|(user, kept)| Cursors {
                user: *user,
                delivered: kept.delivered,
                read: kept.read,
            });
            cursors.collect()
        };
        Ok(self.with(conversation, of).unwrap_or_default())
    }

    async fn acquainted(&self, user: UserId, others: &[UserId]) -> PortResult<Vec<UserId>> {
        let chats = self.chats.lock();
        let share = |other: &UserId| {
            let mut chats = chats.values();
            chats.any(|chat| chat.members.contains_key(&user) && chat.members.contains_key(other))
        };
        Ok(others.iter().copied().filter(share).collect())
    }

    async fn was_member(&self, conversation: ConversationId, user: UserId) -> PortResult<bool> {
        let was = |chat: &mut Chat| chat.members.contains_key(&user) || chat.past.contains(&user);
        Ok(self.with(conversation, was).unwrap_or_default())
    }
}
