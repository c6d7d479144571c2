//! What Redis keeps of the cluster, and the scripts that change it: the leases, the view, and the table of its epoch.
//!
//! Everything a script does is done at once, so the rules are in the scripts (beside this file), and this is their caller: it
//! knows what it was told last, so that an answer holds only what is new.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

use redis::{Script, Value, from_redis_value};
use serde::{Deserialize, Serialize};

use super::lease::{Answer, Ask, Timing};
use super::service::Identity;
use super::{Cluster, Epoch, Fingerprint, Incarnation, Member, NodeState, Table, View};
use crate::id::NodeId;
use crate::placement::Placement;
use crate::primary::{Fault, Primary};
use crate::wire::Versions;

/// What a node says of itself beside its state; read by every release there is, so fields are added only. The words for its
/// state are a closed set: a finer one is a field here.
#[derive(Serialize, Deserialize)]
struct Card {
    weight: NonZeroU8,
    address: SocketAddr,
    #[serde(with = "super::hex")]
    fingerprint: Fingerprint,
    #[serde(default)]
    public_url: Option<String>,
    #[serde(default)]
    versions: Versions,
}

/// Which view: two of the same epoch differ in their stamp, which happens when Redis lost the last of its data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct ViewId {
    epoch: u64,
    stamp: u64,
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.stamp)
    }
}

/// Names in Redis. The braces keep them together where keys are spread over servers.
struct Keys {
    meta: String,
    members: String,
    leases: String,
    table: String,
    channel: String,
}

impl Keys {
    fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{{{prefix}}}:cluster:{name}");
        Self {
            meta: key("meta"),
            members: key("members"),
            leases: key("leases"),
            table: key("table"),
            channel: key("changed"),
        }
    }
}

/// What `beat.lua` answers after the status: epoch, stamp, when another's lease runs out, incarnation, members, table.
type Beat = (String, u64, u64, i64, u64, Option<Vec<String>>, Option<Stored>);
/// A table as it is stored: view, stamp, placement.
type Stored = (Option<String>, Option<u64>, Option<String>);

/// Why Redis will not have this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    Redis(String),
    Shards(String),
}

/// One node's dealings with what Redis keeps.
pub(super) struct Registry {
    primary: Primary,
    keys: Keys,
    beat: Script,
    restore: Script,
    propose: Script,
    identity: Identity,
    /// Tells this process from another of the same name.
    holder: u64,
    timing: Timing,
    shards: u16,
    known: ViewId,
    /// The members as they are stored, to be told to a Redis that lost them.
    stored: Vec<String>,
    view: Option<Arc<View>>,
    /// The latest that was the view's at its time.
    table: Option<Arc<Table>>,
    /// What the next table is to be made from: the one that was stored last, whichever view's it was.
    basis: Option<Table>,
    table_stamp: u64,
    trouble: Option<Trouble>,
}

impl Registry {
    pub(super) fn new(primary: Primary, prefix: &str, identity: Identity, timing: Timing, shards: u16) -> Self {
        Self {
            primary,
            keys: Keys::new(prefix),
            beat: Script::new(include_str!("registry/beat.lua")),
            restore: Script::new(include_str!("registry/restore.lua")),
            propose: Script::new(include_str!("registry/propose.lua")),
            identity,
            holder: chance(),
            timing,
            shards,
            known: ViewId::default(),
            stored: Vec::new(),
            view: None,
            table: None,
            basis: None,
            table_stamp: 0,
            trouble: None,
        }
    }

    /// Where changes are told of.
    pub(super) fn channel(&self) -> String {
        self.keys.channel.clone()
    }

    /// What is known; none before there was a table.
    pub(super) fn cluster(&self) -> Option<Cluster> {
        Some(Cluster {
            view: Arc::clone(self.view.as_ref()?),
            table: Arc::clone(self.table.as_ref()?),
        })
    }

    /// Whether the table is that of the view.
    pub(super) fn is_settled(&self) -> bool {
        let epoch = self.view.as_ref().map(|view| view.epoch());
        epoch.is_some() && epoch == self.table.as_ref().map(|table| table.epoch)
    }

