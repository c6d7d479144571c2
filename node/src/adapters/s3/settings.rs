//! The section `s3` of the configuration.

use std::path::PathBuf;

crate::config::settings! {
    /// Contents of files in a bucket of Amazon S3, or of anything that speaks its protocol. Left out, they are files in the
    /// data directory. Clients move them straight to and from the store, so it must be reachable for them, and where browsers
    /// are among them, the bucket's CORS rules must allow PUT and GET from their origin and expose `ETag`.
    secrets(secret_key, session_token)
    pub struct Settings {
        /// The bucket; empty keeps contents in the data directory. It must be there, and its keys must be allowed to write,
        /// read, list and delete objects and to use multipart uploads.
        bucket: String = String::new();
        /// What all keys begin with, such as `rookery/`, where the bucket has other uses.
        prefix: String = String::new();
        /// The store's URL, such as `https://minio.internal:9000`; empty takes Amazon's of the region.
        endpoint: String = String::new();
        /// The URL under which clients reach the store, where that is another.
        public_endpoint: String = String::new();
        /// The region; stores that have none take any.
        region: String = "us-east-1".into();
        /// Whether the bucket stands in the path of a URL (`https://host/bucket/key`), which every store understands, or in the
        /// host's name.
        path_style: bool = true;
        /// The access key's id.
        access_key: String = String::new();
        /// The secret key; better given in `ROOKERY_S3__SECRET_KEY` or by `secret_key_file`.
        secret_key: String = String::new();
        /// A file that holds the secret key.
        secret_key_file: PathBuf = PathBuf::new();
        /// The token that belongs to temporary keys.
        session_token: String = String::new();
        /// Certificates that sign the store's, as a PEM file; empty takes the system's.
        ca_file: PathBuf = PathBuf::new();
    }
}

impl Settings {
    /// Whether contents are in an object store at all.
    pub fn is_chosen(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Says what is wrong with them, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_chosen() {
            return Ok(());
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !self.bucket.chars().all(legal) {
            return Err("s3.bucket must be made of letters, digits, '.', '_' and '-'".into());
        }
        if !self.prefix.chars().all(|c| legal(c) || c == '/') || self.prefix.starts_with('/') {
            return Err(
                "s3.prefix must be made of letters, digits, '.', '_', '-' and '/', and not begin with '/'".into(),
            );
        }
        for (key, url) in [("endpoint", &self.endpoint), ("public_endpoint", &self.public_endpoint)] {
            if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!("s3.{key} must begin with http:// or https://"));
            }
        }
        if !self.ca_file.as_os_str().is_empty() && self.endpoint.starts_with("http://") {
            return Err("s3.ca_file is set, but s3.endpoint has no TLS: begin it with https://".into());
        }
        let from_file = !self.secret_key_file.as_os_str().is_empty();
        match (self.access_key.is_empty(), self.secret_key.is_empty(), from_file) {
            (false, false, false) | (false, true, true) => Ok(()),
            (_, false, true) => Err("s3.secret_key and s3.secret_key_file: give one or the other".into()),
            _ => Err("s3.bucket needs s3.access_key, and s3.secret_key or s3.secret_key_file".into()),
        }
    }

    pub(super) fn read_secret_key(&self) -> Result<String, String> {
        let file = &self.secret_key_file;
        if file.as_os_str().is_empty() {
            return Ok(self.secret_key.clone());
        }
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| format!("S3: cannot read `s3.secret_key_file` {}: {error}", file.display()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The store, for messages.
    pub(super) fn place(&self) -> String {
        match self.endpoint.as_str() {
            "" => format!("Amazon S3 in {}", self.region),
            endpoint => endpoint.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen() -> Settings {
        Settings {
            bucket: "files".into(),
            access_key: "key".into(),
            secret_key: "secret".into(),
            ..Settings::default()
        }
    }

    #[test]
    fn the_defaults_are_sound() {
        assert!(!Settings::default().is_chosen());
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(chosen().check(), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_named() {
        type Change = fn(&mut Settings);
        let in_the_clear: Change = |s| {
            s.endpoint = "http://minio:9000".into();
            s.ca_file = "ca.pem".into();
        };
        let broken: [(Change, &str); 7] = [
            (in_the_clear, "s3.ca_file"),
            (|s| s.secret_key.clear(), "s3.secret_key"),
            (|s| s.access_key.clear(), "s3.access_key"),
            (|s| s.secret_key_file = "somewhere".into(), "one or the other"),
            (|s| s.endpoint = "minio:9000".into(), "s3.endpoint"),
            (|s| s.prefix = "/a".into(), "s3.prefix"),
            (|s| s.bucket = "a b".into(), "s3.bucket"),
        ];
        for (break_it, word) in broken {
            let mut settings = chosen();
            break_it(&mut settings);
            let complaint = settings.check().expect_err(word);
            assert!(complaint.contains(word), "{complaint}");
        }
    }

    #[test]
    fn a_secret_in_a_file_is_read_without_its_line_break() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "secret\n").expect("written");
        let settings = Settings {
            secret_key: String::new(),
            secret_key_file: file.path().to_owned(),
            ..chosen()
        };
        assert_eq!(settings.read_secret_key(), Ok("secret".into()));
    }
}
