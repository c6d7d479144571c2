//! Anything that can stand in a conversation's log, in any order: what must hold of the state it makes.

use proptest::prelude::*;

use super::*;

/// A store as the port's contract has it, of one conversation.
#[derive(Default)]
struct Store {
    profile: Option<Profile>,
    members: BTreeMap<UserId, Member>,
    recent: Vec<RecentId>,
    changes: Vec<RecentChange>,
    deleted: bool,
}

impl Store {
    fn take(&mut self, step: &Step) {
        match step {
            _ if self.deleted => {}
            Step::Profile(profile) => self.profile = Some(profile.clone()),
            Step::Joined(members) => self
                .members
                .extend(members.iter().map(|member| (member.user, member.clone()))),
            Step::Left(users) => self.members.retain(|user, _| !users.contains(user)),
            Step::Deleted => {
                self.deleted = true;
                self.members.clear();
            }
            Step::Entry(entry) => {
                self.changes.extend(RecentChange::of(entry));
                if let Entry::Message(message) = entry.as_ref() {
                    self.recent.push(RecentId {
                        from: message.from,
                        id: message.id.clone(),
                        seq: message.seq,
                        at: message.at,
                    });
                }
            }
        }
    }

    fn snapshot(&self, state: &State) -> Option<Snapshot> {
        Some(Snapshot {
            profile: self.profile.clone()?,
            head: state.head,
            applied: state.applied,
            active_at: state.active_at,
            members: self.members.values().cloned().collect(),
            recent: self.recent.clone(),
            changes: self.changes.clone(),
            deleted: self.deleted,
        })
    }
}

fn who() -> impl Strategy<Value = UserId> {
    (0..6u8).prop_map(user)
}

fn content() -> impl Strategy<Value = Content> {
    (prop::option::of(0..12u64), prop::collection::vec(who(), 0..2)).prop_map(|(reply_to, mentions)| Content {
        reply_to,
        mentions,
        ..Content::default()
    })
}

/// What any conversation can be told.
fn common(direct: bool) -> impl Strategy<Value = Command> {
    let from = if direct { 0..2u8 } else { 0..6u8 };
    let peer = move |from: u8| direct.then(|| user(1 - from));
    prop_oneof![
        4 => (from, "[a-d]", content()).prop_map(move |(from, id, content)| Command::Send {
            from: user(from),
            id,
            content,
            peer: peer(from),
        }),
        2 => (who(), 0..12u64).prop_map(|(from, of)| Command::Update { from, of, change: StoredChange::Delete, idempotency: None }),
        1 => who().prop_map(|user| Command::Gone { user }),
    ]
}

fn command(direct: bool) -> BoxedStrategy<Command> {
    if direct {
        let open = Just(Command::Open {
            pair: [user(0), user(1)],
        });
        return prop_oneof![8 => common(true), 1 => open].boxed();
    }
    let role = prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)];
    prop_oneof![
        12 => common(false),
        4 => prop::collection::vec(0..6u8, 0..5).prop_map(|members| create(&members)),
        4 => (who(), prop::collection::vec(who(), 0..4)).prop_map(|(by, users)| Command::Add { by, users }),
        4 => (who(), who()).prop_map(|(by, user)| Command::Remove { by, user }),
        4 => (who(), who(), role).prop_map(|(by, user, role)| Command::SetRole { by, user, role }),
        2 => (who(), "[a-z]{0,3}").prop_map(|(by, name)| Command::Patch {
            by,
            name: Some(name),
            photo: Some(None),
            description: None,
        }),
        1 => who().prop_map(|by| Command::Delete { by }),
    ]
    .boxed()
}

/// A log in which other conversations' records take offsets too, written by clocks that do not agree.
fn log() -> impl Strategy<Value = (ConversationId, Vec<(Offset, Record)>)> {
    any::<bool>().prop_flat_map(|of_two| {
        let id = if of_two { direct().id } else { group() };
        let record = (1..4u64, 0..50i64, prop::option::of((0..2u64, 0..8u64)), command(of_two));
        prop::collection::vec(record, 0..60).prop_map(move |records| {
            let mut next = 0;
            let place = |(skip, at, writer, command): (u64, i64, Option<(u64, u64)>, Command)| {
                next += skip;
                let record = Record {
                    conversation: id,
                    at: Timestamp(at),
                    checked: None,
                    writer: writer.map(|(process, ago)| Writer {
                        process,
                        seen: next.saturating_sub(ago),
                    }),
                    command,
                };
                (next, record)
            };
            (id, records.into_iter().map(place).collect())
        })
    })
}

/// Applies what was not applied before.
fn replay(state: &mut State, log: &[(Offset, Record)]) -> Vec<Applied> {
    let mut results = Vec::new();
    for (offset, record) in log {
        if *offset >= state.applied {
            results.push(state.apply(*offset, record.clone()));
        }
    }
    results
}