    /// What went wrong the last time something did.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Asks. What the answer says of the cluster is in [`Self::cluster`] then.
    pub(super) async fn ask(&mut self, ask: Ask) -> Answer {
        let answered = match ask {
            Ask::Join(state) => self.beat("join", Incarnation::default(), state).await,
            Ask::Renew(incarnation, state) => self.beat("renew", incarnation, state).await,
            Ask::Release(incarnation) => self.beat("release", incarnation, NodeState::Draining).await,
            Ask::Restore => self.restore().await,
        };
        match answered {
            Ok(answer) => {
                self.trouble = self
                    .trouble
                    .take()
                    .filter(|trouble| matches!(trouble, Trouble::Shards(_)));
                answer
            }
            Err(error) => {
                self.trouble = Some(Trouble::Redis(error.to_string()));
                Answer::Failed
            }
        }
    }

    async fn beat(&mut self, what: &str, incarnation: Incarnation, state: NodeState) -> Result<Answer, Fault> {
        let mut beat = self.beat.prepare_invoke();
        let keys = &self.keys;
        beat.key(&keys.meta)
            .key(&keys.members)
            .key(&keys.leases)
            .key(&keys.table);
        beat.arg(what)
            .arg(&*self.identity.node.0)
            .arg(self.holder)
            .arg(incarnation.0);
        beat.arg(stored(&self.identity, state))
            .arg(millis(self.timing.ttl))
            .arg(2 * millis(self.timing.heartbeat));
        beat.arg(self.known.epoch).arg(self.known.stamp).arg(chance());
        beat.arg(self.shards).arg(self.table_stamp).arg(&keys.channel);
        let answer: Vec<Value> = self.primary.run(&beat).await?;
        match answer.as_slice() {
            [_behind] => return Ok(Answer::Behind),
            [_shards, shards] => {
                self.trouble = Some(Trouble::Shards(from_redis_value(shards.clone())?));
                return Ok(Answer::Failed);
            }
            _ => {}
        }
        let (status, epoch, stamp, others, incarnation, members, table): Beat = from_redis_value(Value::Array(answer))?;
        if let Some(members) = members {
            self.see(ViewId { epoch, stamp }, members);
        }
        if let Some(stored) = table {
            self.take(stored);
        }
        let epoch = Epoch(epoch);
        Ok(match status.as_str() {
            "join" => Answer::Joined {
                incarnation: Incarnation(incarnation),
                epoch,
            },
            "renew" => Answer::Renewed {
                epoch,
                others: u64::try_from(others).ok().map(std::time::Duration::from_millis),
            },
            "superseded" => Answer::Superseded,
            "release" => Answer::Released,
            _ => Answer::Gone,
        })
    }

    async fn restore(&mut self) -> Result<Answer, Fault> {
        let mut restore = self.restore.prepare_invoke();
        restore
            .key(&self.keys.meta)
            .key(&self.keys.members)
            .key(&self.keys.leases);
        restore.arg(self.known.epoch).arg(self.known.stamp).arg(chance());
        restore
            .arg(millis(self.timing.ttl))
            .arg(self.shards)
            .arg(&self.keys.channel);
        for text in &self.stored {
            restore.arg(text);
        }
        let restored: bool = self.primary.run(&restore).await?;
        if restored {
            tracing::warn!(
                epoch = self.known.epoch,
                "Redis had lost the membership; it was told what this node knew"
            );
        }
        Ok(Answer::Restored)
    }

    /// The frames that this node speaks.
    pub(super) fn versions(&self) -> Versions {
        self.identity.versions
    }

    /// A member that was there before this node came and speaks no version of frames that it speaks.
    pub(super) fn stranger(&self, own: Incarnation) -> Option<&Member> {
        let mut members = self.view.as_ref()?.members().iter();
        members.find(|member| member.incarnation < own && self.identity.versions.common(member.versions).is_none())
    }

