//! Heartbeats, expiry and silence: one task walks all connections, a slice a tick, instead of a timer each.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rookery_actors::outlet::Outlet;
use rookery_actors::protocol::{CloseCode, Limits};
use tokio::time::MissedTickBehavior;

use super::connection::Connection;
use super::hub::{CLOSE_GRACE, Hub};

/// How often the wheel turns a notch, and how finely the hub's clock is told.
const TICK: Duration = Duration::from_millis(200);
/// Every connection is looked at this often, at least: how late a token's expiry may be noticed.
const LONGEST_ROUND: Duration = Duration::from_secs(2);
/// Connections looked at before others have the core.
const BATCH: usize = 256;
/// How long a frame may stay incomplete, in seconds: nobody's network is that slow, but a slow loris is.
const FRAME_SECONDS: u32 = 10;

/// Turns the wheel as long as the hub lives.
pub async fn run(hub: Arc<Hub>) {
    let ticks = ticks_a_round(&hub.limits);
    let mut hands = vec![0; hub.lanes.len()];
    let mut batch = Vec::with_capacity(BATCH);
    let mut timer = tokio::time::interval(TICK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        timer.tick().await;
        let now = hub.clock.advance();
        for (lane, hand) in hub.lanes.iter().zip(&mut hands) {
            let slots = lane.slots();
            let mut left = slots.div_ceil(ticks);
            while left > 0 {
                let step = left.min(BATCH);
                lane.range(*hand..*hand + step, &mut batch);
                batch.drain(..).for_each(|connection| visit(&connection, now));
                *hand = if *hand + step >= slots { 0 } else { *hand + step };
                left -= step;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// In how many ticks the wheel goes round: short limits are kept as exactly as long ones.
fn ticks_a_round(limits: &Limits) -> usize {
    let shortest = limits.heartbeat_seconds.min(limits.idle_seconds).max(1);
    let round = (Duration::from_secs(shortest.into()) / 8).min(LONGEST_ROUND);
    (round.as_millis() / TICK.as_millis()).max(1) as usize
}

/// Looks at a connection, at that second of the hub's clock.
fn visit(connection: &Connection, now: u32) {
    let limits = &connection.hub().limits;
    let since = |mark: u32| (mark > 0).then(|| now.saturating_sub(mark - 1));
    if let Some(closing) = since(connection.waits.close.load(Relaxed)) {
        if closing >= CLOSE_GRACE.as_secs() as u32 {
            connection.cut();
        }
        return;
    }
    let heard = connection.heard.load(Relaxed);
    let silent = now.saturating_sub(heard);
    if connection.expires.load(Relaxed) <= now {
        connection.close(CloseCode::TokenExpired);
    } else if silent >= limits.idle_seconds {
        connection.close(CloseCode::Idle);
    } else if since(connection.waits.frame.load(Relaxed)).is_some_and(|waited| waited >= FRAME_SECONDS) {
        connection.close(CloseCode::Protocol);
    } else if now.saturating_sub(heard.max(connection.pinged.load(Relaxed))) >= limits.heartbeat_seconds {
        connection.pinged.store(now, Relaxed);
        connection.ping();
    } else if silent > 1 {
        connection.relax();
    }
}
