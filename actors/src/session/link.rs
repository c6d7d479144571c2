//! A socket's way into its session on this node: every frame of a client comes in here. Nothing blocks; what has to wait is a task or an ask.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::actor::Msg;
use super::idempotency;
use super::remote::window;
use super::state::Phase;
use super::table::{Cell, Unanswered};
use crate::conversation::command::Command;
use crate::defaults;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConnectionId, ConversationId, DeviceId, UserId};
use crate::interchange::{Ask, Change, Origin, Question};
use crate::outlet::{Outlet, Urgency};
use crate::ports::chats::StoredChange;
use crate::protocol::client::Request;
use crate::protocol::{ClientFrame, ErrorCode, Problem, Send, ServerFrame};
use crate::time::Timestamp;
use crate::validate;

/// A socket's way into its session.
pub struct Link {
    pub user: UserId,
    pub device: DeviceId,
    core: Arc<Hub>,
    cell: Arc<Cell>,
    connection: ConnectionId,
    /// Weak, because the connection keeps its link.
    outlet: Weak<dyn Outlet>,
    /// So many sends of this connection may yet be repeats of what was left unanswered before it came to this session.
    repeats: AtomicU32,
}

impl Link {
    /// Of a new connection: its first sends may repeat what an earlier one of its user left unanswered.
    pub(crate) fn new(core: Arc<Hub>, cell: Arc<Cell>, device: DeviceId, outlet: &Arc<dyn Outlet>) -> Self {
        let repeats = core.limits.unanswered_sends;
        Self::with_repeats(repeats, core, cell, device, outlet)
    }

    /// Of a connection whose session came from another node, where it may have been refused any of what it sends from now on.
    pub(crate) fn resumed(core: Arc<Hub>, cell: Arc<Cell>, device: DeviceId, outlet: &Arc<dyn Outlet>) -> Self {
        Self::with_repeats(defaults::REPEATS_AFTER_MOVE, core, cell, device, outlet)
    }

    fn with_repeats(repeats: u32, core: Arc<Hub>, cell: Arc<Cell>, device: DeviceId, outlet: &Arc<dyn Outlet>) -> Self {
        let connection = outlet.id();
        Self {
            user: cell.user,
            device,
            core,
            cell,
            connection,
            outlet: Arc::downgrade(outlet),
            repeats: AtomicU32::new(repeats),
        }
    }

    /// Takes one frame; answers go to the outlet. Never blocks. `ping` and `reauth` are the gateway's own and never come here.
    pub fn frame(&self, request: Request) {
        let Request { id, frame } = request;
        let done = match frame {
            ClientFrame::Send(send) => return self.send(*send),
            ClientFrame::Ack { conversation, seq } => self.ack(conversation, seq, id.clone()),
            ClientFrame::Read { conversation, seq } => self.read(conversation, seq, id.clone()),
            ClientFrame::Typing { conversation } => self.typing(conversation, id.clone()),
            ClientFrame::History {
                conversation,
                before,
                after,
                limit,
            } => self.history(id.clone(), conversation, before, after, limit),
            ClientFrame::Edit {
                conversation,
                seq,
                body,
            } => validate::edit(&body, &self.core.limits)
                .map(|()| self.change(id.clone(), conversation, seq, StoredChange::Edit { body: Some(body) })),
            ClientFrame::Delete { conversation, seq } => {
                self.change(id.clone(), conversation, seq, StoredChange::Delete);
                Ok(())
            }
            ClientFrame::React {
                conversation,
                seq,
                emoji,
                remove,
            } => validate::emoji(&emoji)
                .map(|()| self.change(id.clone(), conversation, seq, StoredChange::React { emoji, remove })),
            ClientFrame::Watch { users } => self.watch(id.clone(), users),
            ClientFrame::Reauth { .. } | ClientFrame::Ping => Ok(()),
        };
        if let Err(problem) = done {
            self.refuse(id, problem);
        }
    }

