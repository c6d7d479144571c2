//! A log of some conversations, made up from a seed, with what every prefix of it comes to; and projectors that cut it into
//! batches as chance has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{
    Content, Entry, Member, Profile, Projection, Step, StoredChange, StoredMessage, StoredUpdate,
};
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::ShardId;

/// SplitMix64 (Steele, Lea, Flood 2014): any seed repeats its run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// One conversation's part of the log: what each record does.
pub struct Chat {
    pub id: ConversationId,
    pub records: Vec<Record>,
}

/// A record's effects, and how the conversation stands after it.
pub struct Record {
    steps: Vec<Step>,
    pub head: u64,
    pub members: Vec<Member>,
    at: Timestamp,
}

/// What a conversation grows from.
struct Growing {
    users: Vec<UserId>,
    members: BTreeMap<UserId, Member>,
    head: u64,
    messages: Vec<u64>,
    clock: i64,
}

impl Chat {
    /// So many records among these users.
    pub fn made_up(dice: &mut Dice, users: &[UserId], count: usize) -> Self {
        let mut growing = Growing {
            users: users.to_vec(),
            members: BTreeMap::new(),
            head: 0,
            messages: Vec::new(),
            clock: 1_000,
        };
        let mut records = vec![growing.record(|it| it.beginning())];
        while records.len() < count {
            let what = dice.below(10);
            records.push(growing.record(|it| it.next(dice, what)));
        }
        Self {
            id: ConversationId::fresh(),
            records,
        }
    }

    /// Records `from..to` as one projection.
    pub fn projection(&self, from: usize, to: usize) -> Projection {
        let records = &self.records[from..to];
        let last = records.last().expect("a projection is of something");
        Projection {
            conversation: self.id,
            shard: ShardId(0),
            applied: to as u64,
            head: last.head,
            active_at: last.at,
            steps: records.iter().flat_map(|record| record.steps.clone()).collect(),
        }
    }
}

impl Growing {
    fn record(&mut self, act: impl FnOnce(&mut Self) -> Vec<Step>) -> Record {
        self.clock += 1;
        let steps = act(self);
        Record {
            steps,
            head: self.head,
            members: self.members.values().cloned().collect(),
            at: Timestamp(self.clock),
        }
    }

    fn beginning(&mut self) -> Vec<Step> {
        let users: Vec<_> = self.users.iter().take(3).copied().collect();
        let joined = users.into_iter().map(|user| self.join(user, Role::Member)).collect();
        vec![self.profile(), Step::Joined(joined)]
    }

    fn next(&mut self, dice: &mut Dice, what: u64) -> Vec<Step> {
        let user = self.users[dice.below(self.users.len() as u64) as usize];
        match what {
            0..4 => vec![self.message(dice, user)],
            4..7 if !self.messages.is_empty() => vec![self.update(dice, user)],
            7 if self.members.contains_key(&user) && self.members.len() > 1 => {
                self.members.remove(&user);
                vec![Step::Left(vec![user])]
            }
            7 | 8 if !self.members.contains_key(&user) => vec![Step::Joined(vec![self.join(user, Role::Member)])],
            8 => {
                let role = [Role::Member, Role::Admin][dice.below(2) as usize];
                let since = Timestamp(self.clock);
                let member = self.members.get_mut(&user).expect("a member");
                member.role = role;
                member.admin_since = (role == Role::Admin).then_some(since);
                vec![Step::Joined(vec![member.clone()])]
            }
            9 => vec![self.profile()],
            // A refused command: the log has it, and it does nothing.
            _ => Vec::new(),
        }
    }

    fn profile(&self) -> Step {
        Step::Profile(Profile::Group {
            name: format!("as of {}", self.clock),
            photo: None,
            description: None,
            created_at: Timestamp(1),
            updated_at: Timestamp(self.clock),
            last_change: None,
        })
    }

    fn join(&mut self, user: UserId, role: Role) -> Member {
        let member = Member {
            user,
            role,
            joined_at: Timestamp(self.clock),
            joined_seq: self.head,
            admin_since: None,
        };
        self.members.insert(user, member.clone());
        member
    }

    fn message(&mut self, dice: &mut Dice, from: UserId) -> Step {
        self.head += 1;
        self.messages.push(self.head);
        let message = StoredMessage {
            seq: self.head,
            id: format!("client {}", self.head),
            from,
            at: Timestamp(self.clock),
            content: Content {
                body: format!("text {}", dice.below(1_000_000)),
                ..Content::default()
            },
            edited_at: None,
            deleted: false,
            reactions: Vec::new(),
        };
        Step::Entry(Arc::new(Entry::Message(message)))
    }

    fn update(&mut self, dice: &mut Dice, from: UserId) -> Step {
        // Of one of the latest few, so that a message has many.
        let latest = self.messages.len().saturating_sub(4);
        let among = &self.messages[latest..];
        let of = among[dice.below(among.len() as u64) as usize];
        self.head += 1;
        let emoji = || ["+", "-", "!"][(self.head % 3) as usize].to_owned();
        let change = match dice.below(8) {
            0..3 => StoredChange::Edit {
                body: Some(format!("edit {}", self.head)),
            },
            3..5 => StoredChange::React {
                emoji: emoji(),
                remove: false,
            },
            5..7 => StoredChange::React {
                emoji: emoji(),
                remove: true,
            },
            _ => StoredChange::Delete,
        };
        let (seq, at) = (self.head, Timestamp(self.clock));
        Step::Entry(Arc::new(Entry::Update(StoredUpdate {
            seq,
            of,
            from,
            at,
            change,
            idempotency: dice.one_in(2).then(|| dice.below(u64::MAX)),
        })))
    }
}
