//! How long users were without service, reckoned from what every sender waited.
//!
//! A conversation is affected by a fault when somebody waited in it for `sent` longer than [`AFFECTED_NS`]. It was without
//! service from the fault, or from the last prompt `sent` after it, until the answer that ended the waiting. That is never less
//! than what a user waited, and never more than from the fault to the first `sent`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A wait that a user notices.
pub const AFFECTED_NS: u64 = 500_000_000;
/// A wait that users take for a failure.
pub const LATE_NS: u64 = 2_000_000_000;

/// One send: where, when it was to leave, and when its sender was told `sent`; 0 for never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    pub conversation: u32,
    pub intended_ns: u64,
    pub answered_ns: u64,
}

/// When a fault began, when it was mended, and when the next began (or the run ended).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub from_ns: u64,
    pub mended_ns: u64,
    pub to_ns: u64,
}

/// What one fault cost users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outage {
    /// How long each affected conversation was without service, in ms, in order.
    pub without_ms: Vec<f64>,
    /// How long after the mending the last of them was served again; 0 when it was before.
    pub after_mending_ms: f64,
    /// The longest that anybody waited for one `sent`.
    pub longest_ms: f64,
    /// Sends unanswered for longer than 2 s.
    pub late: u64,
}

impl Outage {
    pub fn p50_ms(&self) -> f64 {
        let middle = self.without_ms.len().saturating_sub(1) / 2;
        self.without_ms.get(middle).copied().unwrap_or(0.0)
    }

    pub fn max_ms(&self) -> f64 {
        self.without_ms.last().copied().unwrap_or(0.0)
    }
}

/// A send within a span: since when it waited for this span's sake, until when.
#[derive(Clone, Copy)]
struct Wait {
    from: u64,
    until: u64,
    /// It was to leave before the fault: its answer says nothing of the time after.
    old: bool,
}

impl Wait {
    fn length(&self) -> u64 {
        self.until - self.from
    }
}

/// What a fault cost, from all sends of the run.
pub fn reckon(sends: &[Sent], span: Span) -> Outage {
    let mut waits: BTreeMap<u32, Vec<Wait>> = BTreeMap::new();
    for send in sends {
        let until = if send.answered_ns == 0 {
            span.to_ns
        } else {
            send.answered_ns
        };
        // What was on its way when the next fault came, and not for long, waited for that one's sake.
        let next = until > span.to_ns && span.to_ns.saturating_sub(send.intended_ns) <= AFFECTED_NS;
        if until > span.from_ns && send.intended_ns < span.to_ns && !next {
            waits.entry(send.conversation).or_default().push(Wait {
                from: send.intended_ns.max(span.from_ns),
                until: until.max(send.intended_ns),
                old: send.intended_ns < span.from_ns,
            });
        }
    }
    let mut outage = Outage::default();
    for (_, mut waits) in waits {
        for wait in &waits {
            outage.longest_ms = outage.longest_ms.max(millis(wait.length()));
            outage.late += u64::from(wait.length() > LATE_NS);
        }
        waits.sort_unstable_by_key(|wait| wait.from);
        if let Some((from, until)) = longest_block(&waits, span.from_ns) {
            outage.without_ms.push(millis(until - from));
            outage.after_mending_ms = outage
                .after_mending_ms
                .max(millis(until.saturating_sub(span.mended_ns)));
        }
    }
    outage.without_ms.sort_unstable_by(f64::total_cmp);
    outage
}

