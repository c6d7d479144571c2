//! A node's lease, as a state machine: what to ask of Redis next, and what the answers mean.
//!
//! **Who decides what.** Redis alone says who is in the cluster: a lease that was not renewed for its time is taken away
//! there. This machine, on this node's own monotonic clock, says what the node may still believe of itself.
//!
//! * **Redis answers nobody.** Nobody's lease is taken away, so nothing changes: the view is [frozen](Standing::Frozen) and
//!   service goes on. That a lease was not renewed in time is no proof of the contrary, because the time of leases stands
//!   still while Redis does.
//! * **Redis answers others, and not this node.** A peer that names a later epoch after this node's lease ran out says so.
//!   The node is [isolated](Standing::Isolated): it stops being ready, and stays what it was if its lease is found alive.
//! * **Redis says that the lease is gone**: it ran out while this process stood still or was cut off. What the node owned
//!   belongs to others. The node learns it as [`Effect::Lapsed`] and joins once more, with a new incarnation and owning
//!   nothing, until it is told that it is up.
//! * **Redis says that another process bears this node's name.** An operator gave it twice, or started the node anew while
//!   this process was cut off. The newer process is right; this one is [out](Standing::Superseded) for good, or the two
//!   would take the name from each other for ever.
//! * **Redis knows less than this node**: it came back without its data, or without the last of it. The node tells it the
//!   view, and goes on.
//!
//! One question is on its way at a time. Safety does not depend on any of this: the event log sees to that.

use std::time::{Duration, Instant};

use super::{Epoch, Incarnation, NodeState};

/// The time of leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How often a lease is renewed.
    pub heartbeat: Duration,
    /// How long a lease lives without being renewed.
    pub ttl: Duration,
    /// How much earlier than Redis the node itself takes its lease for run out.
    pub margin: Duration,
}

impl Default for Timing {
    /// A killed node is noticed in 1.75 s, and six heartbeats may fail before a living one is taken for dead. The rest of the
    /// 3 s that a killed node may cost its users is for the successors. Heartbeats of 500 ms and leases of 2 s would forgive
    /// the same pause of 1.5 s, and leave that rest a quarter of a second shorter.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            ttl: Duration::from_millis(1750),
            margin: Duration::from_millis(250),
        }
    }
}

impl Timing {
    /// For how long a node trusts a lease that it renewed.
    fn trusted(&self) -> Duration {
        self.ttl.saturating_sub(self.margin)
    }
}

/// What a node may believe of its membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Not in the cluster: not yet, or not any more, and about to join.
    Outside,
    /// In it, by a lease that was renewed in time.
    Held,
    /// Redis does not answer: in it as far as anybody knows.
    Frozen,
    /// Redis does not answer this node, and does answer others.
    Isolated,
    /// Another process bears this node's name. Final.
    Superseded,
    /// It left. Final.
    Left,
}

impl Standing {
    /// Whether the node should be given new work.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Held | Self::Frozen)
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Superseded | Self::Left)
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// What was asked at `sent` was answered, or will not be.
    Answered { sent: Instant, answer: Answer },
    /// Redis told of a change.
    Told,
    /// A peer spoke of this epoch.
    Heard(Epoch),
    /// The node is to be known as this from now on.
    Be(NodeState),
    /// The node is to go.
    Leave,
}

/// What Redis answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Joined {
        incarnation: Incarnation,
        epoch: Epoch,
    },
    Renewed {
        epoch: Epoch,
        /// In how long the next of the others' leases may run out.
        others: Option<Duration>,
    },
    /// The lease ran out.
    Gone,
    /// The name is another process's.
    Superseded,
    /// Redis knows less than this node: nothing was done.
    Behind,
    /// Redis now knows at least what this node knew.
    Restored,
    Released,
    /// There was no answer, or none that helps. The outcome is unknown.
    Failed,
}

/// What is to be asked of Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    Join(NodeState),
    Renew(Incarnation, NodeState),
    /// Tell it the view that this node knows.
    Restore,
    Release(Incarnation),
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask, and say what came of it.
    Ask(Ask),
    /// What this node owned is others' now.
    Lapsed,
}

/// A renewal that a change asks for comes at least this much after the one before, so that many changes share some.
const BREATH: Duration = Duration::from_millis(10);
/// After the moment at which somebody's lease runs out: Redis counts in whole milliseconds.
const AFTER_EXPIRY: Duration = Duration::from_millis(3);

/// The machine. `now` never goes back.
#[derive(Debug)]
pub struct Machine {
    timing: Timing,
    standing: Standing,
    /// What the node wants to be known as.
    state: NodeState,
    /// What it was last told to be known as.
    told: NodeState,
    incarnation: Option<Incarnation>,
    /// When the last renewal that was answered had been sent.
    renewed: Instant,
    /// When the last question was sent.
    sent: Instant,
    asking: bool,
    /// When to ask next.
    due: Instant,
    behind: bool,
    leaving: bool,
    /// The latest epoch that this node saw, and the latest that a peer spoke of.
    seen: Epoch,
    heard: Epoch,
    /// The latest that a peer had spoken of when this node's lease ran out.
    heard_in_time: Epoch,
}

