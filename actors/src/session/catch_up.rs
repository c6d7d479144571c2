//! What a connection lacks and in which order it is made good, without a socket, a store or an await: [`CatchUp::need`] says
//! what is next, and the pushes note how far the outbox took it.
//!
//! What must hold: `ranges` end at the session's head of their conversation, so that live delivery only ever extends them;
//! whatever is taken out of `ranges` without being replayed is in `gaps` until a `gap` frame has named it.

use crate::defaults;
use crate::frames::Frames;
use crate::id::ConversationId;
use crate::outlet::{Pushed, Urgency};
use crate::protocol::ServerFrame;
use crate::session::state::Told;

/// Seqs of a conversation that a connection lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub conversation: ConversationId,
    pub from: u64,
    pub to: u64,
}

/// What a connection lacks, oldest need first.
#[derive(Debug, Default)]
pub struct CatchUp {
    pub ranges: Vec<Range>,
    /// What it has yet to be told of, by `sync`.
    pub unannounced: Vec<Range>,
    /// Whether a `sync` is owed even when nothing is left to announce in it.
    pub sync_due: bool,
    /// Whether a page of it was announced.
    pub begun: bool,
    /// What `sync` leaves out, to be named by a `gap` before the rest of that conversation.
    pub gaps: Vec<Range>,
    /// Entries that may still be replayed after this connect, in all.
    pub budget: u64,
    /// The outbox was full: replay goes on when it has drained.
    pub waiting: bool,
    /// What has no place in the stream and waits for `sync`.
    pub aside: Vec<(Frames, Urgency)>,
}

/// Frames that wait for `sync`, at most: it takes some milliseconds.
const ASIDE: usize = 64;

/// What a connection needs next.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// To be told of these.
    Sync(Vec<Range>),
    /// To be told that these are left out.
    Gap(Range),
    /// Entries of one conversation.
    Entries(Range),
    /// It is live.
    Nothing,
}

impl CatchUp {
    /// What a device missed while it was away.
    pub fn after_connect(news: Vec<Range>, budget: u64) -> Self {
        Self {
            ranges: news.clone(),
            unannounced: news,
            sync_due: true,
            budget,
            ..Self::default()
        }
    }

    /// What a live connection did not get.
    pub fn lacking(range: Range) -> Self {
        Self {
            ranges: vec![range],
            ..Self::default()
        }
    }

    pub fn need(&self) -> Need {
        if self.sync_due {
            let page = self.unannounced.iter().take(defaults::SYNC_PAGE);
            return Need::Sync(page.copied().collect());
        }
        let next = self.ranges.first();
        let gap = match next {
            Some(range) => self.gaps.iter().find(|gap| gap.conversation == range.conversation),
            None => self.gaps.first(),
        };
        match (gap, next) {
            (Some(gap), _) => Need::Gap(*gap),
            (None, Some(range)) => Need::Entries(*range),
            (None, None) => Need::Nothing,
        }
    }

    /// The user left a conversation: nothing of it is lacking any more.
    pub fn forget(&mut self, conversation: ConversationId) {
        for ranges in [&mut self.ranges, &mut self.unannounced, &mut self.gaps] {
            ranges.retain(|range| range.conversation != conversation);
        }
    }

    /// Lacks a later part of a conversation too.
    pub fn extend(&mut self, range: Range) {
        match self
            .ranges
            .iter_mut()
            .find(|known| known.conversation == range.conversation)
        {
            Some(known) => known.to = known.to.max(range.to),
            None => self.ranges.push(range),
        }
    }

    /// Takes what is not to come before `sync`.
    pub fn put_off(&mut self, frames: &Frames, urgency: Urgency) -> Pushed {
        if self.aside.len() >= ASIDE {
            return Pushed::Full;
        }
        self.aside.push((frames.clone(), urgency));
        Pushed::Taken
    }

    /// What waited for `sync`, once all of it was said.
    pub fn put_off_until_now(&mut self) -> Vec<(Frames, Urgency)> {
        if self.sync_due {
            return Vec::new();
        }
        std::mem::take(&mut self.aside)
    }

    /// Whether there is more to announce than this page.
    pub fn is_more_than(&self, page: &[Range]) -> bool {
        self.unannounced.iter().any(|known| !page.contains(known))
    }

