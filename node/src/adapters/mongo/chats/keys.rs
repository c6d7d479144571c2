//! The keys of entries and memberships, and ranges of them.

use mongodb::bson::{Binary, Document, doc};
use rookery_actors::id::{ConversationId, UserId};
use uuid::Uuid;

use super::super::code::{bytes, key};

/// Bytes of the digest of a client id: enough that two of one conversation hardly ever agree, and where they do the ids
/// themselves are compared.
const DIGEST: usize = 8;

/// An entry's key: in the order of seqs within a conversation.
pub fn entry(conversation: ConversationId, seq: u64) -> Binary {
    key(conversation.as_bytes(), &seq.to_be_bytes())
}

/// The seq in an entry's key.
pub fn seq(key: &Binary) -> u64 {
    key.bytes.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq))
}

/// Entries with `from <= seq <= to`.
pub fn entries(conversation: ConversationId, from: u64, to: u64) -> Document {
    doc! { "_id": { "$gte": entry(conversation, from), "$lte": entry(conversation, to) } }
}

/// A membership's key: in the order of users within a conversation.
pub fn membership(conversation: ConversationId, user: UserId) -> Binary {
    key(conversation.as_bytes(), user.as_bytes())
}

/// The user in a membership's key.
pub fn user(key: &Binary) -> UserId {
    UserId(
        key.bytes
            .last_chunk()
            .map_or(Uuid::nil(), |user| Uuid::from_bytes(*user)),
    )
}

/// Memberships of a conversation beyond a user.
pub fn memberships(conversation: ConversationId, after: Option<UserId>) -> Document {
    let last = membership(conversation, UserId(Uuid::max()));
    match after {
        Some(user) => doc! { "_id": { "$gt": membership(conversation, user), "$lte": last } },
        None => doc! { "_id": { "$gte": membership(conversation, UserId(Uuid::nil())), "$lte": last } },
    }
}

/// What a message is found by when only its sender and client id are known.
pub fn client(conversation: ConversationId, from: UserId, id: &str) -> Binary {
    let digest = Uuid::new_v5(&from.0, id.as_bytes());
    key(conversation.as_bytes(), &digest.as_bytes()[..DIGEST])
}

/// The name of a device's cursor within a membership.
pub fn device(device: rookery_actors::id::DeviceId) -> String {
    device.0.simple().to_string()
}

/// Bytes before every key of a conversation, and behind.
pub fn all_of(conversation: ConversationId, length: usize) -> (Binary, Binary) {
    let filled = |byte| bytes([conversation.as_bytes().as_slice(), &vec![byte; length]].concat());
    (filled(0), filled(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_order_of_what_they_hold() {
        let conversation = ConversationId::fresh();
        let seqs = [0, 1, 255, 256, 65_536, u64::MAX];
        let keys: Vec<_> = seqs.iter().map(|seq| entry(conversation, *seq).bytes).collect();
        assert!(keys.is_sorted() && keys.iter().all(|key| key.len() == 24));
        assert!(seqs.iter().all(|number| seq(&entry(conversation, *number)) == *number));
        let one = UserId::fresh();
        assert_eq!(user(&membership(conversation, one)), one);
        assert_eq!(membership(conversation, one).bytes.len(), 32);
    }

    #[test]
    fn a_client_id_is_its_senders() {
        let (conversation, ada, bob) = (ConversationId::fresh(), UserId::fresh(), UserId::fresh());
        assert_eq!(client(conversation, ada, "x"), client(conversation, ada, "x"));
        assert_ne!(client(conversation, ada, "x"), client(conversation, bob, "x"));
        assert_ne!(client(conversation, ada, "x"), client(conversation, ada, "y"));
    }
}
