//! The identities of chat. On the wire each is a hyphenated UUID string, in JSON and in MessagePack alike.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new, time-ordered identity (UUID version 7, RFC 9562).
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }

            /// The identity whose 16 bytes these are; `None` when there are not 16.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }

            /// The 16 bytes of this identity.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Malformed;
            fn from_str(text: &str) -> Result<Self, Malformed> {
                hyphenated(text).map(Self).ok_or(Malformed)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor).map(Self)
            }
        }
    )*};
}

ids! {
    /// A person (or a program) with an account.
    UserId;
    /// A group or the direct conversation of two users.
    ConversationId;
    /// One cursor of a user: an installation that resumes where it stopped.
    DeviceId;
    /// One log-in: the family of tokens that can be revoked together.
    LoginId;
    /// An attachment or a photo.
    FileId;
    /// One taking of a delayed job.
    ClaimId;
}

/// The namespace of direct conversations (UUID version 5, RFC 9562).
const DIRECT: Uuid = Uuid::from_u128(0x8f0f_5a5e_27c5_4c5c_9d0a_6f1f_6d3c_51d7);

impl ConversationId {
    /// The direct conversation of two users: a function of the pair, whichever way round.
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mut name = [0; 32];
        name[..16].copy_from_slice(low.as_bytes());
        name[16..].copy_from_slice(high.as_bytes());
        Self(Uuid::new_v5(&DIRECT, &name))
    }

    /// True for the direct conversation of two users, false for a group: the version of the UUID tells.
    pub fn is_direct(&self) -> bool {
        self.0.get_version_num() == 5
    }
}

/// One live socket of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Numbers for what is named to other nodes, in rising order. Each counter begins at random, far from wherever any other does,
/// that of this node's former self above all: an answer to what was asked before a crash must be nobody's after it.
#[derive(Debug)]
pub struct Numbers(AtomicU64);

impl Default for Numbers {
    fn default() -> Self {
        Self(AtomicU64::new(Uuid::now_v7().as_u64_pair().1 >> 1))
    }
}

impl Numbers {
    pub fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is no hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hyphenated uuid")]
pub struct Malformed;

/// Only the hyphenated form is an identity: one thing has one spelling.
fn hyphenated(text: &str) -> Option<Uuid> {
    if text.len() == 36 {
        Uuid::try_parse(text).ok()
    } else {
        None
    }
}

struct IdVisitor;

impl serde::de::Visitor<'_> for IdVisitor {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hyphenated uuid")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uuid, E> {
        hyphenated(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl From<Malformed> for serde_json::Error {
    fn from(error: Malformed) -> Self {
        Self::custom(error)
    }
}
