use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
/// Round figures, whatever a cluster's are.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(500),
    ttl: Duration::from_secs(2),
    margin: Duration::from_millis(250),
};
const RENEWED: Answer = Answer::Renewed {
    epoch: Epoch(3),
    others: None,
};

/// A machine on a clock that the test moves.
struct Bench {
    lease: Machine,
    start: Instant,
    now: Instant,
    sent: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            lease: Machine::new(TIMING, NodeState::Joining, now),
            start: now,
            now,
            sent: now,
        }
    }

    /// One that is a member.
    fn joined() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.asks(Input::Tick), Some(Ask::Join(NodeState::Joining)));
        let joined = Answer::Joined {
            incarnation: Incarnation(3),
            epoch: Epoch(3),
        };
        assert_eq!(bench.answer(joined), []);
        bench
    }

    fn at(&mut self, ms: u32) -> &mut Self {
        self.now = self.now.max(self.start + ms * MS);
        self
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.lease.handle(input, self.now);
        if effects.iter().any(|effect| matches!(effect, Effect::Ask(_))) {
            self.sent = self.now;
        }
        effects
    }

    fn asks(&mut self, input: Input) -> Option<Ask> {
        self.give(input).into_iter().find_map(|effect| match effect {
            Effect::Ask(ask) => Some(ask),
            Effect::Lapsed => None,
        })
    }

    fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        let sent = self.sent;
        self.give(Input::Answered { sent, answer })
    }

    fn standing(&self) -> Standing {
        self.lease.standing()
    }
}

#[test]
fn a_member_renews_at_every_heartbeat() {
    let mut bench = Bench::joined();
    assert_eq!(bench.standing(), Standing::Held);
    for beat in 1..10 {
        assert_eq!(bench.at(beat * 500 - 1).asks(Input::Tick), None);
        let ask = bench.at(beat * 500).asks(Input::Tick);
        assert_eq!(ask, Some(Ask::Renew(Incarnation(3), NodeState::Joining)));
        assert_eq!(bench.asks(Input::Tick), None, "one question at a time");
        assert_eq!(bench.answer(RENEWED), []);
    }
}

#[test]
fn a_change_is_asked_for_at_once_and_not_too_often() {
    let mut bench = Bench::joined();
    assert_eq!(bench.at(5).asks(Input::Told), None);
    assert!(bench.at(10).asks(Input::Tick).is_some());
    assert_eq!(
        bench.at(11).asks(Input::Be(NodeState::Up)),
        None,
        "one question at a time"
    );
    assert_eq!(bench.answer(RENEWED), [], "it was told the former state");
    let ask = bench.at(20).asks(Input::Tick);
    assert_eq!(ask, Some(Ask::Renew(Incarnation(3), NodeState::Up)));
}

#[test]
fn the_end_of_anothers_lease_is_looked_for_when_it_comes() {
    let mut bench = Bench::joined();
    assert!(bench.at(500).asks(Input::Tick).is_some());
    bench.answer(Answer::Renewed {
        epoch: Epoch(3),
        others: Some(100 * MS),
    });
    assert_eq!(bench.at(602).asks(Input::Tick), None);
    assert!(bench.at(603).asks(Input::Tick).is_some());
}

#[test]
fn while_redis_is_away_the_view_is_frozen_and_nothing_lapses() {
    let mut bench = Bench::joined();
    for ms in (500..60_000).step_by(500) {
        assert!(bench.at(ms).asks(Input::Tick).is_some(), "it goes on asking");
        assert_eq!(bench.answer(Answer::Failed), []);
        let expected = if ms < 1750 { Standing::Held } else { Standing::Frozen };
        assert_eq!(bench.standing(), expected, "at {ms}");
        assert!(bench.standing().is_ready());
    }
    assert!(bench.at(60_000).asks(Input::Tick).is_some());
    assert_eq!(bench.answer(RENEWED), []);
    assert_eq!(bench.standing(), Standing::Held);
}

