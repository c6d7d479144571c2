//! Sockets that go on where they were, with another owner of their session.

use std::sync::Arc;

use crate::hub::Hub;
use crate::id::{ConversationId, DeviceId, LoginId};
use crate::interchange::parcel::{Attach, Refusal};
use crate::outlet::Outlet;
use crate::protocol::CloseCode;
use crate::session::actor::Msg;
use crate::session::catch_up::{CatchUp, Range};
use crate::session::link::Link;
use crate::session::state::{Attached, Phase, State, Told};
use crate::session::table::Cell;
use crate::system::Arrival;
use crate::time::Timestamp;

/// A socket that was attached elsewhere before.
pub struct Resumed<'r> {
    pub outlet: Arc<dyn Outlet>,
    pub device: DeviceId,
    pub login: LoginId,
    pub since: Timestamp,
    /// By conversation, in their order, the seq up to which it has everything.
    pub passed: &'r [(ConversationId, u64)],
}

/// How much of what was missed in conversations of which nothing had been passed on is replayed.
#[derive(Clone, Copy)]
pub struct Replays {
    pub each: u64,
    pub all: u64,
}

impl State {
    /// Attaches a socket that goes on where it was; false when a later one of the same device is here.
    pub fn resume(&mut self, resumed: Resumed<'_>, replays: Replays) -> bool {
        let connection = resumed.outlet.id();
        self.attached.retain(|attached| attached.outlet.id() != connection);
        let later = |attached: &Attached| attached.device == resumed.device && attached.since > resumed.since;
        if self.attached.iter().any(later) {
            return false;
        }
        self.close_where(CloseCode::Replaced, |attached| attached.device == resumed.device);
        // What was passed on exists, whether or not this session has heard of it.
        for (conversation, seq) in resumed.passed {
            self.raise(*conversation, *seq);
        }
        // A conversation that began while another node owned this session; it learns of it yet.
        let unknown = |(conversation, _): &&(ConversationId, u64)| self.standing(*conversation).is_none();
        let ahead = resumed.passed.iter().filter(unknown).copied().collect();
        let catch_up = self.since(resumed.device, resumed.passed, replays);
        self.attached.push(Attached {
            phase: catch_up.map_or(Phase::Live, |catch_up| Phase::CatchingUp(Box::new(catch_up))),
            outlet: resumed.outlet,
            device: resumed.device,
            login: resumed.login,
            since: resumed.since,
            told: Told::default(),
            ahead,
        });
        true
    }

    /// What a socket lacks that has everything up to these seqs, and of other conversations what its cursor says.
    fn since(&self, device: DeviceId, passed: &[(ConversationId, u64)], replays: Replays) -> Option<CatchUp> {
        let mut catch_up = CatchUp {
            budget: replays.all,
            ..CatchUp::default()
        };
        for range in self.news(device) {
            let known = passed.binary_search_by_key(&range.conversation, |(conversation, _)| *conversation);
            let from = known.map_or(range.from, |index| range.from.max(passed[index].1 + 1));
            if from > range.to {
                continue;
            }
            let range = Range { from, ..range };
            catch_up.ranges.push(range);
            if known.is_err() {
                catch_up.limit(range, replays.each);
            }
        }
        (!catch_up.ranges.is_empty() || !catch_up.gaps.is_empty()).then_some(catch_up)
    }
}

impl Hub {
    /// Attaches a socket that was attached elsewhere before: no second `hello`, and nothing twice.
    pub(super) async fn resume(
        self: &Arc<Self>,
        arrival: &Arrival,
        outlet: Arc<dyn Outlet>,
        attach: &Attach,
        passed: &[(ConversationId, u64)],
    ) -> Result<Link, Refusal> {
        let cell = self.sessions.get_or_make(arrival.user);
        self.load_session(&cell).await?;
        let device = known_device(&cell, arrival).ok_or(Refusal::Replaced)?;
        let link = Link::resumed(Arc::clone(self), Arc::clone(&cell), device, &outlet);
        let (first, behind) = {
            let mut state = cell.state();
            let is_served = self.shard(arrival.user.as_bytes()).life.is_open() && !cell.is_gone();
            // Of two attempts of one socket the earlier may have waited longer: it must not take the place of the later.
            if !is_served || outlet.is_closed() {
                return Err(Refusal::NotOwner);
            }
            let first = state.attached.is_empty();
            let resumed = Resumed {
                outlet,
                device,
                login: arrival.login,
                since: attach.since,
                passed,
            };
            let replays = Replays {
                each: self.limits.sync_messages,
                all: self.limits.sync_messages_total,
            };
            if !state.resume(resumed, replays) {
                return Err(Refusal::Replaced);
            }
            (first, state.lagging())
        };
        if first {
            self.presence_changed(&cell, true, Timestamp::now());
        }
        self.metrics.replays.increment(behind.len() as u64);
        for connection in behind {
            self.tell_session(&cell, Msg::Replay(connection));
        }
        Ok(link)
    }
}

/// The device of a socket that was attached before; nobody's any more when it was removed meanwhile.
fn known_device(cell: &Cell, arrival: &Arrival) -> Option<DeviceId> {
    let state = cell.state();
    let mut devices = state.devices.iter();
    let known = devices.find(|device| Some(device.id) == arrival.device && device.login == arrival.login);
    known.map(|device| device.id)
}
