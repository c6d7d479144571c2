//! The section `auth` of the configuration.

use std::time::Duration;

use argon2::Params;

/// A memory cost below this is for tests and load runs: OWASP's floor for Argon2id.
const SAFE_MEMORY_KIB: u32 = 7 * 1024;
/// The longest an access token may live: it is what bounds how long revocations and old keys are kept.
const LONGEST_ACCESS_TOKEN_SECONDS: u32 = 24 * 60 * 60;

crate::config::settings! {
    /// Passwords and tokens.
    pub struct Settings {
        /// How long an access token is valid, in seconds, at most a day. Lowering it shortens tokens already given, too.
        access_token_seconds: u32 = 15 * 60;
        /// How long a refresh token is valid, in days; each refresh gives a new one.
        refresh_token_days: u32 = 30;
        /// Memory that hashing one password takes, in KiB (Argon2id). Less than 7168 is not safe against a stolen
        /// database; 8 is the least there is, for load tests.
        password_memory_kib: u32 = Params::DEFAULT_M_COST;
        /// Passes over that memory.
        password_iterations: u32 = Params::DEFAULT_T_COST;
        /// Lanes of that memory; they are worked on one after the other.
        password_parallelism: u32 = Params::DEFAULT_P_COST;
        /// Threads that hash passwords, at low priority; 0 takes half of the cores, at least one.
        password_threads: usize = 0;
        /// Passwords that may wait for a thread; beyond it sign-ups and log-ins are answered `unavailable`.
        password_queue: usize = 256;
    }
}

impl Settings {
    /// Says what is wrong with them, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=LONGEST_ACCESS_TOKEN_SECONDS).contains(&self.access_token_seconds) {
            return Err(format!(
                "auth.access_token_seconds must be 1 to {LONGEST_ACCESS_TOKEN_SECONDS}"
            ));
        }
        if !(1..=3650).contains(&self.refresh_token_days) {
            return Err("auth.refresh_token_days must be 1 to 3650".into());
        }
        if self.password_queue == 0 {
            return Err("auth.password_queue must be at least 1".into());
        }
        self.password_cost().map(drop)
    }

    /// What weakens this server and should be said at start.
    pub fn warning(&self) -> Option<String> {
        (self.password_memory_kib < SAFE_MEMORY_KIB).then(|| {
            format!(
                "auth.password_memory_kib is {}: passwords are hashed too cheaply for anything but tests",
                self.password_memory_kib
            )
        })
    }

    pub(super) fn password_cost(&self) -> Result<Params, String> {
        let (memory, lanes) = (self.password_memory_kib, self.password_parallelism);
        Params::new(memory, self.password_iterations, lanes, None).map_err(|error| {
            format!(
                "auth.password_memory_kib, password_iterations and password_parallelism do not go together: {error}"
            )
        })
    }

    pub(super) fn thread_count(&self) -> usize {
        match self.password_threads {
            0 => (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1),
            threads => threads,
        }
    }

    /// How long an access token is valid.
    pub fn access_token_life(&self) -> Duration {
        Duration::from_secs(self.access_token_seconds.into())
    }

    pub(super) fn refresh_token_ms(&self) -> i64 {
        i64::from(self.refresh_token_days) * 24 * 60 * 60 * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(Settings::default().warning(), None);
    }

    #[test]
    fn the_least_memory_is_allowed_with_a_warning() {
        let least = Settings {
            password_memory_kib: 8,
            ..Settings::default()
        };
        assert_eq!(least.check(), Ok(()));
        assert!(least.warning().is_some());
        let too_little = Settings {
            password_memory_kib: 7,
            ..Settings::default()
        };
        assert!(too_little.check().is_err());
    }

    #[test]
    fn lives_that_make_no_sense_are_refused() {
        for access_token_seconds in [0, LONGEST_ACCESS_TOKEN_SECONDS + 1] {
            let settings = Settings {
                access_token_seconds,
                ..Settings::default()
            };
            assert!(settings.check().is_err());
        }
    }
}
