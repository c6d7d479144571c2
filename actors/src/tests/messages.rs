//! Every message between nodes. Samples are added, and never changed.

use std::sync::Arc;

use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::membership::Epoch;
use rookery_cluster::testkit::recorded::Sample;

use super::frames::{requests, server_frames};
use super::values::{
    at, changes, close_codes, commands, connection, conversation, device, entries, file, kinds, login, problem,
    problems, roles, stored_update, user,
};
use super::{each, like, of};
use crate::conversation::state::Outcome;
use crate::frames::Frames;
use crate::heads::{Heads, Reach};
use crate::id::ConnectionId;
use crate::interchange::parcel::{Attach, Bag, Greeting, Parcel, Plug, Refusal};
use crate::interchange::{
    Answer, Ask, Change, Delivery, Forwarded, Members, Origin, Peer, Placing, Progress, Question, Reply, Slice,
    Summary, UserQuestion, Whereabouts,
};
use crate::outlet::Urgency;
use crate::ports::chats::{Member, Membership, Span, StoredChange};
use crate::protocol::{CloseCode, ErrorCode, Problem, ServerFrame};
use crate::session::batch::Batch;

/// Every kind of message.
pub fn messages() -> Vec<Sample<Peer>> {
    let placings = every!(Placing { Installed, Release, Closed } vec![
        of(Placing::Installed(Epoch(70_000))),
        of(Placing::Release(Epoch(70_000), vec![ShardId(1), ShardId(300)])),
        of(Placing::Closed(Epoch(70_000), vec![ShardId(1), ShardId(300)])),
    ]);
    let plain = vec![
        of(Peer::Notify(vec![user(1), user(2)], typing())),
        of(Peer::WantRoster(conversation())),
        of(Peer::Presence(Box::new(Whereabouts {
            user: user(1),
            online: true,
            at: at(0),
            conversations: vec![conversation()],
        }))),
        of(Peer::Renamed(user(1))),
    ];
    let parts = [
        forwards(),
        answers(),
        each(deliveries(), |delivery| Peer::Deliver(conversation(), delivery)),
        each(placings, Peer::Place),
        each(bags(), Peer::Bag),
        each(heads(), Peer::Heads),
        plain,
    ];
    every!(Peer { Forward, Answer, Deliver, Notify, Place, Bag, Heads, WantRoster, Presence, Renamed }
        parts.into_iter().flatten().collect())
}

fn node() -> NodeId {
    "chat-1".into()
}

fn typing() -> Frames {
    Frames::one(ServerFrame::Typing {
        conversation: conversation(),
        user: user(1),
    })
}

fn origins() -> Vec<Sample<Origin>> {
    every!(Origin { Socket, Call, Node, Nobody } vec![
        of(Origin::Socket {
            node: node(),
            user: user(1),
            connection: connection(),
            request: Some("r1".into()),
            send: Some(u64::MAX),
        }),
        of(Origin::Call { node: node(), call: 9 }),
        of(Origin::Node {
            node: node(),
            ticket: u64::MAX,
            connection: Some(connection()),
        }),
        like(" task", Origin::Node { node: node(), ticket: 9, connection: None }),
        of(Origin::Nobody),
    ])
}

fn asked_by_node() -> Origin {
    Origin::Node {
        node: node(),
        ticket: 9,
        connection: None,
    }
}

fn forwards() -> Vec<Sample<Peer>> {
    let forward = |origin, question| {
        Peer::Forward(Box::new(Forwarded {
            ask: Ask {
                conversation: conversation(),
                origin,
                question,
            },
            epoch: Epoch(3),
            within_ms: 10_000,
        }))
    };
    let typing = Question::Typing { user: user(1) };
    let by_origin = each(origins(), |origin| forward(origin, typing.clone()));
    let by_question = each(questions(), |question| forward(asked_by_node(), question));
    let by_origin = by_origin.into_iter().map(|(name, peer)| (format!("/by{name}"), peer));
    by_origin.chain(by_question).collect()
}

fn questions() -> Vec<Sample<Question>> {
    let spans = every!(Span { Before, After } vec![of(Span::Before(300)), of(Span::After(200))]);
    let plain = vec![
        of(Question::Entries {
            from: 1,
            to: 300,
            user: None,
        }),
        like(
            "/member",
            Question::Entries {
                from: 1,
                to: 300,
                user: Some(user(1)),
            },
        ),
        of(Question::Summary {
            user: user(1),
            read: 299,
        }),
        of(Question::Members {
            user: user(1),
            after: Some(user(2)),
            limit: 100,
        }),
        of(Question::Receipt {
            user: user(1),
            delivered: 300,
            read: 299,
        }),
        of(Question::Typing { user: user(1) }),
    ];
    let parts = [
        each(commands(), |command| Question::Do { command, repeat: true }),
        each(changes(), |change| {
            Question::Change(Change {
                from: user(1),
                of: 300,
                change,
                idempotency: None,
            })
        }),
        vec![like(
            " keyed",
            Question::Change(Change {
                from: user(1),
                of: 300,
                change: StoredChange::Delete,
                idempotency: Some(u64::MAX - 1),
            }),
        )],
        each(spans, |span| Question::History {
            user: user(1),
            span,
            limit: 50,
        }),
        each(user_questions(), Question::User),
        plain,
    ];
    every!(Question { Do, Change, Entries, History, Summary, Members, Receipt, Typing, User }
        parts.into_iter().flatten().collect())
}

