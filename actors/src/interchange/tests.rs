use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::ports::chats::Span;
use crate::samples;

fn origin() -> BoxedStrategy<Origin> {
    let node = "[a-z]{1,8}".prop_map(|name| NodeId::from(name.as_str()));
    let socket = (
        node.clone(),
        samples::user(),
        any::<u64>(),
        of(samples::text()),
        of(any::<u64>()),
    );
    prop_oneof![
        socket.prop_map(|(node, user, connection, request, send)| Origin::Socket {
            node,
            user,
            connection: ConnectionId(connection),
            request,
            send,
        }),
        (node.clone(), any::<u64>()).prop_map(|(node, call)| Origin::Call { node, call }),
        (node, any::<u64>(), of(any::<u64>())).prop_map(|(node, ticket, connection)| Origin::Node {
            node,
            ticket,
            connection: connection.map(ConnectionId),
        }),
        Just(Origin::Nobody),
    ]
    .boxed()
}

fn question() -> BoxedStrategy<Question> {
    let span = prop_oneof![any::<u64>().prop_map(Span::Before), any::<u64>().prop_map(Span::After)];
    prop_oneof![
        4 => (samples::command(), any::<bool>()).prop_map(|(command, repeat)| Question::Do { command, repeat }),
        1 => (samples::user(), any::<u64>(), samples::change(), of(any::<u64>()))
            .prop_map(|(from, of, change, idempotency)| Change { from, of, change, idempotency })
            .prop_map(Question::Change),
        1 => (any::<(u64, u64)>(), of(samples::user()))
            .prop_map(|((from, to), user)| Question::Entries { from, to, user }),
        1 => (samples::user(), span, any::<usize>())
            .prop_map(|(user, span, limit)| Question::History { user, span, limit }),
        1 => (samples::user(), any::<u64>()).prop_map(|(user, read)| Question::Summary { user, read }),
        1 => (samples::user(), of(samples::user()), any::<usize>())
            .prop_map(|(user, after, limit)| Question::Members { user, after, limit }),
        1 => (samples::user(), any::<u64>(), any::<u64>())
            .prop_map(|(user, delivered, read)| Question::Receipt { user, delivered, read }),
        1 => samples::user().prop_map(|user| Question::Typing { user }),
        1 => user_question().prop_map(Question::User),
    ]
    .boxed()
}

fn user_question() -> BoxedStrategy<UserQuestion> {
    let uuid = || any::<u128>().prop_map(uuid::Uuid::from_u128);
    let login = move || uuid().prop_map(LoginId);
    let device = move || uuid().prop_map(DeviceId);
    let code = prop_oneof![Just(CloseCode::LoggedOut), Just(CloseCode::Replaced)];
    prop_oneof![
        (samples::conversation(), any::<u64>())
            .prop_map(|(conversation, seq)| UserQuestion::Read { conversation, seq }),
        Just(UserQuestion::Standings),
        (of(login()), of(login()), code.clone()).prop_map(|(only, except, code)| UserQuestion::CloseLogins {
            only,
            except,
            code
        }),
        (device(), code).prop_map(|(device, code)| UserQuestion::ForgetDevice { device, code }),
        (device(), login()).prop_map(|(device, login)| UserQuestion::RebindDevice { device, login }),
        any::<bool>().prop_map(|on| UserQuestion::Watch { node: "a".into(), on }),
    ]
    .boxed()
}

fn frames() -> impl Strategy<Value = Frames> {
    vec(samples::server_frame(), 0..3).prop_map(Frames::new)
}

fn entry() -> impl Strategy<Value = Arc<Entry>> {
    samples::entry().prop_map(Arc::new)
}

fn slice() -> BoxedStrategy<Slice> {
    let numbers = (any::<u64>(), any::<u64>(), of(any::<(u64, u64)>()));
    (
        numbers,
        vec(samples::stored_update(), 0..2),
        vec((entry(), frames()), 0..2),
    )
        .prop_map(|((head, tail_first, stored), folds, entries)| Slice {
            head,
            tail_first,
            stored,
            folds,
            entries,
        })
        .boxed()
}

fn summary() -> BoxedStrategy<Summary> {
    let names = (of(samples::text()), of(samples::file()), of(samples::user()));
    let numbers = (any::<u64>(), any::<u32>(), of(any::<(u64, u64)>()));
    (names, numbers, of(entry()))
        .prop_map(
            |((group_name, photo, peer), (head, unread, unread_stored), latest)| Summary {
                kind: Kind::Group,
                group_name,
                photo,
                peer,
                head,
                unread,
                unread_stored,
                latest,
            },
        )
        .boxed()
}

fn members() -> BoxedStrategy<Members> {
    let member = (
        samples::user(),
        samples::role(),
        samples::time(),
        any::<u64>(),
        of(samples::time()),
    );
    let member = member.prop_map(|(user, role, joined_at, joined_seq, admin_since)| Member {
        user,
        role,
        joined_at,
        joined_seq,
        admin_since,
    });
    let profile = (samples::text(), of(samples::file()), of(samples::text()));
    let rest = (samples::user(), samples::time(), samples::time(), any::<usize>());
    (profile, rest, vec(member, 0..3))
        .prop_map(|(profile, (owner, created_at, updated_at, count), page)| {
            let (name, photo, description) = profile;
            Members {
                name,
                photo,
                description,
                owner,
                created_at,
                updated_at,
                count,
                page,
            }
        })
        .boxed()
}

