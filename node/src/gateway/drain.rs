//! How the clients of a node leave that stops, or is out of its cluster: asked one by one, with jitter, and only then closed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rookery_actors::frames::Frames;
use rookery_actors::outlet::{Outlet, Urgency};
use rookery_actors::protocol::server::GoawayReason;
use rookery_actors::protocol::{CloseCode, ServerFrame};
use tokio::time::Instant;

use super::socket::{Connection, Hub};

/// Connections told before others have the core.
const BATCH: usize = 64;
/// How often it is looked whether all have left.
const LOOK: Duration = Duration::from_millis(50);
/// Those who come last are few: they need not be spread far.
const LATE_SPREAD_MS: u64 = 1_000;

/// Sends `goaway` to all, with reconnect times spread over the window, and waits until all have left or it is over.
pub async fn sockets(hub: &Arc<Hub>, window: Duration) {
    let end = Instant::now() + window;
    if hub.connections() == 0 {
        return;
    }
    ask(hub, GoawayReason::Drain, window, |_| {}).await;
    all_left(|| hub.connections(), end).await;
}

/// Sends `goaway` to those who are here now, and closes who of them is still there when the window is over. Who comes
/// meanwhile stays.
pub async fn away(hub: &Arc<Hub>, window: Duration) {
    let end = Instant::now() + window;
    let mut asked: Vec<Weak<Connection>> = Vec::new();
    ask(hub, GoawayReason::Rebalance, window, |connection| {
        asked.push(Arc::downgrade(connection));
    })
    .await;
    let here = || asked.iter().filter(|connection| connection.strong_count() > 0).count() as u64;
    all_left(here, end).await;
    for connection in asked.iter().filter_map(Weak::upgrade) {
        connection.close(CloseCode::NodeStopping);
    }
}

async fn ask(hub: &Arc<Hub>, reason: GoawayReason, window: Duration, mut asked: impl FnMut(&Arc<Connection>)) {
    let spread = u64::try_from(window.as_millis() / 2).unwrap_or(u64::MAX);
    tracing::info!(connections = hub.connections(), "asking clients to go elsewhere");
    hub.walk(BATCH, |connection| {
        // Nothing comes before `hello`: one that has no session yet is told when it has.
        if connection.is_attached() {
            tell(hub, connection, reason, spread);
            asked(connection);
        }
    })
    .await;
}

/// A client whose socket was attached while the node began to stop.
pub fn late(hub: &Hub, connection: &Connection) {
    tell(hub, connection, GoawayReason::Drain, LATE_SPREAD_MS);
}

fn tell(hub: &Hub, connection: &Connection, reason: GoawayReason, spread: u64) {
    let goaway = ServerFrame::Goaway {
        reason,
        reconnect_after_ms: hub.admission.random(spread),
        url: hub.door.elsewhere(connection.user),
    };
    connection.push(&Frames::one(goaway), Urgency::Answer);
}

/// Closes who is still there with 1001, and waits until the close frames are out and the last requests are answered.
pub async fn farewell(hub: &Arc<Hub>, requests: impl Fn() -> u64, patience: Duration) {
    hub.walk(BATCH, |connection| connection.close(CloseCode::NodeStopping))
        .await;
    all_left(|| hub.connections() + requests(), Instant::now() + patience).await;
}

async fn all_left(there: impl Fn() -> u64, end: Instant) {
    while there() > 0 && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
}
