//! What comes while the inbox is read: whatever the store says of it, in the end the session stands where the user does.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_said_after_an_early_join_is_not_forgotten() {
    let a = conversation(0);
    let mut state = State::loading();
    state.join(&membership(a, 5, 5));
    state.deliver(&batch(a, 6, 7, None));
    state.loaded(inbox(vec![], vec![]));
    assert_eq!(state.standing(a).unwrap().head, 7);
    assert_eq!(state.devices[0].cursors, [5]);
}

#[test]
fn who_leaves_and_joins_again_starts_at_the_later_joining() {
    let a = conversation(0);
    let mut state = State::loading();
    state.leave(a);
    state.join(&membership(a, 9, 9));
    state.loaded(inbox(vec![membership(a, 0, 4)], vec![(a, 2)]));
    assert_eq!(state.standing(a).unwrap().joined_seq, 9);
    assert_eq!(state.devices[0].cursors, [9]);
}

/// What happens to a user, in the order in which the conversations' owners say it.
#[derive(Clone, Debug)]
enum Event {
    Join(u8),
    Leave(u8),
    Say(u8, u64),
}

#[derive(Clone, Default)]
struct Truth {
    heads: BTreeMap<u8, u64>,
    joined: BTreeMap<u8, u64>,
}

impl Truth {
    /// The event as the session is told of it, if it makes sense now.
    fn happen(&mut self, event: &Event, tell: &mut dyn FnMut(Told)) {
        match *event {
            Event::Say(number, count) => {
                let head = self.heads.entry(number).or_default();
                let first = *head + 1;
                *head += count;
                if self.joined.contains_key(&number) {
                    tell(Told::Batch(batch(conversation(number), first, *head, None)));
                }
            }
            Event::Join(number) if !self.joined.contains_key(&number) => {
                let head = self.heads.get(&number).copied().unwrap_or_default();
                self.joined.insert(number, head);
                tell(Told::Join(membership(conversation(number), head, head)));
            }
            Event::Leave(number) => {
                if self.joined.remove(&number).is_some() {
                    // What makes a later joining a later one: the conversation went on.
                    *self.heads.entry(number).or_default() += 1;
                    tell(Told::Leave(conversation(number)));
                }
            }
            Event::Join(_) => {}
        }
    }

    fn inbox(&self, lag: u64) -> Inbox {
        let membership = |(number, joined): (&u8, &u64)| {
            let head = self.heads.get(number).copied().unwrap_or_default();
            membership(conversation(*number), *joined, head.saturating_sub(lag).max(*joined))
        };
        inbox(self.joined.iter().map(membership).collect(), vec![])
    }
}

enum Told {
    Batch(Batch),
    Join(Membership),
    Leave(ConversationId),
}

fn tell(state: &mut State, told: Told) {
    match told {
        Told::Batch(batch) => drop(state.deliver(&batch)),
        Told::Join(membership) => drop(state.join(&membership)),
        Told::Leave(conversation) => state.leave(conversation),
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3u8).prop_map(Event::Join),
        (0..3u8).prop_map(Event::Leave),
        (0..3u8, 1..4u64).prop_map(|(number, count)| Event::Say(number, count)),
    ]
}

proptest! {
    #[test]
    fn a_session_stands_where_its_user_does_whenever_the_inbox_was_read(
        before in prop::collection::vec(event(), 0..12),
        unread in prop::collection::vec(event(), 0..8),
        read in prop::collection::vec(event(), 0..8),
        after in prop::collection::vec(event(), 0..8),
        lag in 0..3u64,
    ) {
        let mut truth = Truth::default();
        before.iter().for_each(|event| truth.happen(event, &mut |_| {}));
        let mut state = State::loading();
        unread.iter().for_each(|event| truth.happen(event, &mut |told| tell(&mut state, told)));
        let inbox = truth.inbox(lag);
        read.iter().for_each(|event| truth.happen(event, &mut |told| tell(&mut state, told)));
        state.loaded(inbox);
        after.iter().for_each(|event| truth.happen(event, &mut |told| tell(&mut state, told)));
        for (number, head) in &truth.heads {
            state.raise(conversation(*number), *head);
        }
        let standings: Vec<_> = state
            .standings
            .iter()
            .map(|standing| (standing.conversation, standing.joined_seq, standing.head))
            .collect();
        let expected: Vec<_> = truth
            .joined
            .iter()
            .map(|(number, joined)| (conversation(*number), *joined, truth.heads.get(number).copied().unwrap_or_default()))
            .collect();
        prop_assert_eq!(standings, expected);
        let joined: Vec<_> = truth.joined.values().copied().collect();
        prop_assert_eq!(&state.devices[0].cursors, &joined);
    }
}
