//! Patience with a socket that refused bytes: a task that lives until they are written, or the write deadline passes.
//!
//! The one place where a connection has a timer, and only while it is stalled.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use rookery_actors::outlet::Outlet;
use rookery_actors::protocol::CloseCode;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::hub::CLOSE_GRACE;
use super::meters::Tally;
use super::outbox::End;

/// Writes whenever the socket takes something, until nothing waits.
pub async fn drain(connection: Arc<Connection>) {
    let mut tally = Tally::default();
    let patience = Duration::from_secs(connection.hub().limits.write_deadline_seconds.into());
    let mut deadline = Instant::now() + patience;
    loop {
        match timeout_at(deadline, poll_fn(|cx| connection.poll_writable(cx))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return connection.cut(),
            Err(_) if !connection.is_closing() => {
                connection.close(CloseCode::TooSlow);
                deadline = Instant::now() + CLOSE_GRACE;
                continue;
            }
            Err(_) => return connection.cut(),
        }
        let wrote = connection.drain();
        tally.add(wrote);
        tally.record(&connection.hub().meters);
        match wrote.end {
            End::Empty | End::Failed => return,
            End::Blocked | End::More if wrote.bytes == 0 => {}
            End::Blocked | End::More => deadline = Instant::now() + patience,
        }
        tokio::task::consume_budget().await;
    }
}
