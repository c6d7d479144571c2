//! What the nodes tell each other through Redis: revocations, and what time it is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rookery_cluster::primary::Fault;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::clock::Clock;
use super::codec;
use super::store::{Entries, Store};
use crate::adapters::revocations::{Revocations, Revoked};

/// How often a node asks for what it was not told. With this and the time an answer takes a revocation is everywhere within
/// a second.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// How long the listener waits before it listens again.
const LISTEN_AGAIN: Duration = Duration::from_millis(250);
/// Entries told to Redis at once.
const AT_ONCE: usize = 500;

/// Where news come from and where they go.
#[derive(Clone)]
pub struct News {
    pub store: Arc<Store>,
    pub revocations: Arc<Revocations>,
    pub clock: Arc<Clock>,
}

/// Remembers what is published, for as long as the node lives.
pub async fn listen(news: News) {
    let News { store, revocations, .. } = &news;
    loop {
        if let Ok(mut messages) = store.subscribe().await {
            // A new connection may lead to a Redis that lost its data, or to one that was a replica.
            match exchange(&news).await {
                Ok(()) => {
                    while let Some(message) = messages.next().await {
                        revocations.remember(std::str::from_utf8(&message).ok().and_then(codec::read));
                    }
                }
                Err(fault) => tracing::debug!(%fault, "the revocations could not be compared with those in Redis"),
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// Asks again and again for the entries after the last one known, and for the time.
pub async fn poll(news: News, mut last: u64) {
    let News {
        store,
        revocations,
        clock,
    } = &news;
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut there = true;
    loop {
        ticks.tick().await;
        let answered = read(store, revocations, last).await;
        let is_there = answered.is_ok();
        match answered {
            Ok(latest) => {
                last = latest;
                if let Err(fault) = clock.set_by(store).await {
                    tracing::debug!(%fault, "Redis was not asked what time it is");
                }
                if !there {
                    tracing::info!("the directory is back");
                }
            }
            Err(fault) if there => {
                tracing::warn!(%fault, "the directory is away: nobody signs in, and who is signed in goes on");
            }
            Err(_) => {}
        }
        there = is_there;
        metrics::gauge!("node_revocations").set(revocations.all().len() as f64);
    }
}

/// Reads the entries after this one; answers the number of the last.
pub async fn read(store: &Store, revocations: &Revocations, mut last: u64) -> Result<u64, Fault> {
    loop {
        let Entries { texts, latest, more } = store.entries_after(last).await?;
        revocations.remember(texts.iter().filter_map(|text| codec::read(text)));
        last = latest;
        if !more {
            return Ok(last);
        }
    }
}

/// Reads all entries there are, and tells Redis of those that it lacks.
async fn exchange(news: &News) -> Result<(), Fault> {
    let News {
        store,
        revocations,
        clock,
    } = news;
    let mut stored = HashSet::new();
    let mut last = 0;
    loop {
        let Entries { texts, latest, more } = store.entries_after(last).await?;
        let read: Vec<Revoked> = texts.iter().filter_map(|text| codec::read(text)).collect();
        stored.extend(read.iter().map(|one| one.login));
        revocations.remember(read);
        last = latest;
        if !more {
            break;
        }
    }
    // What is about to be forgotten is not brought back.
    let horizon = revocations.horizon(clock.now());
    let lacking = |one: &Revoked| one.at >= horizon && !stored.contains(&one.login);
    let lacking: Vec<Revoked> = revocations.all().into_iter().filter(lacking).collect();
    for some in lacking.chunks(AT_ONCE) {
        store.restore(some).await?;
    }
    if !lacking.is_empty() {
        tracing::warn!(
            revocations = lacking.len(),
            "Redis had lost revocations; it was told those that this node knew"
        );
    }
    Ok(())
}
