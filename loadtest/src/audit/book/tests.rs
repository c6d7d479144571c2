//! The audit is fed each kind of violation, and must name it; and a clean run, and must be content.

use rookery_actors::id::ConversationId;

use super::{Book, Entry, Verdict};
use crate::audit::{Kind, UPDATE};
use crate::client::payload::Key;
use crate::plan::{ClientEvidence, Evidence, REFUSED};

const RUN: u32 = 0xfeed;

fn key(sender: u32, n: u32) -> u64 {
    Key::new(sender, n).0
}

fn entry(seq: u64, key: u64) -> Entry {
    Entry {
        seq,
        id: Key(key).id(RUN).to_string(),
        intact: true,
    }
}

/// Client 0 sent three messages, client 1 received them; all is well.
fn clean() -> Evidence {
    let sender = ClientEvidence {
        number: 0,
        attempts: vec![(0, 1), (0, 2), (0, 3)],
        reached: vec![(0, 3, None)],
        complete: true,
    };
    let receiver = ClientEvidence {
        number: 1,
        reached: vec![(0, 3, None)],
        complete: true,
        ..ClientEvidence::default()
    };
    Evidence {
        clients: vec![sender, receiver],
        ledgers: vec![(0, vec![key(0, 0), key(0, 1), key(0, 2)])],
        ..Evidence::default()
    }
}

fn history() -> Vec<Entry> {
    (0..3).map(|n| entry(u64::from(n) + 1, key(0, n))).collect()
}

fn audit(evidence: Vec<Evidence>, history: Option<&[Entry]>) -> Verdict {
    let mut book = Book::new(RUN, vec![ConversationId::fresh()], evidence);
    if let Some(history) = history {
        book.history(0, history);
    }
    book.close()
}

#[track_caller]
fn assert_found(verdict: &Verdict, kind: Kind, seq: u64) {
    let found = verdict
        .evidence
        .iter()
        .any(|violation| violation.kind == kind && violation.seq == seq);
    assert!(found, "no {kind:?} at {seq} in {:#?}", verdict.evidence);
}

#[test]
fn a_clean_run_has_no_violation() {
    let verdict = audit(vec![clean()], Some(&history()));
    assert_eq!(verdict.violations, 0, "{:#?}", verdict.evidence);
    assert_eq!((verdict.answered, verdict.messages, verdict.receivers), (3, 3, 2));
    assert_eq!((verdict.histories_read, verdict.messages_read), (1, 3));
}

#[test]
fn an_answered_message_that_history_lacks_is_lost() {
    let verdict = audit(vec![clean()], Some(&history()[..2]));
    assert_found(&verdict, Kind::Lost, 3);
    assert_eq!(verdict.violations, 1);
}

#[test]
fn an_answered_message_that_nobody_ever_saw_is_lost() {
    let mut evidence = clean();
    evidence.ledgers[0].1.pop();
    let verdict = audit(vec![evidence], None);
    assert_found(&verdict, Kind::Lost, 3);
}

#[test]
fn a_message_under_two_seqs_is_duplicated() {
    let mut history = history();
    history.push(entry(4, key(0, 1)));
    let verdict = audit(vec![clean()], Some(&history));
    assert_found(&verdict, Kind::Duplicated, 4);
}

#[test]
fn messages_in_another_order_than_seen_are_reordered() {
    let history = [entry(1, key(0, 1)), entry(2, key(0, 0)), entry(3, key(0, 2))];
    let verdict = audit(vec![clean()], Some(&history));
    assert_found(&verdict, Kind::Reordered, 1);
    assert_found(&verdict, Kind::Reordered, 2);
}

#[test]
fn a_history_whose_seqs_go_back_is_reordered() {
    let history = [entry(1, key(0, 0)), entry(3, key(0, 2)), entry(2, key(0, 1))];
    assert_found(&audit(vec![clean()], Some(&history)), Kind::Reordered, 2);
}

#[test]
fn two_engines_that_saw_different_messages_are_reordered() {
    let other = Evidence {
        ledgers: vec![(0, vec![key(0, 0), key(0, 2)])],
        ..Evidence::default()
    };
    assert_found(&audit(vec![clean(), other], None), Kind::Reordered, 2);
}

