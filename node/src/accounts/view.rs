//! Accounts as clients see them.

use rookery_actors::ports::accounts::Account;
use rookery_actors::protocol::Json;
use rookery_actors::protocol::view::User;
use serde::Serialize;

use crate::files::photo_url;

/// What a user sees of the own account.
#[derive(Clone, Debug, Serialize)]
pub struct Me {
    #[serde(flatten)]
    pub user: User,
    pub email: String,
    pub preferences: serde_json::Value,
}

/// A fresh pair of tokens.
#[derive(Clone, Serialize)]
pub struct TokenPair {
    pub access_token: String,
    pub refresh_token: String,
    pub token_type: &'static str,
    /// Life of the access token, in seconds.
    pub expires_in: u32,
}

/// The answer to a sign-up or a log-in.
#[derive(Clone, Serialize)]
pub struct SignedIn {
    pub user: Me,
    #[serde(flatten)]
    pub tokens: TokenPair,
}

/// What anyone signed in sees of an account.
pub fn user(account: &Account) -> User {
    User {
        id: account.id,
        username: account.username.clone(),
        name: account.name.clone(),
        photo_url: account.photo.map(photo_url),
        status_message: account.status_message.clone(),
        last_seen_at: account.last_seen_at,
        created_at: account.created_at,
        updated_at: account.updated_at,
    }
}

pub fn me(account: &Account) -> Me {
    Me {
        user: user(account),
        email: account.email.clone(),
        preferences: preferences(&account.preferences),
    }
}

/// A value, not raw text: raw text cannot stand in a flattened object.
fn preferences(stored: &Json) -> serde_json::Value {
    serde_json::from_str(stored.as_str()).unwrap_or_default()
}
