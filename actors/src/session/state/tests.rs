use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;
use uuid::Uuid;

use super::{Attached, Delivered, Phase, State};
use crate::frames::Frames;
use crate::id::{ConnectionId, ConversationId, DeviceId, LoginId, UserId};
use crate::outlet::{Outlet, Pushed, Urgency};
use crate::ports::chats::{DeviceCursors, Inbox, Membership};
use crate::protocol::view::Message;
use crate::protocol::{CloseCode, Codec, ServerFrame};
use crate::session::batch::Batch;
use crate::session::catch_up::Need;
use crate::session::remote::resume::{Replays, Resumed};
use crate::time::Timestamp;

mod early;
mod world;

/// A socket that notes what it is given and can be told to be full.
struct Socket {
    id: ConnectionId,
    full: AtomicBool,
    closed: Mutex<Option<CloseCode>>,
    got: Mutex<Vec<ServerFrame>>,
}

impl Socket {
    fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id: ConnectionId(id),
            full: AtomicBool::new(false),
            closed: Mutex::new(None),
            got: Mutex::default(),
        })
    }

    /// The seqs of a conversation in the order of their coming, a `gap` as all the seqs it names.
    fn seqs(&self, conversation: ConversationId) -> Vec<u64> {
        let got = self.got.lock();
        let of = |frame: &ServerFrame| match frame {
            ServerFrame::Message(message) if message.conversation == conversation => message.seq..=message.seq,
            ServerFrame::Gap {
                conversation: named,
                from,
                to,
            } if *named == conversation => *from..=*to,
            #[expect(clippy::reversed_empty_ranges)]
            _ => 1..=0,
        };
        got.iter().flat_map(of).collect()
    }
}

impl Outlet for Socket {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn codec(&self) -> Codec {
        Codec::Json
    }

    fn push(&self, frames: &Frames, urgency: Urgency) -> Pushed {
        if urgency == Urgency::Sequenced && self.full.load(Ordering::Relaxed) {
            return Pushed::Full;
        }
        self.got.lock().extend_from_slice(frames.frames());
        Pushed::Taken
    }

    fn close(&self, code: CloseCode) {
        *self.closed.lock() = Some(code);
    }
}

fn conversation(number: u8) -> ConversationId {
    ConversationId(Uuid::from_u128(0x100 + u128::from(number)))
}

fn device(number: u8) -> DeviceId {
    DeviceId(Uuid::from_u128(0x200 + u128::from(number)))
}

fn login() -> LoginId {
    LoginId(Uuid::from_u128(0x300))
}

fn entry(conversation: ConversationId, seq: u64) -> ServerFrame {
    ServerFrame::Message(Box::new(Message {
        conversation,
        seq,
        id: seq.to_string(),
        from: UserId(Uuid::nil()),
        at: Timestamp(seq as i64),
        body: String::new(),
        data: None,
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }))
}

fn batch(conversation: ConversationId, first: u64, last: u64, sender: Option<ConnectionId>) -> Batch {
    Batch {
        conversation,
        first,
        last,
        at: Timestamp(last as i64),
        frames: Frames::new((first..=last).map(|seq| entry(conversation, seq)).collect()),
        senders: (first..=last)
            .map(|seq| sender.filter(|_| seq % 2 == 0))
            .collect::<SmallVec<_>>(),
    }
}

fn membership(conversation: ConversationId, joined_seq: u64, head: u64) -> Membership {
    Membership {
        conversation,
        head,
        active_at: Timestamp(head as i64),
        joined_seq,
        joined_at: Timestamp(joined_seq as i64),
        read: joined_seq,
        delivered: joined_seq,
        muted_until: None,
        pinned: false,
    }
}

fn inbox(memberships: Vec<Membership>, cursors: Vec<(ConversationId, u64)>) -> Inbox {
    let device = DeviceCursors {
        device: device(0),
        login: login(),
        name: String::new(),
        created_at: Timestamp(-1),
        last_seen_at: None,
        cursors,
    };
    Inbox {
        memberships,
        devices: vec![device],
    }
}

fn loaded(inbox: Inbox) -> State {
    let mut state = State::loading();
    state.loaded(inbox);
    state
}

fn is_live(attached: &Attached) -> bool {
    matches!(attached.phase, Phase::Live)
}

