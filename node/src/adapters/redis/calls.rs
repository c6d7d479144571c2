//! Calls to Redis, each of them timed and counted.

use std::time::Instant;

use metrics::{Counter, Histogram, counter, histogram};
use redis::{Cmd, FromRedisValue, ScriptInvocation};
use rookery_actors::ports::PortError;
use rookery_cluster::primary::{Fault, Primary};

/// Cheap to clone; clones share their connection.
#[derive(Clone)]
pub struct Calls {
    primary: Primary,
    seconds: Histogram,
    ok: Counter,
    failed: Counter,
}

impl Calls {
    pub fn new(primary: Primary) -> Self {
        Self {
            primary,
            seconds: histogram!("node_redis_seconds"),
            ok: counter!("node_redis_calls_total", "outcome" => "ok"),
            failed: counter!("node_redis_calls_total", "outcome" => "failed"),
        }
    }

    /// For what is not to be counted.
    pub fn primary(&self) -> &Primary {
        &self.primary
    }

    pub async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Fault> {
        let begun = Instant::now();
        let answer = self.primary.run(call).await;
        self.count(begun, answer.is_ok());
        answer
    }

    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Fault> {
        let begun = Instant::now();
        let answer = self.primary.query(command).await;
        self.count(begun, answer.is_ok());
        answer
    }

    fn count(&self, begun: Instant, is_ok: bool) {
        self.seconds.record(begun.elapsed());
        let outcome = if is_ok { &self.ok } else { &self.failed };
        outcome.increment(1);
    }
}

/// What a fault of Redis means to whoever asked this of it.
pub fn failed(what: &str, fault: &Fault) -> PortError {
    let text = format!("{what}: Redis: {fault}");
    match fault {
        Fault::Unreachable(_) | Fault::Refused(_) => PortError::Unavailable(text),
        Fault::Unanswered(_) => PortError::Unknown(text),
        Fault::Broken(_) => PortError::Broken(text),
    }
}
