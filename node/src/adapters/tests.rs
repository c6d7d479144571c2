//! What any release stored is read. Proven by recordings in `tests/fixtures`, as [`recorded`] says; a store is written to by
//! one release and read by all that follow, so none of these recordings is ever taken away. To record, from the top of the
//! repository: `ROOKERY_RECORD=add cargo test -p rookery-node --lib recorded`, or `=new`.

use rookery_actors::id::{ConversationId, FileId, UserId};
use rookery_actors::ports::chats::{
    Content, Entry, LastChange, Member, Profile, StoredChange, StoredMessage, StoredReaction, StoredUpdate,
};
use rookery_actors::protocol::Json;
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
#[cfg(doc)]
use rookery_cluster::testkit::recorded;
use rookery_cluster::testkit::recorded::Sample;
use uuid::Uuid;

/// Where the recordings of one kind are.
pub fn fixtures(kind: &str) -> String {
    format!("{}/tests/fixtures/{kind}", env!("CARGO_MANIFEST_DIR"))
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0198_f000_0000_7000_8000_0000_0000_0000 + number)
}

pub fn user(number: u128) -> UserId {
    UserId(uuid(0x100 + number))
}

pub fn conversation() -> ConversationId {
    ConversationId(uuid(0x200))
}

pub fn at(second: i64) -> Timestamp {
    Timestamp(1_763_700_000_123 + second * 1_000)
}

fn message(seq: u64) -> StoredMessage {
    StoredMessage {
        seq,
        id: format!("client-{seq}"),
        from: user(1),
        at: at(seq as i64),
        content: Content::default(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }
}

fn stored_update(seq: u64, of: u64, change: StoredChange) -> StoredUpdate {
    StoredUpdate {
        seq,
        of,
        from: user(1),
        at: at(seq as i64),
        change,
        idempotency: None,
    }
}

fn update(seq: u64, of: u64, change: StoredChange) -> Entry {
    Entry::Update(stored_update(seq, of, change))
}

/// A history as it stands in the end: every kind of entry, with what it changed. Entries are added at the end, never changed.
pub fn entries() -> Vec<Entry> {
    let edited = StoredMessage {
        content: Content {
            body: "new".into(),
            data: Some(Json::from_stored(r#"{"a":[1,2.5,null]}"#)),
            attachments: vec![FileId(uuid(0x300))],
            reply_to: Some(1),
            mentions: vec![user(2)],
        },
        edited_at: Some(at(3)),
        reactions: vec![StoredReaction {
            emoji: "\u{1f44d}".into(),
            users: vec![user(1)],
        }],
        ..message(2)
    };
    let react = |remove| StoredChange::React {
        emoji: if remove { "\u{2764}" } else { "\u{1f44d}" }.into(),
        remove,
    };
    let deleted = StoredMessage {
        deleted: true,
        ..message(7)
    };
    let body = Some("new".to_owned());
    vec![
        Entry::Message(message(1)),
        Entry::Message(edited),
        update(3, 2, StoredChange::Edit { body }),
        update(4, 2, react(false)),
        update(5, 2, react(true)),
        Entry::Message(message(6)),
        Entry::Message(deleted),
        update(8, 7, StoredChange::Edit { body: None }),
        update(9, 7, StoredChange::Delete),
    ]
}

/// Every kind of entry by a name.
pub fn named_entries() -> Vec<Sample<Entry>> {
    let name = |entry: &Entry| match entry {
        Entry::Message(_) => "message",
        Entry::Update(StoredUpdate { change, .. }) => match change {
            StoredChange::Edit { .. } => "edit",
            StoredChange::Delete => "delete",
            StoredChange::React { .. } => "react",
        },
    };
    let keyed = StoredUpdate {
        idempotency: Some(u64::MAX - 1),
        ..stored_update(10, 7, StoredChange::Delete)
    };
    let entries = entries().into_iter().chain([Entry::Update(keyed)]);
    entries
        .map(|entry| (format!("{} {}", name(&entry), entry.seq()), entry))
        .collect()
}

/// Every kind of profile.
pub fn profiles() -> Vec<Sample<Profile>> {
    let group = |photo, description: Option<&str>, last_change| Profile::Group {
        name: "Birds".into(),
        photo,
        description: description.map(str::to_owned),
        created_at: at(0),
        updated_at: at(1),
        last_change,
    };
    let change = LastChange {
        process: u64::MAX - 1,
        offset: 300,
    };
    let direct = |gone| Profile::Direct {
        pair: [user(1), user(2)],
        gone,
    };
    vec![
        ("group".into(), group(Some(FileId(uuid(0x300))), Some("of prey"), None)),
        ("bare group".into(), group(None, None, None)),
        ("changed group".into(), group(None, None, Some(change))),
        ("direct".into(), direct(Vec::new())),
        ("left behind".into(), direct(vec![user(2)])),
    ]
}

/// Members of every role.
pub fn members() -> Vec<Member> {
    let member = |number: u128, role, admin_since| Member {
        user: user(number),
        role,
        joined_at: at(number as i64),
        joined_seq: number as u64,
        admin_since,
    };
    vec![
        member(1, Role::Owner, Some(at(1))),
        member(2, Role::Admin, Some(at(5))),
        member(3, Role::Member, None),
    ]
}
