use uuid::Uuid;

use super::*;
use crate::id::{ConnectionId, UserId};
use crate::protocol::Limits;
use crate::session::table::{Sessions, Unanswered};

fn user() -> UserId {
    UserId(Uuid::from_u128(1))
}

fn ask(command: Command) -> Ask {
    Ask {
        conversation: ConversationId(Uuid::from_u128(2)),
        origin: Origin::Nobody,
        question: Question::Do { command, repeat: false },
    }
}

fn send_of(from: UserId) -> Command {
    Command::Send {
        from,
        id: String::new(),
        content: crate::ports::chats::Content::default(),
        peer: None,
    }
}

fn waiting(sent: Option<(NodeId, Instant)>, deadline: Instant) -> Waiting {
    Waiting {
        ask: ask(Command::Delete { by: user() }),
        session: None,
        sent,
        deadline,
        doubtful: false,
    }
}

#[test]
fn what_has_no_receiver_is_sent_and_what_was_sent_waits_for_its_answer() {
    let now = Instant::now();
    let later = now + defaults::CALL_DEADLINE;
    let owner = |name: &'static str| move || NodeId::from(name);
    assert_eq!(waiting(None, later).due(now, owner("a")), Due::Send);
    let sent = waiting(Some(("a".into(), now)), later);
    assert_eq!(
        sent.due(now + defaults::ANSWER_PATIENCE, owner("a")),
        Due::Nothing,
        "the owner is slow"
    );
    assert_eq!(sent.due(now, owner("b")), Due::Nothing, "the old owner may answer yet");
    assert_eq!(sent.due(now + defaults::ANSWER_PATIENCE, owner("b")), Due::Send);
    assert_eq!(sent.due(later, owner("b")), Due::GiveUp);
}

#[test]
fn what_was_on_its_way_to_a_lost_node_is_asked_again_as_a_repeat() {
    let outstanding = Outstanding::default();
    let (now, later) = (Instant::now(), Instant::now() + defaults::CALL_DEADLINE);
    let lost = outstanding.insert(waiting(Some(("a".into(), now)), later)).unwrap();
    let other = outstanding.insert(waiting(Some(("b".into(), now)), later)).unwrap();
    assert_eq!(outstanding.lost(&"a".into()), [lost]);
    let table = outstanding.table.lock();
    assert!(matches!(
        table.waiting[&lost].question(),
        Question::Do { repeat: true, .. }
    ));
    assert!(matches!(
        table.waiting[&other].question(),
        Question::Do { repeat: false, .. }
    ));
}

#[test]
fn a_send_waits_for_an_earlier_one_of_its_line_that_waits_elsewhere() {
    let outstanding = Outstanding::default();
    let (now, later) = (Instant::now(), Instant::now() + defaults::CALL_DEADLINE);
    let send = |from, to: Option<&'static str>| {
        let waiting = Waiting {
            ask: ask(send_of(UserId(Uuid::from_u128(from)))),
            ..waiting(to.map(|node| (NodeId::from(node), now)), later)
        };
        outstanding.insert(waiting).unwrap()
    };
    let (first, second, of_another) = (send(1, Some("a")), send(1, None), send(2, None));
    let held_up = |ticket, owner: &str| outstanding.table.lock().is_held_up(ticket, &owner.into(), now);
    assert!(held_up(second, "b") && !held_up(second, "a"), "it went to a");
    assert!(!held_up(first, "b") && !held_up(of_another, "b"));
    outstanding.lost(&"a".into());
    assert!(held_up(second, "a"), "it is nowhere");
    let mut table = outstanding.table.lock();
    let waiting = table.remove(first).unwrap();
    assert_eq!(table.unsent_behind(&line(&waiting.ask).unwrap(), first), [second]);
    assert!(!table.is_held_up(second, &"b".into(), now));
}

/// Two sends of a connection to one conversation, unanswered; the second is to be asked of another node.
fn two_sends(outstanding: &Outstanding, since: Instant) -> [Waiting; 2] {
    let session = Arc::clone(&Sessions::new(Arc::new(Limits::default())).get_or_make(user()));
    let connection = ConnectionId(3);
    [(); 2].map(|()| {
        let (number, ask) = (outstanding.number(), ask(send_of(user())));
        let unanswered = Unanswered {
            connection,
            conversation: ask.conversation,
            id: number.to_string().into(),
            number,
            since,
        };
        assert!(session.start_send(2, unanswered));
        let origin = Origin::Socket {
            node: "a".into(),
            user: user(),
            connection,
            request: None,
            send: Some(number),
        };
        Waiting {
            ask: Ask { origin, ..ask },
            session: Some(Arc::clone(&session)),
            ..waiting(None, since + defaults::CALL_DEADLINE)
        }
    })
}

#[test]
fn a_send_waits_for_an_earlier_one_that_was_asked_on_this_node_until_that_is_answered_or_comes_back() {
    let (outstanding, now) = (Outstanding::default(), Instant::now());
    let [mut here, next] = two_sends(&outstanding, now);
    let (session, first) = (here.session.clone().unwrap(), here.ask.origin.number().unwrap());
    let second = outstanding.insert(next).unwrap();
    let held_up = |ticket, now| outstanding.table.lock().is_held_up(ticket, &"b".into(), now);
    assert!(held_up(second, now), "it may be on its way into the log");
    assert!(
        !held_up(second, now + defaults::CALL_DEADLINE),
        "by then it is lost with its conversation's actor"
    );
    here.sent = Some(("b".into(), now));
    assert_eq!(outstanding.insert(here), Some(first), "it came back, to its own place");
    assert!(
        !held_up(first, now) && !held_up(second, now),
        "they go to one node in their order"
    );
    outstanding.lost(&"b".into());
    assert!(held_up(second, now) && !held_up(first, now));
    outstanding.table.lock().remove(first);
    assert!(
        held_up(second, now),
        "it is answered, and its connection does not know yet"
    );
    session.finish_send(ConnectionId(3), &first.to_string());
    assert!(!held_up(second, now));
}

#[test]
fn what_a_first_sending_did_is_no_failure_of_the_second() {
    let conflict = || Err(Problem::new(ErrorCode::Conflict, "the group exists"));
    let create = ask(Command::Create {
        by: user(),
        name: String::new(),
        photo: None,
        description: None,
        members: Vec::new(),
    });
    assert!(matches!(settled(&create, true, conflict()), Ok(Reply::Done { .. })));
    assert!(
        settled(&create, false, conflict()).is_err(),
        "nobody has made it but another"
    );
    let delete = ask(Command::Delete { by: user() });
    assert!(settled(&delete, true, Err(Problem::not_found("group"))).is_ok());
    assert!(settled(&delete, true, Err(Problem::unavailable("away"))).is_err());
}

#[test]
fn an_answer_to_a_question_from_before_a_crash_is_nobodys() {
    let (before, after) = (Outstanding::default(), Outstanding::default());
    let later = Instant::now() + defaults::CALL_DEADLINE;
    let asked = before.insert(waiting(None, later)).unwrap();
    for _ in 0..1_000 {
        after.insert(waiting(None, later));
    }
    assert!(after.remove(&mut after.table.lock(), asked).is_none());
}
