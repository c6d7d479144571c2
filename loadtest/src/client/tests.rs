//! The engine against the stand-in: clean runs are clean, and each fault is found.

use rookery_actors::id::{ConversationId, UserId};

use super::standin::{Fault, Standin};
use crate::audit::{Book, Kind, Verdict};
use crate::fleet::Fleet;
use crate::measure::{Op, Window};
use crate::plan::{
    Acks, Activity, ClientPlan, Command, ConversationPlan, Evidence, Pace, Plan, Settled, Size, What, Who,
};
use crate::schedule::{Shape, Spacing};
use crate::sys::now_ns;

const RUN: u32 = 77;
const MEMBERS: u32 = 5;
const SECOND: u64 = 1_000_000_000;

struct Played {
    window: Window,
    settled: Settled,
    evidence: Vec<Evidence>,
    verdict: Verdict,
    stored: usize,
}

fn fleet(doors: &[&Standin], conversation: ConversationId, acks: Acks, patience_ms: u64) -> Fleet {
    let clients = (0..MEMBERS).map(|number| {
        let user = UserId::fresh();
        ClientPlan {
            number,
            user,
            token: user.to_string(),
            door: number,
            pace: Pace::Fast,
            conversations: vec![0],
        }
    });
    let plan = Plan {
        run: RUN,
        seed: 1,
        doors: doors.iter().map(|standin| standin.address).collect(),
        sources: vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()],
        acks,
        size: Size { min: 20, max: 200 },
        unanswered: 8,
        patience_ms,
        journal: true,
        clients: clients.collect(),
        conversations: vec![ConversationPlan {
            number: 0,
            id: conversation,
            pair: None,
        }],
    };
    Fleet::start(plan, 1).unwrap()
}

fn settle(fleet: &mut Fleet, patience_s: u64) -> Settled {
    let end = now_ns() + patience_s * SECOND;
    loop {
        let settled = fleet.settled(Vec::new()).unwrap();
        if settled.is_calm() || now_ns() > end {
            return settled;
        }
        fleet.listen_until(now_ns() + 5_000_000).unwrap();
    }
}

fn send(fleet: &mut Fleet, count: u64) {
    let (start_ns, rate) = (now_ns(), 500.0);
    let what = What::Send {
        lanes: (0..MEMBERS).map(|number| (number, 0)).collect(),
        random: false,
    };
    let activity = Activity {
        what,
        rate,
        spacing: Spacing::Constant,
        shape: Shape::Flat,
        start_ns,
        stop_ns: start_ns + (count as f64 / rate * 1e9) as u64 - 1_000_000,
        seed: 3,
    };
    fleet.begin(&activity).unwrap();
}

fn play(fault: Fault, patience_s: u64) -> Played {
    let conversation = ConversationId::fresh();
    let standin = Standin::start(conversation, fault);
    play_through(&[&standin], conversation, patience_s, 0)
}

fn play_through(doors: &[&Standin], conversation: ConversationId, patience_s: u64, patience_ms: u64) -> Played {
    let mut fleet = fleet(doors, conversation, Acks::Every { ms: 20 }, patience_ms);
    fleet
        .all(&Command::Window {
            from_ns: now_ns(),
            to_ns: u64::MAX,
        })
        .unwrap();
    fleet.connect(&Who::All, 1000.0, now_ns()).unwrap();
    assert!(settle(&mut fleet, 20).is_calm(), "not everybody is connected");
    send(&mut fleet, 100);
    let settled = settle(&mut fleet, patience_s);
    let window = fleet.measures().unwrap();
    let evidence = fleet.evidence().unwrap();
    let stored = doors[0].messages();
    Played {
        verdict: Book::new(RUN, vec![conversation], evidence.clone()).close(),
        window,
        settled,
        evidence,
        stored,
    }
}

#[test]
fn a_clean_run_is_measured_and_audited_clean() {
    let played = play(Fault::None, 20);
    assert_eq!(played.verdict.violations, 0, "{:#?}", played.verdict.evidence);
    assert_eq!((played.verdict.answered, played.stored), (100, 100));
    assert!(played.settled.is_calm());
    let counts = &played.window.counts;
    let others = u64::from(MEMBERS - 1);
    assert_eq!(
        (counts.intended, counts.answered, counts.delivered),
        (100, 100, 100 * others)
    );
    assert_eq!(counts.connects, u64::from(MEMBERS));
    assert_eq!(played.window.latency(Op::Delivered).unwrap().len(), 100 * others);
    assert_eq!(played.window.latency(Op::Connect).unwrap().len(), u64::from(MEMBERS));
}

#[test]
fn a_lost_connection_is_made_again_and_its_sends_repeated_once() {
    let played = play(Fault::HangUp, 20);
    assert_eq!(played.verdict.violations, 0, "{:#?}", played.verdict.evidence);
    assert_eq!((played.verdict.answered, played.stored), (100, 100));
    assert_eq!(played.window.counts.closes, u64::from(MEMBERS));
    assert!(played.window.counts.retried >= u64::from(MEMBERS));
    assert_eq!(played.window.counts.connects, 2 * u64::from(MEMBERS));
}

#[test]
fn clients_begin_at_all_doors_and_take_another_when_they_lose_theirs() {
    let conversation = ConversationId::fresh();
    let first = Standin::start(conversation, Fault::HangUp);
    let second = first.beside(conversation, Fault::None);
    let played = play_through(&[&first, &second], conversation, 20, 0);
    assert_eq!(played.verdict.violations, 0, "{:#?}", played.verdict.evidence);
    assert_eq!((played.verdict.answered, played.stored), (100, 100));
    // Three of five begin at the first, and none comes back to it.
    assert_eq!((first.accepted(), second.accepted()), (3, 2 + 3));
}

