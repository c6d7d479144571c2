//! The frames of clients that cross nodes, theirs and the server's. Samples are added, and never changed.

use rookery_cluster::testkit::recorded::Sample;

use super::values::{at, conversation, data, device, file, kinds, problems, user};
use super::{each, like, of};
use crate::protocol::client::{ClientFrame, Request, Send, Target};
use crate::protocol::server::{Change, GoawayReason, Hello, NotificationKind, SyncItem, Update};
use crate::protocol::view::{Message, Reaction};
use crate::protocol::{Limits, ServerFrame};

fn message() -> Message {
    Message {
        conversation: conversation(),
        seq: 300,
        id: "client-1".into(),
        from: user(1),
        at: at(0),
        body: "Hello".into(),
        data: Some(data()),
        attachments: vec![file()],
        reply_to: Some(7),
        mentions: vec![user(2)],
        edited_at: Some(at(1)),
        deleted: false,
        reactions: vec![Reaction {
            emoji: "👍".into(),
            count: 1,
            users: vec![user(2)],
        }],
    }
}

fn bare_message() -> Message {
    Message {
        body: String::new(),
        data: None,
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted: true,
        reactions: Vec::new(),
        ..message()
    }
}

fn updates() -> Vec<Sample<Update>> {
    let react = |remove| Change::React {
        emoji: "👍".into(),
        remove,
    };
    let update = |change| Update {
        conversation: conversation(),
        seq: 301,
        of: 300,
        from: user(1),
        at: at(2),
        change,
    };
    let changes = every!(Change { Edit, Delete, React } vec![
        of(Change::Edit { body: Some("new".into()) }),
        like(" gone", Change::Edit { body: None }),
        of(Change::Delete),
        of(react(false)),
        like(" back", react(true)),
    ]);
    each(changes, update)
}

fn notifications() -> Vec<Sample<ServerFrame>> {
    use NotificationKind::*;
    let kinds = every!(NotificationKind { ContactRequest, ContactAccepted, GroupAdded, GroupRemoved, GroupChanged }
        [ContactRequest, ContactAccepted, GroupAdded, GroupRemoved, GroupChanged].map(of).to_vec());
    each(kinds, |kind| ServerFrame::Notification {
        kind,
        conversation: Some(conversation()),
        user: Some(user(1)),
    })
}

fn goaways() -> Vec<Sample<ServerFrame>> {
    let reasons = every!(GoawayReason { Drain, Rebalance } vec![of(GoawayReason::Drain), of(GoawayReason::Rebalance)]);
    each(reasons, |reason| ServerFrame::Goaway {
        reason,
        reconnect_after_ms: 500,
        url: Some("https://chat-2.example.org".into()),
    })
}

fn syncs() -> Vec<Sample<ServerFrame>> {
    each(kinds(), |kind| ServerFrame::Sync {
        conversations: vec![SyncItem {
            id: conversation(),
            kind,
            title: "Birds".into(),
            head: 300,
            delivered: 299,
            read: 298,
            unread: 2,
        }],
        more: true,
    })
}

/// One that comes later is given its default here: that is what recordings of before are read with.
fn limits() -> Limits {
    Limits {
        body_bytes: 1,
        data_bytes: 2,
        frame_bytes: 3,
        attachments_per_message: 4,
        file_bytes: 5,
        group_name_chars: 6,
        group_members: 7,
        devices_per_user: 8,
        sync_messages: 9,
        sync_messages_total: 10,
        receipt_push_members: 11,
        messages_per_second: 12,
        messages_burst: 13,
        unanswered_sends: 14,
        frames_per_second: 15,
        frames_burst: 16,
        signups_per_minute: 17,
        logins_per_minute: 18,
        connections_per_address: 19,
        connects_per_second: 20,
        heartbeat_seconds: 21,
        idle_seconds: 22,
        write_deadline_seconds: 23,
        outbound_queue_bytes: 24,
        watch_users: 25,
    }
}