/// The longest time of a conversation without service, where there was one. `waits` are in the order in which they began.
fn longest_block(waits: &[Wait], fault: u64) -> Option<(u64, u64)> {
    let mut blocks: Vec<(u64, u64)> = Vec::new();
    let mut served = fault;
    for wait in waits {
        let slow = wait.length() > AFFECTED_NS;
        match blocks.last_mut() {
            // Somebody waits still: others who are served meanwhile do not help them.
            Some((_, until)) if wait.from <= *until => *until = (*until).max(if slow { wait.until } else { 0 }),
            _ if slow => {
                let from = served.max(blocks.last().map_or(fault, |(_, until)| *until));
                blocks.push((from.min(wait.from), wait.until));
            }
            _ if !wait.old => served = served.max(wait.until),
            _ => {}
        }
    }
    blocks.into_iter().max_by_key(|(from, until)| until - from)
}

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::{Outage, Sent, Span, reckon};

    const SPAN: Span = Span {
        from_ns: 10_000_000_000,
        mended_ns: 14_000_000_000,
        to_ns: 20_000_000_000,
    };

    /// Sends of conversation, intended ms, answered ms.
    fn outage(sends: &[(u32, u64, u64)]) -> Outage {
        let sends: Vec<Sent> = sends
            .iter()
            .map(|(conversation, intended, answered)| Sent {
                conversation: *conversation,
                intended_ns: intended * 1_000_000,
                answered_ns: answered * 1_000_000,
            })
            .collect();
        reckon(&sends, SPAN)
    }

    #[test]
    fn prompt_answers_are_no_outage() {
        let found = outage(&[(1, 9_990, 10_010), (1, 10_500, 10_510), (2, 15_000, 15_400)]);
        assert!(found.without_ms.is_empty());
        assert_eq!((found.late, found.longest_ms, found.max_ms()), (0, 400.0, 0.0));
    }

    #[test]
    fn an_outage_counts_from_the_fault_to_the_answer_that_ended_it() {
        let found = outage(&[(1, 11_000, 12_400), (1, 12_000, 12_400), (1, 13_000, 13_010)]);
        assert_eq!(found.without_ms, [2_400.0]);
        assert_eq!((found.late, found.longest_ms), (0, 1_400.0));
    }

    #[test]
    fn an_answer_after_the_fault_shows_that_there_was_service() {
        let found = outage(&[(1, 10_800, 10_820), (1, 11_000, 12_400)]);
        assert_eq!(found.without_ms, [1_580.0]);
        // One that was on its way when the fault came shows nothing.
        let found = outage(&[(1, 9_999, 10_001), (1, 11_000, 12_400)]);
        assert_eq!(found.without_ms, [2_400.0]);
    }

    #[test]
    fn a_send_from_before_the_fault_waits_from_the_fault() {
        let found = outage(&[(1, 9_000, 12_500)]);
        assert_eq!((found.without_ms.clone(), found.late), (vec![2_500.0], 1));
    }

    #[test]
    fn the_longest_of_two_interruptions_counts() {
        let returned = [
            (1, 10_100, 11_000),
            (1, 12_000, 12_010),
            (1, 14_000, 17_000),
            (1, 18_000, 18_010),
        ];
        let found = outage(&returned);
        assert_eq!(found.without_ms, [4_990.0]);
        assert_eq!((found.after_mending_ms, found.late), (3_000.0, 1));
    }

    #[test]
    fn who_is_served_while_another_waits_does_not_end_the_outage() {
        let found = outage(&[(1, 10_100, 12_000), (1, 10_200, 10_210), (1, 11_000, 11_800)]);
        assert_eq!(found.without_ms, [2_000.0]);
    }

    #[test]
    fn what_is_never_answered_waits_to_the_end() {
        let found = outage(&[(1, 16_000, 0)]);
        assert_eq!(found.without_ms, [10_000.0]);
        assert_eq!((found.late, found.after_mending_ms), (1, 6_000.0));
    }

    #[test]
    fn sends_of_other_times_are_left_out() {
        let found = outage(&[(1, 1_000, 9_000), (1, 20_000, 29_000)]);
        assert_eq!(found, Outage::default());
    }

    #[test]
    fn what_the_next_fault_held_up_is_that_ones() {
        let found = outage(&[(1, 19_900, 28_000), (2, 19_000, 21_000)]);
        assert_eq!(found.without_ms, [11_000.0], "only what had waited before it came");
    }

    #[test]
    fn the_median_is_of_affected_conversations_only() {
        let found = outage(&[
            (1, 10_000, 11_000),
            (2, 10_000, 12_000),
            (3, 10_000, 13_000),
            (4, 10_000, 10_001),
        ]);
        assert_eq!((found.p50_ms(), found.max_ms()), (2_000.0, 3_000.0));
    }
}
