//! Signed URLs: what a request may do stands in it, under an HMAC-SHA-256 with a key only this server has.
//!
//! The signature covers the method, the key and every parameter that counts, in one canonical spelling made from the parsed
//! values; parameters that mean nothing here are ignored and allow nothing.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rookery_actors::id::FileId;
use rookery_actors::ports::blobs::UploadId;
use rookery_actors::time::Timestamp;

use super::layout::{create_file, private_dir, sync_dir};
use super::{found, percent};

const KEY_BYTES: usize = 32;
/// Set apart from whatever else may ever be signed with the key.
const PURPOSE: &str = "rookery blob url 1\n";

/// The decoded parameters of a request's query.
pub type Lookup<'q> = &'q dyn Fn(&str) -> Option<&'q str>;

/// What a signed request may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Permit {
    Put {
        key: FileId,
        size: u64,
        media_type: String,
    },
    Part {
        key: FileId,
        upload: UploadId,
        number: u32,
        size: u64,
    },
    Get {
        key: FileId,
        name: String,
        media_type: String,
    },
}

/// Why a request is refused. Whoever holds a URL may know that it was good once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Forged,
    Expired,
}

impl Permit {
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Put { .. } | Self::Part { .. } => "PUT",
            Self::Get { .. } => "GET",
        }
    }

    /// The canonical path and query, but for the signature.
    fn unsigned(&self, expires_at: Timestamp) -> String {
        let expires = expires_at.0;
        match self {
            Self::Put { key, size, media_type } => {
                let media_type = percent::encode(media_type);
                format!("/blobs/{key}?expires={expires}&size={size}&type={media_type}")
            }
            Self::Part {
                key,
                upload,
                number,
                size,
            } => {
                let upload = percent::encode(&upload.0);
                format!("/blobs/{key}?expires={expires}&size={size}&upload={upload}&part={number}")
            }
            Self::Get { key, name, media_type } => {
                let (name, media_type) = (percent::encode(name), percent::encode(media_type));
                format!("/blobs/{key}?expires={expires}&name={name}&type={media_type}")
            }
        }
    }
}

/// Makes and checks signed URLs.
pub(super) struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// Reads the key, or makes one (0600) where there is none yet.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let secret = match found(std::fs::read(path))? {
            Some(secret) => secret,
            None => make_key(path)?,
        };
        if secret.len() != KEY_BYTES {
            let why = format!("the key in {} is not {KEY_BYTES} bytes long", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        })
    }

    /// The path and query that allow what the permit says until then.
    pub(super) fn url(&self, permit: &Permit, expires_at: Timestamp) -> String {
        let unsigned = permit.unsigned(expires_at);
        let tag = hmac::sign(&self.key, message(permit, &unsigned).as_bytes());
        format!("{unsigned}&sig={}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// What a request to `/blobs/{key}?{query}` may do. `HEAD` is asked for as `GET`.
    pub(super) fn check(&self, method: &str, key: &str, query: Lookup<'_>, now: Timestamp) -> Result<Permit, Refused> {
        let permit = asked(method, key, query).ok_or(Refused::Forged)?;
        let expires_at = number(query, "expires").map(Timestamp).ok_or(Refused::Forged)?;
        let tag = query("sig").and_then(|tag| URL_SAFE_NO_PAD.decode(tag).ok());
        let tag = tag.ok_or(Refused::Forged)?;
        let message = message(&permit, &permit.unsigned(expires_at));
        hmac::verify(&self.key, message.as_bytes(), &tag).map_err(|_| Refused::Forged)?;
        if now >= expires_at {
            return Err(Refused::Expired);
        }
        Ok(permit)
    }
}

fn message(permit: &Permit, unsigned: &str) -> String {
    format!("{PURPOSE}{}\n{unsigned}", permit.method())
}

fn make_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut secret = vec![0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| io::Error::other("the system's random source failed"))?;
    let dir = path
        .parent()
        .ok_or_else(|| io::Error::other("the key file has no directory"))?;
    private_dir(dir)?;
    // Written aside first: a crash must not leave half a key behind.
    let aside = path.with_extension("new");
    found(std::fs::remove_file(&aside))?;
    let mut file = create_file(&aside)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    sync_dir(dir)?;
    Ok(secret)
}