    /// A page was announced: what of it goes beyond the limits is left out. A conversation that was left (and perhaps joined
    /// again) while the page was made is not among the unannounced any more.
    pub fn announced(&mut self, page: &[Range], most: u64) {
        self.begun = true;
        let (told, rest) = std::mem::take(&mut self.unannounced)
            .into_iter()
            .partition(|known| page.contains(known));
        self.unannounced = rest;
        self.sync_due = !self.unannounced.is_empty();
        let told: Vec<Range> = told;
        told.into_iter().for_each(|range| self.limit(range, most));
    }

    /// Leaves out what goes beyond the limits of a replay: all but the last `most` entries of the range, fewer when less than
    /// that is left in all.
    pub fn limit(&mut self, range: Range, most: u64) {
        let wanted = range.to + 1 - range.from;
        let kept = wanted.min(most).min(self.budget);
        self.budget -= kept;
        if kept < wanted {
            self.gaps.push(Range {
                to: range.to - kept,
                ..range
            });
            self.replayed(range.conversation, range.to - kept);
        }
    }

    /// Everything of a conversation up to `seq` was replayed or given up.
    fn replayed(&mut self, conversation: ConversationId, seq: u64) {
        if let Some(range) = self.ranges.iter_mut().find(|range| range.conversation == conversation) {
            range.from = range.from.max(seq + 1);
        }
        self.ranges.retain(|range| range.from <= range.to);
    }

    /// Names what was left out; false when that was refused.
    pub fn push_gap(&mut self, gap: Range, push: impl Fn(&Frames) -> bool) -> bool {
        let Some(index) = self.gaps.iter().position(|known| *known == gap) else {
            return true;
        };
        let told = push(&gap.frame());
        if told {
            self.gaps.remove(index);
        }
        told
    }

    /// Hands over the entries of a range that was read, oldest first, until one is refused, and notes how far it got. A range
    /// ends where its owner knew no further. Seqs in it that nobody has any more are named by a `gap`; of what was `told` the
    /// connection knows.
    pub fn push_entries(
        &mut self,
        read: Range,
        entries: Vec<(u64, Frames)>,
        told: &Told,
        push: impl Fn(&Frames) -> bool,
    ) -> bool {
        let Range { conversation, to, .. } = read;
        for (seq, frames) in entries {
            let Some(expected) = self.next(conversation) else {
                return true;
            };
            if seq < expected {
                continue;
            }
            if seq > expected && !self.push_missing(conversation, expected, seq - 1, &push) {
                return false;
            }
            if !told.has(conversation, seq) && !push(&frames) {
                return false;
            }
            self.replayed(conversation, seq);
        }
        match self.next(conversation) {
            Some(from) if from <= to => self.push_missing(conversation, from, to, &push),
            _ => true,
        }
    }

    fn push_missing(
        &mut self,
        conversation: ConversationId,
        from: u64,
        to: u64,
        push: &impl Fn(&Frames) -> bool,
    ) -> bool {
        let missing = Range { conversation, from, to };
        let told = push(&missing.frame());
        if told {
            self.replayed(conversation, to);
        }
        told
    }

    /// The first seq of a conversation that is lacking or left out and not named yet.
    pub fn lacks(&self, conversation: ConversationId) -> Option<u64> {
        let ranges = self.ranges.iter().chain(&self.gaps);
        ranges
            .filter(|range| range.conversation == conversation)
            .map(|range| range.from)
            .min()
    }

    /// The first seq of a conversation that is lacking.
    pub fn next(&self, conversation: ConversationId) -> Option<u64> {
        self.ranges
            .iter()
            .find(|range| range.conversation == conversation)
            .map(|range| range.from)
    }
}

