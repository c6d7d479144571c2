//! Users' names for the titles of direct conversations, kept for a while.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::defaults;
use crate::hub::Hub;
use crate::id::UserId;
use crate::interchange::Summary;
use crate::protocol::Problem;

/// The names asked for lately.
pub struct Names(Mutex<LruCache<UserId, Arc<str>>>);

impl Default for Names {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(
            NonZeroUsize::new(defaults::NAMES_KEPT).unwrap_or(NonZeroUsize::MIN),
        )))
    }
}

impl Names {
    /// A name changed.
    pub fn forget(&self, user: UserId) {
        self.0.lock().pop(&user);
    }
}

impl Hub {
    /// What a conversation is called for the one who asked for its summary.
    pub async fn title(&self, summary: &Summary) -> Result<String, Problem> {
        match (&summary.group_name, summary.peer) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(peer)) => self.name(peer).await.map(|name| name.to_string()),
            (None, None) => Ok(String::new()),
        }
    }

    /// The name of a user; empty once the account is gone.
    async fn name(&self, user: UserId) -> Result<Arc<str>, Problem> {
        if let Some(name) = self.names.0.lock().get(&user) {
            return Ok(Arc::clone(name));
        }
        let accounts = self.accounts.accounts(&[user]).await?;
        let name: Arc<str> = accounts
            .first()
            .map(|account| account.name.as_str())
            .unwrap_or_default()
            .into();
        self.names.0.lock().put(user, Arc::clone(&name));
        Ok(name)
    }
}