    /// Sees to it that the view has its table: takes the stored one, or proposes one made from the table before.
    pub(super) async fn settle(&mut self) {
        let Some(view) = self.view.clone().filter(|_| !self.is_settled()) else {
            return;
        };
        let Ok(next) = Table::next(self.basis.as_ref(), &view, self.shards) else {
            return;
        };
        if let Err(error) = self.propose(&next).await {
            // The next heartbeat brings another occasion.
            self.trouble = Some(Trouble::Redis(error.to_string()));
        }
    }

    async fn propose(&mut self, table: &Table) -> Result<(), Fault> {
        let placement = serde_json::to_string(&table.placement).unwrap_or_default();
        let mut propose = self.propose.prepare_invoke();
        propose.key(&self.keys.meta).key(&self.keys.table);
        propose.arg(self.known.to_string()).arg(chance()).arg(self.table_stamp);
        propose.arg(placement).arg(&self.keys.channel);
        let stored: Stored = self.primary.run(&propose).await?;
        self.take(stored);
        Ok(())
    }

    /// Takes a view as it is stored: nodes and their values in turn.
    fn see(&mut self, id: ViewId, stored: Vec<String>) {
        let members = stored.chunks_exact(2).filter_map(|pair| {
            let member = member(&pair[0], &pair[1]);
            if member.is_none() {
                tracing::warn!(node = pair[0], "a member cannot be understood and is left out");
            }
            member
        });
        self.view = Some(Arc::new(View::new(Epoch(id.epoch), members.collect())));
        self.known = id;
        self.stored = stored;
    }

    /// Takes a table as it is stored, if it is the view's.
    fn take(&mut self, stored: Stored) {
        let (Some(view), (Some(of), Some(stamp), Some(placement))) = (&self.view, stored) else {
            return;
        };
        // Remembered though it may be unfit: only whoever saw that may put another in its place.
        self.table_stamp = stamp;
        let Ok(placement) = serde_json::from_str::<Placement>(&placement) else {
            tracing::error!("the stored table cannot be read; another one is made");
            return;
        };
        let table = Table {
            epoch: view.epoch(),
            placement,
        };
        if of != self.known.to_string() {
            self.basis = Some(table);
        } else if table.fits(view, self.shards) {
            self.basis = Some(table.clone());
            self.table = Some(Arc::new(table));
        } else {
            tracing::error!(
                epoch = self.known.epoch,
                "the stored table does not fit the members; another one is made"
            );
        }
    }
}

/// What is stored of a node after its incarnation and holder.
fn stored(identity: &Identity, state: NodeState) -> String {
    let card = Card {
        weight: identity.weight,
        address: identity.address,
        fingerprint: identity.fingerprint,
        public_url: identity.public_url.clone(),
        versions: identity.versions,
    };
    let card = serde_json::to_string(&card).unwrap_or_default();
    format!("{} {card}", word(state))
}

fn word(state: NodeState) -> &'static str {
    match state {
        NodeState::Joining => "joining",
        NodeState::Up => "up",
        NodeState::Draining => "draining",
    }
}

/// Reads "incarnation holder state card". A node in a state that is not known is reachable and owns nothing here.
fn member(node: &str, value: &str) -> Option<Member> {
    let mut parts = value.splitn(4, ' ');
    let incarnation = Incarnation(parts.next()?.parse().ok()?);
    let _holder = parts.next()?;
    let state = parts.next()?;
    let states = [NodeState::Joining, NodeState::Up, NodeState::Draining];
    let known = states.into_iter().find(|known| word(*known) == state);
    let state = known.unwrap_or(NodeState::Joining);
    let card: Card = serde_json::from_str(parts.next()?).ok()?;
    Some(Member {
        node: NodeId::from(node),
        state,
        weight: card.weight,
        incarnation,
        address: card.address,
        fingerprint: card.fingerprint,
        public_url: card.public_url,
        versions: card.versions,
    })
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A number that nobody else comes upon.
fn chance() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests;
