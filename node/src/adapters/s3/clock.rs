//! The store's clock, as its answers tell it. It refuses what is signed by another that is off by more than about a quarter of an
//! hour; so requests and URLs are signed by the store's, and between two answers by the machine's monotonic one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_async::time::TimeSource;
use parking_lot::Mutex;
use rookery_actors::time::{Reading, Timestamp};

/// Times that differ by less are as good as alike, for all that a store minds.
const ALIKE_MS: u64 = 60_000;

/// Takes the date of an answer, which is told to the second; says whether it is another time than was thought.
fn hear(reading: &mut Reading, time: Timestamp, now: Instant) -> bool {
    let is_off = time.0.abs_diff(reading.by(now).0) >= ALIKE_MS;
    if is_off {
        *reading = Reading { at: now, time };
    }
    is_off
}

/// The store's clock. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Mutex<Reading>>);

impl Default for Clock {
    /// Until an answer tells of another time, it shows what the machine's own does now.
    fn default() -> Self {
        let (at, time) = (Instant::now(), Timestamp::now());
        Self(Arc::new(Mutex::new(Reading { at, time })))
    }
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        self.0.lock().by(Instant::now())
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let milliseconds = u64::try_from(Self::now(self).0).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }
}

/// Every answer comes by here. A refusal that may be for the time is asked about once more, with the time set right.
impl ClassifyRetry for Clock {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response() else {
            return RetryAction::NoActionIndicated;
        };
        let date = response.headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let time = date.and_then(|date| date.to_millis().ok()).map(Timestamp);
        let was_off = time.is_some_and(|time| hear(&mut self.0.lock(), time, Instant::now()));
        match was_off && response.status().as_u16() == 403 {
            true => RetryAction::transient_error(),
            false => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "the store's clock"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_by_itself_and_is_set_by_answers_that_tell_of_another_time() {
        const NOW: Timestamp = Timestamp(1_800_000_000_000);
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let later = |seconds: i64| Timestamp(NOW.0 + seconds * 1000);
        let mut set = Reading { at: begin, time: NOW };
        assert_eq!(set.by(after(10)), later(10));
        assert!(!hear(&mut set, later(11), after(12)), "answers are dated to the second");
        assert_eq!(set.by(after(20)), later(20));
        assert!(hear(&mut set, later(3_630), after(30)));
        assert_eq!(set.by(after(40)), later(3_640));
        assert!(!hear(&mut set, later(3_650), after(50)));
    }
}
