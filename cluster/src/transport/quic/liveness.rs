//! Whether a peer is alive, as a pure function of when it was last heard and when we looked.

use std::time::{Duration, Instant};

use super::defaults::{PING_EVERY, SILENT_AFTER};

/// Looked at twice in the rhythm of the pings.
pub(super) const LOOK_EVERY: Duration = PING_EVERY.checked_div(2).expect("two is not zero");

/// A look that is later than this was held up by this very node, which cannot know what it missed.
const HELD_UP: Duration = PING_EVERY;

/// What we know of a peer's life.
#[derive(Debug)]
pub(super) struct Liveness {
    looked: Instant,
    pinged: Option<Instant>,
    /// Silence before this is not held against the peer.
    since: Instant,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    Ping,
    Silent,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            pinged: None,
            since: now,
        }
    }

    /// Judges a peer that was last heard at `heard`. A node that was itself paused gives its peers the time of a few pings
    /// before it blames them: their answers may lie in its own buffers.
    pub(super) fn look(&mut self, now: Instant, heard: Instant) -> Verdict {
        if now.duration_since(self.looked) > LOOK_EVERY + HELD_UP {
            self.since = now;
        }
        self.looked = now;
        if now.duration_since(heard.max(self.since)) >= SILENT_AFTER {
            return Verdict::Silent;
        }
        // Who was just heard needs no asking: of two peers one pings, and the other hears that.
        let lately = |at: Instant, within: Duration| now.duration_since(at) < within;
        if lately(heard, PING_EVERY - LOOK_EVERY / 2) || self.pinged.is_some_and(|at| lately(at, PING_EVERY)) {
            return Verdict::Wait;
        }
        self.pinged = Some(now);
        Verdict::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Looks every 250 ms from `from` on, until the verdict is `Silent`; the time of that.
    fn silent_at(liveness: &mut Liveness, start: Instant, from: u32, heard: u32) -> u32 {
        let looks = (from..).step_by(250);
        let mut late = looks.filter(|at| liveness.look(start + MS * *at, start + MS * heard) == Verdict::Silent);
        late.next().unwrap()
    }

    /// The pings of two minutes to a peer of which something is heard whenever `hears` says so, and after each ping.
    fn pings(hears: impl Fn(u32) -> bool) -> usize {
        let start = Instant::now();
        let (mut liveness, mut heard, mut pings) = (Liveness::new(start), start, 0);
        for look in 0..480_u32 {
            let now = start + LOOK_EVERY * look;
            match liveness.look(now, heard) {
                Verdict::Ping => (heard, pings) = (now + MS, pings + 1),
                Verdict::Wait if hears(look) => heard = now + MS,
                Verdict::Wait => {}
                Verdict::Silent => panic!("it was heard {:?} ago", now - heard),
            }
        }
        pings
    }

    #[test]
    fn a_peer_is_pinged_twice_a_second_unless_it_is_heard_anyway() {
        assert_eq!(pings(|_| false), 239, "from half a second on");
        assert_eq!(pings(|_| true), 0, "its own pings tell enough");
    }

    #[test]
    fn a_silent_peer_is_lost_within_two_seconds_of_its_last_word() {
        let start = Instant::now();
        assert_eq!(silent_at(&mut Liveness::new(start), start, 250, 0), 1500);
        assert_eq!(silent_at(&mut Liveness::new(start), start, 250, 1), 1750);
    }

    #[test]
    fn a_node_that_was_paused_itself_does_not_blame_its_peers_at_once() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        assert_eq!(liveness.look(start + MS * 500, start), Verdict::Ping);
        // Ten seconds later, with what the peer said meanwhile still unread.
        assert_eq!(liveness.look(start + MS * 10_250, start + MS * 250), Verdict::Ping);
        assert_eq!(silent_at(&mut liveness, start, 10_500, 250), 11_750);
    }
}
