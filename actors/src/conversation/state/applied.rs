//! What a record came to: for whoever asked, for the store, and for others.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::id::UserId;
use crate::ports::chats::{Entry, Step};
use crate::time::Timestamp;

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Sent {
        seq: u64,
        at: Timestamp,
        duplicate: bool,
    },
    Updated {
        seq: u64,
    },
    /// The profile or the members changed, or were so already.
    Settled,
}

/// What others have to learn.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Entry(Arc<Entry>),
    Joined(Vec<UserId>),
    Left(Vec<UserId>),
    /// Name, photo, description or roles.
    Changed,
    /// The group is gone; these were its members.
    Deleted(Vec<UserId>),
}

/// The result of one record.
#[derive(Debug, PartialEq)]
pub struct Applied {
    pub outcome: Result<Outcome, Refusal>,
    pub steps: Vec<Step>,
    pub events: Vec<Event>,
}

impl Applied {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self {
            outcome: Err(refusal),
            steps: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn settled() -> Self {
        Self::done(Outcome::Settled)
    }

    pub(super) fn done(outcome: Outcome) -> Self {
        Self {
            outcome: Ok(outcome),
            steps: Vec::new(),
            events: Vec::new(),
        }
    }

    /// An entry takes its place.
    pub(super) fn push(&mut self, entry: Entry) {
        let entry = Arc::new(entry);
        self.steps.push(Step::Entry(Arc::clone(&entry)));
        self.events.push(Event::Entry(entry));
    }

    /// What comes after it.
    pub(super) fn merge(&mut self, other: Self) {
        self.steps.extend(other.steps);
        for event in other.events {
            match (&event, self.events.last_mut()) {
                (Event::Changed, Some(Event::Changed)) => {}
                (Event::Joined(more), Some(Event::Joined(users))) => users.extend(more),
                _ => self.events.push(event),
            }
        }
    }
}
