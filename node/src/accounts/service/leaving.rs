//! What an erased account leaves behind: memberships, and files that nobody else may read.

use std::sync::Arc;
use std::time::Duration;

use rookery_actors::id::UserId;
use rookery_actors::ports::accounts::AccountStore;
use rookery_actors::ports::files::FileStore;
use rookery_actors::time::Timestamp;
use tokio::time::MissedTickBehavior;

use super::super::Chats;
use super::Setup;

/// How often erased accounts are looked for of which something could not be ended at once.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Ends what erased accounts leave behind. Cheap to clone.
#[derive(Clone)]
pub struct Leaving {
    store: Arc<dyn AccountStore>,
    files: Arc<dyn FileStore>,
    chats: Arc<dyn Chats>,
}

impl Leaving {
    pub fn of(setup: &Setup) -> Self {
        Self {
            store: Arc::clone(&setup.store),
            files: Arc::clone(&setup.files),
            chats: Arc::clone(&setup.chats),
        }
    }

    /// Looks for those who are leaving, now and again.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.store.leaving().await {
                Ok(users) => {
                    for user in users {
                        self.forget(user).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "erased accounts could not be listed"),
            }
        }
    }

    /// Ends what one leaves behind, and notes that this is done. What fails is tried again later.
    pub async fn forget(&self, user: UserId) {
        if let Err(problem) = self.chats.forget_user(user).await {
            tracing::warn!(%user, %problem, "the memberships of an erased account could not be ended yet");
            return;
        }
        if let Err(error) = self.files.abandon(user, Timestamp::now()).await {
            tracing::warn!(%user, %error, "the files of an erased account could not be deleted yet");
            return;
        }
        if let Err(error) = self.store.forgotten(user).await {
            tracing::warn!(%user, %error, "that an erased account is forgotten could not be noted yet");
        }
    }
}