fn assert_same(a: &State, b: &State) {
    assert_eq!(
        (a.id, a.deleted, a.head, a.applied),
        (b.id, b.deleted, b.head, b.applied)
    );
    assert_eq!((a.active_at, &a.members), (b.active_at, &b.members));
    assert_eq!(a.profile, b.profile);
    for number in 0..6 {
        for id in ["a", "b", "c", "d"] {
            let key = Key::of(user(number), id);
            assert_eq!(a.window.get(key), b.window.get(key));
        }
    }
}

fn check_members(state: &State) {
    let owners = state
        .members
        .values()
        .filter(|member| member.role == Role::Owner)
        .count();
    let is_living_group = state.exists() && !state.id.is_direct();
    assert_eq!(owners, usize::from(is_living_group), "one owner: {:?}", state.members);
    assert!(!state.deleted || state.members.is_empty());
    if state.id.is_direct() {
        assert!(state.members.keys().all(|member| [user(0), user(1)].contains(member)));
    }
    for (user, member) in &state.members {
        assert_eq!(*user, member.user);
        assert_eq!(member.role > Role::Member, member.admin_since.is_some());
        assert!(member.joined_seq <= state.head);
    }
}

type Messages = HashMap<(UserId, String), (u64, Timestamp)>;

/// One record's result against all that was said before.
fn check_applied(applied: &Applied, record: &Record, head: &mut u64, messages: &mut Messages) {
    for event in &applied.events {
        let Event::Entry(entry) = event else { continue };
        *head += 1;
        assert_eq!(entry.seq(), *head, "no gap");
        if let Entry::Message(message) = entry.as_ref() {
            let first = messages.insert((message.from, message.id.clone()), (message.seq, message.at));
            assert_eq!(first, None, "the same id never makes two messages");
        }
    }
    if let (Ok(Outcome::Sent { seq, at, .. }), Command::Send { from, id, .. }) = (&applied.outcome, &record.command) {
        assert_eq!(
            messages.get(&(*from, id.clone())),
            Some(&(*seq, *at)),
            "sent is the message's"
        );
    }
}

proptest! {
    #[test]
    fn seqs_have_no_gap_and_an_id_makes_one_message((id, log) in log()) {
        let mut state = State::empty(id);
        let (mut head, mut messages) = (0, Messages::new());
        for (offset, record) in &log {
            let author = record.command.author();
            let (was_member, members) = (state.is_member(author), state.members.clone());
            let applied = replay(&mut state, &[(*offset, record.clone())]).remove(0);
            let before = head;
            check_applied(&applied, record, &mut head, &mut messages);
            prop_assert_eq!(state.head, head);
            prop_assert!(head == before || was_member || state.is_member(author), "only members speak");
            if applied.outcome.is_err() {
                prop_assert!(applied.steps.is_empty() && applied.events.is_empty());
                prop_assert_eq!(&state.members, &members);
            }
            check_members(&state);
        }
    }

    #[test]
    fn any_two_readers_come_to_the_same_state_and_say_the_same((id, log) in log()) {
        let (mut one, mut other) = (State::empty(id), State::empty(id));
        prop_assert_eq!(replay(&mut one, &log), replay(&mut other, &log));
        assert_same(&one, &other);
        prop_assert!(replay(&mut other, &log).is_empty(), "what is read again is skipped");
        assert_same(&one, &other);
    }

    #[test]
    fn a_snapshot_and_the_rest_of_the_log_make_the_same_state(
        (id, log) in log(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut whole = State::empty(id);
        let all = replay(&mut whole, &log);
        for cut in cuts {
            let cut = cut.index(log.len() + 1);
            let (mut state, mut store) = (State::empty(id), Store::default());
            for applied in replay(&mut state, &log[..cut]) {
                applied.steps.iter().for_each(|step| store.take(step));
            }
            let snapshot = store.snapshot(&state);
            let resumed = snapshot.map(|snapshot| State::load(id, snapshot));
            let mut resumed = resumed.unwrap_or_else(|| State::empty(id));
            let rest = replay(&mut resumed, &log);
            prop_assert_eq!(&all[all.len() - rest.len()..], rest.as_slice());
            assert_same(&whole, &resumed);
        }
    }
}

#[test]
fn the_time_of_a_conversation_does_not_go_back() {
    let mut state = made(&[1]);
    let mut at = |time, id| {
        let record = Record {
            conversation: state.id,
            at: Timestamp(time),
            checked: Some(state.head),
            writer: None,
            command: send(1, id),
        };
        match state.apply(state.applied, record).outcome {
            Ok(Outcome::Sent { at, .. }) => at.0,
            other => panic!("not sent: {other:?}"),
        }
    };
    assert_eq!(at(7_000, "before the clock stepped back"), 7_000);
    assert_eq!(at(3_000, "under way at the same time"), 7_000);
    assert_eq!(at(3_000, "under way at the same time"), 7_000, "a repeat says the same");
    assert_eq!(at(7_001, "later"), 7_001);
}