/// What a request asks for, before anything is believed.
fn asked(method: &str, key: &str, query: Lookup<'_>) -> Option<Permit> {
    let key = key.parse().ok()?;
    match method {
        "PUT" => match query("upload") {
            Some(upload) => Some(Permit::Part {
                key,
                upload: UploadId(upload.into()),
                number: number(query, "part")?,
                size: number(query, "size")?,
            }),
            None => Some(Permit::Put {
                key,
                size: number(query, "size")?,
                media_type: query("type")?.into(),
            }),
        },
        "GET" => Some(Permit::Get {
            key,
            name: query("name")?.into(),
            media_type: query("type")?.into(),
        }),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(query: Lookup<'_>, name: &str) -> Option<T> {
    query(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rookery_actors::id::FileId;
    use rookery_actors::ports::blobs::UploadId;
    use rookery_actors::time::Timestamp;

    use super::{Permit, Refused, Signer};
    use crate::gateway::http::Query;

    const NOW: Timestamp = Timestamp(1_000);
    const LATER: Timestamp = Timestamp(2_000);

    fn signer() -> (tempfile::TempDir, Signer) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let signer = Signer::open(&dir.path().join("keys/blobs.key")).expect("a key");
        (dir, signer)
    }

    fn permits() -> [Permit; 3] {
        let key = FileId::fresh();
        [
            Permit::Put {
                key,
                size: 12,
                media_type: "text/plain; charset=utf-8".into(),
            },
            Permit::Part {
                key,
                upload: UploadId("an upload".into()),
                number: 3,
                size: 12,
            },
            Permit::Get {
                key,
                name: "a&b=c \"é\".txt".into(),
                media_type: "text/plain".into(),
            },
        ]
    }

    fn split(url: &str) -> (&str, &str) {
        let rest = url.strip_prefix("/blobs/").expect("the path of blobs");
        rest.split_once('?').expect("a query")
    }

    fn check(signer: &Signer, method: &str, key: &str, query: &str, now: Timestamp) -> Result<Permit, Refused> {
        let query = Query::parse(query).expect("a well-formed query");
        signer.check(method, key, &|name| query.get(name), now)
    }

    #[test]
    fn a_signed_url_allows_what_it_says() {
        let (_dir, signer) = signer();
        for permit in permits() {
            let url = signer.url(&permit, LATER);
            let (key, query) = split(&url);
            assert_eq!(check(&signer, permit.method(), key, query, NOW), Ok(permit));
        }
    }

    #[test]
    fn a_url_ends_with_its_time() {
        let (_dir, signer) = signer();
        let [permit, ..] = permits();
        let url = signer.url(&permit, LATER);
        let (key, query) = split(&url);
        assert_eq!(check(&signer, "PUT", key, query, LATER), Err(Refused::Expired));
    }

    #[test]
    fn any_change_is_a_forgery() {
        let (_dir, signer) = signer();
        for permit in permits() {
            let url = signer.url(&permit, LATER);
            let (key, query) = split(&url);
            let changes = [
                ("expires=2000", "expires=9000"),
                ("size=12", "size=13"),
                ("part=3", "part=4"),
                ("type=text", "type=image"),
                ("name=a", "name=b"),
                ("upload=an", "upload=no"),
                ("&sig=", "&sig=A"),
                ("&sig=", "&gis="),
            ];
            for (old, new) in changes.into_iter().filter(|(old, _)| query.contains(old)) {
                let query = query.replace(old, new);
                assert_eq!(
                    check(&signer, permit.method(), key, &query, NOW),
                    Err(Refused::Forged),
                    "{query}"
                );
            }
            let other = FileId::fresh().to_string();
            assert_eq!(
                check(&signer, permit.method(), &other, query, NOW),
                Err(Refused::Forged)
            );
            let method = if permit.method() == "PUT" { "GET" } else { "PUT" };
            assert_eq!(check(&signer, method, key, query, NOW), Err(Refused::Forged));
            assert_eq!(check(&signer, "DELETE", key, query, NOW), Err(Refused::Forged));
        }
        assert_eq!(check(&signer, "GET", "../../etc/passwd", "", NOW), Err(Refused::Forged));
    }

    #[test]
    fn another_key_signs_nothing_here() {
        let ((_one, signer), (_two, other)) = (signer(), self::signer());
        let [permit, ..] = permits();
        let url = other.url(&permit, LATER);
        let (key, query) = split(&url);
        assert_eq!(check(&signer, "PUT", key, query, NOW), Err(Refused::Forged));
    }

    #[test]
    fn the_key_is_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("keys/blobs.key");
        let [permit, ..] = permits();
        let url = Signer::open(&path).expect("a new key").url(&permit, LATER);
        let again = Signer::open(&path).expect("the same key");
        assert_eq!(again.url(&permit, LATER), url);
        let mode = |path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode(path.clone()), 0o600);
        assert_eq!(mode(dir.path().join("keys")), 0o700);
        std::fs::write(&path, b"short").expect("write");
        assert!(Signer::open(&path).is_err());
    }
}
