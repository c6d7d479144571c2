//! The thread that watches: whether the brokers answer, what others wrote into the followed shards, and that the committed
//! positions stay.
//!
//! It asks where the followed partitions end, all in one request a broker. To consume them would tell the same sooner, and cost
//! a fetch and a wake-up for every record of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metrics::Counter;
use parking_lot::Mutex;
use rdkafka::Offset as Place;
use rookery_actors::ports::log::Offset;

use super::client::{Health, MEET_AGAIN};
use super::growth::Growth;
use super::ledger::Ledger;
use super::offsets::Consumer;

/// How often it looks. Growth is told at the second look that finds it, so within a second.
const LOOK: Duration = Duration::from_millis(400);
/// A look that takes longer found nobody.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// How often the committed positions are looked after.
const TEND: Duration = Duration::from_secs(30);
/// How often they are written although they stand: a broker forgets a position that was not for `offsets.retention.minutes`,
/// a week by default.
const REFRESH: Duration = Duration::from_secs(6 * 60 * 60);

/// What the handle and the thread both touch.
pub struct Watched {
    pub growth: Mutex<Growth>,
    /// What this node has committed or found committed, by shard.
    pub committed: Mutex<Vec<Offset>>,
    pub stopping: AtomicBool,
}

pub struct Watch {
    pub consumer: Consumer,
    pub ledger: Arc<Ledger>,
    pub health: Arc<Health>,
    pub watched: Arc<Watched>,
    pub told: Counter,
}

impl Watch {
    pub fn run(self) {
        let (mut tended, mut refreshed) = (Instant::now(), Instant::now());
        let mut answered = Instant::now();
        while !self.watched.stopping.load(Ordering::Relaxed) {
            self.health.wait(LOOK);
            self.look();
            if !self.health.is_away() {
                answered = Instant::now();
            } else if answered.elapsed() >= MEET_AGAIN {
                answered = Instant::now();
                self.consumer.meet_again();
            }
            if tended.elapsed() >= TEND && !self.health.is_away() {
                tended = Instant::now();
                let all = refreshed.elapsed() >= REFRESH;
                if all {
                    refreshed = tended;
                }
                self.tend(all);
            }
        }
    }

    fn look(&self) {
        let followed: Vec<u16> = self.watched.growth.lock().shards().collect();
        // With nothing to follow, the first shard says whether somebody answers.
        let asked = if followed.is_empty() { vec![0] } else { followed };
        let ends = match self.consumer.bounds_now(&asked, Place::End, LOOK_PATIENCE) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::debug!(%error, "look where the log ends");
                // One partition without a leader is no reason to refuse the others.
                self.health.set_away(!self.consumer.is_answered(LOOK_PATIENCE));
                return;
            }
        };
        self.health.set_away(false);
        for (shard, end) in asked.into_iter().zip(ends) {
            let own = self.ledger.end(shard);
            let news = self.watched.growth.lock().observe(shard, end, own);
            if let Some(end) = news {
                self.told.increment(1);
                self.ledger.grew(shard, end);
            }
        }
    }

    /// Commits again what the owner of a shard finds behind: the late commit of a node that lost it. `all` commits everything.
    fn tend(&self, all: bool) {
        let followed: Vec<u16> = self.watched.growth.lock().shards().collect();
        let known = self.watched.committed.lock().clone();
        let positions: Vec<_> = followed
            .iter()
            .map(|shard| (*shard, known[usize::from(*shard)]))
            .collect();
        let done = if all {
            self.consumer.put(positions.into_iter())
        } else {
            self.consumer.commit_now(&positions)
        };
        if let Err(error) = done {
            tracing::debug!(%error, "look after the committed positions");
        }
    }
}
