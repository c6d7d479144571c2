//! The ring of keys that sign access tokens: files in one directory, readable by their owner alone.
//!
//! The newest key signs. One that was superseded verifies until every token it can have signed has expired, then its file
//! goes. Rotation is the making of a file: a running node looks again when it meets a token of a key it doesn't know, when
//! it signs and has not looked for a while, and when it is told to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use parking_lot::{Mutex, RwLock};
use rookery_actors::time::Timestamp;

use super::super::random;
use super::provider;

/// How seldom strangers' tokens make the ring look at its directory.
const LOOK_FOR_UNKNOWN: Duration = Duration::from_secs(1);
/// How often it looks before it signs.
const LOOK_TO_SIGN: Duration = Duration::from_secs(10);
/// A superseded key stays this much longer than tokens live, for nodes that looked a while ago and clocks that differ.
const MARGIN: Duration = Duration::from_secs(300);

/// The directory of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is no signing key of this server", path.display())]
    Malformed { path: PathBuf },
}

/// A key in memory.
pub struct Key {
    id: String,
    created_at: Timestamp,
    /// The first part of every token it signs.
    header: String,
    pub encoding: EncodingKey,
    pub decoding: DecodingKey,
}

/// The keys of one directory.
pub struct KeyRing {
    directory: PathBuf,
    token_life: Duration,
    /// Newest first, never empty.
    keys: RwLock<Arc<[Arc<Key>]>>,
    looked: Mutex<Instant>,
}

impl KeyRing {
    /// Reads the keys; makes the directory and the first key where there are none.
    pub fn open(directory: &Path, token_life: Duration) -> Result<Self, KeyError> {
        provider::install();
        make_directory(directory)?;
        if read(directory)?.is_empty() {
            make_first(directory)?;
        }
        let ring = Self {
            directory: directory.to_owned(),
            token_life,
            keys: RwLock::new(Arc::new([])),
            looked: Mutex::new(Instant::now()),
        };
        ring.reload()?;
        Ok(ring)
    }

    /// Makes a new key, which signs from now on. Nobody is logged out: the others go on verifying.
    pub fn rotate(&self) -> Result<String, KeyError> {
        let newest = self.newest().created_at;
        // Later than the newest even if the clock stepped back: the order of keys is that of their times.
        let id = write(&self.directory, Timestamp::now().max(Timestamp(newest.0 + 1)))?;
        self.reload()?;
        Ok(id)
    }

    /// Reads the directory again and removes keys that no valid token can be of.
    pub fn reload(&self) -> Result<(), KeyError> {
        *self.looked.lock() = Instant::now();
        let mut keys = read(&self.directory)?;
        keys.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        let keep = keep(&keys, self.token_life + MARGIN, Timestamp::now());
        for key in keys.drain(keep..) {
            let path = self.directory.join(file_name(key.created_at, &key.id));
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an old signing key could not be removed");
            }
        }
        if keys.is_empty() {
            let path = self.directory.clone();
            return Err(KeyError::Malformed { path });
        }
        *self.keys.write() = keys.into_iter().map(Arc::new).collect();
        Ok(())
    }

    /// The key that signs.
    pub(super) fn newest(&self) -> Arc<Key> {
        self.look(LOOK_TO_SIGN);
        Arc::clone(&self.keys.read()[0])
    }

    /// The key whose tokens begin so.
    pub(super) fn find(&self, header: &str) -> Option<Arc<Key>> {
        let known = || {
            let keys = self.keys.read();
            keys.iter().find(|key| key.header == header).map(Arc::clone)
        };
        known().or_else(|| self.look(LOOK_FOR_UNKNOWN).then(known).flatten())
    }

    /// Reads the directory again unless that was done a moment ago; says whether it was read now.
    fn look(&self, seldom: Duration) -> bool {
        if self.looked.lock().elapsed() < seldom {
            return false;
        }
        self.reload()
            .inspect_err(|error| tracing::error!(%error, "the signing keys could not be read again; the old ones stay"))
            .is_ok()
    }
}

impl Key {
    fn new(id: String, created_at: Timestamp, secret: &[u8]) -> Self {
        let mut key = Self {
            id,
            created_at,
            header: String::new(),
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        };
        let header = serde_json::to_vec(&key.header()).expect("a header of plain fields is JSON");
        key.header = URL_SAFE_NO_PAD.encode(header);
        key
    }

    /// The header of its tokens.
    pub fn header(&self) -> Header {
        Header {
            kid: Some(self.id.clone()),
            ..Header::new(Algorithm::HS256)
        }
    }
}

/// How many keys, newest first, are still of use: the newest, and those superseded less than `grace` ago.
fn keep(keys: &[Key], grace: Duration, now: Timestamp) -> usize {
    let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    let superseded_long_ago = |newer: &Key| newer.created_at.0.saturating_add(grace) < now.0;
    keys.iter()
        .position(superseded_long_ago)
        .map_or(keys.len(), |newest| newest + 1)
}

fn file_name(created_at: Timestamp, id: &str) -> String {
    format!("{}-{id}.key", created_at.0)
}

fn read(directory: &Path) -> Result<Vec<Key>, KeyError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::File { action, path, source }
    };
    let mut keys = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        let path = entry.map_err(failed("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            let text = match fs::read_to_string(&path) {
                // Another process removed it as too old, between the listing and now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.map_err(failed("read", &path))?,
            };
            keys.push(parse(&path, &text).ok_or(KeyError::Malformed { path })?);
        }
    }
    Ok(keys)
}

