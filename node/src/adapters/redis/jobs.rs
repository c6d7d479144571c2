//! The delayed jobs of many nodes on Redis: a sorted set of names by when they are due, and a hash of who has claimed which.
//!
//! Every change is one script. A Redis that loses its last writes, as a replica may that becomes the primary, loses jobs with
//! them; so whoever needs one for good proposes it again now and then.

use std::sync::Arc;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};
use rookery_actors::id::ClaimId;
use rookery_actors::ports::PortResult;
use rookery_actors::ports::jobs::{Claimed, Jobs};
use rookery_actors::time::Timestamp;

use super::calls::{Calls, failed};

/// Cheap to clone.
#[derive(Clone)]
pub struct RedisJobs {
    calls: Calls,
    inner: Arc<Inner>,
}

/// Names in Redis, and the scripts.
struct Inner {
    due: String,
    claims: String,
    set: Script,
    claim: Script,
    finish: Script,
    cancel: Script,
}

impl RedisJobs {
    pub(super) fn new(calls: Calls, prefix: &str) -> Self {
        // The braces keep keys together where they are spread over servers.
        let inner = Inner {
            due: format!("{{{prefix}}}:jobs"),
            claims: format!("{{{prefix}}}:jobs:claims"),
            set: Script::new(include_str!("jobs/set.lua")),
            claim: Script::new(include_str!("jobs/claim.lua")),
            finish: Script::new(include_str!("jobs/finish.lua")),
            cancel: Script::new(include_str!("jobs/cancel.lua")),
        };
        Self {
            calls,
            inner: Arc::new(inner),
        }
    }

    fn prepare<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(&self.inner.due).key(&self.inner.claims);
        call
    }

    async fn is_done(&self, call: &ScriptInvocation<'_>) -> PortResult<bool> {
        let done = self.calls.run(call).await;
        done.map_err(|fault| failed("the delayed jobs", &fault))
    }
}

#[async_trait]
impl Jobs for RedisJobs {
    async fn schedule(&self, name: &str, due: Timestamp) -> PortResult<()> {
        let mut call = self.prepare(&self.inner.set);
        call.arg(name).arg(due.0).arg("");
        self.is_done(&call).await.map(drop)
    }

    async fn propose(&self, name: &str, due: Timestamp) -> PortResult<bool> {
        let mut call = self.prepare(&self.inner.set);
        call.arg(name).arg(due.0).arg("new");
        self.is_done(&call).await
    }

    async fn cancel(&self, name: &str) -> PortResult<bool> {
        let mut call = self.prepare(&self.inner.cancel);
        call.arg(name);
        self.is_done(&call).await
    }

    async fn claim(&self, now: Timestamp, until: Timestamp, limit: usize) -> PortResult<Vec<Claimed>> {
        let claim = ClaimId::fresh();
        let mut call = self.prepare(&self.inner.claim);
        call.arg(now.0).arg(until.0).arg(limit).arg(claim.to_string());
        let names: Result<Vec<String>, _> = self.calls.run(&call).await;
        let names = names.map_err(|fault| failed("the delayed jobs", &fault))?;
        Ok(names.into_iter().map(|name| Claimed { name, claim }).collect())
    }

    async fn finish(&self, job: &Claimed, again: Option<Timestamp>) -> PortResult<bool> {
        let mut call = self.prepare(&self.inner.finish);
        call.arg(&job.name).arg(job.claim.to_string());
        call.arg(again.map(|due| due.0.to_string()).unwrap_or_default());
        self.is_done(&call).await
    }
}
