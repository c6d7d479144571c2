//! The revoked logins that a node remembers: what every request asks, and what the sockets are told of.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::directory::{LEEWAY, Revocation};
use rookery_actors::time::Timestamp;
use tokio::sync::broadcast;

/// Announcements a subscriber may be behind before it must ask for all.
const ANNOUNCEMENTS: usize = 1024;
/// A login that was revoked, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revoked {
    pub user: UserId,
    pub login: LoginId,
    pub at: Timestamp,
}

/// All of them, for as long as they matter.
pub struct Revocations {
    memory: Duration,
    known: RwLock<HashMap<LoginId, Revoked>>,
    announcements: broadcast::Sender<Revocation>,
}

impl Revocations {
    /// None yet. `access_token_life` is the longest that an access token in circulation may live; a revoked login is remembered
    /// for longer, by a token that was being signed at that moment and by a small step of the clock.
    pub fn new(access_token_life: Duration) -> Self {
        Self {
            memory: access_token_life + LEEWAY,
            known: RwLock::default(),
            announcements: broadcast::channel(ANNOUNCEMENTS).0,
        }
    }

    /// How long a revocation matters.
    pub fn memory(&self) -> Duration {
        self.memory
    }

    /// What was revoked before this matters no more.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        let memory = i64::try_from(self.memory.as_millis()).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_sub(memory))
    }

    /// Remembers them, and then announces those that are news.
    pub fn remember(&self, revoked: impl IntoIterator<Item = Revoked>) {
        let mut known = self.known.write();
        let news: Vec<Revoked> = revoked
            .into_iter()
            .filter(|one| known.insert(one.login, *one).is_none())
            .collect();
        drop(known);
        for Revoked { user, login, .. } in news {
            // Nobody listens in a tool that opens the store without sockets.
            self.announcements.send(Revocation { user, login }).ok();
        }
    }

    pub fn contains(&self, login: LoginId) -> bool {
        self.known.read().contains_key(&login)
    }

    pub fn all(&self) -> Vec<Revoked> {
        self.known.read().values().copied().collect()
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.announcements.subscribe()
    }

    pub fn forget_before(&self, horizon: Timestamp) {
        self.known.write().retain(|_, revoked| revoked.at >= horizon);
    }
}

impl From<Revoked> for Revocation {
    fn from(Revoked { user, login, .. }: Revoked) -> Self {
        Self { user, login }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_announced_once_and_forgotten_in_time() {
        let revocations = Revocations::new(Duration::from_secs(60));
        let mut heard = revocations.subscribe();
        let one = Revoked {
            user: UserId::fresh(),
            login: LoginId::fresh(),
            at: Timestamp(1_000_000),
        };
        revocations.remember([one]);
        revocations.remember([one]);
        assert_eq!(heard.try_recv(), Ok(one.into()));
        assert!(heard.try_recv().is_err());
        revocations.forget_before(revocations.horizon(Timestamp(1_180_000)));
        assert!(
            revocations.contains(one.login),
            "a token that was being signed then may live"
        );
        revocations.forget_before(revocations.horizon(Timestamp(1_180_001)));
        assert_eq!(revocations.all(), []);
    }
}