fn parse(path: &Path, text: &str) -> Option<Key> {
    let (created_at, id) = path.file_stem()?.to_str()?.split_once('-')?;
    let secret = URL_SAFE_NO_PAD.decode(text.trim_end()).ok()?;
    let created_at = Timestamp(created_at.parse().ok()?);
    (secret.len() == 32 && !id.is_empty()).then(|| Key::new(id.to_owned(), created_at, &secret))
}

/// Makes the first key, once: nodes that share the directory and start together would else each sign with one of its own, which
/// the others had not seen yet.
fn make_first(directory: &Path) -> Result<(), KeyError> {
    let opened = File::open(directory).map_err(|source| KeyError::File {
        action: "open",
        path: directory.to_owned(),
        source,
    })?;
    // Let go of with the file. Where the file system knows no locks, several keys are as good as one a moment later.
    if let Err(error) = opened.lock() {
        tracing::warn!(%error, path = %directory.display(), "the directory of signing keys could not be locked");
    }
    if read(directory)?.is_empty() {
        write(directory, Timestamp::now())?;
    }
    Ok(())
}

/// Makes a key's file, whole and durable or not at all; answers the key's id.
fn write(directory: &Path, now: Timestamp) -> Result<String, KeyError> {
    let id = uuid::Uuid::from_bytes(random()).simple().to_string();
    let path = directory.join(file_name(now, &id));
    let unfinished = path.with_extension("tmp");
    let text = URL_SAFE_NO_PAD.encode(random::<32>());
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(directory)?.sync_all()
    })();
    let action = "write the signing key";
    match written {
        Ok(()) => Ok(id),
        Err(source) => Err(KeyError::File { action, path, source }),
    }
}

fn make_directory(directory: &Path) -> Result<(), KeyError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| KeyError::File {
        action: "make",
        path: directory.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rookery_actors::id::{LoginId, UserId};

    use super::super::{Bad, sign, verify};
    use super::*;

    const LIFE: Duration = Duration::from_secs(900);

    fn token(ring: &KeyRing) -> String {
        sign(ring, UserId::fresh(), LoginId::fresh(), Timestamp::now(), 900).unwrap()
    }

    #[test]
    fn keys_are_their_owners_alone_and_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let token = token(&KeyRing::open(&keys, LIFE).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&keys), 0o700);
        let files: Vec<_> = fs::read_dir(&keys)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1);
        assert_eq!(mode(&files[0]), 0o600);
        let ring = KeyRing::open(&keys, LIFE).unwrap();
        assert!(verify(&ring, &token, Timestamp::now(), 900).is_ok());
    }

    #[test]
    fn nodes_that_start_together_make_one_key() {
        let directory = tempfile::tempdir().unwrap();
        let open = || KeyRing::open(directory.path(), LIFE).unwrap();
        let rings: Vec<_> = std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            opening.into_iter().map(|ring| ring.join().unwrap()).collect()
        });
        let token = token(&rings[0]);
        for ring in &rings {
            assert!(verify(ring, &token, Timestamp::now(), 900).is_ok());
        }
    }

    #[test]
    fn a_rotation_logs_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(directory.path(), LIFE).unwrap();
        let old = token(&ring);
        ring.rotate().unwrap();
        let new = token(&ring);
        assert_ne!(old.split('.').next(), new.split('.').next(), "the new key signs");
        for token in [old, new] {
            assert!(verify(&ring, &token, Timestamp::now(), 900).is_ok());
        }
    }

    #[test]
    fn a_running_ring_finds_the_key_another_process_made() {
        let directory = tempfile::tempdir().unwrap();
        let running = KeyRing::open(directory.path(), LIFE).unwrap();
        let tool = KeyRing::open(directory.path(), LIFE).unwrap();
        tool.rotate().unwrap();
        let token = token(&tool);
        assert_eq!(
            verify(&running, &token, Timestamp::now(), 900),
            Err(Bad::Invalid),
            "it looked a moment ago"
        );
        *running.looked.lock() = Instant::now().checked_sub(LOOK_FOR_UNKNOWN).unwrap();
        assert!(verify(&running, &token, Timestamp::now(), 900).is_ok());
    }

    #[test]
    fn a_superseded_key_stays_until_its_tokens_have_expired() {
        let key = |created_at| Key::new("id".into(), Timestamp(created_at), &[7; 32]);
        let keys = [key(5_000), key(3_000), key(1_000)];
        let grace = Duration::from_millis(1_000);
        assert_eq!(keep(&keys, grace, Timestamp(3_500)), 3);
        assert_eq!(
            keep(&keys, grace, Timestamp(4_001)),
            2,
            "the oldest was superseded at 3000"
        );
        assert_eq!(keep(&keys, grace, Timestamp(6_000)), 2);
        assert_eq!(keep(&keys, grace, Timestamp(6_001)), 1);
        assert_eq!(keep(&keys[..1], grace, Timestamp(i64::MAX)), 1, "the newest stays");
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        KeyRing::open(directory.path(), LIFE).unwrap();
        let path = directory.path().join("17-torn.key");
        fs::write(&path, "torn").unwrap();
        let error = KeyRing::open(directory.path(), LIFE).err().unwrap();
        assert!(error.to_string().contains("17-torn.key"), "{error}");
    }
}
