//! What the directory keeps in Redis, and the scripts that change it.

use std::net::IpAddr;
use std::time::Duration;

use redis::{Script, ScriptInvocation, cmd};
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::ports::PortError;
use rookery_actors::ports::directory::{Admission, NewLogin, Rotated, Rotation, Throttled};
use rookery_actors::time::Timestamp;
use rookery_cluster::primary::{Fault, Messages};

use super::super::calls::Calls;
use super::codec;
use crate::adapters::authorities::{self, Obstacle};
use crate::adapters::revocations::Revoked;

/// Entries read, or purged, at once.
const PAGE: usize = 2_000;
/// The time over which a budget is given, in microseconds.
const MINUTE: i64 = 60_000_000;

/// Names in Redis. The braces keep them together where keys are spread over servers.
struct Keys {
    prefix: String,
    /// Revocations by their number.
    revoked: String,
    /// The same by their time.
    times: String,
    /// The last number.
    number: String,
    channel: String,
}

impl Keys {
    fn new(prefix: &str) -> Self {
        let prefix = format!("{{{prefix}}}:");
        let key = |name: &str| format!("{prefix}{name}");
        Self {
            revoked: key("revoked"),
            times: key("revoked:times"),
            number: key("revoked:number"),
            channel: key("revocations"),
            prefix,
        }
    }

    fn login(&self, login: LoginId) -> String {
        format!("{}login:{login}", self.prefix)
    }

    fn user(&self, user: UserId) -> String {
        format!("{}user:{user}", self.prefix)
    }
}

/// Some entries, in the order of their numbers.
pub struct Entries {
    pub texts: Vec<String>,
    /// The number of the last; the one asked for where there are none.
    pub latest: u64,
    pub more: bool,
}

pub struct Store {
    calls: Calls,
    keys: Keys,
    /// How long a login is kept beyond its end.
    memory: Duration,
    create: Script,
    rotate: Script,
    revoke: Script,
    revoke_all: Script,
    restore: Script,
    purge: Script,
    admit: Script,
}

impl Store {
    pub fn new(calls: Calls, prefix: &str, memory: Duration) -> Self {
        let script = |text: &str| Script::new(&[include_str!("scripts/common.lua"), text].concat());
        Self {
            calls,
            keys: Keys::new(prefix),
            memory,
            create: script(include_str!("scripts/create.lua")),
            rotate: script(include_str!("scripts/rotate.lua")),
            revoke: script(include_str!("scripts/revoke.lua")),
            revoke_all: script(include_str!("scripts/revoke_all.lua")),
            restore: script(include_str!("scripts/restore.lua")),
            purge: script(include_str!("scripts/purge.lua")),
            admit: script(include_str!("scripts/admit.lua")),
        }
    }

    /// An error at start: what is wrong with which service, and what to do; unavailable if waiting may do.
    pub fn cannot_open(&self, fault: &Fault) -> PortError {
        let target = self.calls.primary().target();
        let (kind, advice): (fn(String) -> PortError, _) = match (fault, authorities::obstacle(fault.error())) {
            _ if fault.is_of_credentials() => (
                PortError::Broken,
                "correct user and password in redis.url, and what that user may do",
            ),
            (_, Some(Obstacle::Certificate)) => (
                PortError::Broken,
                "name who signed its certificate in redis.ca_file, and in redis.url a name that stands in it",
            ),
            (_, Some(Obstacle::Plain)) => (
                PortError::Broken,
                "without TLS redis.url begins with redis:// or sentinel://",
            ),
            (Fault::Broken(_), _) => (PortError::Broken, "see section [redis] of the configuration"),
            // A Redis waits for more where it does not understand, and hangs up on who does not speak TLS.
            _ if target.has_tls() && fault.error().is_timeout() => (
                PortError::Unavailable,
                "see section [redis] of the configuration; if it has no TLS, redis.url begins with redis:// or sentinel://",
            ),
            _ if !target.has_tls() && is_hung_up(fault) => (
                PortError::Unavailable,
                "see section [redis] of the configuration; if it wants TLS, redis.url begins with rediss:// or sentinels://",
            ),
            _ => (PortError::Unavailable, "see section [redis] of the configuration"),
        };
        kind(format!(
            "Redis at {target}, which keeps the logins, cannot be used: {fault}; {advice}"
        ))
    }

