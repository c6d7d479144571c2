//! What a client has said to a session elsewhere: checked here as far as that is possible, kept until it is answered, so that
//! it can be asked of the next owner, and held back while there is none. Pure.

use std::collections::VecDeque;

use crate::defaults;
use crate::id::{ConversationId, UserId};
use crate::protocol::client::Request;
use crate::protocol::{ClientFrame, ErrorCode, Limits, Problem, ServerFrame};
use crate::time::Timestamp;
use crate::validate;

/// A client's requests.
pub struct Requests {
    /// Those that will be answered, oldest first.
    unanswered: VecDeque<Request>,
    /// Those that wait for an owner, oldest first; never one that is among the unanswered.
    waiting: VecDeque<Request>,
    /// Thousandths of sends that may be made now, and when they were counted.
    budget: (u64, Timestamp),
    /// Answers may come to what this does not know of.
    asked_before: bool,
    /// Whose presence the client watches: the next owner has to be told.
    watching: Vec<UserId>,
}

/// Why a request is not taken, with its id.
pub type Refused = (Option<String>, Problem);

impl Requests {
    pub fn new(limits: &Limits, asked_before: bool, watching: Vec<UserId>) -> Self {
        Self {
            unanswered: VecDeque::new(),
            waiting: VecDeque::new(),
            budget: (u64::from(limits.messages_burst) * 1000, Timestamp(0)),
            asked_before,
            watching,
        }
    }

    /// Takes a request, or says why not: so that a hostile client costs its session's node no more than it would here.
    pub fn admit(&mut self, user: UserId, request: &Request, limits: &Limits, now: Timestamp) -> Result<(), Refused> {
        let refused = |problem| (request.id.clone(), problem);
        match &request.frame {
            ClientFrame::Send(send) => {
                let refused = |problem| (Some(send.id.clone()), problem);
                validate::send(user, send, limits).map_err(refused)?;
                self.spend(limits, now).map_err(refused)?;
            }
            ClientFrame::Edit { body, .. } => validate::edit(body, limits).map_err(refused)?,
            ClientFrame::React { emoji, .. } => validate::emoji(emoji).map_err(refused)?,
            ClientFrame::Watch { users } if users.len() > limits.watch_users => {
                return Err(refused(Problem::too_large("users", limits.watch_users)));
            }
            _ => {}
        }
        if is_answered(&request.frame) {
            if self.unanswered.len() >= limits.unanswered_sends as usize {
                let problem = Problem::new(ErrorCode::RateLimited, "too many requests are unanswered");
                return Err((id_of(request), problem.retry_after(100)));
            }
            self.unanswered.push_back(request.clone());
        }
        if let ClientFrame::Watch { users } = &request.frame {
            self.watching.clone_from(users);
        }
        Ok(())
    }

    fn spend(&mut self, limits: &Limits, now: Timestamp) -> Result<(), Problem> {
        let full = u64::from(limits.messages_burst) * 1000;
        let elapsed = (now.0 - self.budget.1.0).max(0) as u64;
        let tokens = elapsed
            .saturating_mul(u64::from(limits.messages_per_second))
            .saturating_add(self.budget.0)
            .min(full);
        self.budget = (tokens, now);
        if tokens < 1000 {
            let wait = (1000 - tokens).div_ceil(u64::from(limits.messages_per_second.max(1)));
            return Err(Problem::new(ErrorCode::RateLimited, "more messages than a user may send").retry_after(wait));
        }
        self.budget.0 -= 1000;
        Ok(())
    }

    /// Holds a request back until there is an owner; says why not when too many wait.
    pub fn wait(&mut self, request: Request) -> Option<Refused> {
        if is_answered(&request.frame) {
            // It is among the unanswered, all of which are asked of the next owner.
            return None;
        }
        if self.waiting.len() >= defaults::BERTH_FRAMES {
            return Some((
                request.id,
                Problem::unavailable("the session is moving to another node"),
            ));
        }
        self.waiting.push_back(request);
        None
    }

    /// What a new owner is asked: all that is unanswered, then what waited.
    pub fn due(&mut self) -> Vec<Request> {
        let waiting = std::mem::take(&mut self.waiting);
        let watch = (!self.watching.is_empty()).then(|| Request {
            id: None,
            frame: ClientFrame::Watch {
                users: self.watching.clone(),
            },
        });
        watch
            .into_iter()
            .chain(self.unanswered.iter().cloned())
            .chain(waiting)
            .collect()
    }

    /// The unanswered sends to a conversation, oldest first.
    pub fn sends_to(&self, user: UserId, conversation: ConversationId) -> Vec<Request> {
        let is_one = |request: &&Request| matches!(&request.frame, ClientFrame::Send(send) if send.to.conversation(user) == conversation);
        self.unanswered.iter().filter(is_one).cloned().collect()
    }

