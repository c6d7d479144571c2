//! Loads inboxes, many users with one read: a reconnect storm must not become a database storm.

use std::sync::Weak;

use tokio::sync::{mpsc, oneshot};

use crate::defaults;
use crate::hub::Hub;
use crate::id::UserId;
use crate::ports::chats::Inbox;
use crate::ports::{PortError, PortResult};

type Wanted = (UserId, oneshot::Sender<PortResult<Inbox>>);

/// Inboxes that may be wanted at once; beyond it whoever wants one waits for room.
const WANTED: usize = 8_192;

/// Where inboxes are asked for.
pub struct Loader {
    wanted: mpsc::Sender<Wanted>,
}

impl Loader {
    pub fn new() -> (Self, mpsc::Receiver<Wanted>) {
        let (wanted, queue) = mpsc::channel(WANTED);
        (Self { wanted }, queue)
    }

    /// The inbox of a user, read together with whatever others are wanted now.
    pub async fn inbox(&self, user: UserId) -> PortResult<Inbox> {
        let stopped = || PortError::Unavailable("the node is stopping".into());
        let (answer, answered) = oneshot::channel();
        self.wanted.send((user, answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Reads what is wanted, until the core is gone.
pub async fn run(core: Weak<Hub>, mut queue: mpsc::Receiver<Wanted>) {
    let mut wanted = Vec::new();
    while queue.recv_many(&mut wanted, defaults::INBOXES_A_READ).await > 0 {
        let Some(core) = core.upgrade() else { return };
        let users: Vec<_> = wanted.iter().map(|(user, _)| *user).collect();
        match core.chats.inboxes(&users).await {
            Ok(inboxes) => {
                for ((_, answer), inbox) in wanted.drain(..).zip(inboxes) {
                    answer.send(Ok(inbox)).ok();
                }
            }
            Err(error) => {
                for (_, answer) in wanted.drain(..) {
                    answer.send(Err(error.clone())).ok();
                }
            }
        }
    }
}
