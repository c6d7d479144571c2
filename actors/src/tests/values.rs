//! What messages and records are made of: a sample of each variant at least. Samples are added, and never changed.

use rookery_cluster::testkit::recorded::Sample;
use uuid::Uuid;

use super::{each, like, of};
use crate::conversation::command::Command;
use crate::id::{ConnectionId, ConversationId, DeviceId, FileId, LoginId, UserId};
use crate::ports::chats::{Content, Entry, StoredChange, StoredMessage, StoredReaction, StoredUpdate};
use crate::protocol::error::FieldError;
use crate::protocol::view::{Kind, Role};
use crate::protocol::{CloseCode, ErrorCode, Json, Problem};
use crate::time::Timestamp;

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0198_f000_0000_7000_8000_0000_0000_0000 + number)
}

pub fn user(number: u128) -> UserId {
    UserId(uuid(0x100 + number))
}

pub fn conversation() -> ConversationId {
    ConversationId(uuid(0x200))
}

pub fn file() -> FileId {
    FileId(uuid(0x300))
}

pub fn device() -> DeviceId {
    DeviceId(uuid(0x400))
}

pub fn login(number: u128) -> LoginId {
    LoginId(uuid(0x500 + number))
}

pub fn connection() -> ConnectionId {
    ConnectionId(0xfedc_ba98_7654_3210)
}

pub fn at(second: i64) -> Timestamp {
    Timestamp(1_763_700_000_123 + second * 1_000)
}