    /// An answer came; false when the client has had it.
    pub fn answered(&mut self, frame: &ServerFrame) -> bool {
        let id = match frame {
            ServerFrame::Sent { id, .. } => Some(id),
            ServerFrame::Ok { id, .. } | ServerFrame::History { id, .. } | ServerFrame::Error { id, .. } => id.as_ref(),
            _ => return true,
        };
        let of_kind = |request: &Request| match frame {
            ServerFrame::Sent { .. } => matches!(request.frame, ClientFrame::Send(_)),
            ServerFrame::History { .. } => matches!(request.frame, ClientFrame::History { .. }),
            ServerFrame::Ok { .. } => !matches!(request.frame, ClientFrame::Send(_) | ClientFrame::History { .. }),
            _ => true,
        };
        let mut unanswered = self.unanswered.iter();
        let found = unanswered.position(|request| id_of(request).as_ref() == id && of_kind(request));
        match found {
            Some(index) => {
                self.unanswered.remove(index);
                true
            }
            // What has no id answers a watch that was not the client's own.
            None => id.is_some() && (self.asked_before || matches!(frame, ServerFrame::Error { .. })),
        }
    }
}

fn id_of(request: &Request) -> Option<String> {
    match &request.frame {
        ClientFrame::Send(send) => Some(send.id.clone()),
        _ => request.id.clone(),
    }
}

/// Whether a frame has an answer when all is well.
fn is_answered(frame: &ClientFrame) -> bool {
    match frame {
        ClientFrame::Send(_)
        | ClientFrame::History { .. }
        | ClientFrame::Edit { .. }
        | ClientFrame::Delete { .. }
        | ClientFrame::React { .. }
        | ClientFrame::Watch { .. } => true,
        ClientFrame::Ack { .. }
        | ClientFrame::Read { .. }
        | ClientFrame::Typing { .. }
        | ClientFrame::Reauth { .. }
        | ClientFrame::Ping => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::protocol::{Send, Target};

    fn user() -> UserId {
        UserId(Uuid::from_u128(1))
    }

    fn conversation() -> ConversationId {
        ConversationId(Uuid::from_u128(2))
    }

    fn send(id: &str) -> Request {
        let send = Send {
            id: id.into(),
            to: Target::Conversation(conversation()),
            body: Some("text".into()),
            data: None,
            attachments: Vec::new(),
            reply_to: None,
            mentions: Vec::new(),
        };
        Request {
            id: Some(id.into()),
            frame: ClientFrame::Send(Box::new(send)),
        }
    }

    fn sent(id: &str) -> ServerFrame {
        ServerFrame::Sent {
            id: id.into(),
            conversation: conversation(),
            seq: 1,
            at: Timestamp(0),
            duplicate: false,
        }
    }

    fn ack() -> Request {
        let (conversation, seq) = (conversation(), 1);
        Request {
            id: None,
            frame: ClientFrame::Ack { conversation, seq },
        }
    }

    fn admit(requests: &mut Requests, request: &Request) -> Result<(), ErrorCode> {
        let admitted = requests.admit(user(), request, &Limits::default(), Timestamp(1_000_000));
        admitted.map_err(|(_, problem)| problem.code)
    }

    #[test]
    fn what_is_unanswered_is_asked_again_and_answered_once() {
        let mut requests = Requests::new(&Limits::default(), false, Vec::new());
        for request in [send("a"), send("b"), ack()] {
            admit(&mut requests, &request).unwrap();
        }
        assert!(requests.answered(&sent("a")));
        requests.wait(ack());
        requests.wait(send("b"));
        assert_eq!(requests.due(), [send("b"), ack()]);
        assert_eq!(requests.due(), [send("b")], "until it is answered");
        assert!(requests.answered(&sent("b")) && !requests.answered(&sent("b")));
        assert!(Requests::new(&Limits::default(), true, Vec::new()).answered(&sent("of another time")));
    }

    #[test]
    fn a_hostile_client_is_refused_here() {
        let mut requests = Requests::new(&Limits::default(), false, Vec::new());
        let mut refused = 0;
        for number in 0..100 {
            let id = number.to_string();
            refused += u32::from(admit(&mut requests, &send(&id)) == Err(ErrorCode::RateLimited));
            requests.answered(&sent(&id));
        }
        assert_eq!(refused, 60, "beyond the burst");
        let mut large = send("large");
        if let ClientFrame::Send(send) = &mut large.frame {
            send.body = Some("x".repeat(100_000));
        }
        assert_eq!(admit(&mut requests, &large), Err(ErrorCode::TooLarge));
        for _ in 0..defaults::BERTH_FRAMES {
            assert!(requests.wait(ack()).is_none());
        }
        assert!(requests.wait(ack()).is_some());
    }
}
