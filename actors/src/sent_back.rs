//! Sends, and changes of messages, that went back to the nodes they came from, because their conversation was not this node's:
//! pure.
//!
//! A table may give the conversation to this node at that very moment, and then what its sender had sent behind would be
//! taken before what goes back. So it goes back as well, until the first has come again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use tokio::time::Instant;

use crate::defaults;
use crate::interchange::{Ask, Origin};
use crate::outstanding::{Line, line};

/// Who asks, for which of its lines.
type Asker = (NodeId, Line);

/// What went back and has not come again, by its ticket.
#[derive(Default)]
pub struct SentBack {
    table: Mutex<HashMap<Asker, BTreeMap<u64, Instant>>>,
    /// How many askers are in it: mostly none.
    count: AtomicUsize,
}

fn place(ask: &Ask) -> Option<(Asker, u64)> {
    match &ask.origin {
        Origin::Node { node, ticket, .. } => Some(((node.clone(), line(ask)?), *ticket)),
        _ => None,
    }
}

/// How an ask comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coming {
    InTurn,
    /// It went back before.
    Again,
    /// One before it went back and has not come again.
    Overtaking,
}

/// Where one that comes again belongs among those that wait: before what its asker sent behind it.
pub fn place_among<'a>(ask: &Ask, mut others: impl ExactSizeIterator<Item = &'a Ask>) -> usize {
    let (own, last) = (place(ask), others.len());
    let is_behind = |other: &Ask| match (&own, place(other)) {
        (Some((asker, ticket)), Some((other, behind))) => *asker == other && *ticket < behind,
        _ => false,
    };
    others.position(is_behind).unwrap_or(last)
}

impl SentBack {
    /// A send goes back.
    pub fn note(&self, ask: &Ask, now: Instant) {
        let Some((asker, ticket)) = place(ask) else { return };
        let mut table = self.table.lock();
        table.entry(asker).or_default().insert(ticket, now);
        self.count.store(table.len(), Ordering::Release);
    }

    /// A send comes: whether it overtakes one that went back and has not come again. If not, it is noted as having come.
    pub fn coming(&self, ask: &Ask) -> Coming {
        if self.count.load(Ordering::Acquire) == 0 {
            return Coming::InTurn;
        }
        let Some((asker, ticket)) = place(ask) else {
            return Coming::InTurn;
        };
        let mut table = self.table.lock();
        let Some(tickets) = table.get_mut(&asker) else {
            return Coming::InTurn;
        };
        if tickets.range(..ticket).next().is_some() {
            return Coming::Overtaking;
        }
        let again = tickets.remove(&ticket).is_some();
        if tickets.is_empty() {
            table.remove(&asker);
            self.count.store(table.len(), Ordering::Release);
        }
        if again { Coming::Again } else { Coming::InTurn }
    }

    /// Whether a send that comes overtakes one.
    pub fn overtakes(&self, ask: &Ask) -> bool {
        self.coming(ask) == Coming::Overtaking
    }

    /// What has not come again by now went to another node, or its time was over.
    pub fn forget_old(&self, now: Instant) {
        self.retain(|_, at| now.duration_since(at) < defaults::BERTH_PATIENCE);
    }

    /// A node is gone, or the link to it: it asks anew, in order.
    pub fn lost(&self, node: &NodeId) {
        self.retain(|of, _| of != node);
    }

    fn retain(&self, kept: impl Fn(&NodeId, Instant) -> bool) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut table = self.table.lock();
        table.retain(|(node, _), tickets| {
            tickets.retain(|_, at| kept(node, *at));
            !tickets.is_empty()
        });
        self.count.store(table.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::conversation::command::Command;
    use crate::id::{ConversationId, UserId};
    use crate::interchange::Question;
    use crate::ports::chats::Content;

    fn send(ticket: u64) -> Ask {
        Ask {
            conversation: ConversationId(Uuid::from_u128(2)),
            origin: Origin::Node {
                node: "a".into(),
                ticket,
                connection: None,
            },
            question: Question::Do {
                command: Command::Send {
                    from: UserId(Uuid::from_u128(1)),
                    id: ticket.to_string(),
                    content: Content::default(),
                    peer: None,
                },
                repeat: false,
            },
        }
    }

    #[test]
    fn what_was_sent_behind_goes_back_until_the_first_has_come_again() {
        let (back, now) = (SentBack::default(), Instant::now());
        assert!(!back.overtakes(&send(7)));
        back.note(&send(7), now);
        assert!(back.overtakes(&send(8)));
        back.note(&send(8), now);
        assert!(!back.overtakes(&send(6)), "that was sent before it");
        assert!(!back.overtakes(&send(7)) && !back.overtakes(&send(8)) && !back.overtakes(&send(9)));
        assert_eq!(back.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_comes_again_stands_before_what_was_sent_behind_it() {
        let (back, now) = (SentBack::default(), Instant::now());
        back.note(&send(7), now);
        assert_eq!(back.coming(&send(7)), Coming::Again);
        assert_eq!(back.coming(&send(7)), Coming::InTurn);
        let waiting = [send(5), send(8), send(9)];
        let place = |ticket| place_among(&send(ticket), waiting.iter());
        assert_eq!([place(7), place(8), place(10)], [1, 2, 3]);
    }

    #[test]
    fn nobody_waits_for_what_does_not_come_again() {
        let (back, now) = (SentBack::default(), Instant::now());
        back.note(&send(7), now);
        back.forget_old(now + defaults::BERTH_PATIENCE / 2);
        back.lost(&"b".into());
        assert!(back.overtakes(&send(8)));
        back.forget_old(now + defaults::BERTH_PATIENCE);
        assert!(!back.overtakes(&send(8)));
        back.note(&send(8), now);
        back.lost(&"a".into());
        assert!(!back.overtakes(&send(9)));
    }
}