    pub async fn create(&self, login: &NewLogin) -> Result<(), Fault> {
        let mut call = self.create.prepare_invoke();
        call.key(self.keys.login(login.login)).key(self.keys.user(login.user));
        call.arg(login.login.to_string()).arg(login.user.to_string());
        call.arg(login.family.as_slice()).arg(login.secret.as_slice());
        call.arg(login.expires_at.0);
        call.arg(self.life(login.created_at, login.expires_at));
        self.calls.run(&call).await
    }

    pub async fn rotate(&self, rotation: &Rotation) -> Result<Rotated, Fault> {
        let mut call = self.rotate.prepare_invoke();
        call.key(self.keys.login(rotation.login));
        self.for_revoking(&mut call);
        call.arg(rotation.login.to_string());
        call.arg(rotation.family.as_slice()).arg(rotation.secret.as_slice());
        call.arg(rotation.next.as_slice())
            .arg(rotation.now.0)
            .arg(rotation.expires_at.0);
        call.arg(self.life(rotation.now, rotation.expires_at));
        let (outcome, user): (String, String) = self.calls.run(&call).await?;
        let user = || user.parse::<UserId>().map_err(|_| nonsense("the user of a login"));
        Ok(match outcome.as_str() {
            "rotated" => Rotated::Rotated { user: user()? },
            "reused" => Rotated::Reused { user: user()? },
            "expired" => Rotated::Expired,
            _ => Rotated::Unknown,
        })
    }

    pub async fn revoke(&self, user: UserId, login: LoginId, now: Timestamp) -> Result<bool, Fault> {
        let mut call = self.revoke.prepare_invoke();
        call.key(self.keys.login(login));
        self.for_revoking(&mut call);
        call.arg(login.to_string()).arg(user.to_string()).arg(now.0);
        self.calls.run(&call).await
    }

    pub async fn revoke_all(
        &self,
        user: UserId,
        except: Option<LoginId>,
        now: Timestamp,
    ) -> Result<Vec<LoginId>, Fault> {
        let mut call = self.revoke_all.prepare_invoke();
        call.key(self.keys.user(user));
        self.for_revoking(&mut call);
        call.arg(user.to_string());
        call.arg(except.map(|login| login.to_string()).unwrap_or_default());
        call.arg(now.0);
        let logins: Vec<String> = self.calls.run(&call).await?;
        let login = |text: &String| text.parse().map_err(|_| nonsense("a login of a user"));
        logins.iter().map(login).collect()
    }

    /// Takes one attempt from the budget of a network.
    pub async fn admit(
        &self,
        what: Throttled,
        network: IpAddr,
        per_minute: u32,
        now: Timestamp,
    ) -> Result<Admission, Fault> {
        if per_minute == 0 {
            return Ok(Admission::Wait(Duration::from_micros(MINUTE.unsigned_abs())));
        }
        let what = match what {
            Throttled::SignUp => "sign-up",
            Throttled::LogIn => "log-in",
            Throttled::PasswordChange => "password-change",
        };
        let mut call = self.admit.prepare_invoke();
        call.key(format!("{}budget:{what}:{network}", self.keys.prefix));
        call.arg(now.0.saturating_mul(1_000))
            .arg(MINUTE / i64::from(per_minute))
            .arg(MINUTE);
        let wait: u64 = self.calls.run(&call).await?;
        Ok(match wait {
            0 => Admission::Admitted,
            wait => Admission::Wait(Duration::from_micros(wait)),
        })
    }