pub fn data() -> Json {
    Json::from_stored(r#"{"a":[1,-2,2.5,null,true],"b":"ü"}"#)
}

pub fn content() -> Content {
    Content {
        body: "Hello, \u{1f426}".into(),
        data: Some(data()),
        attachments: vec![file()],
        reply_to: Some(7),
        mentions: vec![user(2)],
    }
}

pub fn roles() -> Vec<Sample<Role>> {
    every!(Role { Member, Admin, Owner } vec![of(Role::Member), of(Role::Admin), of(Role::Owner)])
}

pub fn kinds() -> Vec<Sample<Kind>> {
    every!(Kind { Direct, Group } vec![of(Kind::Direct), of(Kind::Group)])
}

pub fn changes() -> Vec<Sample<StoredChange>> {
    let react = |remove| StoredChange::React {
        emoji: "👍".into(),
        remove,
    };
    every!(StoredChange { Edit, Delete, React } vec![
        of(StoredChange::Edit { body: Some("new".into()) }),
        of(StoredChange::Delete),
        of(react(false)),
        like(" back", react(true)),
    ])
}

/// Every kind of command.
pub fn commands() -> Vec<Sample<Command>> {
    let update = |change| Command::Update {
        from: user(1),
        of: 300,
        change,
        idempotency: None,
    };
    let keyed = Command::Update {
        from: user(1),
        of: 300,
        change: StoredChange::Delete,
        idempotency: Some(u64::MAX - 1),
    };
    let role = |role| Command::SetRole {
        by: user(1),
        user: user(2),
        role,
    };
    let plain = vec![
        of(Command::Send {
            from: user(1),
            id: "client-1".into(),
            content: content(),
            peer: Some(user(2)),
        }),
        like(
            " bare",
            Command::Send {
                from: user(1),
                id: String::new(),
                content: Content::default(),
                peer: None,
            },
        ),
        of(Command::Create {
            by: user(1),
            name: "Birds".into(),
            photo: Some(file()),
            description: Some("of prey".into()),
            members: vec![user(2), user(3)],
        }),
        of(Command::Open {
            pair: [user(1), user(2)],
        }),
        of(Command::Add {
            by: user(1),
            users: vec![user(2), user(3)],
        }),
        of(Command::Remove {
            by: user(1),
            user: user(2),
        }),
        of(Command::Delete { by: user(1) }),
        of(Command::Gone { user: user(1) }),
        like(" keyed", keyed),
    ];
    let parts = [plain, patches(), each(changes(), update), each(roles(), role)];
    every!(Command { Send, Update, Create, Open, Add, Remove, SetRole, Patch, Delete, Gone }
        parts.into_iter().flatten().collect())
}

fn patches() -> Vec<Sample<Command>> {
    let patch = |name: Option<&str>, photo, description: Option<Option<&str>>| Command::Patch {
        by: user(1),
        name: name.map(str::to_owned),
        photo,
        description: description.map(|text| text.map(str::to_owned)),
    };
    vec![
        of(patch(Some("Owls"), Some(Some(file())), Some(Some("at night")))),
        like(" nothing", patch(None, None, None)),
        like(" away", patch(None, Some(None), Some(None))),
    ]
}

/// Every kind of entry.
pub fn entries() -> Vec<Sample<Entry>> {
    let message = StoredMessage {
        seq: 300,
        id: "client-1".into(),
        from: user(1),
        at: at(0),
        content: content(),
        edited_at: Some(at(1)),
        deleted: false,
        reactions: vec![StoredReaction {
            emoji: "👍".into(),
            users: vec![user(2), user(3)],
        }],
    };
    let bare = StoredMessage {
        content: Content::default(),
        edited_at: None,
        deleted: true,
        reactions: Vec::new(),
        ..message.clone()
    };
    let messages = vec![of(Entry::Message(message)), like(" deleted", Entry::Message(bare))];
    let gone = ("/Edit gone".to_owned(), StoredChange::Edit { body: None });
    let changes = each(changes(), |change| change).into_iter().chain([gone]);
    let updates = changes.map(|(name, change)| (name, Entry::Update(stored_update(change))));
    let keyed = StoredUpdate {
        idempotency: Some(u64::MAX - 1),
        ..stored_update(StoredChange::Delete)
    };
    let keyed = like(" keyed", Entry::Update(keyed));
    every!(Entry { Message, Update } messages.into_iter().chain(updates).chain([keyed]).collect())
}

pub fn stored_update(change: StoredChange) -> StoredUpdate {
    StoredUpdate {
        seq: 301,
        of: 300,
        from: user(1),
        at: at(2),
        change,
        idempotency: None,
    }
}

pub fn problem(code: ErrorCode) -> Problem {
    Problem {
        code,
        detail: "body: too long".into(),
        errors: vec![FieldError {
            field: "body".into(),
            message: "too long".into(),
        }],
        retry_after_ms: Some(1_000),
    }
}

pub fn problems() -> Vec<Sample<Problem>> {
    use ErrorCode::*;
    let codes = every!(ErrorCode {
        BadRequest, InvalidField, Unauthorized, BadCredentials, TokenExpired, RefreshReused, Forbidden, NotMember, Blocked,
        NotFound, EmailTaken, UsernameTaken, Conflict, TooLarge, Unsupported, RateLimited, Internal, Unavailable, Timeout,
    } [
        BadRequest, InvalidField, Unauthorized, BadCredentials, TokenExpired, RefreshReused, Forbidden, NotMember, Blocked,
        NotFound, EmailTaken, UsernameTaken, Conflict, TooLarge, Unsupported, RateLimited, Internal, Unavailable, Timeout,
    ].map(of).to_vec());
    each(codes, problem)
}

pub fn close_codes() -> Vec<Sample<CloseCode>> {
    use CloseCode::*;
    every!(CloseCode {
        Bye, NodeStopping, UnsupportedData, InvalidPayload, TooBig, Protocol, LoggedOut, TokenExpired, Forbidden, TooSlow,
        Replaced, Idle, RateLimited, Overloaded,
    } [
        Bye, NodeStopping, UnsupportedData, InvalidPayload, TooBig, Protocol, LoggedOut, TokenExpired, Forbidden, TooSlow,
        Replaced, Idle, RateLimited, Overloaded,
    ].map(of).to_vec())
}
