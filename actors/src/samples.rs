//! Strategies of property tests: anything the protocol's types can hold.

use proptest::option::of;
use proptest::prelude::*;
use uuid::Uuid;

use crate::conversation::command::Command;
use crate::id::{ConversationId, DeviceId, FileId, UserId};
use crate::ports::chats::{Content, Entry, StoredChange, StoredMessage, StoredReaction, StoredUpdate};
use crate::protocol::error::FieldError;
use crate::protocol::server::{Change, GoawayReason, Hello, NotificationKind, SyncItem, Update};
use crate::protocol::view::{Kind, Message, Reaction, Role};
use crate::protocol::{ErrorCode, Json, Limits, Problem, ServerFrame};
use crate::system::view;
use crate::time::Timestamp;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub fn user() -> impl Strategy<Value = UserId> {
    uuid().prop_map(UserId)
}

pub fn conversation() -> impl Strategy<Value = ConversationId> {
    uuid().prop_map(ConversationId)
}

pub fn file() -> impl Strategy<Value = FileId> {
    uuid().prop_map(FileId)
}

/// Years 0 to 9999, which RFC 3339 can write.
pub fn time() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000i64..=253_402_207_200_000).prop_map(Timestamp)
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,12}", "[\"\\\\\u{0}-\u{1f}\u{2028}🐦]{0,6}"]
}

pub fn data() -> BoxedStrategy<Json> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e9..1e9f64).prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    });
    // A bare null is the absence of data.
    value
        .prop_filter("null is no data", |value| !value.is_null())
        .prop_map(|value| Json::from(&value))
        .boxed()
}

pub fn content() -> BoxedStrategy<Content> {
    let lists = (prop::collection::vec(file(), 0..3), prop::collection::vec(user(), 0..3));
    (text(), of(data()), lists, of(any::<u64>()))
        .prop_map(|(body, data, (attachments, mentions), reply_to)| Content {
            body,
            data,
            attachments,
            reply_to,
            mentions,
        })
        .boxed()
}

pub fn change() -> BoxedStrategy<StoredChange> {
    prop_oneof![
        text().prop_map(|body| StoredChange::Edit { body: Some(body) }),
        Just(StoredChange::Delete),
        (text(), any::<bool>()).prop_map(|(emoji, remove)| StoredChange::React { emoji, remove }),
    ]
    .boxed()
}

pub fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)]
}

/// Every kind of command.
pub fn command() -> BoxedStrategy<Command> {
    let users = || prop::collection::vec(user(), 0..4);
    // An empty description is none.
    let description = || of("[a-z]{1,8}");
    prop_oneof![
        (user(), text(), content(), of(user())).prop_map(|(from, id, content, peer)| Command::Send {
            from,
            id,
            content,
            peer
        }),
        (user(), any::<u64>(), change(), of(any::<u64>())).prop_map(|(from, of, change, idempotency)| {
            Command::Update {
                from,
                of,
                change,
                idempotency,
            }
        }),
        (user(), text(), of(file()), description(), users()).prop_map(|(by, name, photo, description, members)| {
            Command::Create {
                by,
                name,
                photo,
                description,
                members,
            }
        }),
        [user(), user()].prop_map(|pair| Command::Open { pair }),
        (user(), users()).prop_map(|(by, users)| Command::Add { by, users }),
        (user(), user()).prop_map(|(by, user)| Command::Remove { by, user }),
        (user(), user(), role()).prop_map(|(by, user, role)| Command::SetRole { by, user, role }),
        (user(), of(text()), of(of(file())), of(description())).prop_map(|(by, name, photo, description)| {
            Command::Patch {
                by,
                name,
                photo,
                description,
            }
        }),
        user().prop_map(|by| Command::Delete { by }),
        user().prop_map(|user| Command::Gone { user }),
    ]
    .boxed()
}

pub fn stored_message() -> BoxedStrategy<StoredMessage> {
    let reaction = (text(), prop::collection::vec(user(), 1..3));
    let reactions = prop::collection::vec(reaction, 0..2);
    let head = (any::<u64>(), text(), user(), time());
    (head, content(), of(time()), any::<bool>(), reactions)
        .prop_map(
            |((seq, id, from, at), content, edited_at, deleted, reactions)| StoredMessage {
                seq,
                id,
                from,
                at,
                content,
                edited_at,
                deleted,
                reactions: reactions
                    .into_iter()
                    .map(|(emoji, users)| StoredReaction { emoji, users })
                    .collect(),
            },
        )
        .boxed()
}

pub fn stored_update() -> BoxedStrategy<StoredUpdate> {
    let change = prop_oneof![4 => change(), 1 => Just(StoredChange::Edit { body: None })];
    (any::<u64>(), any::<u64>(), user(), time(), change, of(any::<u64>()))
        .prop_map(|(seq, of, from, at, change, idempotency)| StoredUpdate {
            seq,
            of,
            from,
            at,
            change,
            idempotency,
        })
        .boxed()
}

