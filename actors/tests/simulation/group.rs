//! A group of two, to which the others are added one by one while things go wrong. Who is not added yet is refused, and
//! tries again; who is, gets everything that is said from then on, whether or not anything follows.

use std::sync::Arc;
use std::time::Duration;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::ChatStore as _;
use rookery_actors::system::NewGroup;
use rookery_cluster::testkit::lot::Lot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::ledger::Ledger;
use crate::plan::TROUBLE;
use crate::world::World;

/// Members from the beginning.
const FIRST: usize = 2;
/// How long whoever adds a member waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before another try.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the group, before anything goes wrong.
pub async fn make(world: &World, ledger: &Ledger, users: &[UserId]) -> ConversationId {
    let node = world.any_node().expect("all nodes are up");
    let group = NewGroup {
        name: "simulated".into(),
        photo: None,
        description: None,
        members: users[1..FIRST].to_vec(),
    };
    let group = node.system.create_group(users[0], group).await.expect("made").id;
    for user in &users[..FIRST] {
        note_joining(world, ledger, group, *user).await;
    }
    group
}

/// Adds the others, each at its time.
pub async fn grow(world: Arc<World>, ledger: Arc<Ledger>, users: Vec<UserId>, group: ConversationId, mut lot: Lot) {
    let begin = Instant::now();
    let mut moment = || Duration::from_millis(lot.below(TROUBLE.as_millis() as u64));
    let mut due: Vec<_> = users[FIRST..].iter().map(|user| (moment(), *user)).collect();
    due.sort_unstable();
    for (at, user) in due {
        sleep_until(begin + at).await;
        while !add(&world, users[0], group, user).await {
            sleep(PAUSE).await;
        }
        note_joining(&world, &ledger, group, user).await;
    }
}

async fn add(world: &World, by: UserId, group: ConversationId, user: UserId) -> bool {
    let Some(node) = world.any_node() else { return false };
    let added = node.system.add_members(by, group, vec![user]);
    matches!(timeout(PATIENCE, added).await, Ok(Ok(())))
}

/// From where on a member is to see the group, as it is stored.
async fn note_joining(world: &World, ledger: &Ledger, group: ConversationId, user: UserId) {
    loop {
        let stored = world.services.chats.conversation(group).await;
        let members = stored.ok().flatten().map_or(Vec::new(), |stored| stored.members);
        if let Some(member) = members.iter().find(|member| member.user == user) {
            return ledger.joined(user, group, member.joined_seq);
        }
        sleep(PAUSE).await;
    }
}
