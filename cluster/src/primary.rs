//! The way to the primary of a Redis, wherever it is at the moment.
//!
//! **What is this.** A [`Target`] says where Redis may be found: one address, several of which one is the primary's, or
//! Sentinels that know it. A [`Primary`] is a connection that many callers share. It is made on first use, thrown away
//! when it fails or turns out not to lead to a primary any more, and made anew, from the target, by the next caller: so it
//! follows a primary that Sentinel moves. [`Primary::subscribe`] gives a connection of its own for what Redis tells.
//!
//! **What always holds.** Every call ends within the timeouts. A call that fails is not repeated here: whether it may be is
//! the caller's to know.
//!
//! The membership is kept through it, and the adapters of the node that stand on Redis use it too.

mod fault;
mod sentinels;
mod target;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use self::fault::Fault;
pub use self::target::{NotAnAddress, Target};

/// After an attempt to connect that failed, callers get its error for as long as this instead of trying for themselves.
const FAILED_FOR: Duration = Duration::from_millis(100);
/// Commands that may wait to be written; callers beyond it wait for room, within their timeout.
const WAITING: usize = 1024;

/// How long a call may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// To find the primary and be connected to it.
    pub connect: Duration,
    /// To have an answer.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            answer: Duration::from_millis(500),
        }
    }
}

/// A connection to the primary, shared by all its clones.
#[derive(Clone)]
pub struct Primary(Arc<Inner>);

struct Inner {
    target: Target,
    timeouts: Timeouts,
    slot: Mutex<Slot>,
}

/// The connection that is in use. Held by one caller at a time, and only to take a clone or to connect.
#[derive(Default)]
struct Slot {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that only the one that failed is thrown away.
    number: u64,
    failed: Option<(Instant, RedisError)>,
}

impl Primary {
    /// Nothing is connected yet.
    pub fn new(target: Target, timeouts: Timeouts) -> Self {
        Self(Arc::new(Inner {
            target,
            timeouts,
            slot: Mutex::default(),
        }))
    }

    /// Where it is looked for, for people.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// Runs a script.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Fault> {
        let (number, mut connection) = self.connection().await.map_err(Fault::Unreachable)?;
        let answer = script.invoke_async(&mut connection).await;
        self.judged(number, answer).await
    }

    /// Runs a command.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Fault> {
        let (number, mut connection) = self.connection().await.map_err(Fault::Unreachable)?;
        let answer = command.query_async(&mut connection).await;
        self.judged(number, answer).await
    }

    /// What is published in a channel from now on, over a connection of its own. It ends when that connection does; what
    /// was published meanwhile is lost, so that whoever subscribes again looks for himself.
    pub async fn subscribe(&self, channel: &str) -> Result<Messages, Fault> {
        let subscribing = async {
            let client = self.0.target.find(&self.config()).await?;
            let mut messages = client.get_async_pubsub().await?;
            messages.subscribe(channel).await?;
            Ok(Messages(messages.into_on_message()))
        };
        let subscribing = timeout(self.0.timeouts.connect, subscribing).await;
        subscribing
            .unwrap_or_else(|_| Err(too_late()))
            .map_err(Fault::Unreachable)
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut slot = self.0.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((slot.number, connection.clone()));
        }
        if let Some((_, error)) = slot.failed.as_ref().filter(|(at, _)| at.elapsed() < FAILED_FOR) {
            return Err(error.clone());
        }
        let connecting = timeout(self.0.timeouts.connect, self.connect()).await;
        match connecting.unwrap_or_else(|_| Err(too_late())) {
            Ok(connection) => {
                slot.number += 1;
                slot.failed = None;
                slot.connection = Some(connection.clone());
                Ok((slot.number, connection))
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = self.config();
        let client = self.0.target.find(&config).await?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.0.timeouts.connect / self.0.target.addresses()))
            .set_response_timeout(Some(self.0.timeouts.answer))
            .set_pipeline_buffer_size(WAITING)
    }

    /// Throws the connection away if the answer says that it is of no use.
    async fn judged<T>(&self, number: u64, answer: RedisResult<T>) -> Result<T, Fault> {
        let answer = answer.map_err(Fault::of_an_answer);
        if answer.as_ref().is_err_and(Fault::is_of_the_connection) {
            let mut slot = self.0.slot.lock().await;
            if slot.number == number {
                slot.connection = None;
            }
        }
        answer
    }
}

/// What is published in a channel.
pub struct Messages(PubSubStream);

impl Messages {
    /// The next one; none once the connection is gone.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.0.next().await?;
        Some(message.get_payload_bytes().to_vec())
    }
}

fn too_late() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}