impl Range {
    /// The `gap` frame that names this range.
    fn frame(self) -> Frames {
        let Self { conversation, from, to } = self;
        Frames::one(ServerFrame::Gap { conversation, from, to })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use uuid::Uuid;

    use super::*;
    use crate::protocol::ServerFrame::{Gap, Pong};

    fn news(conversations: u128, entries: u64) -> Vec<Range> {
        let range = |number| Range {
            conversation: ConversationId(Uuid::from_u128(number)),
            from: 1,
            to: entries,
        };
        (0..conversations).map(range).collect()
    }

    /// Replays everything to an outbox with room: sync frames, gaps by conversation, and entries by conversation.
    fn replay(mut catch_up: CatchUp, most: u64) -> (Vec<bool>, Vec<Range>, Vec<Range>) {
        let (mut syncs, mut entries) = (Vec::new(), Vec::new());
        let gaps = RefCell::new(Vec::new());
        let push = |frames: &Frames| {
            if let Gap { conversation, from, to } = frames.frames()[0] {
                gaps.borrow_mut().push(Range { conversation, from, to });
            }
            true
        };
        loop {
            match catch_up.need() {
                Need::Sync(page) => {
                    syncs.push(catch_up.is_more_than(&page));
                    catch_up.announced(&page, most);
                }
                Need::Gap(gap) => assert!(catch_up.push_gap(gap, push)),
                Need::Entries(range) => {
                    let all = (range.from..=range.to).map(|seq| (seq, Frames::one(Pong { id: None })));
                    assert!(catch_up.push_entries(range, all.collect(), &Told::default(), push));
                    entries.push(range);
                }
                Need::Nothing => return (syncs, gaps.into_inner(), entries),
            }
        }
    }

    #[test]
    fn the_last_hundred_of_each_and_two_thousand_in_all_are_replayed_and_the_rest_is_named() {
        let (_, gaps, entries) = replay(CatchUp::after_connect(news(25, 150), 2_000), 100);
        assert_eq!(entries.len(), 20);
        assert!(entries.iter().all(|range| (range.from, range.to) == (51, 150)));
        assert_eq!(gaps.len(), 25);
        assert!(gaps[..20].iter().all(|gap| (gap.from, gap.to) == (1, 50)));
        assert!(gaps[20..].iter().all(|gap| (gap.from, gap.to) == (1, 150)));
    }

    #[test]
    fn a_conversation_at_the_edge_of_the_budget_gets_its_last_entries() {
        let (_, gaps, entries) = replay(CatchUp::after_connect(news(2, 80), 100), 100);
        assert_eq!((entries[1].from, entries[1].to), (61, 80));
        assert_eq!((gaps[0].conversation, gaps[0].to), (entries[1].conversation, 60));
    }

    #[test]
    fn sync_is_paged_and_says_whether_there_is_more() {
        let (syncs, ..) = replay(CatchUp::after_connect(news(250, 1), 2_000), 100);
        assert_eq!(syncs, [true, true, false]);
    }

    #[test]
    fn a_conversation_left_while_its_page_was_made_costs_no_budget_and_names_no_gap() {
        let mut catch_up = CatchUp::after_connect(news(1, 150), 100);
        let Need::Sync(page) = catch_up.need() else {
            panic!("a sync is due");
        };
        catch_up.forget(page[0].conversation);
        catch_up.announced(&page, 100);
        assert_eq!((catch_up.budget, catch_up.need()), (100, Need::Nothing));
    }

    #[test]
    fn what_an_owner_does_not_know_yet_is_no_gap() {
        let lacking = news(1, 6)[0];
        let mut catch_up = CatchUp::lacking(lacking);
        let known = Range { to: 4, ..lacking };
        let frames = (1..=4).map(|seq| (seq, Frames::one(Pong { id: None }))).collect();
        let no_gap = |frames: &Frames| !matches!(frames.frames()[0], Gap { .. });
        assert!(catch_up.push_entries(known, frames, &Told::default(), no_gap));
        assert_eq!(catch_up.need(), Need::Entries(Range { from: 5, ..lacking }));
    }

    #[test]
    fn a_refused_frame_is_offered_again() {
        let range = news(1, 3)[0];
        let mut catch_up = CatchUp::lacking(range);
        let frames = || (1..=3).map(|seq| (seq, Frames::one(Pong { id: None }))).collect();
        let room = RefCell::new(2);
        let limited = |_: &Frames| room.replace_with(|room| (*room - 1).max(0)) > 0;
        assert!(!catch_up.push_entries(range, frames(), &Told::default(), limited));
        assert_eq!(catch_up.need(), Need::Entries(Range { from: 3, ..range }));
        assert!(catch_up.push_entries(range, frames(), &Told::default(), |_| true));
        assert_eq!(catch_up.need(), Need::Nothing);
    }
}
