//! Who is a member is for the owner of the conversation to say, whatever a session was told or not told. The other nodes are
//! played by the test.

use std::sync::Arc;

use rookery_actors::frames::Frames;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::interchange::{Answer, Ask, Delivery, Forwarded, Origin, Peer, Question, Reply};
use rookery_actors::protocol::{ErrorCode, Problem, ServerFrame, Target};
use rookery_actors::session::batch::Batch;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::{NodeId, ShardId};
use rookery_cluster::membership::Epoch;
use smallvec::SmallVec;

use crate::support::{Played, SHARDS, World, table};

/// What `a` answers to a replay of a conversation's first message.
async fn replayed(asker: &Played, conversation: ConversationId, user: UserId) -> Result<Reply, Problem> {
    let ask = Ask {
        conversation,
        origin: Origin::Node {
            node: "other".into(),
            ticket: 1,
            connection: None,
        },
        question: Question::Entries {
            from: 1,
            to: 1,
            user: Some(user),
        },
    };
    let forwarded = Forwarded {
        ask,
        epoch: Epoch(2),
        within_ms: 10_000,
    };
    asker.say("a", &Peer::Forward(Box::new(forwarded)));
    let answer = asker.hear(|peer| match peer {
        Peer::Answer(answer) => Some(answer),
        _ => None,
    });
    let Answer { reply, .. } = *answer.await;
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_for_members() {
    let world = World::of(&["a"]).await;
    let other = world.play("other");
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let conversation = ConversationId::direct(ada, bob);
    let ada = world.connect("a", ada, None).await;
    ada.sent(Target::User(bob), "one").await;
    let Ok(Reply::Entries(slice)) = replayed(&other, conversation, bob).await else {
        panic!("bob is a member");
    };
    assert_eq!(slice.entries.len(), 1);
    let refused = replayed(&other, conversation, UserId::fresh()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_another_time_has_no_say_in_who_is_a_member() {
    let world = World::of(&["a"]).await;
    let other = world.play("other");
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let conversation = ConversationId::direct(ada, bob);
    let (ada, bob) = (world.connect("a", ada, None).await, world.connect("a", bob, None).await);
    ada.sent(Target::User(bob.user), "one").await;
    bob.reaches(conversation, 1).await;
    for delivery in [
        Delivery::Leave(vec![bob.user]),
        Delivery::Roster(vec![ada.user]),
        Delivery::Left(vec![bob.user]),
    ] {
        other.say("a", &Peer::Deliver(conversation, delivery));
    }
    // What it says after that is answered after that.
    replayed(&other, conversation, bob.user).await.expect("bob is a member");
    ada.sent(Target::User(bob.user), "two").await;
    bob.reaches(conversation, 2).await;
}

/// Who left meanwhile may have been said, and lost with the link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_does_not_outlive_the_link_it_came_by() {
    let mut world = World::of(&["a"]).await;
    let other = world.play("other");
    world.place(&["a", "other"]).await;
    let owners = table(2, &["a", "other"]).placement;
    let (ada, bob) = (UserId::fresh(), world.user_of("a"));
    let is_others = |ada: &UserId| {
        let conversation = ConversationId::direct(*ada, bob);
        *owners.owner(ShardId::of(conversation.as_bytes(), SHARDS)) == "other".into()
    };
    let ada = std::iter::once(ada)
        .chain(std::iter::repeat_with(UserId::fresh))
        .find(is_others);
    let conversation = ConversationId::direct(ada.unwrap(), bob);
    let say = |delivery| other.say("a", &Peer::Deliver(conversation, delivery));
    let batch = |seq| {
        Delivery::Batch(Arc::new(Batch {
            conversation,
            first: seq,
            last: seq,
            at: Timestamp(0),
            frames: Frames::one(ServerFrame::Pong { id: None }),
            senders: SmallVec::from_elem(None, 1),
        }))
    };
    let asked_for = |peer| match peer {
        Peer::WantRoster(conversation) => Some(conversation),
        _ => None,
    };
    say(Delivery::Roster(Vec::new()));
    say(batch(1));
    let heard = replayed(&other, conversation, bob).await;
    assert!(matches!(heard, Ok(Reply::NotOwner { .. })));
    world.nodes["a"].peer_lost(&NodeId::from("other"));
    say(batch(2));
    assert_eq!(other.hear(asked_for).await, conversation);
}
