//! What records that were read back do: state, tail, delivery, projection, answers.

use std::sync::Arc;

use smallvec::SmallVec;

use super::actor::{Body, Readback};
use super::command::{Command, Record, SentBy};
use super::hold::{Announcement, What};
use super::shell::Shell;
use super::state::{Applied, Event, Outcome};
use super::tail::{Kept, frame};
use crate::frames::Frames;
use crate::id::UserId;
use crate::interchange::{Delivery, Origin};
use crate::ports::chats::{Entry, Projection, Step};
use crate::ports::log::Offset;
use crate::session::batch::Batch;

/// Entries applied and not delivered yet.
#[derive(Default)]
struct Pending {
    entries: Vec<(Arc<Entry>, SentBy)>,
}

impl Shell {
    /// Applies records in log order, then delivers, projects and answers for all of them together.
    pub(super) fn apply(&mut self, records: Vec<Readback>) {
        let mut pending = Pending::default();
        let mut steps = Vec::new();
        let mut offsets: SmallVec<[Offset; 4]> = SmallVec::new();
        let mut answers: SmallVec<[(Origin, UserId, Applied); 1]> = SmallVec::new();
        let mut changed: SmallVec<[u64; 1]> = SmallVec::new();
        let mut untold: Option<Vec<UserId>> = None;
        for Readback { offset, record, origin } in records {
            offsets.push(offset);
            if matches!(record, Body::Own(_)) {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            if offset < self.state.applied {
                // Another owner stored what it does, one that died or was paused: whom that one told is not known.
                if matches!(record, Body::Foreign(_)) {
                    untold.get_or_insert_default().extend(self.gone_by(offset, record));
                }
                continue;
            }
            let Some(record) = self.readable(offset, record) else {
                continue;
            };
            let (by, of) = (record.command.author(), changed_message(&record));
            let mut applied = self.state.apply(offset, record);
            steps.append(&mut applied.steps);
            for event in applied.events.drain(..) {
                self.happen(event, by, &origin, &mut pending);
            }
            changed.extend(of);
            answers.push((origin, by, applied));
        }
        self.show();
        self.flush(&mut pending);
        if let Some(gone) = untold {
            self.tell_anew(gone);
        }
        self.project(steps, &offsets);
        for (origin, by, applied) in answers {
            self.answer_applied(origin, by, applied);
        }
        // Only now: the next change of a message is judged by the tail, which was behind the head until it was flushed.
        for of in changed {
            self.change_settled(of);
        }
    }

    /// The record, unless it cannot be read.
    fn readable(&self, offset: Offset, body: Body) -> Option<Record> {
        match body {
            Body::Own(record) => Some(*record),
            Body::Foreign(bytes) => Record::decode(bytes)
                .inspect_err(|error| tracing::error!(conversation = %self.id, offset, %error, "skip a log record"))
                .ok(),
        }
    }

    /// Who is no member any more by a record that was applied before.
    fn gone_by(&self, offset: Offset, body: Body) -> Option<UserId> {
        let (Command::Remove { user, .. } | Command::Gone { user }) = self.readable(offset, body)?.command else {
            return None;
        };
        (!self.state.is_member(user)).then_some(user)
    }

    fn happen(&mut self, event: Event, by: UserId, origin: &Origin, pending: &mut Pending) {
        let after = self.state.applied;
        let what = match event {
            Event::Entry(entry) => {
                let sent_by = if matches!(*entry, Entry::Message(_)) {
                    origin.connection()
                } else {
                    None
                };
                return pending.entries.push((entry, sent_by));
            }
            Event::Joined(users) => What::Joined { users, by },
            Event::Left(users) => {
                self.flush(pending);
                self.deliver(Delivery::Leave(users.clone()));
                What::Left { users, by }
            }
            Event::Changed => What::Changed,
            Event::Deleted(users) => {
                self.flush(pending);
                self.deliver(Delivery::Leave(users.clone()));
                What::Deleted { users, by }
            }
        };
        self.announcements.push(Announcement { after, what });
    }

    /// Delivers what was applied, as one batch.
    fn flush(&mut self, pending: &mut Pending) {
        let entries = std::mem::take(&mut pending.entries);
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return;
        };
        // Before the walk: a session that arrives after it reads the head of what it missed.
        self.show();
        let frames = Frames::new(entries.iter().map(|(entry, _)| frame(self.id, entry)).collect());
        let batch = Batch {
            conversation: self.id,
            first: first.0.seq(),
            last: last.0.seq(),
            at: self.state.active_at,
            frames: frames.clone(),
            senders: entries.iter().map(|(_, sent_by)| *sent_by).collect(),
        };
        for (index, (entry, _)) in entries.into_iter().enumerate() {
            let seq = entry.seq();
            self.tail.push(Kept {
                entry: Arc::clone(&entry),
                frame: frames.part(index),
            });
            if let Entry::Update(update) = entry.as_ref() {
                self.tail.fold(self.id, update, seq);
            }
        }
        self.tail.trim(self.stored_head, self.state.head);
        self.deliver(Delivery::Batch(Arc::new(batch)));
    }

    /// Hands the effects on the store over; a change of members or profile is stored without delay.
    fn project(&self, steps: Vec<Step>, offsets: &[Offset]) {
        let urgent = steps.iter().any(|step| !matches!(step, Step::Entry(_)));
        let projection = Projection {
            conversation: self.id,
            shard: self.core.shard(self.id.as_bytes()).id,
            applied: self.state.applied,
            head: self.state.head,
            active_at: self.state.active_at,
            steps,
        };
        self.core.projector.push(projection, offsets, urgent);
    }

    fn answer_applied(&mut self, origin: Origin, by: UserId, applied: Applied) {
        match applied.outcome {
            Err(refusal) => self.refuse_change(origin, by, refusal),
            Ok(outcome) if outcome == Outcome::Settled || self.joins(by) => {
                let (after, what) = (self.state.applied, What::Answer(origin, outcome));
                self.announcements.push(Announcement { after, what });
            }
            Ok(outcome) => self.done(origin, outcome),
        }
    }

    /// Whether a user's joining has yet to be stored: one who is told of a first message may act as a member at once.
    fn joins(&self, user: UserId) -> bool {
        let joining = |what: &What| matches!(what, What::Joined { users, .. } if users.contains(&user));
        self.announcements
            .iter()
            .any(|announcement| joining(&announcement.what))
    }
}

fn changed_message(record: &Record) -> Option<u64> {
    match &record.command {
        Command::Update { of, .. } => Some(*of),
        _ => None,
    }
}