fn user_questions() -> Vec<Sample<UserQuestion>> {
    let code = CloseCode::LoggedOut;
    every!(UserQuestion { Read, Standings, CloseLogins, ForgetDevice, RebindDevice, Watch } vec![
        of(UserQuestion::Read { conversation: conversation(), seq: 300 }),
        of(UserQuestion::Standings),
        of(UserQuestion::CloseLogins { only: Some(login(1)), except: Some(login(2)), code }),
        like(" all", UserQuestion::CloseLogins { only: None, except: None, code }),
        of(UserQuestion::ForgetDevice { device: device(), code: CloseCode::Replaced }),
        of(UserQuestion::RebindDevice { device: device(), login: login(1) }),
        of(UserQuestion::Watch { node: node(), on: true }),
    ])
}

fn answers() -> Vec<Sample<Peer>> {
    let answer = |to, reply| Peer::Answer(Box::new(Answer { to, reply }));
    let to = each(origins(), |origin| answer(origin, Ok(Reply::Noted(true))));
    let to = to.into_iter().map(|(name, peer)| (format!("/to{name}"), peer));
    let replies = each(replies(), |reply| answer(asked_by_node(), Ok(reply)));
    let problems = each(problems(), |problem| answer(asked_by_node(), Err(problem)));
    let bare = like(
        " bare problem",
        answer(asked_by_node(), Err(Problem::new(ErrorCode::Internal, ""))),
    );
    to.chain(replies).chain(problems).chain([bare]).collect()
}

fn replies() -> Vec<Sample<Reply>> {
    let outcomes = every!(Outcome { Sent, Updated, Settled } vec![
        of(Outcome::Sent { seq: 300, at: at(0), duplicate: false }),
        of(Outcome::Updated { seq: 301 }),
        of(Outcome::Settled),
    ]);
    let progress = Progress {
        conversation: conversation(),
        active_at: at(0),
        read: 299,
        delivered: 300,
    };
    let plain = vec![
        of(Reply::Repeated { seq: Some(301) }),
        like(" unknown", Reply::Repeated { seq: None }),
        of(Reply::NotOwner {
            epoch: Epoch(3),
            appended: true,
        }),
        of(Reply::Noted(false)),
        of(Reply::Standings(vec![progress])),
        of(Reply::Online(true)),
    ];
    let done = |outcome| Reply::Done {
        conversation: conversation(),
        outcome,
    };
    let parts = [
        each(outcomes, done),
        slices(),
        each(kinds(), |kind| Reply::Summary(Summary { kind, ..summary() })),
        each(roles(), |role| Reply::Members(Box::new(members(role)))),
        plain,
    ];
    every!(Reply { Done, Repeated, NotOwner, Entries, Summary, Members, Noted, Standings, Online }
        parts.into_iter().flatten().collect())
}

fn slices() -> Vec<Sample<Reply>> {
    let slice = |entry| {
        Reply::Entries(Slice {
            head: 301,
            tail_first: 200,
            stored: Some((1, 199)),
            folds: Vec::new(),
            entries: vec![(Arc::new(entry), typing())],
        })
    };
    let folded = |change| {
        Reply::Entries(Slice {
            folds: vec![stored_update(change)],
            ..Slice::default()
        })
    };
    let folded = each(changes(), folded);
    let folded = folded
        .into_iter()
        .map(|(name, reply)| (format!("/folded{name}"), reply));
    each(entries(), slice).into_iter().chain(folded).collect()
}

fn summary() -> Summary {
    let (_, entry) = entries().swap_remove(0);
    Summary {
        kind: crate::protocol::view::Kind::Group,
        group_name: Some("Birds".into()),
        photo: Some(file()),
        peer: Some(user(2)),
        head: 301,
        unread: 2,
        unread_stored: Some((100, 199)),
        latest: Some(Arc::new(entry)),
    }
}

fn members(role: crate::protocol::view::Role) -> Members {
    Members {
        name: "Birds".into(),
        photo: Some(file()),
        description: Some("of prey".into()),
        owner: user(1),
        created_at: at(0),
        updated_at: at(1),
        count: 1,
        page: vec![Member {
            user: user(1),
            role,
            joined_at: at(0),
            joined_seq: 5,
            admin_since: Some(at(1)),
        }],
    }
}

