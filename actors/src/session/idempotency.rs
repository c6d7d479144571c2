//! Idempotency keys of changes that connections ask for.
//!
//! A key is made of what was asked by whom, and not drawn, so that every node that is asked for the same makes the same: the
//! node of a socket asks the next owner of its session for whatever the one before left unanswered.

use crate::id::{ConnectionId, ConversationId};
use crate::ports::chats::StoredChange;

/// The first 64 bits of SHA-256 over the connection, the client's request id, the message and what is to become of it.
pub fn key(
    connection: ConnectionId,
    request: &str,
    conversation: ConversationId,
    of: u64,
    change: &StoredChange,
) -> u64 {
    let (kind, text) = match change {
        StoredChange::Edit { body } => (0, body.as_deref().unwrap_or_default()),
        StoredChange::Delete => (1, ""),
        StoredChange::React { emoji, remove } => (2 + u8::from(*remove), emoji.as_str()),
    };
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&connection.0.to_le_bytes());
    context.update(conversation.as_bytes());
    context.update(&of.to_le_bytes());
    context.update(&[kind]);
    context.update(&(request.len() as u64).to_le_bytes());
    context.update(request.as_bytes());
    context.update(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn whatever_is_asked_otherwise_has_another_key() {
        let edit = |text: &str| StoredChange::Edit {
            body: Some(text.into()),
        };
        let react = |remove| StoredChange::React {
            emoji: "a".into(),
            remove,
        };
        let of = |connection, request, message, change: &StoredChange| {
            key(
                ConnectionId(connection),
                request,
                ConversationId(Uuid::nil()),
                message,
                change,
            )
        };
        let keys = [
            of(1, "r", 1, &edit("a")),
            of(2, "r", 1, &edit("a")),
            of(1, "ra", 1, &edit("")),
            of(1, "r", 2, &edit("a")),
            of(1, "r", 1, &edit("b")),
            of(1, "r", 1, &react(false)),
            of(1, "r", 1, &react(true)),
            of(1, "r", 1, &StoredChange::Delete),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(
            keys[0],
            of(1, "r", 1, &edit("a")),
            "but what is the same has the same, on every node"
        );
        assert_eq!(keys[0], 9_065_695_855_751_785_147, "and by every release");
    }
}
