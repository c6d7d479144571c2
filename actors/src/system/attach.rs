//! Attaching a socket to its session: which device it is, and what it is told first.

use std::sync::Arc;

use super::Arrival;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::DeviceId;
use crate::outlet::{Outlet, Urgency};
use crate::ports::accounts::Device;
use crate::protocol::server::Hello;
use crate::protocol::{CloseCode, Problem, ServerFrame};
use crate::session::actor::Msg;
use crate::session::link::Link;
use crate::session::state::Phase;
use crate::session::table::Cell;
use crate::time::Timestamp;

/// Attaches a socket to a session of this node; one that is not to be greeted has had its `hello` from another.
pub async fn attach(core: &Arc<Hub>, arrival: &Arrival, outlet: Arc<dyn Outlet>, greet: bool) -> Result<Link, Problem> {
    let cell = core.sessions.get_or_make(arrival.user);
    core.load_session(&cell).await?;
    let device = match known_device(&cell, arrival) {
        Some(device) => device,
        None => new_device(core, &cell, arrival).await?,
    };
    let hello = Frames::one(ServerFrame::Hello(Box::new(Hello {
        user: arrival.user,
        device,
        connection: outlet.id().to_string(),
        node: outlet.gateway().unwrap_or(&core.node).to_string(),
        heartbeat_s: core.limits.heartbeat_seconds,
        limits: (*core.limits).clone(),
    })));
    let link = Link::new(Arc::clone(core), Arc::clone(&cell), device, &outlet);
    let (first, behind) = {
        let mut state = cell.state();
        // Here, under the lock, it is sure: who hands the session over takes the lock to find its sockets.
        if cell.is_gone() || !core.shard(arrival.user.as_bytes()).life.is_open() {
            return Err(Problem::unavailable("the session is moving to another node"));
        }
        if outlet.is_closed() {
            return Err(Problem::unavailable("the socket is attached otherwise by now"));
        }
        let first = state.attached.is_empty();
        if greet {
            outlet.push(&hello, Urgency::Answer);
        }
        let attached = state.attach(
            Arc::clone(&outlet),
            device,
            arrival.login,
            core.limits.sync_messages_total,
        );
        attached.since = Timestamp::now();
        let behind = matches!(attached.phase, Phase::CatchingUp(_));
        if !behind {
            outlet.push(&core.nothing_missed, Urgency::Answer);
        }
        (first, behind)
    };
    if first {
        core.presence_changed(&cell, true, Timestamp::now());
    }
    if behind {
        core.metrics.replays.increment(1);
        core.tell_session(&cell, Msg::Replay(outlet.id()));
    }
    Ok(link)
}

/// The device the socket names, if it is this login's.
fn known_device(cell: &Cell, arrival: &Arrival) -> Option<DeviceId> {
    let state = cell.state();
    let known =
        |device: &&crate::session::state::Device| Some(device.id) == arrival.device && device.login == arrival.login;
    state.devices.iter().find(known).map(|device| device.id)
}

/// Makes a device; when the user then has too many, those seen longest ago go.
async fn new_device(core: &Arc<Hub>, cell: &Arc<Cell>, arrival: &Arrival) -> Result<DeviceId, Problem> {
    let id = DeviceId::fresh();
    let now = Timestamp::now();
    let device = Device {
        id,
        login: arrival.login,
        name: arrival.device_name.clone(),
        created_at: now,
        last_seen_at: Some(now),
    };
    let replaced = core
        .accounts
        .create_device(arrival.user, device, core.limits.devices_per_user)
        .await?;
    let mut state = cell.state();
    for device in replaced {
        state.remove_device(device, CloseCode::Replaced);
    }
    state.add_device(id, arrival.login);
    Ok(id)
}

impl Hub {
    /// Sockets were taken off a session: it may be empty now.
    pub fn left_by_force(&self, cell: &Arc<Cell>) {
        if cell.state().attached.is_empty() {
            let now = Timestamp::now();
            self.presence_changed(cell, false, now);
            self.sessions.vacated(Arc::clone(cell), now);
        }
    }
}
