//! The store of accounts and devices, in the collections `accounts` and `devices`.
//!
//! **What decides.** An account is one document, and all that is unique or searched stands in it: e-mail address and username
//! in lower case under unique indexes, the keys of the search under indexes of their own. So making an account, changing it
//! and erasing it are one write each, and of two that want one name the index lets one through. Erasing takes the names out
//! and leaves the id, which no other account can take. A change of names is made only to the names that were read, because
//! the keys of the search come from both.
//!
//! A user's devices are one document as well (`devices.rs`); when an account is erased they go right after it, and once more
//! when it is forgotten, should a crash have come between.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use mongodb::bson::{DateTime, Document, Uuid, doc};
use mongodb::options::ReturnDocument;
use rookery_actors::id::{DeviceId, FileId, LoginId, UserId};
use rookery_actors::ports::accounts::{
    Account, AccountPatch, AccountStore, Created, Credentials, Device, Handle, Hit, NewAccount, SearchCursor, Updated,
};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::protocol::Json;
use rookery_actors::time::Timestamp;
use serde::Deserialize;

use super::Mongo;
use super::bulk::Update;
use super::code::{AsId as _, date, ids, timestamp};
use super::open::Index;
use super::query::Query;

pub(super) mod devices;
mod search;

const ACCOUNTS: &str = "accounts";
const DEVICES: &str = "devices";

/// Attempts after which something other than a race must be wrong: an account is its owner's alone.
const ROUNDS: usize = 64;

pub(super) fn indexes() -> Vec<Index> {
    let searched = (0..search::FIELDS).map(|nth| Index::sparse(ACCOUNTS, &search::field(nth)));
    let others = [
        Index::unique(ACCOUNTS, "email_key"),
        Index::unique(ACCOUNTS, "username_key"),
        Index::sparse(ACCOUNTS, "leaving"),
        Index::sparse(DEVICES, "ids"),
    ];
    others.into_iter().chain(searched).collect()
}

/// An account; one that was erased has little left.
#[derive(Deserialize)]
struct AccountDoc {
    #[serde(rename = "_id")]
    id: Uuid,
    email: Option<String>,
    username: Option<String>,
    #[serde(default)]
    name: String,
    photo: Option<Uuid>,
    status_message: Option<String>,
    #[serde(default)]
    preferences: String,
    password_hash: Option<String>,
    created_at: DateTime,
    updated_at: DateTime,
    last_seen_at: Option<DateTime>,
    /// What a search finds it by.
    #[serde(default)]
    find: BTreeMap<String, String>,
}

impl AccountDoc {
    fn living(self) -> Option<Account> {
        Some(Account {
            id: UserId::from_id(self.id),
            email: self.email?,
            username: self.username?,
            name: self.name,
            photo: self.photo.map(FileId::from_id),
            status_message: self.status_message,
            preferences: Json::from_stored(self.preferences),
            last_seen_at: self.last_seen_at.map(timestamp),
            created_at: timestamp(self.created_at),
            updated_at: timestamp(self.updated_at),
        })
    }
}

#[derive(Deserialize)]
struct IdDoc {
    #[serde(rename = "_id")]
    id: Uuid,
}

/// An account that was not erased.
fn living(user: UserId) -> Document {
    doc! { "_id": user.id(), "erased_at": { "$exists": false } }
}

/// The accounts of a database.
#[derive(Clone)]
pub struct MongoAccounts {
    mongo: Mongo,
}

impl MongoAccounts {
    pub fn new(mongo: Mongo) -> Self {
        Self { mongo }
    }

    async fn account(&self, filter: Document) -> PortResult<Option<AccountDoc>> {
        self.mongo.find_one(ACCOUNTS, filter, Document::new()).await
    }

    /// What a new account collided with; `None` when it is gone meanwhile.
    async fn collision(&self, account: &NewAccount) -> PortResult<Option<Created>> {
        let email = self.account(doc! { "email_key": account.email.to_lowercase() }).await?;
        match email {
            // An earlier attempt whose answer was lost.
            Some(stored) if stored.id == account.id.id() => return Ok(Some(Created::Made)),
            Some(_) => return Ok(Some(Created::EmailTaken)),
            None => {}
        }
        if self
            .account(doc! { "username_key": account.username.to_lowercase() })
            .await?
            .is_some()
        {
            return Ok(Some(Created::UsernameTaken));
        }
        if self.account(doc! { "_id": account.id.id() }).await?.is_some() {
            return Err(PortError::Broken(format!(
                "the id {} was an account's before",
                account.id
            )));
        }
        Ok(None)
    }

