//! The final reckoning: what the engines saw, what the senders were answered, and what the server says happened.

use std::collections::BTreeMap;

use rookery_actors::id::ConversationId;
use serde::Serialize;

use super::ledger::{Ledger, Noted, UPDATE, described};
use super::{Findings, Kind, Violation};
use crate::client::payload::Key;
use crate::plan::{Evidence, REFUSED, Reached, UNANSWERED};

/// One message of a history as the server tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub seq: u64,
    pub id: String,
    /// The body is the one that was sent.
    pub intact: bool,
}

/// What one client did with one of its messages.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    conversation: u32,
    /// As answered, or [`UNANSWERED`], or [`REFUSED`].
    answered: u32,
    /// Where it was found in the end; 0 when nowhere.
    found: u32,
}

/// All evidence of a run.
pub struct Book {
    run: u32,
    names: Vec<ConversationId>,
    /// By client number.
    attempts: Vec<Vec<Attempt>>,
    /// By conversation number.
    ledgers: Vec<Ledger>,
    receivers: Vec<(u32, Vec<Reached>)>,
    findings: Findings,
    verdict: Verdict,
}

/// What the audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    pub conversations: u64,
    /// Conversations whose history was read in full over HTTP.
    pub histories_read: u64,
    pub messages_read: u64,
    /// Messages that engines saw or that histories told of.
    pub messages: u64,
    pub answered: u64,
    pub refused: u64,
    /// Sends without an answer that turned out to be there, and not to be there: both are allowed.
    pub unanswered_kept: u64,
    pub unanswered_gone: u64,
    /// Pairs of client and conversation that were complete at the end.
    pub receivers: u64,
    pub by_kind: BTreeMap<Kind, u64>,
    pub violations: u64,
    pub evidence: Vec<Violation>,
}

impl Book {
    /// Joins the evidence of all engines. `names` are the conversations by number.
    pub fn new(run: u32, names: Vec<ConversationId>, evidence: Vec<Evidence>) -> Self {
        let mut book = Self {
            run,
            attempts: Vec::new(),
            ledgers: vec![Ledger::default(); names.len()],
            receivers: Vec::new(),
            findings: Findings::default(),
            verdict: Verdict::default(),
            names,
        };
        for evidence in evidence {
            book.findings.join(evidence.findings);
            for (conversation, seen) in evidence.ledgers {
                book.merge(conversation, &seen);
            }
            for client in evidence.clients {
                let place = client.number as usize;
                if book.attempts.len() <= place {
                    book.attempts.resize(place + 1, Vec::new());
                }
                let attempt = |(conversation, answered)| Attempt {
                    conversation,
                    answered,
                    found: 0,
                };
                book.attempts[place] = client.attempts.into_iter().map(attempt).collect();
                if client.complete {
                    book.receivers.push((client.number, client.reached));
                }
            }
        }
        book
    }

    /// The highest seq anybody saw in a conversation.
    pub fn head(&self, conversation: u32) -> u32 {
        self.ledgers[conversation as usize].head()
    }

    fn merge(&mut self, conversation: u32, seen: &[u64]) {
        for (key, seq) in seen.iter().zip(1u32..).filter(|(key, _)| **key != 0) {
            if let Noted::Differs { other } = self.ledgers[conversation as usize].note(seq, *key) {
                let detail = format!("one engine saw {}, another {}", described(other), described(*key));
                self.found(Kind::Reordered, conversation, seq, *key, "two engines", detail);
            }
        }
    }

    /// Holds a conversation's whole history, oldest first, against what was seen.
    pub fn history(&mut self, conversation: u32, entries: &[Entry]) {
        self.verdict.histories_read += 1;
        self.verdict.messages_read += entries.len() as u64;
        let mut expected = 1u64;
        for entry in entries {
            if entry.seq < expected || entry.seq > u64::from(u32::MAX) {
                let detail = format!("history goes from {} to {}", expected - 1, entry.seq);
                let (id, who) = (entry.id.clone(), "history".into());
                self.told(Kind::Reordered, conversation, entry.seq, id, who, detail);
                continue;
            }
            self.hole(conversation, expected as u32, entry.seq as u32);
            expected = entry.seq + 1;
            self.entry(conversation, entry);
        }
        self.hole(conversation, expected as u32, self.head(conversation) + 1);
    }

    /// Seqs that a history leaves out must have been updates.
    fn hole(&mut self, conversation: u32, from: u32, to: u32) {
        for seq in from..to {
            match self.ledgers[conversation as usize].seen().get(seq as usize - 1) {
                Some(&UPDATE) => {}
                None | Some(0) => {
                    let detail = "history has a hole here, and nobody saw what it was".into();
                    self.found(Kind::Gapped, conversation, seq, 0, "history", detail);
                }
                Some(&key) => {
                    let detail = format!("{} was seen here and is not in the history", described(key));
                    self.found(Kind::Lost, conversation, seq, key, "history", detail);
                }
            }
        }
    }

