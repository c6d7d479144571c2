//! Questions of this node's tasks to conversations, and the answers that come back.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConversationId, Numbers};
use crate::interchange::{Ask, Origin, Question, Reply};
use crate::protocol::{ErrorCode, Problem};

type Waiter = oneshot::Sender<Result<Reply, Problem>>;

/// Calls that wait for their answer, by number.
#[derive(Default)]
pub struct Calls {
    numbers: Numbers,
    waiting: Mutex<HashMap<u64, Waiter>>,
}

impl Calls {
    /// An answer came. One that nobody waits for any more is dropped.
    pub fn answered(&self, call: u64, reply: Result<Reply, Problem>) {
        let waiter = self.waiting.lock().remove(&call);
        if let Some(waiter) = waiter {
            waiter.send(reply).ok();
        }
    }
}

impl Hub {
    /// Asks a conversation's owner and waits for the answer; `timeout` when none comes in time.
    pub async fn call(self: &Arc<Self>, conversation: ConversationId, question: Question) -> Result<Reply, Problem> {
        let call = self.calls.numbers.take();
        let (waiter, answer) = oneshot::channel();
        self.calls.waiting.lock().insert(call, waiter);
        let origin = Origin::Call {
            node: self.node.clone(),
            call,
        };
        self.ask(Ask {
            conversation,
            origin,
            question,
        });
        match tokio::time::timeout(defaults::CALL_DEADLINE, answer).await {
            Ok(Ok(reply)) => reply,
            _ => {
                self.calls.waiting.lock().remove(&call);
                Err(no_answer())
            }
        }
    }
}

/// No answer came in time: a client asks again, with the same id.
pub fn no_answer() -> Problem {
    let detail = "no answer in time; the outcome is unknown, retry with the same id";
    Problem::new(ErrorCode::Timeout, detail)
}