    /// Carries out a change that leaves the names alone.
    async fn change(&self, user: UserId, patch: &AccountPatch, now: Timestamp) -> PortResult<Updated> {
        let changed = self.apply(living(user), patched(patch, now)).await?;
        Ok(changed.map_or(Updated::Unknown, |account| account))
    }

    /// Carries out a change of names, as long as they are what they were when the search's keys were made.
    async fn rename(&self, user: UserId, patch: &AccountPatch, now: Timestamp) -> PortResult<Updated> {
        for _ in 0..ROUNDS {
            let Some(account) = self.account(living(user)).await?.and_then(AccountDoc::living) else {
                return Ok(Updated::Unknown);
            };
            let username = patch.username.as_ref().unwrap_or(&account.username);
            let name = patch.name.as_ref().unwrap_or(&account.name);
            let mut change = patched(patch, now);
            let set = change.entry("$set").or_insert(doc! {}.into());
            if let Some(set) = set.as_document_mut() {
                set.insert("username", username);
                set.insert("username_key", username.to_lowercase());
                set.insert("name", name);
                set.insert("find", search::document(user, username, name));
            }
            let mut filter = living(user);
            filter.extend(doc! { "username": &account.username, "name": &account.name });
            if let Some(updated) = self.apply(filter, change).await? {
                return Ok(updated);
            }
        }
        Err(PortError::Unavailable(
            "MongoDB: an account changed again and again".into(),
        ))
    }

    /// Changes an account; `None` when none is as the filter says.
    async fn apply(&self, filter: Document, change: Document) -> PortResult<Option<Updated>> {
        let answered = ReturnDocument::After;
        match self
            .mongo
            .find_and_update::<AccountDoc>(ACCOUNTS, filter, change, answered)
            .await?
        {
            Ok(changed) => Ok(changed
                .and_then(AccountDoc::living)
                .map(|account| Updated::Account(Box::new(account)))),
            Err(_) => Ok(Some(Updated::UsernameTaken)),
        }
    }
}

/// A patch as operators, names left out.
fn patched(patch: &AccountPatch, now: Timestamp) -> Document {
    let (mut set, mut unset) = (doc! { "updated_at": date(now) }, Document::new());
    match &patch.status_message {
        Some(Some(message)) => drop(set.insert("status_message", message)),
        Some(None) => drop(unset.insert("status_message", "")),
        None => {}
    }
    match &patch.photo {
        Some(Some(photo)) => drop(set.insert("photo", photo.id())),
        Some(None) => drop(unset.insert("photo", "")),
        None => {}
    }
    if let Some(preferences) = &patch.preferences {
        set.insert("preferences", preferences.as_str());
    }
    let mut change = doc! { "$set": set };
    if !unset.is_empty() {
        change.insert("$unset", unset);
    }
    change
}

#[async_trait]
impl AccountStore for MongoAccounts {
    async fn create(&self, account: NewAccount) -> PortResult<Created> {
        let document = doc! {
            "_id": account.id.id(),
            "email": &account.email,
            "email_key": account.email.to_lowercase(),
            "username": &account.username,
            "username_key": account.username.to_lowercase(),
            "name": &account.name,
            "preferences": "{}",
            "password_hash": &account.password_hash,
            "created_at": date(account.created_at),
            "updated_at": date(account.created_at),
            "find": search::document(account.id, &account.username, &account.name),
        };
        for _ in 0..ROUNDS {
            if self.mongo.insert_one(ACCOUNTS, &document).await? {
                return Ok(Created::Made);
            }
            if let Some(collision) = self.collision(&account).await? {
                return Ok(collision);
            }
        }
        Err(PortError::Unavailable(
            "MongoDB: names came and went while an account was made".into(),
        ))
    }

    async fn accounts(&self, users: &[UserId]) -> PortResult<Vec<Account>> {
        let query = Query::of(doc! { "_id": { "$in": ids(users) }, "erased_at": { "$exists": false } });
        let found: Vec<AccountDoc> = self.mongo.find(ACCOUNTS, query).await?;
        let found: HashMap<UserId, Account> = found
            .into_iter()
            .filter_map(AccountDoc::living)
            .map(|account| (account.id, account))
            .collect();
        Ok(users.iter().filter_map(|user| found.get(user).cloned()).collect())
    }