#[test]
fn a_client_that_is_sent_away_goes_where_it_is_told_and_loses_nothing() {
    let conversation = ConversationId::fresh();
    let told = Standin::start(conversation, Fault::None);
    let other = told.beside(conversation, Fault::None);
    let leaving = told.beside(conversation, Fault::SendAway(told.address));
    let played = play_through(&[&leaving, &other], conversation, 20, 0);
    assert_eq!(played.verdict.violations, 0, "{:#?}", played.verdict.evidence);
    assert_eq!((played.verdict.answered, played.stored), (100, 100));
    assert_eq!((leaving.accepted(), other.accepted(), told.accepted()), (3, 2, 3));
    assert_eq!(played.evidence[0].incidents.get("goaway"), Some(&3));
}

#[test]
fn a_client_leaves_a_door_behind_which_nobody_answers() {
    let conversation = ConversationId::fresh();
    let silent = Standin::start(conversation, Fault::FallSilent);
    let other = silent.beside(conversation, Fault::None);
    let played = play_through(&[&silent, &other], conversation, 20, 300);
    assert_eq!(played.verdict.violations, 0, "{:#?}", played.verdict.evidence);
    assert_eq!((played.verdict.answered, played.stored), (100, 100));
    assert_eq!(
        played.evidence[0].incidents.get("a send not answered in time"),
        Some(&3)
    );
    let journal = &played.evidence[0].journal;
    let waited = |sent: &&crate::chaos::Sent| sent.answered_ns - sent.intended_ns > 300_000_000;
    assert_eq!(journal.len(), 100);
    assert!(journal.iter().filter(waited).count() >= 3);
}

#[test]
fn swallowed_messages_are_found() {
    let played = play(Fault::Swallow, 1);
    assert!(played.settled.behind > 0);
    assert!(
        played.verdict.by_kind.contains_key(&Kind::Gapped),
        "{:#?}",
        played.verdict
    );
    let missing = |violation: &&crate::audit::Violation| violation.seq % 10 == 5;
    assert!(played.verdict.evidence.iter().any(|violation| missing(&violation)));
}

#[test]
fn messages_delivered_twice_are_found() {
    let played = play(Fault::Repeat, 20);
    let found = played.verdict.by_kind.get(&Kind::Duplicated).copied();
    assert_eq!(found, Some(10 * u64::from(MEMBERS - 1)), "{:#?}", played.verdict);
}

#[test]
fn two_orders_are_found_while_they_happen() {
    let played = play(Fault::Confuse, 1);
    let found: u64 = played.evidence.iter().map(|evidence| evidence.findings.total()).sum();
    assert!(found > 0);
    assert!(
        played.verdict.by_kind.contains_key(&Kind::Reordered),
        "{:#?}",
        played.verdict
    );
}

#[test]
fn a_cut_client_stays_away_and_catches_up_when_it_comes_back() {
    let conversation = ConversationId::fresh();
    let standin = Standin::start(conversation, Fault::None);
    let mut fleet = fleet(&[&standin], conversation, Acks::Every { ms: 10 }, 0);
    fleet.connect(&Who::All, 1000.0, now_ns()).unwrap();
    assert!(settle(&mut fleet, 20).is_calm());
    fleet.cut(&Who::These(vec![4])).unwrap();
    let start_ns = now_ns();
    let activity = Activity {
        what: What::Send {
            lanes: vec![(0, 0)],
            random: false,
        },
        rate: 1000.0,
        spacing: Spacing::Constant,
        shape: Shape::Flat,
        start_ns,
        stop_ns: start_ns + 19_500_000,
        seed: 3,
    };
    fleet.begin(&activity).unwrap();
    assert!(settle(&mut fleet, 20).is_calm());
    let window = Command::Window {
        from_ns: now_ns(),
        to_ns: u64::MAX,
    };
    fleet.all(&window).unwrap();
    fleet
        .connect(&Who::These(vec![4]), 1000.0, now_ns() + 1_000_000)
        .unwrap();
    assert!(settle(&mut fleet, 20).is_calm());
    let window = fleet.measures().unwrap();
    assert_eq!(
        (window.counts.connects, window.counts.delivered, window.counts.replayed),
        (1, 20, 0)
    );
    assert_eq!(window.latency(Op::Resume).unwrap().len(), 1);
    assert!(
        window.latency(Op::Delivered).is_none(),
        "what was missed is no latency of delivery"
    );
}

#[test]
fn a_client_that_came_back_acks_what_it_gets() {
    let conversation = ConversationId::fresh();
    let standin = Standin::start(conversation, Fault::HangUp);
    // Acks are put off for so long that the connections end before the first.
    let mut fleet = fleet(&[&standin], conversation, Acks::Every { ms: 300 }, 0);
    fleet.connect(&Who::All, 1000.0, now_ns()).unwrap();
    assert!(settle(&mut fleet, 20).is_calm(), "not everybody is connected");
    send(&mut fleet, 100);
    let end = now_ns() + 20 * SECOND;
    while standin.acked() < 100 && now_ns() < end {
        fleet.listen_until(now_ns() + 20_000_000).unwrap();
    }
    assert_eq!(standin.acked(), 100);
}
