//! The section `mongodb` of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

crate::config::settings! {
    /// The store on a MongoDB server, 4.4 or later: accounts, conversations and files. Left empty, they stand in the data
    /// directory, for one node alone.
    secrets(url)
    pub struct Settings {
        /// Where the server is and who signs in, such as `mongodb://user:password@db1,db2/?replicaSet=rs0` or
        /// `mongodb+srv://...`; what the URL says of reading and writing preferences is overruled. Empty: read from
        /// `url_file`.
        url: String = String::new();
        /// A file that holds the URL, so that the password stands in no other place.
        url_file: PathBuf = PathBuf::new();
        /// The database, of which this server makes the collections and indexes.
        database: String = "rookery".to_owned();
        /// Connections a node keeps to each server, at most.
        pool_size: u32 = 32;
        /// How long one command may take, the wait for a connection included, in milliseconds.
        command_timeout_ms: u32 = 10_000;
        /// How long a command waits for a server that can take it, such as while a replica set elects, in milliseconds.
        selection_timeout_ms: u32 = 3_000;
        /// How long a connection may take to be made, in milliseconds.
        connect_timeout_ms: u32 = 3_000;
        /// A file of certificates in PEM that the server's must be signed by; turns TLS on. Empty: the public authorities,
        /// where the URL asks for TLS.
        tls_ca_file: PathBuf = PathBuf::new();
    }
}

impl Settings {
    /// Whether the store is on MongoDB.
    pub fn is_chosen(&self) -> bool {
        !self.url.is_empty() || !self.url_file.as_os_str().is_empty()
    }

    /// Says what is wrong with them, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.url.is_empty() && !self.url_file.as_os_str().is_empty() {
            return Err("mongodb.url and mongodb.url_file: give one or the other".into());
        }
        let database = &self.database;
        if database.is_empty() || database.len() > 63 || database.contains(['/', '\\', '.', '"', '$', ' ', '\0']) {
            return Err(
                "mongodb.database must be a name of 1 to 63 bytes without any of / \\ . \" $ and spaces".into(),
            );
        }
        for (key, value) in [
            ("pool_size", self.pool_size),
            ("command_timeout_ms", self.command_timeout_ms),
            ("selection_timeout_ms", self.selection_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
        ] {
            if value == 0 {
                return Err(format!("mongodb.{key} must be at least 1"));
            }
        }
        Ok(())
    }

    /// The URL, from wherever it stands. What is complained of never shows it.
    pub(super) fn read_url(&self) -> Result<String, String> {
        if self.url_file.as_os_str().is_empty() {
            return Ok(self.url.clone());
        }
        let file = self.url_file.display();
        let text = std::fs::read_to_string(&self.url_file)
            .map_err(|error| format!("cannot read mongodb.url_file {file}: {error}"))?;
        let url = text.trim();
        if url.is_empty() {
            return Err(format!(
                "mongodb.url_file {file} is empty; it must hold the URL of the server"
            ));
        }
        Ok(url.to_owned())
    }

    pub(super) fn tls_ca_file(&self) -> Option<&Path> {
        Some(self.tls_ca_file.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    pub(super) fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms.into())
    }

    pub(super) fn selection_timeout(&self) -> Duration {
        Duration::from_millis(self.selection_timeout_ms.into())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn the_defaults_are_sound_and_choose_nothing() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert!(!Settings::default().is_chosen());
    }

    #[test]
    fn what_cannot_work_is_named() {
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = Settings {
                url: "mongodb://user:hush@host".into(),
                ..Settings::default()
            };
            change(&mut settings);
            settings.check().expect_err("it is refused")
        };
        assert!(wrong(|settings| settings.url_file = "file".into()).contains("url_file"));
        assert!(wrong(|settings| settings.database = "a.b".into()).contains("database"));
        assert!(wrong(|settings| settings.pool_size = 0).contains("pool_size"));
        assert!(!wrong(|settings| settings.pool_size = 0).contains("hush"));
    }

    #[test]
    fn a_url_is_read_from_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("url");
        std::fs::write(&file, "mongodb://somewhere\n").expect("written");
        let settings = Settings {
            url_file: file,
            ..Settings::default()
        };
        assert!(settings.is_chosen());
        assert_eq!(settings.read_url().as_deref(), Ok("mongodb://somewhere"));
        let missing = Settings {
            url_file: directory.path().join("missing"),
            ..Settings::default()
        };
        assert!(missing.read_url().expect_err("it is not there").contains("missing"));
    }
}