#[test]
fn live_frames_go_out_once_and_a_hole_is_noted_as_lacking() {
    let (a, socket) = (conversation(0), Socket::new(1));
    let mut state = loaded(inbox(vec![membership(a, 0, 0)], vec![]));
    assert!(is_live(state.attach(socket.clone(), device(0), login(), 2_000)));
    assert_eq!(state.deliver(&batch(a, 1, 2, None)), Delivered::Done);
    assert_eq!(state.deliver(&batch(a, 1, 2, None)), Delivered::Done, "a late copy");
    assert_eq!(state.deliver(&batch(a, 4, 4, None)), Delivered::NeedsReplay);
    assert_eq!(state.lagging(), [socket.id]);
    assert_eq!(state.deliver(&batch(a, 5, 5, None)), Delivered::Done, "lacking already");
    assert_eq!(socket.seqs(a), [1, 2]);
    let Phase::CatchingUp(catch_up) = &state.attached[0].phase else {
        panic!("the connection lacks something");
    };
    assert_eq!((catch_up.ranges[0].from, catch_up.ranges[0].to), (3, 5));
}

#[test]
fn the_sender_gets_what_others_said_and_its_other_device_gets_all() {
    let a = conversation(0);
    let (sender, other) = (Socket::new(1), Socket::new(2));
    let mut state = loaded(inbox(vec![membership(a, 0, 0)], vec![]));
    state.add_device(device(1), login());
    state.attach(sender.clone(), device(0), login(), 2_000);
    state.attach(other.clone(), device(1), login(), 2_000);
    state.deliver(&batch(a, 1, 4, Some(sender.id)));
    assert_eq!(sender.seqs(a), [1, 3]);
    assert_eq!(other.seqs(a), [1, 2, 3, 4]);
}

#[test]
fn a_second_connection_of_a_device_replaces_the_first() {
    let mut state = loaded(inbox(vec![], vec![]));
    let (first, second) = (Socket::new(1), Socket::new(2));
    state.attach(first.clone(), device(0), login(), 2_000);
    state.attach(second.clone(), device(0), login(), 2_000);
    assert_eq!(*first.closed.lock(), Some(CloseCode::Replaced));
    assert_eq!(*second.closed.lock(), None);
    assert_eq!(state.attached.len(), 1);
}

#[test]
fn cursors_are_clamped_to_the_head_and_never_go_back() {
    let a = conversation(0);
    let mut state = loaded(inbox(vec![membership(a, 0, 10)], vec![]));
    assert!(state.ack(device(0), a, 99));
    assert!(state.ack(device(0), a, 3));
    assert!(state.read(a, 4));
    let standing = state.standing(a).unwrap();
    assert_eq!((standing.delivered, standing.read), (10, 4));
    assert_eq!(state.devices[0].cursors, [10]);
    assert!(state.read(a, 99));
    assert_eq!(state.standing(a).unwrap().read, 10);
    assert!(!state.ack(device(0), conversation(1), 1), "no member");
}

#[test]
fn reading_moves_delivered_but_no_cursor_of_a_device() {
    let a = conversation(0);
    let mut state = loaded(inbox(vec![membership(a, 0, 10)], vec![]));
    state.read(a, 7);
    assert_eq!(state.standing(a).unwrap().delivered, 7);
    assert_eq!(state.devices[0].cursors, [0]);
}

#[test]
fn a_device_joins_at_the_head_and_a_new_device_starts_at_zero() {
    let (a, b) = (conversation(0), conversation(1));
    let mut state = loaded(inbox(vec![membership(b, 0, 5)], vec![]));
    state.join(&membership(a, 7, 9));
    assert_eq!(state.devices[0].cursors, [7, 0]);
    assert_eq!(state.standing(a).unwrap().head, 9);
    state.add_device(device(1), login());
    assert_eq!(state.devices[1].cursors, [0, 0]);
}

#[test]
fn typing_is_passed_on_once_an_interval_a_conversation() {
    let mut state = loaded(inbox(vec![], vec![]));
    let (a, b) = (conversation(0), conversation(1));
    assert!(state.types(a, Timestamp(0), 3_000));
    assert!(!state.types(a, Timestamp(2_999), 3_000));
    assert!(state.types(b, Timestamp(2_999), 3_000));
    assert!(state.types(a, Timestamp(3_000), 3_000));
    assert!(state.types(a, Timestamp(0), 3_000), "the clock stepped back");
}

#[test]
fn news_come_latest_activity_first_and_only_beyond_the_cursor() {
    let (a, b, c) = (conversation(0), conversation(1), conversation(2));
    let memberships = vec![membership(a, 0, 5), membership(b, 0, 9), membership(c, 0, 3)];
    let state = loaded(inbox(memberships, vec![(a, 2), (c, 3)]));
    let news: Vec<_> = state
        .news(device(0))
        .iter()
        .map(|range| (range.conversation, range.from, range.to))
        .collect();
    assert_eq!(news, [(b, 1, 9), (a, 3, 5)]);
}