#[test]
fn a_node_notices_by_its_own_clock_that_it_stood_still() {
    let mut bench = Bench::joined();
    assert_eq!(bench.lease.wake(), Some(bench.start + 500 * MS));
    let ask = bench.at(9_000).asks(Input::Tick);
    assert_eq!(bench.standing(), Standing::Frozen, "before anybody told it");
    assert_eq!(ask, Some(Ask::Renew(Incarnation(3), NodeState::Joining)));
    let effects = bench.answer(Answer::Gone);
    assert_eq!(effects, [Effect::Lapsed, Effect::Ask(Ask::Join(NodeState::Joining))]);
    assert_eq!((bench.standing(), bench.lease.incarnation()), (Standing::Outside, None));
}

#[test]
fn who_lapsed_comes_back_owning_nothing() {
    let mut bench = Bench::joined();
    bench.at(20).give(Input::Be(NodeState::Up));
    bench.answer(RENEWED);
    bench.at(5_000).give(Input::Tick);
    let effects = bench.answer(Answer::Gone);
    assert_eq!(effects, [Effect::Lapsed, Effect::Ask(Ask::Join(NodeState::Joining))]);
    let joined = Answer::Joined {
        incarnation: Incarnation(8),
        epoch: Epoch(8),
    };
    bench.answer(joined);
    assert_eq!(bench.standing(), Standing::Held);
    let ask = bench.at(6_000).asks(Input::Tick);
    assert_eq!(ask, Some(Ask::Renew(Incarnation(8), NodeState::Joining)));
}

#[test]
fn who_drains_still_drains_after_a_lapse() {
    let mut bench = Bench::joined();
    bench.at(20).give(Input::Be(NodeState::Draining));
    let effects = bench.answer(Answer::Gone);
    assert_eq!(effects, [Effect::Lapsed, Effect::Ask(Ask::Join(NodeState::Draining))]);
}

#[test]
fn a_later_epoch_on_a_peers_lips_says_that_redis_answers_others() {
    let mut bench = Bench::joined();
    bench.at(500).give(Input::Tick);
    bench.at(1_000).give(Input::Heard(Epoch(4)));
    bench.at(1_900).give(Input::Heard(Epoch(4)));
    assert_eq!(
        bench.standing(),
        Standing::Frozen,
        "that epoch began while the lease was alive"
    );
    bench.at(2_500).give(Input::Heard(Epoch(5)));
    assert_eq!(bench.standing(), Standing::Isolated);
    assert!(!bench.standing().is_ready());
    bench.answer(RENEWED);
    assert_eq!(bench.standing(), Standing::Held, "its lease was alive all the same");
}

#[test]
fn a_later_epoch_makes_a_member_look() {
    let mut bench = Bench::joined();
    assert_eq!(bench.at(100).asks(Input::Heard(Epoch(3))), None);
    assert!(bench.at(100).asks(Input::Heard(Epoch(4))).is_some());
}

#[test]
fn redis_without_its_data_is_told() {
    let mut bench = Bench::joined();
    bench.at(500).give(Input::Tick);
    assert_eq!(bench.answer(Answer::Behind), [Effect::Ask(Ask::Restore)]);
    let renew = Ask::Renew(Incarnation(3), NodeState::Joining);
    assert_eq!(bench.answer(Answer::Restored), [Effect::Ask(renew)]);
    bench.answer(RENEWED);
    assert_eq!(bench.standing(), Standing::Held);
}

#[test]
fn two_processes_of_one_name_do_not_take_it_from_each_other_for_ever() {
    let mut bench = Bench::joined();
    bench.at(500).give(Input::Tick);
    assert_eq!(bench.answer(Answer::Superseded), [Effect::Lapsed]);
    assert_eq!(bench.standing(), Standing::Superseded);
    assert_eq!(bench.lease.wake(), None);
    assert_eq!(bench.at(60_000).give(Input::Tick), []);
    assert_eq!(bench.give(Input::Told), []);
}

#[test]
fn leaving_releases_the_lease_as_often_as_it_takes() {
    let mut bench = Bench::joined();
    let release = Some(Ask::Release(Incarnation(3)));
    assert_eq!(bench.at(100).asks(Input::Leave), release);
    bench.answer(Answer::Failed);
    assert_eq!(bench.at(599).asks(Input::Tick), None, "no faster than a heartbeat");
    assert_eq!(bench.at(600).asks(Input::Tick), release);
    assert_eq!(bench.answer(Answer::Released), []);
    assert_eq!(bench.standing(), Standing::Left);
    assert_eq!(bench.lease.wake(), None);
}

