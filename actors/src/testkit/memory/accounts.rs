//! Accounts and devices in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::id::{DeviceId, LoginId, UserId};
use crate::ports::accounts::{
    Account, AccountPatch, AccountStore, Created, Credentials, Device, Handle, Hit, NewAccount, SearchCursor, Updated,
};
use crate::ports::{PortError, PortResult};
use crate::protocol::Json;
use crate::time::Timestamp;

/// All accounts.
#[derive(Default)]
pub struct MemoryAccounts(Mutex<Accounts>);

#[derive(Default)]
struct Accounts {
    living: BTreeMap<UserId, (Account, String)>,
    leaving: BTreeSet<UserId>,
    erased: BTreeSet<UserId>,
    devices: BTreeMap<UserId, Vec<Device>>,
}

impl Accounts {
    fn named(&self, same: impl Fn(&Account) -> bool) -> Option<UserId> {
        let mut living = self.living.iter();
        living.find(|(_, (account, _))| same(account)).map(|(user, _)| *user)
    }

    fn is_taken(&self, username: &str, by_other_than: UserId) -> bool {
        self.named(|account| account.id != by_other_than && same(&account.username, username))
            .is_some()
    }
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

impl MemoryAccounts {
    /// A user's devices, as the inbox shows them.
    pub fn devices_of(&self, user: UserId) -> Vec<Device> {
        self.0.lock().devices.get(&user).cloned().unwrap_or_default()
    }

    /// Makes an account of that name.
    pub fn add(&self, user: UserId, name: &str) {
        let account = Account {
            id: user,
            email: format!("{user}@example.com"),
            username: user.to_string(),
            name: name.into(),
            photo: None,
            status_message: None,
            preferences: Json::from(&serde_json::Value::Object(serde_json::Map::default())),
            last_seen_at: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        self.0.lock().living.insert(user, (account, String::new()));
    }
}

/// Keys under which an account is found: its username, and its name from each word on.
fn keys(account: &Account) -> Vec<String> {
    let name = account.name.to_lowercase();
    let starts = name.char_indices().filter(|(at, char)| {
        let before = name[..*at].chars().next_back();
        !char.is_whitespace() && before.is_none_or(char::is_whitespace)
    });
    let words = starts.map(|(at, _)| name[at..].to_owned());
    words.chain([account.username.to_lowercase()]).collect()
}

#[async_trait]
impl AccountStore for MemoryAccounts {
    async fn create(&self, new: NewAccount) -> PortResult<Created> {
        let mut accounts = self.0.lock();
        if accounts.erased.contains(&new.id) || accounts.living.contains_key(&new.id) {
            return Err(PortError::Broken("the id was used before".into()));
        }
        if accounts.named(|known| same(&known.email, &new.email)).is_some() {
            return Ok(Created::EmailTaken);
        }
        if accounts.is_taken(&new.username, new.id) {
            return Ok(Created::UsernameTaken);
        }
        let account = Account {
            id: new.id,
            email: new.email,
            username: new.username,
            name: new.name,
            photo: None,
            status_message: None,
            preferences: Json::from(&serde_json::Value::Object(serde_json::Map::default())),
            last_seen_at: None,
            created_at: new.created_at,
            updated_at: new.created_at,
        };
        accounts.living.insert(new.id, (account, new.password_hash));
        Ok(Created::Made)
    }

    async fn accounts(&self, users: &[UserId]) -> PortResult<Vec<Account>> {
        let accounts = self.0.lock();
        let found = users.iter().filter_map(|user| accounts.living.get(user));
        Ok(found.map(|(account, _)| account.clone()).collect())
    }

    async fn absent(&self, users: &[UserId]) -> PortResult<Vec<UserId>> {
        let accounts = self.0.lock();
        let absent = users.iter().filter(|user| !accounts.living.contains_key(user));
        Ok(absent.copied().collect())
    }

    async fn credentials(&self, handle: &Handle) -> PortResult<Option<Credentials>> {
        let accounts = self.0.lock();
        let user = accounts.named(|account| match handle {
            Handle::Email(email) => same(&account.email, email),
            Handle::Username(username) => same(&account.username, username),
            Handle::Id(id) => account.id == *id,
        });
        Ok(user.map(|user| Credentials {
            user,
            password_hash: accounts.living[&user].1.clone(),
        }))
    }

    async fn replace_password(&self, user: UserId, old: &str, new: &str) -> PortResult<bool> {
        let mut accounts = self.0.lock();
        let known = accounts.living.get_mut(&user).filter(|(_, hash)| hash == old);
        Ok(known.map(|(_, hash)| new.clone_into(hash)).is_some())
    }