pub fn entry() -> BoxedStrategy<Entry> {
    prop_oneof![
        stored_message().prop_map(Entry::Message),
        stored_update().prop_map(Entry::Update)
    ]
    .boxed()
}

pub fn message() -> BoxedStrategy<Message> {
    let reactions = prop::collection::vec((text(), any::<u32>(), prop::collection::vec(user(), 0..3)), 0..2);
    (conversation(), stored_message(), reactions)
        .prop_map(|(conversation, stored, reactions)| Message {
            reactions: reactions
                .into_iter()
                .map(|(emoji, count, users)| Reaction { emoji, count, users })
                .collect(),
            ..view(conversation, &stored)
        })
        .boxed()
}

pub fn problem() -> BoxedStrategy<Problem> {
    (error_code(), text(), of((text(), text())), of(any::<u64>()))
        .prop_map(|(code, detail, error, retry_after_ms)| Problem {
            errors: error
                .map(|(field, message)| FieldError { field, message })
                .into_iter()
                .collect(),
            retry_after_ms,
            ..Problem::new(code, detail)
        })
        .boxed()
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    prop::sample::select(vec![
        ErrorCode::BadRequest,
        ErrorCode::NotMember,
        ErrorCode::TooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Unavailable,
    ])
}

fn update() -> BoxedStrategy<Update> {
    let change = prop_oneof![
        of(text()).prop_map(|body| Change::Edit { body }),
        Just(Change::Delete),
        (text(), any::<bool>()).prop_map(|(emoji, remove)| Change::React { emoji, remove }),
    ];
    (conversation(), any::<u64>(), any::<u64>(), user(), time(), change)
        .prop_map(|(conversation, seq, of, from, at, change)| Update {
            conversation,
            seq,
            of,
            from,
            at,
            change,
        })
        .boxed()
}

fn sync() -> BoxedStrategy<ServerFrame> {
    let kind = prop_oneof![Just(Kind::Direct), Just(Kind::Group)];
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
    let item = (conversation(), kind, text(), numbers).prop_map(|(id, kind, title, numbers)| {
        let (head, delivered, read, unread) = numbers;
        SyncItem {
            id,
            kind,
            title,
            head,
            delivered,
            read,
            unread,
        }
    });
    (prop::collection::vec(item, 0..3), any::<bool>())
        .prop_map(|(conversations, more)| ServerFrame::Sync { conversations, more })
        .boxed()
}

fn hello() -> BoxedStrategy<ServerFrame> {
    (user(), uuid(), text(), any::<u32>())
        .prop_map(|(user, device, node, heartbeat_s)| {
            ServerFrame::Hello(Box::new(Hello {
                user,
                device: DeviceId(device),
                connection: node.clone(),
                node,
                heartbeat_s,
                limits: Limits::default(),
            }))
        })
        .boxed()
}

/// Frames that answer something.
fn answer() -> BoxedStrategy<ServerFrame> {
    prop_oneof![
        (text(), conversation(), any::<u64>(), time(), any::<bool>()).prop_map(
            |(id, conversation, seq, at, duplicate)| ServerFrame::Sent {
                id,
                conversation,
                seq,
                at,
                duplicate,
            }
        ),
        (of(text()), prop::collection::vec(message(), 0..3), any::<bool>())
            .prop_map(|(id, messages, more)| ServerFrame::History { id, messages, more }),
        (of(text()), of(any::<u64>())).prop_map(|(id, seq)| ServerFrame::Ok { id, seq }),
        of(text()).prop_map(|id| ServerFrame::Pong { id }),
        (of(text()), problem()).prop_map(|(id, problem)| ServerFrame::error(id, problem)),
    ]
    .boxed()
}

/// Every kind of frame from the server.
pub fn server_frame() -> BoxedStrategy<ServerFrame> {
    prop_oneof![
        hello(),
        sync(),
        answer(),
        message().prop_map(|message| ServerFrame::Message(Box::new(message))),
        update().prop_map(|update| ServerFrame::Update(Box::new(update))),
        (conversation(), user(), any::<u64>(), any::<u64>()).prop_map(|(conversation, user, delivered, read)| {
            ServerFrame::Receipt {
                conversation,
                user,
                delivered,
                read,
            }
        }),
        (conversation(), user()).prop_map(|(conversation, user)| ServerFrame::Typing { conversation, user }),
        (user(), any::<bool>(), of(time())).prop_map(|(user, online, last_seen_at)| ServerFrame::Presence {
            user,
            online,
            last_seen_at
        }),
        (of(conversation()), of(user())).prop_map(|(conversation, user)| ServerFrame::Notification {
            kind: NotificationKind::GroupAdded,
            conversation,
            user
        }),
        (conversation(), any::<u64>(), any::<u64>()).prop_map(|(conversation, from, to)| ServerFrame::Gap {
            conversation,
            from,
            to
        }),
        (any::<u64>(), of(text())).prop_map(|(reconnect_after_ms, url)| ServerFrame::Goaway {
            reason: GoawayReason::Drain,
            reconnect_after_ms,
            url,
        }),
    ]
    .boxed()
}