    /// Whether the session is another node's by now.
    pub fn is_gone(&self) -> bool {
        self.cell.is_gone()
    }

    /// The outbox is empty again after it was full: the session goes on catching this connection up.
    pub fn drained(&self) {
        let waits = self
            .cell
            .state()
            .connection(self.connection)
            .is_some_and(|attached| matches!(&attached.phase, Phase::CatchingUp(catch_up) if catch_up.waiting));
        if waits {
            self.core.tell_session(&self.cell, Msg::Replay(self.connection));
        }
    }

    /// The socket is gone.
    pub fn detach(&self) {
        let now = Timestamp::now();
        let vacant = {
            let mut state = self.cell.state();
            let before = state.attached.len();
            // This attachment of it: the same socket may be attached anew by now.
            state
                .attached
                .retain(|attached| !std::ptr::addr_eq(Arc::as_ptr(&attached.outlet), self.outlet.as_ptr()));
            before > 0 && state.attached.is_empty()
        };
        self.core.presence.forget(self.connection);
        self.core.cursors.seen(self.user, self.device, now);
        if vacant {
            self.core.presence_changed(&self.cell, false, now);
        }
        if self.cell.state().attached.is_empty() {
            self.core.sessions.vacated(Arc::clone(&self.cell), now);
        }
    }

    fn push(&self, frame: ServerFrame) {
        push(&self.outlet, frame);
    }

    fn refuse(&self, id: Option<String>, problem: Problem) {
        self.push(ServerFrame::error(id, problem));
    }

    fn origin(&self, request: Option<String>, send: Option<u64>) -> Origin {
        Origin::Socket {
            node: self.core.node.clone(),
            user: self.user,
            connection: self.connection,
            request,
            send,
        }
    }

    fn send(&self, send: Send) {
        let (id, number) = (send.id.clone(), self.core.outstanding.number());
        let admitted = self.admit(&send).and_then(|(conversation, command)| {
            let most = self.core.limits.unanswered_sends;
            let unanswered = Unanswered {
                connection: self.connection,
                conversation,
                id: id.as_str().into(),
                number,
                since: Instant::now(),
            };
            if self.cell.start_send(most, unanswered) {
                Ok((conversation, command))
            } else {
                Err(Problem::new(ErrorCode::RateLimited, "too many sends are unanswered").retry_after(100))
            }
        });
        let (conversation, command) = match admitted {
            Ok(admitted) => admitted,
            Err(problem) => {
                if problem.is_for_now() {
                    self.cell.doubt();
                }
                return self.refuse(Some(id), problem);
            }
        };
        let question = Question::Do {
            command,
            repeat: self.may_repeat(),
        };
        let ask = Ask {
            conversation,
            origin: self.origin(Some(id), Some(number)),
            question,
        };
        self.core.ask(ask);
    }

    fn admit(&self, send: &Send) -> Result<(ConversationId, Command), Problem> {
        let (conversation, command) = validate::send(self.user, send, &self.core.limits)?;
        self.cell
            .admit(&self.core.limits, Timestamp::now())
            .map_err(|ms| Problem::new(ErrorCode::RateLimited, "more messages than a user may send").retry_after(ms))?;
        Ok((conversation, command))
    }

    /// A connection's first sends may repeat what an earlier connection left unanswered. Once one is to be sent again, its place
    /// among them says nothing any more, and any may.
    fn may_repeat(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        let early = self
            .repeats
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok();
        early || self.cell.is_doubtful()
    }

    fn ack(&self, conversation: ConversationId, seq: u64, id: Option<String>) -> Result<(), Problem> {
        let known = self.cell.state().ack(self.device, conversation, seq);
        self.moved(known, conversation, id);
        Ok(())
    }

    fn read(&self, conversation: ConversationId, seq: u64, id: Option<String>) -> Result<(), Problem> {
        let known = self.cell.state().read(conversation, seq);
        self.moved(known, conversation, id);
        Ok(())
    }