/// Frames that are no answers.
fn pushed_frames() -> Vec<Sample<ServerFrame>> {
    let hello = Hello {
        user: user(1),
        device: device(),
        connection: "c1".into(),
        node: "chat-1".into(),
        heartbeat_s: 30,
        limits: limits(),
    };
    let presence = |online, last_seen_at| ServerFrame::Presence {
        user: user(1),
        online,
        last_seen_at,
    };
    vec![
        of(ServerFrame::Hello(Box::new(hello))),
        of(ServerFrame::Message(Box::new(message()))),
        like(" bare", ServerFrame::Message(Box::new(bare_message()))),
        of(ServerFrame::Receipt {
            conversation: conversation(),
            user: user(1),
            delivered: 300,
            read: 299,
        }),
        of(ServerFrame::Typing {
            conversation: conversation(),
            user: user(1),
        }),
        of(presence(false, Some(at(0)))),
        like(" online", presence(true, None)),
        of(ServerFrame::Gap {
            conversation: conversation(),
            from: 1,
            to: 99,
        }),
    ]
}

/// Frames that answer a request.
fn answer_frames() -> Vec<Sample<ServerFrame>> {
    let id = || Some("r1".to_owned());
    let sent = |duplicate| ServerFrame::Sent {
        id: "client-1".into(),
        conversation: conversation(),
        seq: 300,
        at: at(0),
        duplicate,
    };
    vec![
        of(sent(false)),
        like(" before", sent(true)),
        of(ServerFrame::History {
            id: id(),
            messages: vec![message(), bare_message()],
            more: true,
        }),
        of(ServerFrame::Ok { id: id(), seq: Some(3) }),
        like(" bare", ServerFrame::Ok { id: None, seq: None }),
        of(ServerFrame::Pong { id: id() }),
    ]
}

/// Every kind of frame from the server.
pub fn server_frames() -> Vec<Sample<ServerFrame>> {
    let parts = [
        pushed_frames(),
        answer_frames(),
        syncs(),
        each(updates(), |update| ServerFrame::Update(Box::new(update))),
        notifications(),
        goaways(),
        each(problems(), |problem| ServerFrame::error(Some("r1".into()), problem)),
    ];
    every!(ServerFrame {
        Hello, Sync, Message, Sent, Receipt, Update, Typing, Presence, Notification, Gap, Goaway, History, Ok, Pong, Error,
    } parts.into_iter().flatten().collect())
}

fn sends() -> Vec<Sample<ClientFrame>> {
    let targets = every!(Target { User, Conversation } vec![
        of(Target::User(user(2))),
        of(Target::Conversation(conversation())),
    ]);
    each(targets, |to| {
        ClientFrame::Send(Box::new(Send {
            id: "client-1".into(),
            to,
            body: Some("Hello".into()),
            data: Some(data()),
            attachments: vec![file()],
            reply_to: Some(7),
            mentions: vec![user(2)],
        }))
    })
}

/// Every kind of request from a client.
pub fn requests() -> Vec<Sample<Request>> {
    let (conversation, seq) = (conversation(), 300);
    let react = |remove| ClientFrame::React {
        conversation,
        seq,
        emoji: "👍".into(),
        remove,
    };
    let frames = vec![
        of(ClientFrame::Ack { conversation, seq }),
        of(ClientFrame::Read { conversation, seq }),
        of(ClientFrame::Typing { conversation }),
        of(ClientFrame::History {
            conversation,
            before: Some(300),
            after: Some(200),
            limit: Some(50),
        }),
        of(ClientFrame::Edit {
            conversation,
            seq,
            body: "new".into(),
        }),
        of(ClientFrame::Delete { conversation, seq }),
        of(react(false)),
        like(" back", react(true)),
        of(ClientFrame::Watch {
            users: vec![user(1), user(2)],
        }),
        of(ClientFrame::Reauth {
            token: "t.o.ken".into(),
        }),
        of(ClientFrame::Ping),
    ];
    let frames = every!(ClientFrame { Send, Ack, Read, Typing, History, Edit, Delete, React, Watch, Reauth, Ping }
        sends().into_iter().chain(frames).collect());
    frames
        .into_iter()
        .map(|(name, frame)| {
            let id = if matches!(frame, ClientFrame::Send(_)) {
                "client-1"
            } else {
                "r1"
            };
            let id = Some(id.to_owned());
            (name, Request { id, frame })
        })
        .collect()
}
