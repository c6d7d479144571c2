//! How the clients of a stopping node leave: asked one by one, with jitter, and only then closed.

use std::sync::Arc;
use std::time::Duration;

use rookery_actors::frames::Frames;
use rookery_actors::outlet::{Outlet, Urgency};
use rookery_actors::protocol::server::GoawayReason;
use rookery_actors::protocol::{CloseCode, ServerFrame};
use tokio::time::Instant;

use super::socket::Hub;

/// Connections told before others have the core.
const BATCH: usize = 64;
/// How often it is looked whether all have left.
const LOOK: Duration = Duration::from_millis(50);

/// Sends `goaway` to all, with reconnect times spread over the window, and waits until all have left or it is over.
pub async fn sockets(hub: &Arc<Hub>, window: Duration) {
    let end = Instant::now() + window;
    let spread = u64::try_from(window.as_millis() / 2).unwrap_or(u64::MAX);
    let connections = hub.connections();
    if connections == 0 {
        return;
    }
    tracing::info!(connections, "asking clients to go elsewhere");
    hub.walk(BATCH, |connection| {
        let goaway = ServerFrame::Goaway {
            reason: GoawayReason::Drain,
            reconnect_after_ms: hub.admission.random(spread),
            url: hub.door.elsewhere(connection.user),
        };
        connection.push(&Frames::one(goaway), Urgency::Answer);
    })
    .await;
    all_left(|| hub.connections(), end).await;
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