#[test]
fn who_leaves_before_it_joined_is_gone_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.give(Input::Leave), []);
    assert_eq!(bench.standing(), Standing::Left);
}

fn inputs() -> impl Strategy<Value = Vec<(u32, Input)>> {
    let epoch = (0..20_u64).prop_map(Epoch);
    let others = prop::option::of((0..3_000_u64).prop_map(Duration::from_millis));
    let answer = prop_oneof![
        3 => (1..20_u64, epoch.clone())
            .prop_map(|(incarnation, epoch)| Answer::Joined { incarnation: Incarnation(incarnation), epoch }),
        6 => (epoch.clone(), others).prop_map(|(epoch, others)| Answer::Renewed { epoch, others }),
        2 => Just(Answer::Gone),
        1 => Just(Answer::Superseded),
        2 => Just(Answer::Behind),
        2 => Just(Answer::Restored),
        1 => Just(Answer::Released),
        4 => Just(Answer::Failed),
    ];
    let start = Instant::now();
    let input = prop_oneof![
        6 => Just(Input::Tick),
        8 => answer.prop_map(move |answer| Input::Answered { sent: start, answer }),
        1 => Just(Input::Told),
        2 => epoch.prop_map(Input::Heard),
        1 => Just(Input::Be(NodeState::Up)),
        1 => Just(Input::Be(NodeState::Draining)),
    ];
    prop::collection::vec((0..2_000_u32, input), 1..120)
}

/// Whether Redis could answer a question so.
fn answers(ask: Ask, answer: Answer) -> bool {
    match answer {
        Answer::Joined { .. } => matches!(ask, Ask::Join(_)),
        Answer::Renewed { .. } | Answer::Gone | Answer::Superseded | Answer::Behind => matches!(ask, Ask::Renew(..)),
        Answer::Restored => ask == Ask::Restore,
        Answer::Released => matches!(ask, Ask::Release(_)),
        Answer::Failed => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever Redis and the peers say, and whenever.
    #[test]
    fn every_schedule_keeps_the_rules(inputs in inputs()) {
        let mut bench = Bench::new();
        let mut asked: Option<Ask> = None;
        let mut renewed: Option<Instant> = None;
        for (wait, input) in inputs {
            bench.now += wait * MS;
            let input = match input {
                Input::Answered { answer, .. } => match asked {
                    Some(ask) if answers(ask, answer) => Input::Answered { sent: bench.sent, answer },
                    _ => continue,
                },
                other => other,
            };
            if let Input::Answered { answer, .. } = input {
                asked = None;
                if matches!(answer, Answer::Joined { .. } | Answer::Renewed { .. }) {
                    renewed = Some(bench.sent);
                }
            }
            let was_member = bench.lease.incarnation().is_some();
            let effects = bench.give(input);
            for effect in &effects {
                match effect {
                    Effect::Ask(ask) => {
                        prop_assert_eq!(asked, None, "one question at a time");
                        prop_assert_eq!(matches!(ask, Ask::Join(_)), bench.lease.incarnation().is_none());
                        asked = Some(*ask);
                    }
                    Effect::Lapsed => prop_assert!(was_member, "only who had something lost it"),
                }
            }
            let standing = bench.standing();
            if standing == Standing::Held {
                let age = bench.now - renewed.expect("somebody said so");
                // An answer that took longer than a lease lives is believed, and doubted at the next instant.
                let answered = matches!(input, Input::Answered { .. });
                prop_assert!(answered || age < TIMING.trusted(), "held for {:?}", age);
            }
            prop_assert_eq!(standing.is_ready(), bench.lease.incarnation().is_some() && standing != Standing::Isolated);
            let idle = asked.is_none() && !standing.is_final();
            prop_assert!(!idle || bench.lease.wake().is_some(), "it forgot to ask");
            let lost = matches!(input, Input::Answered { answer: Answer::Gone | Answer::Superseded, .. });
            prop_assert!(lost || !was_member || bench.lease.incarnation().is_some() || standing == Standing::Left);
        }
    }
}