impl Machine {
    /// A node that is about to join.
    pub fn new(timing: Timing, state: NodeState, now: Instant) -> Self {
        Self {
            timing,
            standing: Standing::Outside,
            state,
            told: state,
            incarnation: None,
            renewed: now,
            sent: now,
            asking: false,
            due: now,
            behind: false,
            leaving: false,
            seen: Epoch::default(),
            heard: Epoch::default(),
            heard_in_time: Epoch::default(),
        }
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// As what the node is in the cluster now; none while it is not.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// When `Tick` is due if nothing else happens.
    pub fn wake(&self) -> Option<Instant> {
        let ask = (!self.asking && !self.standing.is_final()).then_some(self.due);
        let doubt = (self.standing == Standing::Held).then(|| self.renewed + self.timing.trusted());
        ask.into_iter().chain(doubt).min()
    }

    /// Takes an input. At most one effect asks, and none does while an answer is awaited.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        self.doubt(now);
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Answered { sent, answer } => effects.extend(self.answered(sent, answer, now)),
            Input::Told => self.hurry(now),
            Input::Heard(epoch) => self.hear(epoch, now),
            Input::Be(state) => self.be(state, now),
            Input::Leave => {
                self.leaving = true;
                self.due = now;
            }
        }
        effects.extend(self.ask(now).map(Effect::Ask));
        effects
    }

    /// Whether the lease that this node has may have run out.
    fn doubt(&mut self, now: Instant) {
        if self.standing == Standing::Held && now >= self.renewed + self.timing.trusted() {
            self.standing = Standing::Frozen;
            self.heard_in_time = self.heard.max(self.seen);
        }
    }

    fn ask(&mut self, now: Instant) -> Option<Ask> {
        if self.asking || now < self.due || self.standing.is_final() {
            return None;
        }
        let ask = match self.incarnation {
            None if self.leaving => {
                self.standing = Standing::Left;
                return None;
            }
            None => Ask::Join(self.state),
            Some(incarnation) if self.leaving => Ask::Release(incarnation),
            Some(_) if self.behind => Ask::Restore,
            Some(incarnation) => Ask::Renew(incarnation, self.state),
        };
        self.told = self.state;
        self.asking = true;
        self.sent = now;
        self.due = now + self.timing.heartbeat;
        Some(ask)
    }

    fn answered(&mut self, sent: Instant, answer: Answer, now: Instant) -> Option<Effect> {
        self.asking = false;
        match answer {
            Answer::Joined { incarnation, epoch } => {
                self.incarnation = Some(incarnation);
                self.renew(sent, epoch);
            }
            Answer::Renewed { epoch, others } => {
                self.renew(sent, epoch);
                if let Some(others) = others {
                    self.due = self.due.min(now + others + AFTER_EXPIRY);
                }
            }
            Answer::Gone => return self.lose(Standing::Outside, now),
            Answer::Superseded => return self.lose(Standing::Superseded, now),
            Answer::Behind => {
                self.behind = true;
                self.due = now;
            }
            Answer::Restored => {
                self.behind = false;
                self.due = now;
            }
            Answer::Released => {
                self.incarnation = None;
                self.standing = Standing::Left;
            }
            Answer::Failed => {}
        }
        let wanted = self.told != self.state || self.leaving;
        if wanted && answer != Answer::Failed {
            self.hurry(now);
        }
        None
    }

    fn renew(&mut self, sent: Instant, epoch: Epoch) {
        self.renewed = sent;
        self.standing = Standing::Held;
        self.seen = self.seen.max(epoch);
        // The answer itself may have come too late.
        self.behind = false;
    }

    fn lose(&mut self, standing: Standing, now: Instant) -> Option<Effect> {
        let had = self.incarnation.take();
        self.standing = standing;
        self.behind = false;
        self.due = now;
        if self.state == NodeState::Up {
            self.state = NodeState::Joining;
        }
        had.map(|_| Effect::Lapsed)
    }

    fn hear(&mut self, epoch: Epoch, now: Instant) {
        self.heard = self.heard.max(epoch);
        match self.standing {
            // Redis spoke to somebody since this node's lease ran out there.
            Standing::Frozen if epoch > self.heard_in_time => self.standing = Standing::Isolated,
            Standing::Held if epoch > self.seen => self.hurry(now),
            _ => {}
        }
    }

    fn be(&mut self, state: NodeState, now: Instant) {
        if self.state != state {
            self.state = state;
            self.hurry(now);
        }
    }

    fn hurry(&mut self, now: Instant) {
        self.due = self.due.min(now.max(self.sent + BREATH));
    }
}

#[cfg(test)]
mod tests;