    /// The entries after this number, some at a time.
    pub async fn entries_after(&self, number: u64) -> Result<Entries, Fault> {
        let mut command = cmd("ZRANGEBYSCORE");
        command.arg(&self.keys.revoked).arg(format!("({number}")).arg("+inf");
        command.arg("WITHSCORES").arg("LIMIT").arg(0).arg(PAGE);
        let entries: Vec<(String, f64)> = self.calls.query(&command).await?;
        Ok(Entries {
            latest: entries.last().map_or(number, |(_, number)| *number as u64),
            more: entries.len() == PAGE,
            texts: entries.into_iter().map(|(text, _)| text).collect(),
        })
    }

    /// What Redis' clock shows.
    pub async fn time(&self) -> Result<Timestamp, Fault> {
        let (seconds, microseconds): (i64, i64) = self.calls.query(&cmd("TIME")).await?;
        Ok(Timestamp(
            seconds.saturating_mul(1_000).saturating_add(microseconds / 1_000),
        ))
    }

    /// Tells Redis of revocations that it may have lost.
    pub async fn restore(&self, revoked: &[Revoked]) -> Result<(), Fault> {
        let mut call = self.restore.prepare_invoke();
        self.for_revoking(&mut call);
        for one in revoked {
            call.arg(one.login.to_string()).arg(one.user.to_string()).arg(one.at.0);
            call.arg(codec::write(*one));
        }
        self.calls.run(&call).await
    }

    /// Forgets the revocations before this.
    pub async fn purge(&self, horizon: Timestamp) -> Result<(), Fault> {
        loop {
            let mut call = self.purge.prepare_invoke();
            call.key(&self.keys.revoked).key(&self.keys.times);
            call.arg(horizon.0).arg(PAGE);
            let purged: usize = self.calls.run(&call).await?;
            if purged < PAGE {
                return Ok(());
            }
        }
    }

    pub async fn subscribe(&self) -> Result<Messages, Fault> {
        self.calls.primary().subscribe(&self.keys.channel).await
    }

    /// Says what in this Redis's settings would lose logins. A managed one may not tell.
    pub async fn warn_of_settings(&self) {
        let setting = async |name: &str| -> Option<String> {
            let mut command = cmd("CONFIG");
            command.arg("GET").arg(name);
            let answer: Vec<String> = self.calls.primary().query(&command).await.ok()?;
            answer.into_iter().nth(1)
        };
        let (kept, saved) = (setting("appendonly").await, setting("save").await);
        if kept.as_deref() == Some("no") && saved.as_deref() == Some("") {
            tracing::warn!("Redis keeps nothing over a restart, so every login ends with it; set `appendonly yes`");
        }
        let (limit, policy) = (setting("maxmemory").await, setting("maxmemory-policy").await);
        if limit.is_some_and(|limit| limit != "0") && policy.as_deref() != Some("noeviction") {
            tracing::warn!("Redis evicts what it has no room for, logins too; set `maxmemory-policy noeviction`");
        }
    }

    /// The keys and arguments with which every script that may revoke begins, after its first key if it has one.
    fn for_revoking<'a>(&'a self, call: &mut ScriptInvocation<'a>) {
        let keys = &self.keys;
        call.key(&keys.revoked).key(&keys.times).key(&keys.number);
        call.arg(&keys.channel).arg(&keys.prefix).arg(millis(self.memory));
    }

    /// How long a login stays in Redis that ends then.
    fn life(&self, now: Timestamp, end: Timestamp) -> u64 {
        u64::try_from(end.0.saturating_sub(now.0)).unwrap_or(0) + millis(self.memory)
    }
}

fn is_hung_up(fault: &Fault) -> bool {
    let error = fault.error();
    error.is_connection_dropped() && !error.is_connection_refusal()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Redis holds something that no node of ours wrote.
fn nonsense(what: &'static str) -> Fault {
    Fault::Broken(redis::RedisError::from((redis::ErrorKind::UnexpectedReturnType, what)))
}
