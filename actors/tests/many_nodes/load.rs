//! Everything at once: users talk and groups are made while shards move and nodes die. Nothing is lost, twice or out of order,
//! and no request fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::protocol::Target;
use rookery_actors::system::{NewGroup, System};

use crate::support::{Client, World};

/// Sends one message after the other until told to stop; answers how many, and the longest it waited for one.
async fn talk(from: Arc<Client>, to: UserId, stop: Arc<AtomicBool>) -> (u32, Duration) {
    let (mut number, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Acquire) {
        let started = Instant::now();
        from.sent(Target::User(to), &format!("{}-{number}", from.user)).await;
        longest = longest.max(started.elapsed());
        number += 1;
    }
    (number, longest)
}

/// Makes groups, adds a member, reads, and deletes, until told to stop.
async fn organise(system: System, owner: UserId, member: UserId, stop: Arc<AtomicBool>, made: Arc<AtomicU32>) {
    while !stop.load(Ordering::Acquire) {
        let group = NewGroup {
            name: "a group".into(),
            photo: None,
            description: None,
            members: Vec::new(),
        };
        let group = system.create_group(owner, group).await.expect("created");
        system.add_members(owner, group.id, vec![member]).await.expect("added");
        let members = system.members(member, group.id, None, 10).await.expect("members");
        assert_eq!(members.len(), 2);
        system.read(member, group.id, 0).await.expect("read");
        system.inbox(owner, None, 10).await.expect("an inbox");
        system.remove_member(owner, group.id, member).await.expect("removed");
        system.delete_group(owner, group.id).await.expect("deleted");
        made.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_changes_under_load_loses_nothing() {
    let mut world = World::of(&["a", "b", "c"]).await;
    let homes = ["a", "b", "c", "a", "b", "c"];
    let mut clients = Vec::new();
    for home in homes {
        let user = world.user_of(home);
        clients.push(Arc::new(world.connect("a", user, None).await));
    }
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let talks: Vec<_> = (0..clients.len())
        .map(|index| {
            let peer = clients[(index + 1) % clients.len()].user;
            (
                peer,
                tokio::spawn(talk(Arc::clone(&clients[index]), peer, Arc::clone(&stop))),
            )
        })
        .collect();
    let (owner, member) = (world.user_of("b"), world.user_of("c"));
    let organising = organise(
        world.nodes["a"].clone(),
        owner,
        member,
        Arc::clone(&stop),
        Arc::clone(&made),
    );
    let organising = tokio::spawn(organising);
    for owners in [
        &["a", "b"][..],
        &["a", "b", "c"],
        &["b", "c"],
        &["a", "b", "c"],
        &["a"],
        &["a", "b", "c"],
    ] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.place(owners).await;
    }
    for (dead, left) in [("c", &["a", "b"][..]), ("b", &["a"])] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.kill(dead);
        world.place(left).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Release);
    organising.await.expect("no request failed");
    assert!(made.load(Ordering::Relaxed) > 0);
    for (index, (peer, talk)) in talks.into_iter().enumerate() {
        let (sent, longest) = talk.await.expect("every send was answered");
        assert!(
            sent > 0 && longest < Duration::from_secs(4),
            "{sent} sent, one took {longest:?}"
        );
        let conversation = ConversationId::direct(clients[index].user, peer);
        for client in [&clients[index], &clients[(index + 1) % clients.len()]] {
            client.whole(conversation, u64::from(sent)).await;
        }
    }
}
