use std::sync::Arc;

use rookery_actors::ports::chats::Content;
use rookery_actors::protocol::view::Role;
use rookery_cluster::id::ShardId;

use super::*;

fn message(seq: u64) -> Step {
    Step::Entry(Arc::new(Entry::Message(stored(seq))))
}

fn stored(seq: u64) -> StoredMessage {
    StoredMessage {
        seq,
        id: format!("c{seq}"),
        from: UserId(uuid::Uuid::nil()),
        at: Timestamp(0),
        content: Content {
            body: "first".into(),
            ..Content::default()
        },
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }
}

fn update(seq: u64, of: u64, change: StoredChange) -> StoredUpdate {
    StoredUpdate {
        seq,
        of,
        from: UserId(uuid::Uuid::nil()),
        at: Timestamp(seq as i64),
        change,
        idempotency: None,
    }
}

fn step(update: StoredUpdate) -> Step {
    Step::Entry(Arc::new(Entry::Update(update)))
}

fn edit(text: &str) -> StoredChange {
    let body = Some(text.into());
    StoredChange::Edit { body }
}

fn projection(conversation: ConversationId, applied: Offset, steps: Vec<Step>) -> Projection {
    Projection {
        conversation,
        shard: ShardId(0),
        applied,
        head: applied,
        active_at: Timestamp(applied as i64),
        steps,
    }
}

fn member(user: UserId, joined_seq: u64) -> Member {
    Member {
        user,
        role: Role::Member,
        joined_at: Timestamp(0),
        joined_seq,
        admin_since: None,
    }
}

#[test]
fn projections_of_one_conversation_are_one_plan() {
    let (one, other) = (ConversationId::fresh(), ConversationId::fresh());
    let plans = of(vec![
        projection(one, 1, vec![message(1)]),
        projection(other, 2, vec![message(1)]),
        projection(one, 3, vec![message(2)]),
    ]);
    let found: Vec<_> = plans
        .iter()
        .map(|plan| (plan.conversation, plan.applied, plan.messages.len()))
        .collect();
    assert_eq!(found, [(one, 3, 2), (other, 2, 1)]);
}

#[test]
fn a_projection_that_is_older_than_one_before_it_is_passed_over() {
    let id = ConversationId::fresh();
    let plans = of(vec![
        projection(id, 5, vec![message(1)]),
        projection(id, 5, vec![message(2)]),
    ]);
    assert_eq!(plans[0].messages.keys().collect::<Vec<_>>(), [&1]);
}

#[test]
fn updates_are_folded_into_what_is_new_itself() {
    let steps = vec![
        message(1),
        step(update(2, 1, edit("second"))),
        step(update(3, 9, edit("other"))),
    ];
    let plan = of(vec![projection(ConversationId::fresh(), 1, steps)]).remove(0);
    let (message, folded) = &plan.messages[&1];
    assert_eq!((message.content.body.as_str(), *folded), ("second", 2));
    assert_eq!(plan.updates.keys().collect::<Vec<_>>(), [&1, &9]);
}

#[test]
fn a_text_that_is_deleted_in_the_same_batch_is_not_in_the_plan() {
    let steps = vec![
        message(1),
        step(update(2, 1, edit("second"))),
        step(update(3, 1, StoredChange::Delete)),
        step(update(4, 1, edit("third"))),
    ];
    let plan = of(vec![projection(ConversationId::fresh(), 1, steps)]).remove(0);
    let text = format!("{:?} {:?}", plan.messages, plan.updates);
    for word in ["first", "second", "third"] {
        assert!(!text.contains(word), "{text}");
    }
    assert_eq!(plan.updates[&1].len(), 3);
}

#[test]
fn a_message_that_was_there_ends_as_it_would_have_been_new() {
    let steps = vec![
        message(1),
        step(update(2, 1, edit("second"))),
        step(update(3, 1, StoredChange::Delete)),
    ];
    let plan = of(vec![projection(ConversationId::fresh(), 1, steps)]).remove(0);
    let mut there = stored(1);
    assert_eq!(fold_new(&mut there, 0, &plan.updates[&1]), Some(3));
    assert_eq!(there, plan.messages[&1].0);
    assert_eq!(there.edited_at, Some(Timestamp(2)));
}

#[test]
fn a_user_stands_as_the_last_step_says() {
    let [ada, bob, eve] = [UserId::fresh(), UserId::fresh(), UserId::fresh()];
    let steps = vec![
        Step::Joined(vec![member(ada, 1), member(bob, 1)]),
        Step::Left(vec![ada, eve]),
        Step::Left(vec![bob]),
        Step::Joined(vec![member(bob, 2)]),
    ];
    let plan = of(vec![projection(ConversationId::fresh(), 1, steps)]).remove(0);
    assert_eq!(plan.roster[&ada], Standing::Gone { was: true });
    assert_eq!(plan.roster[&bob], Standing::Member(member(bob, 2)));
    assert_eq!(plan.roster[&eve], Standing::Gone { was: false });
    let mut later = plan.roster.clone();
    stand(&mut later, bob, Standing::Gone { was: false });
    stand(&mut later, ada, Standing::Gone { was: false });
    assert_eq!(
        (&later[&bob], &later[&ada]),
        (&Standing::Gone { was: true }, &Standing::Gone { was: true })
    );
}

#[test]
fn an_update_is_folded_once() {
    let updates = [update(4, 1, edit("four")), update(6, 1, edit("six"))];
    let mut stored = stored(1);
    assert_eq!(fold_new(&mut stored, 0, &updates[..1]), Some(4));
    assert_eq!(fold_new(&mut stored, 4, &updates), Some(6));
    assert_eq!(
        (fold_new(&mut stored, 6, &updates), stored.content.body.as_str()),
        (None, "six")
    );
}