#[test]
fn what_has_no_place_in_the_stream_waits_for_sync() {
    let (a, socket) = (conversation(0), Socket::new(1));
    let mut state = loaded(inbox(vec![membership(a, 0, 3)], vec![]));
    let attached = state.attach(socket.clone(), device(0), login(), 2_000);
    let receipt = Frames::one(ServerFrame::Pong { id: None });
    assert_eq!(attached.aside(&receipt, Urgency::Ephemeral), Pushed::Taken);
    let Phase::CatchingUp(catch_up) = &mut attached.phase else {
        panic!("a sync is due");
    };
    assert!(catch_up.put_off_until_now().is_empty() && socket.got.lock().is_empty());
    let Need::Sync(page) = catch_up.need() else {
        panic!("it is due first");
    };
    catch_up.announced(&page, 100);
    assert_eq!(catch_up.put_off_until_now().len(), 1);
    assert_eq!(attached.aside(&receipt, Urgency::Ephemeral), Pushed::Taken);
    assert_eq!(socket.got.lock().len(), 1, "from then on it comes at once");
}

#[test]
fn a_socket_that_is_attached_anew_is_another_attachment() {
    let mut state = loaded(inbox(vec![membership(conversation(0), 0, 3)], vec![]));
    let sockets: [Arc<dyn Outlet>; 2] = [Socket::new(1), Socket::new(1)];
    let outlets = sockets.each_ref().map(Arc::downgrade);
    for socket in sockets {
        state.attach(socket, device(0), login(), 2_000);
    }
    assert!(state.connection(ConnectionId(1)).is_some());
    assert!(state.attachment(&outlets[0]).is_none() && state.attachment(&outlets[1]).is_some());
}

#[test]
fn who_comes_back_is_not_shown_again_what_was_shown_before() {
    let a = conversation(0);
    let mut state = loaded(inbox(vec![membership(a, 0, 4)], vec![(a, 4)]));
    let socket = Socket::new(1);
    let resumed = Resumed {
        outlet: socket.clone(),
        device: device(0),
        login: login(),
        since: Timestamp(0),
        passed: &[(a, 4)],
    };
    assert!(state.resume(resumed, Replays { each: 100, all: 2_000 }));
    // The user left and came back behind the fourth, of which this session hears when more was said and shown.
    state.deliver(&batch(a, 5, 6, None));
    assert_eq!(state.join(&membership(a, 4, 4)), Delivered::Done);
    assert_eq!(state.standing(a).unwrap().joined_seq, 4);
    state.deliver(&batch(a, 7, 7, None));
    assert_eq!(socket.seqs(a), [5, 6, 7]);
}

#[test]
fn what_another_owner_passed_on_is_not_replayed_once_this_one_learns_of_the_conversation() {
    let (a, b) = (conversation(0), conversation(1));
    let mut state = loaded(inbox(vec![membership(a, 0, 4)], vec![]));
    state.add_device(device(1), login());
    let (far, new) = (Socket::new(1), Socket::new(2));
    fn resumed<'r>(socket: &Arc<Socket>, number: u8, passed: &'r [(ConversationId, u64)]) -> Resumed<'r> {
        Resumed {
            outlet: socket.clone(),
            device: device(number),
            login: login(),
            since: Timestamp(0),
            passed,
        }
    }
    let replays = Replays { each: 100, all: 2_000 };
    let passed = [[(a, 4), (b, 3)], [(a, 4), (b, 2)]];
    assert!(state.resume(resumed(&far, 0, &passed[0]), replays));
    assert!(state.resume(resumed(&new, 1, &passed[1]), replays));
    assert!(state.attached.iter().all(is_live));
    assert_eq!(
        state.join(&membership(b, 0, 1)),
        Delivered::NeedsReplay,
        "the store is behind"
    );
    assert_eq!(state.lagging(), [new.id]);
    let Phase::CatchingUp(catch_up) = &state.attached[1].phase else {
        panic!("it lacks the third");
    };
    assert_eq!((catch_up.ranges[0].from, catch_up.ranges[0].to), (3, 3));
    assert_eq!(state.deliver(&batch(b, 4, 4, None)), Delivered::Done);
    assert_eq!(far.seqs(b), [4]);
}