fn deliveries() -> Vec<Sample<Delivery>> {
    let batch = |frame| {
        Delivery::Batch(Arc::new(Batch {
            conversation: conversation(),
            first: 300,
            last: 300,
            at: at(0),
            frames: Frames::one(frame),
            senders: [Some(connection())].into_iter().collect(),
        }))
    };
    let several = Batch {
        conversation: conversation(),
        first: 300,
        last: 301,
        at: at(0),
        frames: Frames::new(server_frames().into_iter().take(2).map(|(_, frame)| frame).collect()),
        senders: [None, Some(ConnectionId(1))].into_iter().collect(),
    };
    let membership = Membership {
        conversation: conversation(),
        head: 300,
        active_at: at(0),
        joined_seq: 5,
        joined_at: at(-100),
        read: 299,
        delivered: 300,
        muted_until: Some(at(100)),
        pinned: true,
    };
    let plain = vec![
        like(" of two", Delivery::Batch(Arc::new(several))),
        of(Delivery::Ephemeral(typing(), Some(user(1)))),
        like(" to all", Delivery::Ephemeral(typing(), None)),
        of(Delivery::Roster(vec![user(1), user(2)])),
        of(Delivery::Enter(vec![(user(1), membership)])),
        of(Delivery::Leave(vec![user(1)])),
        of(Delivery::Left(vec![user(1)])),
        of(Delivery::Head(300)),
        of(Delivery::Cool),
    ];
    every!(Delivery { Batch, Ephemeral, Roster, Enter, Leave, Left, Head, Cool }
        each(server_frames(), batch).into_iter().chain(plain).collect())
}

fn heads() -> Vec<Sample<Heads>> {
    let reach = Reach {
        head: 300,
        active_at: at(0),
    };
    every!(Heads { Ask, Are, Missed, Joined, Left } vec![
        of(Heads::Ask(9, vec![conversation()])),
        of(Heads::Are(9, vec![Some(reach), None])),
        of(Heads::Missed(vec![conversation()])),
        of(Heads::Joined(vec![conversation()])),
        of(Heads::Left(vec![user(1)])),
    ])
}

pub fn plug() -> Plug {
    Plug {
        connection: connection(),
        attempt: 2,
    }
}

fn bags() -> Vec<Sample<Bag>> {
    let bag = |parcels| Bag {
        stream: u64::MAX,
        number: 70_000,
        parcels,
    };
    let empty = like(" empty", bag(Vec::new()));
    each(parcels(), |parcel| bag(vec![parcel]))
        .into_iter()
        .chain([empty])
        .collect()
}

fn attachments() -> Vec<Sample<Parcel>> {
    let greetings = every!(Greeting { Hello, Sync, Resume } vec![
        of(Greeting::Hello),
        of(Greeting::Sync),
        of(Greeting::Resume(vec![(conversation(), 300)])),
    ]);
    each(greetings, |greeting| {
        Parcel::Attach(Box::new(Attach {
            plug: plug(),
            epoch: Epoch(3),
            gateway: node(),
            user: user(1),
            login: login(1),
            device: Some(device()),
            device_name: "phone".into(),
            since: at(0),
            greeting,
        }))
    })
}

fn pushes() -> Vec<Sample<Parcel>> {
    let push = |frames, urgency| Parcel::Push {
        plugs: vec![plug()],
        frames,
        urgency,
        weight: 512,
    };
    let urgencies = every!(Urgency { Sequenced, Answer, Ephemeral } vec![
        of(Urgency::Sequenced),
        of(Urgency::Answer),
        of(Urgency::Ephemeral),
    ]);
    let by_urgency = each(urgencies, |urgency| push(typing(), urgency));
    let by_frame = each(server_frames(), |frame| push(Frames::one(frame), Urgency::Answer));
    let by_frame = by_frame
        .into_iter()
        .map(|(name, parcel)| (format!("/frame{name}"), parcel));
    by_urgency.into_iter().chain(by_frame).collect()
}

pub fn parcels() -> Vec<Sample<Parcel>> {
    let refusals = every!(Refusal { NotOwner, Problem, Replaced } vec![
        of(Refusal::NotOwner),
        of(Refusal::Problem(problem(ErrorCode::Unavailable))),
        of(Refusal::Replaced),
    ]);
    let plain = vec![
        of(Parcel::Credit(plug(), 16_384)),
        of(Parcel::Detach(plug())),
        of(Parcel::Attached(plug(), device())),
        of(Parcel::Released(plug())),
    ];
    let parts = [
        attachments(),
        each(requests(), |request| Parcel::Frame(plug(), Box::new(request))),
        each(requests(), |request| Parcel::Returned(plug(), Box::new(request))),
        each(refusals, |refusal| Parcel::Refused(plug(), refusal)),
        each(close_codes(), |code| Parcel::Close(plug(), code)),
        pushes(),
        plain,
    ];
    every!(Parcel { Attach, Frame, Credit, Detach, Attached, Refused, Push, Close, Released, Returned }
        parts.into_iter().flatten().collect())
}
