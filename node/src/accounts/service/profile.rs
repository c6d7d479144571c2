//! Who is who: views of accounts, search, and changes of the own one.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rookery_actors::id::UserId;
use rookery_actors::ports::accounts::{AccountPatch, SearchCursor, Updated};
use rookery_actors::protocol::view::{Page, User};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;

use super::super::{Me, refused, view};
use super::Accounts;

impl Accounts {
    /// A user as anyone signed in sees one; 404 when there is none (any more).
    pub async fn user(&self, user: UserId) -> Result<User, Problem> {
        self.account(user).await.map(|account| view::user(&account))
    }

    /// The living among these, by id.
    pub async fn users(&self, users: &[UserId]) -> Result<HashMap<UserId, User>, Problem> {
        let accounts = self.0.store.accounts(users).await.map_err(refused)?;
        Ok(accounts
            .iter()
            .map(|account| (account.id, view::user(account)))
            .collect())
    }

    /// Refuses with 404 unless all of these live.
    pub async fn require(&self, users: &[UserId]) -> Result<(), Problem> {
        match self.0.store.absent(users).await.map_err(refused)?.as_slice() {
            [] => Ok(()),
            _ => Err(Problem::not_found("user")),
        }
    }

    /// The own account; 404 when it was just erased.
    pub async fn me(&self, user: UserId) -> Result<Me, Problem> {
        self.account(user).await.map(|account| view::me(&account))
    }

    /// Changes the own account. That the photo may be used is the caller's to check.
    pub async fn patch_me(&self, user: UserId, patch: AccountPatch) -> Result<Me, Problem> {
        let renamed = patch.name.is_some() || patch.username.is_some();
        match self
            .0
            .store
            .update(user, patch, Timestamp::now())
            .await
            .map_err(refused)?
        {
            Updated::Account(account) => {
                if renamed {
                    self.0.chats.renamed(user);
                }
                Ok(view::me(&account))
            }
            Updated::UsernameTaken => Err(Problem::new(ErrorCode::UsernameTaken, "that username is taken")),
            Updated::Unknown => Err(Problem::not_found("user")),
        }
    }

    /// People whose name or username begins so.
    pub async fn search(&self, query: &str, cursor: Option<&str>, limit: usize) -> Result<Page<User>, Problem> {
        let after = cursor.map(read_cursor).transpose()?;
        let mut hits = self
            .0
            .store
            .search(query.trim(), after, limit + 1)
            .await
            .map_err(refused)?;
        let more = hits.len() > limit;
        hits.truncate(limit);
        let next = hits.last().filter(|_| more).map(|hit| write_cursor(&hit.cursor));
        let items = hits.iter().map(|hit| view::user(&hit.account)).collect();
        Ok(Page { items, next })
    }
}

fn write_cursor(cursor: &SearchCursor) -> String {
    URL_SAFE_NO_PAD.encode([cursor.user.as_bytes().as_slice(), cursor.key.as_bytes()].concat())
}

fn read_cursor(text: &str) -> Result<SearchCursor, Problem> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (user, key) = bytes.split_at_checked(16)?;
        Some(SearchCursor {
            key: String::from_utf8(key.to_vec()).ok()?,
            user: UserId::from_slice(user)?,
        })
    };
    read().ok_or_else(|| Problem::new(ErrorCode::BadRequest, "the cursor is not one of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = SearchCursor {
            key: "émile".into(),
            user: UserId::fresh(),
        };
        assert_eq!(read_cursor(&write_cursor(&cursor)), Ok(cursor));
        for bad in ["x", "!", "AAAA"] {
            assert_eq!(read_cursor(bad).unwrap_err().code, ErrorCode::BadRequest);
        }
    }
}
