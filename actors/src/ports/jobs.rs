//! Port: delayed jobs. What is to be done at some later time, by whichever node finds it due.
//!
//! A job is a name and a time, and nothing else. What it stands for is looked up when it is done, so that nothing is carried
//! along that is no longer true by then.
//!
//! Who finds a job due claims it: nobody else is given it for a while. Who claimed it and did it says so; of who does not, the
//! node is thought dead, and the job is given to the next. So a job may be done twice, and must not mind.

use async_trait::async_trait;

use super::PortResult;
use crate::id::ClaimId;
use crate::time::Timestamp;

/// A job that is to be done now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    pub name: String,
    pub claim: ClaimId,
}

/// The delayed jobs. What is answered `Ok` is durable, and at once so for every node that shares them.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// Sets a job down for a time, in place of what there is of that name; who is just doing that has done it in vain.
    async fn schedule(&self, name: &str, due: Timestamp) -> PortResult<()>;

    /// Sets a job down unless there is one of that name; true when there was none.
    async fn propose(&self, name: &str, due: Timestamp) -> PortResult<bool>;

    /// Takes a job out; false when there is none of that name.
    async fn cancel(&self, name: &str) -> PortResult<bool>;

    /// Takes jobs that are due, the oldest first, at most `limit`. Until `until` nobody else is given them.
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: usize) -> PortResult<Vec<Claimed>>;

    /// Says that a job was done: it is gone, or due again at `again`. False, and nothing is changed, when it is no longer the
    /// caller's: claimed by another since, set down anew, or taken out.
    async fn finish(&self, job: &Claimed, again: Option<Timestamp>) -> PortResult<bool>;
}