    fn entry(&mut self, conversation: u32, entry: &Entry) {
        let seq = entry.seq as u32;
        let Some(key) = Key::read(self.run, entry.id.as_bytes()) else {
            let detail = "history has a message that this run did not send".into();
            let (id, who) = (entry.id.clone(), "history".into());
            return self.told(Kind::Phantom, conversation, entry.seq, id, who, detail);
        };
        if !entry.intact {
            let detail = "the body in the history is not the one sent".into();
            self.found(Kind::Corrupted, conversation, seq, key.0, "history", detail);
        }
        if let Noted::Differs { other } = self.ledgers[conversation as usize].note(seq, key.0) {
            let detail = format!("history has {key:?}, clients saw {}", described(other));
            self.found(Kind::Reordered, conversation, seq, key.0, "history", detail);
        }
    }

    /// Reckons up: every message was sent once by somebody, every answer holds, everybody has everything.
    pub fn close(mut self) -> Verdict {
        self.place_messages();
        self.check_answers();
        self.check_receivers();
        Verdict {
            conversations: self.names.len() as u64,
            violations: self.findings.total(),
            by_kind: self.findings.by_kind,
            evidence: self.findings.kept,
            ..self.verdict
        }
    }

    fn place_messages(&mut self) {
        for conversation in 0..self.ledgers.len() as u32 {
            let seen = self.ledgers[conversation as usize].seen().to_vec();
            for (entry, seq) in seen.into_iter().zip(1u32..) {
                if entry != 0 && entry != UPDATE {
                    self.verdict.messages += 1;
                    self.place(conversation, seq, Key(entry));
                }
            }
        }
    }

    fn place(&mut self, conversation: u32, seq: u32, key: Key) {
        let row = self.attempts.get_mut(key.sender() as usize);
        let attempt = row.and_then(|row| row.get_mut(key.n() as usize));
        let broken = match attempt {
            None => Some((Kind::Phantom, "nobody sent this message".to_owned())),
            Some(attempt) if attempt.conversation != conversation => Some((
                Kind::Phantom,
                format!("it was sent to conversation number {}", attempt.conversation),
            )),
            Some(attempt) if attempt.answered == REFUSED => {
                Some((Kind::Phantom, "its sender was told that it was refused".into()))
            }
            Some(attempt) if attempt.found != 0 => {
                Some((Kind::Duplicated, format!("it is also under seq {}", attempt.found)))
            }
            Some(attempt) => {
                attempt.found = seq;
                None
            }
        };
        if let Some((kind, detail)) = broken {
            self.found(kind, conversation, seq, key.0, "all", detail);
        }
    }

    fn check_answers(&mut self) {
        let attempts = std::mem::take(&mut self.attempts);
        for (sender, row) in attempts.iter().enumerate() {
            for (n, attempt) in row.iter().enumerate() {
                match attempt.answered {
                    REFUSED => self.verdict.refused += 1,
                    UNANSWERED if attempt.found == 0 => self.verdict.unanswered_gone += 1,
                    UNANSWERED => self.verdict.unanswered_kept += 1,
                    seq if seq == attempt.found => self.verdict.answered += 1,
                    seq => {
                        self.verdict.answered += 1;
                        let detail = match attempt.found {
                            0 => "answered `sent` with this seq and nowhere to be found".into(),
                            found => format!("answered `sent` with this seq, found under {found}"),
                        };
                        let key = Key::new(sender as u32, n as u32);
                        let who = format!("client {sender}");
                        self.found(Kind::Lost, attempt.conversation, seq, key.0, &who, detail);
                    }
                }
            }
        }
    }

    fn check_receivers(&mut self) {
        for (client, reached) in std::mem::take(&mut self.receivers) {
            for (conversation, done, missing) in reached {
                self.verdict.receivers += 1;
                let head = self.head(conversation);
                let who = format!("client {client}");
                let at = |seq: u32| {
                    self.ledgers[conversation as usize]
                        .seen()
                        .get(seq as usize - 1)
                        .copied()
                };
                if let Some(seq) = missing {
                    let key = at(seq).unwrap_or(0);
                    let detail = format!("has what comes after, but not this: {}", described(key));
                    self.found(Kind::Gapped, conversation, seq, key, &who, detail);
                } else if done < head {
                    let key = at(done + 1).unwrap_or(0);
                    let detail = format!("is online and has only up to {done} of {head}");
                    self.found(Kind::Lost, conversation, done + 1, key, &who, detail);
                }
            }
        }
    }

    fn found(&mut self, kind: Kind, conversation: u32, seq: u32, key: u64, who: &str, detail: String) {
        let id = match key {
            0 | UPDATE => String::new(),
            key => Key(key).id(self.run).to_string(),
        };
        self.told(kind, conversation, u64::from(seq), id, who.into(), detail);
    }

    fn told(&mut self, kind: Kind, conversation: u32, seq: u64, id: String, who: String, detail: String) {
        self.findings.add(Violation {
            kind,
            conversation: self
                .names
                .get(conversation as usize)
                .map_or(String::new(), ToString::to_string),
            seq,
            id,
            who,
            detail,
        });
    }
}

#[cfg(test)]
mod tests;