    fn moved(&self, known: bool, conversation: ConversationId, id: Option<String>) {
        if known {
            self.core.cursors.mark(&self.cell)
        } else {
            self.deny(conversation, id)
        }
    }

    /// An outsider hears `not_member` if it once was one, else `not_found`.
    fn deny(&self, conversation: ConversationId, id: Option<String>) {
        let (core, user, origin) = (Arc::clone(&self.core), self.user, self.origin(id, None));
        let cell = Arc::clone(&self.cell);
        self.core.runtime.spawn(async move {
            if core.learn(&cell, conversation).await.unwrap_or_default() {
                return;
            }
            let problem = core.outsider(conversation, user).await;
            core.answer(origin, Err(problem));
        });
    }

    fn typing(&self, conversation: ConversationId, id: Option<String>) -> Result<(), Problem> {
        let passes = {
            let mut state = self.cell.state();
            let known = state.standing(conversation).is_some();
            known.then(|| state.types(conversation, Timestamp::now(), defaults::TYPING_INTERVAL_MS))
        };
        match passes {
            None => self.deny(conversation, id),
            Some(false) => {}
            Some(true) => {
                let question = Question::Typing { user: self.user };
                self.core.ask(Ask {
                    conversation,
                    origin: Origin::Nobody,
                    question,
                });
            }
        }
        Ok(())
    }

    fn history(
        &self,
        id: Option<String>,
        conversation: ConversationId,
        before: Option<u64>,
        after: Option<u64>,
        limit: Option<u32>,
    ) -> Result<(), Problem> {
        let limit = validate::history_limit(limit);
        let span = validate::span(before, after)?;
        let (core, user, outlet) = (Arc::clone(&self.core), self.user, Weak::clone(&self.outlet));
        let far = outlet.upgrade().is_some_and(|outlet| outlet.gateway().is_some());
        self.core.runtime.spawn(async move {
            let frame = match core.history(user, conversation, span, limit).await {
                Ok(history) if far => window::page(id, history),
                Ok(history) => ServerFrame::History {
                    id,
                    messages: history.items,
                    more: history.more,
                },
                Err(problem) => ServerFrame::error(id, problem),
            };
            push(&outlet, frame);
        });
        Ok(())
    }

    fn change(&self, id: Option<String>, conversation: ConversationId, of: u64, change: StoredChange) {
        let key = |id: &str| idempotency::key(self.connection, id, conversation, of, &change);
        let question = Question::Change(Change {
            from: self.user,
            of,
            idempotency: id.as_deref().map(key),
            change,
        });
        self.core.ask(Ask {
            conversation,
            origin: self.origin(id, None),
            question,
        });
    }

    fn watch(&self, id: Option<String>, users: Vec<UserId>) -> Result<(), Problem> {
        if users.len() > self.core.limits.watch_users {
            return Err(Problem::too_large("users", self.core.limits.watch_users));
        }
        let (core, cell, outlet) = (
            Arc::clone(&self.core),
            Arc::clone(&self.cell),
            Weak::clone(&self.outlet),
        );
        let connection = self.connection;
        self.core.runtime.spawn(async move {
            let frame = match core.watch(&cell, connection, users).await {
                Ok(()) => ServerFrame::Ok { id, seq: None },
                Err(problem) => ServerFrame::error(id, problem),
            };
            push(&outlet, frame);
        });
        Ok(())
    }
}

/// Answers a connection that is still there.
fn push(outlet: &Weak<dyn Outlet>, frame: ServerFrame) {
    if let Some(outlet) = outlet.upgrade() {
        outlet.push(&Frames::one(frame), Urgency::Answer);
    }
}

/// An actor answered something else than what it was asked: a fault of ours.
pub fn answered_otherwise() -> Problem {
    Problem::new(ErrorCode::Internal, "an answer of another kind")
}
