//! Numbers of conversations, and the integer keys made of them.

use rookery_actors::id::{ConversationId, DeviceId, LoginId, UserId};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result};

/// Bits of a key that hold the seq. The other 31 are for the conversation's number, which leaves the sign alone.
const SEQ_BITS: u32 = 32;
/// The largest seq a key can hold: four thousand million, six years at the rate of one user's limit.
pub const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// A conversation's number in this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct No(pub i64);

impl No {
    /// The number of a conversation that is alive.
    pub fn of(sql: &Connection, conversation: ConversationId) -> Result<Option<Self>> {
        let mut select = sql.prepare_cached("SELECT no FROM conversations WHERE id = ?1 AND deleted = 0")?;
        select
            .query_row([Id(conversation.0)], |row| row.get(0).map(Self))
            .optional()
    }

    /// The key of a seq; one beyond the largest is taken as that, for bounds of a range.
    pub fn key(self, seq: u64) -> i64 {
        (self.0 << SEQ_BITS) | seq.min(MAX_SEQ) as i64
    }

    /// The key under which a seq is stored; an error beyond the largest.
    pub fn new_key(self, seq: u64) -> Result<i64> {
        if seq == 0 || seq > MAX_SEQ || self.0 >= 1 << (63 - SEQ_BITS) {
            return Err(rusqlite::Error::IntegralValueOutOfRange(0, seq as i64));
        }
        Ok(self.key(seq))
    }
}

/// The seq in a key.
pub fn seq(key: i64) -> u64 {
    key as u64 & MAX_SEQ
}

/// An id as its 16 bytes.
pub struct Id(pub uuid::Uuid);

impl ToSql for Id {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        uuid::Uuid::from_slice(bytes)
            .map(Self)
            .map_err(|error| FromSqlError::Other(error.into()))
    }
}

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl From<Id> for $id {
            fn from(id: Id) -> Self {
                Self(id.0)
            }
        }
    )*};
}

ids!(ConversationId, DeviceId, LoginId, UserId);
