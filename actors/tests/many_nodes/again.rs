//! What nodes ask for again, because the answer was lost or the owner changed, happens once.

use rookery_actors::conversation::state::Outcome;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::interchange::{Ask, Change, Forwarded, Origin, Peer, Question, Reply};
use rookery_actors::ports::chats::{ChatStore as _, StoredChange};
use rookery_actors::protocol::Target;
use rookery_cluster::membership::Epoch;

use crate::support::{Played, World, eventually};

/// A node that asks for edits of the first message of a conversation.
struct Asker {
    node: Played,
    conversation: ConversationId,
    from: UserId,
}

impl Asker {
    /// Asks that owner for an edit; answers its seq.
    async fn edit(&self, owner: &str, text: &str, key: u64) -> Option<u64> {
        let change = Change {
            from: self.from,
            of: 1,
            change: StoredChange::Edit {
                body: Some(text.into()),
            },
            idempotency: Some(key),
        };
        let ask = Ask {
            conversation: self.conversation,
            origin: Origin::Node {
                node: "asker".into(),
                ticket: 1,
                connection: None,
            },
            question: Question::Change(change),
        };
        let forwarded = Forwarded {
            ask,
            epoch: Epoch(1),
            within_ms: 10_000,
        };
        self.node.say(owner, &Peer::Forward(Box::new(forwarded)));
        let answer = self.node.hear(|peer| match peer {
            Peer::Answer(answer) => Some(answer.reply),
            _ => None,
        });
        match answer.await.expect("it is answered") {
            Reply::Done {
                outcome: Outcome::Updated { seq },
                ..
            } => Some(seq),
            Reply::Repeated { seq } => seq,
            other => panic!("{other:?}"),
        }
    }

    /// The text of the message as the store has it.
    async fn stored(&self, world: &World) -> String {
        let message = world.services.chats.message(self.conversation, 1).await.unwrap();
        message.expect("it is stored").content.body
    }
}

/// An edit that undid a later one would show that it was made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_is_asked_for_again_undoes_no_later_one() {
    let mut world = World::of(&["a", "b"]).await;
    let (ada, bob) = (world.user_of("a"), world.user_of("a"));
    let client = world.connect("a", ada, None).await;
    assert_eq!(client.sent(Target::User(bob), "first").await, 1);
    let asker = Asker {
        node: world.play("asker"),
        conversation: ConversationId::direct(ada, bob),
        from: ada,
    };
    world.place(&["a"]).await;
    assert_eq!(asker.edit("a", "one", 11).await, Some(2));
    assert_eq!(asker.edit("a", "two", 12).await, Some(3));
    assert_eq!(asker.edit("a", "one", 11).await, Some(2), "in memory");
    eventually("both edits are stored", async || asker.stored(&world).await == "two").await;
    world.place(&["b"]).await;
    assert_eq!(asker.edit("b", "one", 11).await, Some(2), "in the store");
    assert_eq!(asker.edit("b", "one", 13).await, Some(4), "but another is another");
    assert_eq!(asker.edit("b", "two", 12).await, Some(3));
    eventually("the last edit is stored", async || asker.stored(&world).await == "one").await;
}
