//! A socket's hold on its session, wherever that is: on this node, or on another through a berth.

use std::sync::{Arc, OnceLock};

use rookery_cluster::membership::Epoch;
use tokio::sync::oneshot;

use super::link::Link;
use super::remote::berth::{Berth, Parts};
use super::remote::track::Track;
use crate::defaults;
use crate::hub::Hub;
use crate::id::ConnectionId;
use crate::outlet::Outlet;
use crate::protocol::Problem;
use crate::protocol::client::Request;
use crate::system::{Arrival, attach_here};
use crate::time::Timestamp;

/// A socket's hold on its session.
pub struct Hold {
    core: Arc<Hub>,
    connection: ConnectionId,
    /// The session as it was when the socket was attached here.
    here: Option<Link>,
    /// What holds the socket since its session is elsewhere.
    berth: OnceLock<Arc<Berth>>,
}

/// Attaches a socket to its user's session.
pub async fn attach(core: &Arc<Hub>, arrival: Arrival, outlet: Arc<dyn Outlet>) -> Result<Hold, Problem> {
    let shard = core.shard(arrival.user.as_bytes());
    let connection = outlet.id();
    if core.router.is_local(shard.id) && core.ready(arrival.user, Epoch::default()).await {
        match attach_here(core, &arrival, Arc::clone(&outlet), true).await {
            Ok(link) => {
                return Ok(Hold {
                    core: Arc::clone(core),
                    connection,
                    here: Some(link),
                    berth: OnceLock::new(),
                });
            }
            Err(problem) if shard.life.is_open() => return Err(problem),
            // It moved meanwhile; the socket was told nothing.
            Err(_) => {}
        }
    }
    attach_afar(core, arrival, outlet).await
}

async fn attach_afar(core: &Arc<Hub>, arrival: Arrival, outlet: Arc<dyn Outlet>) -> Result<Hold, Problem> {
    let connection = outlet.id();
    let (waiter, attached) = oneshot::channel();
    let parts = Parts {
        user: arrival.user,
        login: arrival.login,
        device: arrival.device,
        device_name: arrival.device_name,
        since: Timestamp::now(),
        outlet,
        track: Track::default(),
        watching: Vec::new(),
        waiter: Some(waiter),
        before: None,
    };
    let berth = Berth::new(parts, core);
    core.hold(&berth);
    let answer = tokio::time::timeout(defaults::ATTACH_WAIT, attached).await;
    match answer {
        Ok(Ok(Ok(_))) => Ok(Hold {
            core: Arc::clone(core),
            connection,
            here: None,
            berth: OnceLock::from(berth),
        }),
        failed => {
            berth.detach(core);
            match failed {
                Ok(Ok(Err(problem))) => Err(problem),
                _ => Err(Problem::unavailable("the node of the session does not answer")),
            }
        }
    }
}

impl Hold {
    /// Takes one frame; answers go to the outlet. Never blocks. `ping` and `reauth` are the gateway's own and never come here.
    pub fn frame(&self, request: Request) {
        match self.here() {
            Some(link) => link.frame(request),
            None => {
                if let Some(berth) = self.berth() {
                    berth.frame(&self.core, request);
                }
            }
        }
    }

    /// The outbox is empty again after it was full.
    pub fn drained(&self) {
        match self.here() {
            Some(link) => link.drained(),
            None => {
                if let Some(berth) = self.berth() {
                    berth.drained(&self.core);
                }
            }
        }
    }

    /// The socket is gone.
    pub fn detach(&self) {
        match self.berth() {
            Some(berth) => berth.detach(&self.core),
            None => {
                if let Some(link) = &self.here {
                    link.detach();
                }
            }
        }
    }

    fn here(&self) -> Option<&Link> {
        self.here.as_ref().filter(|link| !link.is_gone())
    }

    fn berth(&self) -> Option<&Arc<Berth>> {
        if let Some(berth) = self.berth.get() {
            return Some(berth);
        }
        let berth = self.core.berths.get(self.connection)?;
        Some(self.berth.get_or_init(|| berth))
    }
}