    async fn absent(&self, users: &[UserId]) -> PortResult<Vec<UserId>> {
        let filter = doc! { "_id": { "$in": ids(users) }, "erased_at": { "$exists": false } };
        let found: Vec<IdDoc> = self
            .mongo
            .find(ACCOUNTS, Query::of(filter).fields(doc! { "_id": 1 }))
            .await?;
        let there: HashSet<UserId> = found.iter().map(|found| UserId::from_id(found.id)).collect();
        Ok(users.iter().filter(|user| !there.contains(user)).copied().collect())
    }

    async fn credentials(&self, handle: &Handle) -> PortResult<Option<Credentials>> {
        let filter = match handle {
            Handle::Email(email) => doc! { "email_key": email.to_lowercase() },
            Handle::Username(username) => doc! { "username_key": username.to_lowercase() },
            Handle::Id(user) => living(*user),
        };
        let found = self.account(filter).await?;
        Ok(found.and_then(|found| {
            Some(Credentials {
                user: UserId::from_id(found.id),
                password_hash: found.password_hash?,
            })
        }))
    }

    async fn replace_password(&self, user: UserId, old: &str, new: &str) -> PortResult<bool> {
        let filter = doc! { "_id": user.id(), "password_hash": old };
        self.mongo
            .update_one(ACCOUNTS, filter, doc! { "$set": { "password_hash": new } })
            .await
    }

    async fn update(&self, user: UserId, patch: AccountPatch, now: Timestamp) -> PortResult<Updated> {
        if patch.username.is_some() || patch.name.is_some() {
            self.rename(user, &patch, now).await
        } else {
            self.change(user, &patch, now).await
        }
    }

    async fn erase(&self, user: UserId, now: Timestamp) -> PortResult<bool> {
        let change = doc! {
            "$set": { "erased_at": date(now), "updated_at": date(now), "leaving": true },
            "$unset": {
                "email": "", "email_key": "", "username": "", "username_key": "", "name": "", "photo": "",
                "status_message": "", "preferences": "", "password_hash": "", "last_seen_at": "", "find": "",
            },
        };
        let erased = self.mongo.update_one(ACCOUNTS, living(user), change).await?;
        if erased {
            devices::delete_all(&self.mongo, user).await?;
        }
        Ok(erased)
    }

    async fn leaving(&self) -> PortResult<Vec<UserId>> {
        let query = Query::of(doc! { "leaving": true })
            .fields(doc! { "_id": 1 })
            .sort(doc! { "_id": 1 });
        let found: Vec<IdDoc> = self.mongo.find(ACCOUNTS, query).await?;
        Ok(found.into_iter().map(|found| UserId::from_id(found.id)).collect())
    }

    async fn forgotten(&self, user: UserId) -> PortResult<()> {
        let erased = doc! { "_id": user.id(), "leaving": true };
        if self.account(erased.clone()).await?.is_none() {
            return Ok(());
        }
        devices::delete_all(&self.mongo, user).await?;
        let forgotten = doc! { "$unset": { "leaving": "" } };
        self.mongo.update_one(ACCOUNTS, erased, forgotten).await.map(drop)
    }

    async fn search(&self, prefix: &str, after: Option<SearchCursor>, limit: usize) -> PortResult<Vec<Hit>> {
        search::find(&self.mongo, prefix, after, limit).await
    }

    async fn touch(&self, users: Vec<(UserId, Timestamp)>, devices: Vec<(DeviceId, Timestamp)>) -> PortResult<()> {
        let seen = |(user, at): &(UserId, Timestamp)| {
            Update::one(living(*user), doc! { "$max": { "last_seen_at": date(*at) } })
        };
        let users: Vec<_> = users.iter().map(seen).collect();
        let users = self.mongo.update(ACCOUNTS, &users);
        let devices = devices::touch(&self.mongo, &devices);
        tokio::try_join!(users, devices).map(drop)
    }

    async fn devices(&self, user: UserId) -> PortResult<Vec<Device>> {
        let found = devices::of(&self.mongo, user).await?;
        Ok(found.into_iter().map(Device::from).collect())
    }

    async fn create_device(&self, user: UserId, device: Device, most: usize) -> PortResult<Vec<DeviceId>> {
        devices::create(&self.mongo, user, &device, most).await
    }

    async fn bind_device(&self, user: UserId, device: DeviceId, login: LoginId) -> PortResult<bool> {
        devices::bind(&self.mongo, user, device, login).await
    }

    async fn delete_device(&self, user: UserId, device: DeviceId) -> PortResult<Option<LoginId>> {
        devices::delete(&self.mongo, user, device).await
    }
}
