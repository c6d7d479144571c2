//! What a message costs on its way, in nanoseconds an operation: plain loops, so that before and after a change can be
//! compared on any machine. `cargo bench -p rookery-actors --bench hot_paths [filter]`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rookery_actors::conversation::command::{Command, Record};
use rookery_actors::conversation::state::State as Conversation;
use rookery_actors::frames::Frames;
use rookery_actors::id::{ConnectionId, ConversationId, DeviceId, LoginId, UserId};
use rookery_actors::outlet::{Outlet, Pushed, Urgency};
use rookery_actors::ports::chats::{Content, DeviceCursors, Inbox, Membership};
use rookery_actors::protocol::client::Request;
use rookery_actors::protocol::view::Message;
use rookery_actors::protocol::{ClientFrame, CloseCode, Codec, Send, ServerFrame, Target};
use rookery_actors::session::batch::Batch;
use rookery_actors::session::state::State as Session;
use rookery_actors::time::Timestamp;
use smallvec::smallvec;

/// How long each operation is timed.
const TIMED: Duration = Duration::from_millis(300);
/// Rounds of which the best counts: what disturbs only ever makes slower.
const ROUNDS: u32 = 5;
const SESSIONS: usize = 1_000;

/// Prints the cost of one of `operations` that a call makes.
fn time(name: &str, operations: usize, mut act: impl FnMut()) {
    if std::env::args()
        .skip(1)
        .any(|arg| !arg.starts_with('-') && !name.contains(&arg))
    {
        return;
    }
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (mut calls, started) = (0u32, Instant::now());
        while started.elapsed() < TIMED / ROUNDS {
            (0..16).for_each(|_| act());
            calls += 16;
        }
        let each = started.elapsed().as_secs_f64() / f64::from(calls) / operations as f64;
        best = best.min(each);
    }
    println!("{name:<40} {:>9.1} ns", best * 1e9);
}

/// A socket that takes everything and writes nothing.
struct Null(ConnectionId);

impl Outlet for Null {
    fn id(&self) -> ConnectionId {
        self.0
    }

    fn codec(&self) -> Codec {
        Codec::Json
    }

    fn push(&self, frames: &Frames, _: Urgency) -> Pushed {
        black_box(frames.len());
        Pushed::Taken
    }

    fn close(&self, _: CloseCode) {}
}

fn message(conversation: ConversationId, from: UserId, seq: u64) -> ServerFrame {
    ServerFrame::Message(Box::new(Message {
        conversation,
        seq,
        id: "01234567-89ab-cdef-0123-456789abcdef".into(),
        from,
        at: Timestamp(1_795_253_400_123),
        body: "A message as people write them, of about eighty characters, not very long.".into(),
        data: None,
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }))
}

fn send(from: UserId, id: u64) -> Command {
    Command::Send {
        from,
        id: format!("01234567-89ab-cdef-0123-{id:012x}"),
        content: Content {
            body: "A message as people write them, of about eighty characters, not very long.".into(),
            ..Content::default()
        },
        peer: None,
    }
}

fn codecs(group: ConversationId, user: UserId) {
    let frame = message(group, user, 12_345);
    let request = Request {
        id: Some("01234567-89ab-cdef-0123-456789abcdef".into()),
        frame: ClientFrame::Send(Box::new(Send {
            id: "01234567-89ab-cdef-0123-456789abcdef".into(),
            to: Target::Conversation(group),
            body: Some("A message as people write them, of about eighty characters, not very long.".into()),
            data: None,
            attachments: Vec::new(),
            reply_to: None,
            mentions: Vec::new(),
        })),
    };
    for codec in [Codec::Json, Codec::MsgPack] {
        let mut out = BytesMut::with_capacity(1_024);
        time(&format!("encode message {codec:?}"), 1, || {
            out.clear();
            codec.write(black_box(&frame), &mut out);
        });
        let mut payload = BytesMut::new();
        codec.write(&request, &mut payload);
        time(&format!("decode send {codec:?}"), 1, || {
            assert!(black_box(codec.read(black_box(&payload))).is_ok());
        });
    }
    let at = Timestamp(1_795_253_400_123);
    time("format a timestamp", 1, || {
        drop(black_box(serde_json::to_vec(black_box(&at))))
    });
    time("format an id", 1, || {
        drop(black_box(serde_json::to_vec(black_box(&user))))
    });
}

fn records(group: ConversationId, user: UserId) {
    let record = Record {
        conversation: group,
        at: Timestamp(1_795_253_400_123),
        checked: Some(0),
        writer: None,
        command: send(user, 1),
    };
    let bytes = record.encode();
    time("encode a record", 1, || drop(black_box(black_box(&record).encode())));
    time("decode a record", 1, || {
        drop(black_box(Record::decode(black_box(bytes.clone()))))
    });
}

fn conversation(group: ConversationId, user: UserId) {
    let (mut state, mut id) = (Conversation::empty(group), 0);
    let create = Record {
        conversation: group,
        at: Timestamp(0),
        checked: Some(0),
        writer: None,
        command: Command::Create {
            by: user,
            name: "group".into(),
            photo: None,
            description: None,
            members: (0..100).map(|_| UserId::fresh()).collect(),
        },
    };
    state.apply(0, create);
    time("make a send (part of the next)", 1, || {
        id += 1;
        black_box(send(user, id));
    });
    time("apply a send", 1, || {
        id += 1;
        let record = Record {
            conversation: group,
            at: Timestamp(id as i64),
            checked: Some(state.head),
            writer: None,
            command: send(user, id),
        };
        let applied = state.apply(state.applied, record);
        assert!(black_box(applied).outcome.is_ok());
        if id % 1_024 == 0 {
            // As the projector does every 200 ms.
            let head = state.head;
            state.window.stored(head);
        }
    });
}

fn session(group: ConversationId, number: usize) -> Session {
    let (device, login) = (DeviceId::fresh(), LoginId::fresh());
    let mut state = Session::loading();
    state.loaded(Inbox {
        memberships: vec![Membership {
            conversation: group,
            head: 0,
            active_at: Timestamp(0),
            joined_seq: 0,
            joined_at: Timestamp(0),
            read: 0,
            delivered: 0,
            muted_until: None,
            pinned: false,
        }],
        devices: vec![DeviceCursors {
            device,
            login,
            name: String::new(),
            created_at: Timestamp(0),
            last_seen_at: None,
            cursors: Vec::new(),
        }],
    });
    state.attach(Arc::new(Null(ConnectionId(number as u64))), device, login, 2_000);
    state
}

fn fan_out(group: ConversationId, user: UserId) {
    let mut sessions: Vec<_> = (0..SESSIONS).map(|number| session(group, number)).collect();
    let frames = Frames::one(message(group, user, 1));
    let mut seq = 0;
    time("deliver to a session, of 1,000", SESSIONS, || {
        seq += 1;
        let batch = Batch {
            conversation: group,
            first: seq,
            last: seq,
            at: Timestamp(seq as i64),
            frames: frames.clone(),
            senders: smallvec![None],
        };
        for session in &mut sessions {
            black_box(session.deliver(&batch));
        }
    });
}

fn main() {
    let (group, user) = (ConversationId::fresh(), UserId::fresh());
    codecs(group, user);
    records(group, user);
    conversation(group, user);
    fan_out(group, user);
}
