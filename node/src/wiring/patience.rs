//! How long a start waits for services that are away.

use std::time::Duration;

use rookery_actors::ports::{PortError, PortResult};
use tokio::time::Instant;

use crate::cli::{Failure, Status};

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Until when it is tried again.
#[derive(Clone, Copy)]
pub struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub fn of(wait: Duration) -> Self {
        let until = Instant::now() + wait;
        Self { until, pause: PAUSE }
    }

    /// Tries until it opens, as long as there is hope: what trying again does not mend is told at once.
    pub async fn open<T>(self, attempt: impl AsyncFn() -> PortResult<T>) -> PortResult<T> {
        loop {
            let error = match attempt().await {
                Err(PortError::Unavailable(error) | PortError::Unknown(error)) => error,
                opened => return opened,
            };
            if Instant::now() + self.pause > self.until {
                return Err(PortError::Unavailable(error));
            }
            tracing::warn!(%error, "waiting for a service");
            tokio::time::sleep(self.pause).await;
        }
    }
}

/// All that is wrong, a sentence each. Of what only time mends and what the operator must, the second decides the status.
pub fn together(wrong: Vec<PortError>) -> Failure {
    let is_away = |error: &PortError| !matches!(error, PortError::Broken(_));
    let status = match wrong.iter().all(is_away) {
        true => Status::Unavailable,
        false => Status::Configuration,
    };
    let sentences: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    Failure::new(status, sentences.join("\nrookery: "))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn patience(wait: Duration) -> Patience {
        Patience {
            pause: Duration::from_millis(1),
            ..Patience::of(wait)
        }
    }

    fn away() -> PortError {
        PortError::Unavailable("away".into())
    }

    #[tokio::test]
    async fn a_service_that_comes_in_time_is_waited_for() {
        let tries = Cell::new(0);
        let attempt = async || {
            tries.set(tries.get() + 1);
            if tries.get() < 4 { Err(away()) } else { Ok(tries.get()) }
        };
        let opened = patience(Duration::from_secs(5)).open(attempt).await;
        assert!(matches!(opened, Ok(4)));
    }

    #[tokio::test]
    async fn what_does_not_come_or_will_not_mend_is_told() {
        let broken = async || Err::<(), _>(PortError::Broken("wrong password".into()));
        let told = patience(Duration::from_secs(60)).open(broken).await;
        assert!(matches!(told, Err(PortError::Broken(_))));
        let told = patience(Duration::ZERO).open(async || Err::<(), _>(away())).await;
        assert!(matches!(told, Err(PortError::Unavailable(_))));
    }

    #[test]
    fn every_service_has_its_sentence() {
        let both = together(vec![away(), PortError::Broken("wrong password".into())]);
        assert_eq!(both.sentence, "away\nrookery: wrong password");
        assert_eq!(both.status, Status::Configuration);
        assert_eq!(together(vec![away()]).status, Status::Unavailable);
    }
}