#[test]
fn a_hole_in_history_that_no_update_explains_is_a_gap() {
    let mut evidence = clean();
    evidence.clients[0].attempts.pop();
    evidence.ledgers[0].1.truncate(2);
    evidence
        .clients
        .iter_mut()
        .for_each(|client| client.reached = vec![(0, 2, None)]);
    evidence.clients[0].attempts.push((0, 0));
    let history = [entry(1, key(0, 0)), entry(2, key(0, 1)), entry(4, key(0, 2))];
    assert_found(&audit(vec![evidence], Some(&history)), Kind::Gapped, 3);
}

#[test]
fn an_update_explains_a_hole_in_history() {
    let mut evidence = clean();
    evidence.ledgers[0].1.push(UPDATE);
    evidence
        .clients
        .iter_mut()
        .for_each(|client| client.reached = vec![(0, 4, None)]);
    assert_eq!(audit(vec![evidence], Some(&history())).violations, 0);
}

#[test]
fn a_message_nobody_sent_is_a_phantom() {
    let mut history = history();
    history.push(entry(4, key(0, 3)));
    history.push(entry(5, key(9, 0)));
    history.push(Entry {
        seq: 6,
        id: "somebody else's".into(),
        intact: true,
    });
    let verdict = audit(vec![clean()], Some(&history));
    (4..=6).for_each(|seq| assert_found(&verdict, Kind::Phantom, seq));
}

#[test]
fn a_message_in_another_conversation_than_it_was_sent_to_is_a_phantom() {
    let mut evidence = clean();
    evidence.clients[0].attempts[1].0 = 7;
    assert_found(&audit(vec![evidence], None), Kind::Phantom, 2);
}

#[test]
fn a_refused_message_that_is_there_is_a_phantom() {
    let mut evidence = clean();
    evidence.clients[0].attempts[2].1 = REFUSED;
    assert_found(&audit(vec![evidence], Some(&history())), Kind::Phantom, 3);
}

#[test]
fn a_changed_body_is_corrupted() {
    let mut history = history();
    history[1].intact = false;
    assert_found(&audit(vec![clean()], Some(&history)), Kind::Corrupted, 2);
}

#[test]
fn a_client_online_that_lacks_the_end_has_lost_it() {
    let mut evidence = clean();
    evidence.clients[1].reached = vec![(0, 1, None)];
    let verdict = audit(vec![evidence], Some(&history()));
    assert_found(&verdict, Kind::Lost, 2);
    assert_eq!(verdict.evidence[0].who, "client 1");
}

#[test]
fn a_client_with_a_hole_has_a_gap() {
    let mut evidence = clean();
    evidence.clients[1].reached = vec![(0, 1, Some(2))];
    assert_found(&audit(vec![evidence], None), Kind::Gapped, 2);
}

#[test]
fn an_unanswered_message_may_be_there_once_or_not() {
    let mut evidence = clean();
    evidence.clients[0].attempts[1].1 = 0;
    evidence.clients[0].attempts.push((0, 0));
    let verdict = audit(vec![evidence], Some(&history()));
    assert_eq!(verdict.violations, 0, "{:#?}", verdict.evidence);
    assert_eq!((verdict.unanswered_kept, verdict.unanswered_gone), (1, 1));
}

#[test]
fn an_unanswered_message_that_is_there_twice_is_duplicated() {
    let mut evidence = clean();
    evidence.clients[0].attempts[1].1 = 0;
    let mut history = history();
    history.push(entry(4, key(0, 1)));
    assert_found(&audit(vec![evidence], Some(&history)), Kind::Duplicated, 4);
}

#[test]
fn what_an_engine_found_while_it_ran_is_in_the_verdict() {
    let mut evidence = clean();
    evidence.findings.add(crate::audit::Violation {
        kind: Kind::Duplicated,
        conversation: String::new(),
        seq: 9,
        id: String::new(),
        who: "client 1".into(),
        detail: String::new(),
    });
    assert_found(&audit(vec![evidence], Some(&history())), Kind::Duplicated, 9);
}