    async fn update(&self, user: UserId, patch: AccountPatch, now: Timestamp) -> PortResult<Updated> {
        let mut accounts = self.0.lock();
        if !accounts.living.contains_key(&user) {
            return Ok(Updated::Unknown);
        }
        if patch
            .username
            .as_ref()
            .is_some_and(|name| accounts.is_taken(name, user))
        {
            return Ok(Updated::UsernameTaken);
        }
        let Some((account, _)) = accounts.living.get_mut(&user) else {
            return Ok(Updated::Unknown);
        };
        let before = account.clone();
        account.name = patch.name.unwrap_or(before.name);
        account.username = patch.username.unwrap_or(before.username);
        account.status_message = patch.status_message.unwrap_or(before.status_message);
        account.photo = patch.photo.unwrap_or(before.photo);
        account.preferences = patch.preferences.unwrap_or(before.preferences);
        account.updated_at = now;
        Ok(Updated::Account(Box::new(account.clone())))
    }

    async fn erase(&self, user: UserId, _: Timestamp) -> PortResult<bool> {
        let mut accounts = self.0.lock();
        let erased = accounts.living.remove(&user).is_some();
        if erased {
            accounts.devices.remove(&user);
            accounts.leaving.insert(user);
            accounts.erased.insert(user);
        }
        Ok(erased)
    }

    async fn leaving(&self) -> PortResult<Vec<UserId>> {
        Ok(self.0.lock().leaving.iter().copied().collect())
    }

    async fn forgotten(&self, user: UserId) -> PortResult<()> {
        self.0.lock().leaving.remove(&user);
        Ok(())
    }

    async fn search(&self, prefix: &str, after: Option<SearchCursor>, limit: usize) -> PortResult<Vec<Hit>> {
        let prefix = prefix.to_lowercase();
        let accounts = self.0.lock();
        let mut hits: Vec<Hit> = Vec::new();
        for (account, _) in accounts.living.values() {
            let key = keys(account).into_iter().filter(|key| key.starts_with(&prefix)).min();
            hits.extend(key.map(|key| Hit {
                cursor: SearchCursor { key, user: account.id },
                account: account.clone(),
            }));
        }
        let place = |cursor: &SearchCursor| (cursor.key.clone(), cursor.user);
        hits.sort_by_key(|hit| place(&hit.cursor));
        hits.retain(|hit| after.as_ref().is_none_or(|after| place(&hit.cursor) > place(after)));
        hits.truncate(limit);
        Ok(hits)
    }

    async fn touch(&self, users: Vec<(UserId, Timestamp)>, devices: Vec<(DeviceId, Timestamp)>) -> PortResult<()> {
        let mut accounts = self.0.lock();
        for (user, at) in users {
            if let Some((account, _)) = accounts.living.get_mut(&user) {
                account.last_seen_at = account.last_seen_at.max(Some(at));
            }
        }
        for device in accounts.devices.values_mut().flatten() {
            let seen = devices
                .iter()
                .filter(|(id, _)| *id == device.id)
                .map(|(_, at)| *at)
                .max();
            device.last_seen_at = device.last_seen_at.max(seen);
        }
        Ok(())
    }

    async fn devices(&self, user: UserId) -> PortResult<Vec<Device>> {
        Ok(self.devices_of(user))
    }

    async fn create_device(&self, user: UserId, device: Device, most: usize) -> PortResult<Vec<DeviceId>> {
        let mut accounts = self.0.lock();
        let devices = accounts.devices.entry(user).or_default();
        let mut oldest: Vec<_> = devices
            .iter()
            .map(|known| (known.last_seen_at.unwrap_or(known.created_at), known.id))
            .collect();
        oldest.sort_unstable();
        let surplus = (devices.len() + 1).saturating_sub(most);
        let evicted: Vec<_> = oldest.into_iter().take(surplus).map(|(_, id)| id).collect();
        devices.retain(|known| !evicted.contains(&known.id));
        devices.push(device);
        Ok(evicted)
    }

    async fn bind_device(&self, user: UserId, device: DeviceId, login: LoginId) -> PortResult<bool> {
        let mut accounts = self.0.lock();
        let mut devices = accounts.devices.get_mut(&user).into_iter().flatten();
        let known = devices.find(|known| known.id == device);
        Ok(known.map(|known| known.login = login).is_some())
    }

    async fn delete_device(&self, user: UserId, device: DeviceId) -> PortResult<Option<LoginId>> {
        let mut accounts = self.0.lock();
        let devices = accounts.devices.entry(user).or_default();
        let index = devices.iter().position(|known| known.id == device);
        Ok(index.map(|index| devices.remove(index).login))
    }
}
