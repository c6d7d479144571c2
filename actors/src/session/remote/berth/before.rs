//! What a socket sent while its session was on its own node, and what is unanswered of it: later sends to the same
//! conversations wait, for they go by another node now and could overtake.

use std::sync::Arc;

use tokio::time::Instant;

use crate::defaults;
use crate::id::{ConnectionId, ConversationId};
use crate::protocol::client::Request;
use crate::protocol::{ClientFrame, ServerFrame};
use crate::session::table::Cell;

/// The sends of before.
pub struct Before {
    /// The session as it was, which the socket's own way into it keeps, too. Sends may still be on their way into it.
    cell: Arc<Cell>,
    connection: ConnectionId,
    /// By then all are answered; what is not was lost with its conversation's actor.
    until: Instant,
}

impl Before {
    pub fn new(cell: Arc<Cell>, connection: ConnectionId) -> Self {
        Self {
            cell,
            connection,
            until: Instant::now() + defaults::CALL_DEADLINE,
        }
    }

    /// Whether a request has to wait behind one of before.
    pub fn holds_back(&self, request: &Request) -> bool {
        let ClientFrame::Send(send) = &request.frame else {
            return false;
        };
        let conversation = send.to.conversation(self.cell.user);
        self.cell.unanswered(self.connection).contains(&conversation)
    }

    /// An answer came: the conversation to which later sends may go on, if it was waited for.
    pub fn answered(&self, frame: &ServerFrame) -> Option<ConversationId> {
        let (ServerFrame::Sent { id, .. } | ServerFrame::Error { id: Some(id), .. }) = frame else {
            return None;
        };
        let conversation = self.cell.finish_send(self.connection, id)?;
        let waits = self.cell.unanswered(self.connection).contains(&conversation);
        (!waits).then_some(conversation)
    }

    /// Conversations that nobody is to wait for any longer.
    pub fn overdue(&self, now: Instant) -> Vec<ConversationId> {
        if now < self.until {
            return Vec::new();
        }
        self.cell.forget_sends(self.connection)
    }

    /// Whether something is waited for.
    pub fn is_waited_for(&self) -> bool {
        !self.cell.unanswered(self.connection).is_empty()
    }
}
