//! The audit that is always on: nothing lost, duplicated, reordered, gapped or made up.
//!
//! Two halves. While messages flow, each engine keeps a [`Ledger`] (which message each seq of a conversation was seen to be, by
//! the first who saw it) and each client a [`Cursor`] per conversation (up to where it has everything): every delivery is
//! held against both, in constant time and without keeping the message. When the run has settled, the [`Book`] holds the
//! engines' evidence against each other and against the histories fetched over HTTP.
//!
//! What must hold: a conversation's seqs run from 1 without a hole; every seq is the same message for everyone; every
//! message was one we sent, in that conversation, once; every answered send is there at the answered seq; an unanswered one is
//! there at most once; a refused one isn't; a client that is online at the end has everything but what a `gap` named.

mod book;
mod cursor;
mod history;
mod ledger;

pub use book::{Book, Entry, Verdict};
pub use cursor::{Cursor, Step};
pub use history::fetch;
pub use ledger::{Ledger, Noted, UPDATE, described};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What kind of promise was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Answered `sent` (or delivered), and not there.
    Lost,
    /// One message under two seqs, or the same seq twice on one connection.
    Duplicated,
    /// Two observers saw different messages under one seq, or a seq came after a higher one.
    Reordered,
    /// A seq that nobody explains is missing.
    Gapped,
    /// A message nobody sent, or delivered to somebody it wasn't for.
    Phantom,
    /// A message came back with another text.
    Corrupted,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Gapped => "gapped",
            Self::Phantom => "phantom",
            Self::Corrupted => "corrupted",
        }
    }
}

/// One broken promise, with what is needed to look into it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Violation {
    pub kind: Kind,
    pub conversation: String,
    pub seq: u64,
    /// The client message id, where one is known.
    pub id: String,
    /// Who saw it.
    pub who: String,
    pub detail: String,
}

/// Violations found so far: the first are kept as evidence, all are counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub kept: Vec<Violation>,
    pub by_kind: BTreeMap<Kind, u64>,
}

/// As many violations are kept as one can read.
const KEPT: usize = 50;

impl Findings {
    pub fn add(&mut self, violation: Violation) {
        *self.by_kind.entry(violation.kind).or_default() += 1;
        self.keep(violation);
    }

    pub fn join(&mut self, other: Self) {
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        other.kept.into_iter().for_each(|violation| self.keep(violation));
    }

    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    fn keep(&mut self, violation: Violation) {
        if self.kept.len() < KEPT {
            self.kept.push(violation);
        }
    }
}
