//! What waits, and in which order: pure.
//!
//! A send has its number from the moment in which its connection says it. One that was asked on this node has it there, too,
//! without being in this table; when it comes back because its conversation moved, that is its ticket, and it takes its place
//! before what its connection sent behind it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rookery_cluster::id::NodeId;
use tokio::time::Instant;

use crate::conversation::command::Command;
use crate::defaults;
use crate::id::{ConversationId, UserId};
use crate::interchange::{Ask, Change, Origin, Question};
use crate::session::table::Cell;

#[derive(Default)]
pub struct Table {
    pub waiting: HashMap<u64, Waiting>,
    /// The sends and changes among them, by whose they are.
    pub lines: HashMap<Line, BTreeSet<u64>>,
}

/// What keeps its order: a user's sends and changes of messages in a conversation.
pub type Line = (ConversationId, UserId);

pub fn line(ask: &Ask) -> Option<Line> {
    match &ask.question {
        Question::Do {
            command: Command::Send { from, .. },
            ..
        }
        | Question::Change(Change { from, .. }) => Some((ask.conversation, *from)),
        _ => None,
    }
}

/// One that waits.
pub struct Waiting {
    pub ask: Ask,
    /// Of a socket's send: the session it was said to.
    pub session: Option<Arc<Cell>>,
    /// Whom it was sent to and when; nobody while it waits for another owner.
    pub sent: Option<(NodeId, Instant)>,
    pub deadline: Instant,
    /// An earlier sending may have done what it asks.
    pub doubtful: bool,
}

/// What is to be done with one that waits.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Send,
    GiveUp,
}

impl Waiting {
    pub fn due(&self, now: Instant, owner: impl FnOnce() -> NodeId) -> Due {
        match &self.sent {
            _ if now >= self.deadline => Due::GiveUp,
            None => Due::Send,
            Some((node, at)) if now.duration_since(*at) >= defaults::ANSWER_PATIENCE && *node != owner() => Due::Send,
            // Its answer may be lost although its link is not.
            Some((_, at)) if now.duration_since(*at) >= defaults::BERTH_PATIENCE => Due::Send,
            Some(_) => Due::Nothing,
        }
    }

    /// What it asks, as it is to be sent now.
    pub fn question(&self) -> Question {
        match &self.ask.question {
            Question::Do { command, repeat } => Question::Do {
                command: command.clone(),
                repeat: *repeat || self.doubtful,
            },
            other => other.clone(),
        }
    }

    /// What its connection sent to the conversation before it and waits for, wherever that was asked.
    fn before(&self, now: Instant) -> Vec<u64> {
        match (&self.session, &self.ask.origin) {
            (
                Some(session),
                Origin::Socket {
                    connection,
                    send: Some(number),
                    ..
                },
            ) => session.sends_before(*connection, self.ask.conversation, *number, now),
            _ => Vec::new(),
        }
    }
}

impl Table {
    pub fn insert(&mut self, ticket: u64, waiting: Waiting) {
        if let Some(line) = line(&waiting.ask) {
            self.lines.entry(line).or_default().insert(ticket);
        }
        self.waiting.insert(ticket, waiting);
    }

    pub fn remove(&mut self, ticket: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        if let Some(line) = line(&waiting.ask)
            && let Some(tickets) = self.lines.get_mut(&line)
        {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.lines.remove(&line);
            }
        }
        Some(waiting)
    }

    /// Whether an earlier send of the same line waits for another node, or for any; or was asked on this node, and may be on
    /// its way into the log yet or come back.
    pub fn is_held_up(&self, ticket: u64, owner: &NodeId, now: Instant) -> bool {
        let Some(waiting) = self.waiting.get(&ticket) else {
            return false;
        };
        let tickets = line(&waiting.ask).and_then(|line| self.lines.get(&line));
        let mut earlier = tickets.into_iter().flat_map(|tickets| tickets.range(..ticket));
        let elsewhere = |earlier: &u64| {
            let sent = self.waiting.get(earlier).and_then(|waiting| waiting.sent.as_ref());
            sent.is_none_or(|(node, _)| node != owner)
        };
        earlier.any(elsewhere)
            || waiting
                .before(now)
                .iter()
                .any(|earlier| !self.waiting.contains_key(earlier))
    }

    /// Those of a line behind one of it that are to be sent, in order.
    pub fn unsent_behind(&self, line: &Line, ticket: u64) -> Vec<u64> {
        let tickets = self
            .lines
            .get(line)
            .into_iter()
            .flat_map(|line| line.range(ticket + 1..));
        let unsent = |ticket: &&u64| self.waiting.get(ticket).is_some_and(|waiting| waiting.sent.is_none());
        tickets.filter(unsent).copied().collect()
    }
}
