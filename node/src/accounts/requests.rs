//! What clients ask about accounts. Every field may be missing as far as the parser is concerned, so that the answer can
//! name all that is wrong at once.

use rookery_actors::id::FileId;
use rookery_actors::ports::accounts::AccountPatch;
use rookery_actors::protocol::Problem;
use serde::{Deserialize, Deserializer};

use super::validate;

#[derive(Clone, Default, Deserialize)]
pub struct SignupRequest {
    pub email: Option<String>,
    pub name: Option<String>,
    pub password: Option<String>,
    /// Derived from the e-mail address when absent.
    pub username: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
pub struct LoginRequest {
    pub email: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// One of the user's devices, to be bound to the new login; anything else is ignored.
    pub device: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
pub struct PasswordRequest {
    pub old: Option<String>,
    pub new: Option<String>,
}

/// What of the own account is to change: what is absent stays, `null` clears.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProfilePatch {
    #[serde(deserialize_with = "given")]
    pub name: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub username: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub status_message: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub photo: Option<Option<FileId>>,
    #[serde(deserialize_with = "given")]
    pub preferences: Option<Option<serde_json::Value>>,
}

impl ProfilePatch {
    /// The change, if every field is as it must be.
    pub fn checked(self) -> Result<AccountPatch, Problem> {
        validate::patch(self)
    }
}

/// Tells a field that is `null` from one that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