fn reply() -> BoxedStrategy<Reply> {
    let sent = (any::<u64>(), samples::time(), any::<bool>());
    let outcome = prop_oneof![
        sent.prop_map(|(seq, at, duplicate)| Outcome::Sent { seq, at, duplicate }),
        any::<u64>().prop_map(|seq| Outcome::Updated { seq }),
        Just(Outcome::Settled),
    ];
    prop_oneof![
        (samples::conversation(), outcome).prop_map(|(conversation, outcome)| Reply::Done { conversation, outcome }),
        of(any::<u64>()).prop_map(|seq| Reply::Repeated { seq }),
        (any::<u64>(), any::<bool>()).prop_map(|(epoch, appended)| Reply::NotOwner {
            epoch: Epoch(epoch),
            appended
        }),
        any::<bool>().prop_map(Reply::Noted),
        any::<bool>().prop_map(Reply::Online),
        (samples::conversation(), samples::time(), any::<(u64, u64)>()).prop_map(
            |(conversation, active_at, (read, delivered))| Reply::Standings(vec![Progress {
                conversation,
                active_at,
                read,
                delivered,
            }])
        ),
        slice().prop_map(Reply::Entries),
        summary().prop_map(Reply::Summary),
        members().prop_map(|members| Reply::Members(Box::new(members))),
    ]
    .boxed()
}

fn membership() -> BoxedStrategy<Membership> {
    let numbers = any::<(u64, u64, u64, u64)>();
    let times = (samples::time(), samples::time(), of(samples::time()));
    (samples::conversation(), numbers, times, any::<bool>())
        .prop_map(
            |(conversation, (head, joined_seq, read, delivered), (active_at, joined_at, muted_until), pinned)| {
                Membership {
                    conversation,
                    head,
                    active_at,
                    joined_seq,
                    joined_at,
                    read,
                    delivered,
                    muted_until,
                    pinned,
                }
            },
        )
        .boxed()
}

fn delivery() -> BoxedStrategy<Delivery> {
    let users = || vec(samples::user(), 0..4);
    let sender = of(any::<u64>().prop_map(ConnectionId));
    let batch = (
        samples::conversation(),
        any::<u64>(),
        any::<u64>(),
        samples::time(),
        frames(),
        vec(sender, 0..3),
    );
    let batch = batch.prop_map(|(conversation, first, last, at, frames, senders)| Batch {
        conversation,
        first,
        last,
        at,
        frames,
        senders: senders.into(),
    });
    prop_oneof![
        batch.prop_map(|batch| Delivery::Batch(Arc::new(batch))),
        (frames(), of(samples::user())).prop_map(|(frames, except)| Delivery::Ephemeral(frames, except)),
        users().prop_map(Delivery::Roster),
        vec((samples::user(), membership()), 0..3).prop_map(Delivery::Enter),
        users().prop_map(Delivery::Leave),
        users().prop_map(Delivery::Left),
        Just(Delivery::Cool),
    ]
    .boxed()
}

fn forward(ask: Ask) -> Peer {
    Peer::Forward(Box::new(Forwarded {
        ask,
        epoch: Epoch(7),
        within_ms: 900,
    }))
}

fn placing() -> impl Strategy<Value = Placing> {
    let shards = || vec(any::<u16>().prop_map(ShardId), 0..4);
    prop_oneof![
        any::<u64>().prop_map(|epoch| Placing::Installed(Epoch(epoch))),
        (any::<u64>(), shards()).prop_map(|(epoch, shards)| Placing::Release(Epoch(epoch), shards)),
        (any::<u64>(), shards()).prop_map(|(epoch, shards)| Placing::Closed(Epoch(epoch), shards)),
    ]
}

/// Every kind of message.
fn peer() -> BoxedStrategy<Peer> {
    let ask = (samples::conversation(), origin(), question());
    let reply = prop_oneof![reply().prop_map(Ok), samples::problem().prop_map(Err)];
    prop_oneof![
        ask.prop_map(|(conversation, origin, question)| forward(Ask {
            conversation,
            origin,
            question
        })),
        placing().prop_map(Peer::Place),
        (origin(), reply).prop_map(|(to, reply)| Peer::Answer(Box::new(Answer { to, reply }))),
        (samples::conversation(), delivery())
            .prop_map(|(conversation, delivery)| Peer::Deliver(conversation, delivery)),
        (vec(samples::user(), 0..4), frames()).prop_map(|(users, frames)| Peer::Notify(users, frames)),
    ]
    .boxed()
}

#[test]
fn a_photo_that_is_taken_away_is_taken_away_on_another_node_too() {
    let command = Command::Patch {
        by: UserId(uuid::Uuid::nil()),
        name: None,
        photo: Some(None),
        description: Some(None),
    };
    let ask = forward(Ask {
        conversation: ConversationId(uuid::Uuid::nil()),
        origin: Origin::Nobody,
        question: Question::Do { command, repeat: false },
    });
    assert_eq!(Peer::decode(&ask.encode()).unwrap(), ask);
}

#[test]
fn deep_nesting_is_refused_and_costs_no_stack() {
    let notify = Peer::Notify(Vec::new(), Frames::new(Vec::new())).encode();
    // In the place of the list of frames.
    let mut bytes = notify[..notify.len() - 1].to_vec();
    bytes.extend([0x91; 60_000]);
    assert!(Peer::decode(&bytes.into()).is_err());
}

proptest! {
    #[test]
    fn every_message_comes_over_as_it_was_sent(peer in peer()) {
        prop_assert_eq!(Peer::decode(&peer.encode()).unwrap(), peer);
    }

    #[test]
    fn no_bytes_make_the_receiver_panic(bytes in vec(any::<u8>(), 0..200)) {
        Peer::decode(&bytes.into()).ok();
    }

    #[test]
    fn no_damage_to_a_message_makes_the_receiver_panic(
        peer in peer(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = peer.encode().to_vec();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let cut = bytes[..cut.index(bytes.len())].to_vec();
        Peer::decode(&bytes.into()).ok();
        Peer::decode(&cut.into()).ok();
    }
}
