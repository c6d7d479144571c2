//! What goes on behind the handle: closing the sockets of revoked logins, ending what erased accounts leave behind, and tidying
//! the directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_actors::ports::directory::{Directory, LEEWAY, Revocation};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::super::Chats;
use super::Setup;
use super::doubt::Doubt;
use super::leaving::Leaving;

/// How often what no longer matters is forgotten.
const PURGE_EVERY: Duration = Duration::from_secs(60);

pub fn start(setup: &Setup, leaving: Leaving) -> JoinSet<()> {
    let (directory, chats) = (&setup.directory, &setup.chats);
    let mut tasks = JoinSet::new();
    // Subscribed before anything can be revoked through the handle.
    let announced = directory.subscribe();
    tasks.spawn(close_revoked(announced, Arc::clone(directory), Arc::clone(chats)));
    tasks.spawn(leaving.run());
    let memory = setup.settings.access_token_life() + LEEWAY;
    tasks.spawn(purge(Arc::clone(directory), memory));
    tasks
}

async fn close_revoked(
    mut announced: tokio::sync::broadcast::Receiver<Revocation>,
    directory: Arc<dyn Directory>,
    chats: Arc<dyn Chats>,
) {
    loop {
        let revoked = match announced.recv().await {
            Ok(one) => vec![one],
            // Some were missed: close all that are remembered; most have no socket any more.
            Err(RecvError::Lagged(_)) => directory.revoked(),
            Err(RecvError::Closed) => return,
        };
        for Revocation { user, login } in revoked {
            chats.close_login(user, login);
        }
    }
}

/// Forgets what no longer matters. `memory` is for how long a revoked login does.
async fn purge(directory: Arc<dyn Directory>, memory: Duration) {
    let mut doubt = Doubt::new(memory);
    let mut ticks = tokio::time::interval(PURGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = doubt.least(directory.now(), Instant::now());
        if let Err(error) = directory.purge(now).await {
            tracing::warn!(%error, "the directory could not be purged");
        }
    }
}
