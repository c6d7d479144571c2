//! A wall clock for simulations: it goes by Tokio's clock, and jumps when it is told to. Each thread has its own.

use std::cell::Cell;

use tokio::time::Instant;

use crate::time::Timestamp;

thread_local! {
    /// What it showed when.
    static SHOWN: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
}

/// From now on this thread's wall clock shows that time, and goes on from there. Call it within a runtime.
pub fn set(time: Timestamp) {
    SHOWN.set(Some((time, Instant::now())));
}

/// Has this thread's clock jump, forward or back.
pub fn jump(milliseconds: i64) {
    set(Timestamp(Timestamp::now().0 + milliseconds));
}

/// What this thread's clock shows, if it was ever set.
pub(crate) fn now() -> Option<Timestamp> {
    let (time, at) = SHOWN.get()?;
    Some(Timestamp(time.0 + at.elapsed().as_millis() as i64))
}
