//! Wall-clock time as the protocol has it: milliseconds since the Unix epoch, written as RFC 3339 in UTC.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch, UTC. On the wire `2026-11-21T09:30:00.123Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock. The one place that reads it; pure code takes `now` as an argument.
    pub fn now() -> Self {
        #[cfg(feature = "testkit")]
        if let Some(simulated) = crate::testkit::clock::now() {
            return simulated;
        }
        Self(jiff::Timestamp::now().as_millisecond())
    }
}

/// What a wall clock showed when. From there on the monotonic clock, which no one sets, tells the time.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub at: Instant,
    pub time: Timestamp,
}

impl Reading {
    /// What it would show by then, had nobody set it since.
    pub fn by(self, now: Instant) -> Timestamp {
        let passed = now.saturating_duration_since(self.at).as_millis();
        Timestamp(self.time.0.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.3}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        jiff::Timestamp::deserialize(deserializer).map(|time| Self(time.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn a_time_is_written_with_milliseconds() {
        assert_eq!(Timestamp(1_795_253_400_123).to_string(), "2026-11-21T09:30:00.123Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
