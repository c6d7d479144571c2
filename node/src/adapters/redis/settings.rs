//! The section `redis` of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rookery_cluster::primary::{Target, Timeouts};

use crate::adapters::authorities;

/// Below this a Redis that is merely busy is taken for away.
const LEAST_MS: u32 = 50;
/// Beyond this whoever waits for a log-in has long gone.
const MOST_MS: u32 = 60_000;

crate::config::settings! {
    /// Redis: who is signed in, what was revoked, and who is in the cluster. Without it a node keeps its logins in its data
    /// directory and is a cluster by itself.
    ///
    /// Redis must keep what it is told over its own restarts (`appendonly yes`) and evict nothing (`maxmemory-policy
    /// noeviction`), or logins end with it. Redis 6 or later.
    secrets(url)
    pub struct Settings {
        /// Where it is: `redis://[user:password@]host:port[/db]`, or `rediss://` with TLS; several of these with commas
        /// between, of which the one that is the primary is taken; or Sentinels and the name they know the primary by:
        /// `sentinel://[user:password@]host:port,host:port/name[/db]`, or `sentinels://` with TLS to them and to the primary.
        /// User and password are the primary's; what Sentinels of their own want follows the rest:
        /// `?sentinel_username=user&sentinel_password=password`. Empty: read from `url_file`.
        url: String = String::new();
        /// The file that holds the url. Empty: none.
        url_file: PathBuf = PathBuf::new();
        /// A file of certificates in PEM form: the authorities to trust for `rediss://` and `sentinels://` in place of the
        /// public ones. Empty: the public ones.
        ca_file: PathBuf = PathBuf::new();
        /// With what the names of all keys begin, so that several clusters can share one Redis.
        prefix: String = "rookery".into();
        /// How long to try to reach the primary, in milliseconds.
        connect_ms: u32 = 1000;
        /// How long to wait for an answer, in milliseconds.
        answer_ms: u32 = 1000;
    }
}

impl Settings {
    /// Whether a Redis was chosen.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty() || !self.url_file.as_os_str().is_empty()
    }

    /// Says what is wrong with them, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.url.is_empty() && !self.url_file.as_os_str().is_empty() {
            return Err("redis.url and redis.url_file: give one or the other".into());
        }
        if !self.url.is_empty() {
            let target = Target::parse(&self.url).map_err(|error| format!("redis.url {error}"))?;
            self.check_authorities(&target)?;
        }
        let spelled = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(spelled) {
            let must = "must be 1 to 64 letters, digits, dots, hyphens, colons and underscores";
            return Err(format!("redis.prefix {must}"));
        }
        for (key, value) in [("connect_ms", self.connect_ms), ("answer_ms", self.answer_ms)] {
            if !(LEAST_MS..=MOST_MS).contains(&value) {
                return Err(format!("redis.{key} must be {LEAST_MS} to {MOST_MS}"));
            }
        }
        Ok(())
    }

    /// Where Redis is, with what the files say; an error is one sentence that names the key.
    pub fn target(&self) -> Result<Target, String> {
        let target = if self.url.is_empty() {
            let text = read(&self.url_file)?;
            Target::parse(text.trim()).map_err(|error| format!("what the file of redis.url_file holds {error}"))
        } else {
            Target::parse(&self.url).map_err(|error| format!("redis.url {error}"))
        }?;
        self.check_authorities(&target)?;
        if self.ca_file.as_os_str().is_empty() {
            return Ok(target);
        }
        Ok(target.trusting(authorities::read("redis.ca_file", &self.ca_file)?))
    }

    /// Whoever names authorities wants TLS.
    fn check_authorities(&self, target: &Target) -> Result<(), String> {
        if self.ca_file.as_os_str().is_empty() || target.has_tls() {
            return Ok(());
        }
        Err("redis.ca_file is set, but redis.url has no TLS: begin it with rediss:// or sentinels://".into())
    }

    /// How long a call may take.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: Duration::from_millis(self.connect_ms.into()),
            answer: Duration::from_millis(self.answer_ms.into()),
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("redis.url_file: {} cannot be read: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Settings {
        Settings {
            url: url.into(),
            ..Settings::default()
        }
    }

    #[test]
    fn the_defaults_are_sound_and_choose_no_redis() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert!(!Settings::default().is_set() && of("redis://a").is_set());
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key_and_without_the_password() {
        let both = Settings {
            url_file: "file".into(),
            ..of("redis://a")
        };
        let prefix = Settings {
            prefix: "{a}".into(),
            ..of("redis://a")
        };
        let hasty = Settings {
            answer_ms: 1,
            ..of("redis://a")
        };
        let in_the_clear = Settings {
            ca_file: "ca.pem".into(),
            ..of("rediss://a,redis://ada:secret@b")
        };
        for (settings, key) in [
            (both, "url_file"),
            (in_the_clear, "redis.ca_file"),
            (prefix, "prefix"),
            (hasty, "answer_ms"),
            (of("ada:secret@a"), "redis.url"),
        ] {
            let problem = settings.check().unwrap_err();
            assert!(problem.contains(key) && !problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn the_url_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "redis://ada:secret@cache:7000\n").unwrap();
        let settings = Settings {
            url_file: file.path().into(),
            ..Settings::default()
        };
        assert!(settings.is_set());
        assert_eq!(
            settings.target().map(|target| target.to_string()),
            Ok("cache:7000".into())
        );
        let missing = Settings {
            url_file: "/nowhere/at/all".into(),
            ..Settings::default()
        };
        assert!(missing.target().err().unwrap().contains("redis.url_file"));
    }
}
