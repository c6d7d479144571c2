//! How ids and times stand in documents.
//!
//! A single id is a UUID (binary, subtype 4). A key of which ranges are read is plain bytes (subtype 0) of one length for
//! its collection, because such keys are compared byte by byte: a conversation's id and a seq in big-endian order, or two ids.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, Uuid};
use rookery_actors::id::{ConversationId, DeviceId, FileId, LoginId, UserId};
use rookery_actors::time::Timestamp;

/// Bytes of an id.
const ID: usize = 16;

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl AsId for $id {
            fn id(&self) -> Uuid {
                Uuid::from_bytes(*self.as_bytes())
            }
            fn from_id(id: Uuid) -> Self {
                Self(uuid::Uuid::from_bytes(id.bytes()))
            }
        }
    )*};
}

/// An id of ours as MongoDB has it.
pub trait AsId {
    fn id(&self) -> Uuid;
    fn from_id(id: Uuid) -> Self;
}

ids!(ConversationId, DeviceId, FileId, LoginId, UserId);

/// All of these.
pub fn ids<'a, T: AsId + 'a>(ids: impl IntoIterator<Item = &'a T>) -> Vec<Uuid> {
    ids.into_iter().map(AsId::id).collect()
}

/// Ids from a document.
pub fn from_ids<T: AsId>(ids: Vec<Uuid>) -> Vec<T> {
    ids.into_iter().map(T::from_id).collect()
}

/// Bytes that are compared as they are.
pub fn bytes(bytes: Vec<u8>) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes,
    }
}

/// An id and what follows it.
pub fn key(first: &[u8; ID], second: &[u8]) -> Binary {
    bytes([first, second].concat())
}

/// The id at the head of a key.
pub fn head_of<T: AsId>(key: &Binary) -> Option<T> {
    let head = key.bytes.first_chunk::<ID>()?;
    Some(T::from_id(Uuid::from_bytes(*head)))
}

/// Ids one behind the other, where a list of them may be long.
pub fn packed(users: &[UserId]) -> Binary {
    bytes(users.iter().flat_map(|user| *user.as_bytes()).collect())
}

/// Users from their ids one behind the other.
pub fn unpacked(users: &Binary) -> Vec<UserId> {
    let (ids, _) = users.bytes.as_chunks::<ID>();
    ids.iter().map(|id| UserId(uuid::Uuid::from_bytes(*id))).collect()
}

pub fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.0)
}

pub fn timestamp(at: DateTime) -> Timestamp {
    Timestamp(at.timestamp_millis())
}

/// A number of ours, which never comes near the largest that MongoDB has; what asks for everything is cut to that.
pub fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back() {
        let users = [UserId::fresh(), UserId::fresh()];
        assert_eq!(from_ids::<UserId>(ids(&users)), users);
        assert_eq!(unpacked(&packed(&users)), users);
        assert_eq!(head_of(&key(users[0].as_bytes(), b"more")), Some(users[0]));
        assert_eq!(head_of::<UserId>(&bytes(vec![1, 2])), None);
    }

    #[test]
    fn the_number_of_everything_is_the_largest() {
        assert_eq!((number(7), number(u64::MAX)), (7, i64::MAX));
    }
}
