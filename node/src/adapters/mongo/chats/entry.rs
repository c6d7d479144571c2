//! An entry as a document.

use mongodb::bson::{Binary, DateTime, Uuid};
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::chats::{Content, Entry, StoredChange, StoredMessage, StoredReaction, StoredUpdate};
use rookery_actors::protocol::Json;
use serde::{Deserialize, Serialize};

use super::super::code::{AsId as _, date, from_ids, ids, number, packed, timestamp, unpacked};
use super::keys;

/// What an entry is.
pub mod kind {
    pub const MESSAGE: i32 = 0;
    pub const EDIT: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const REACT: i32 = 3;
    pub const UNREACT: i32 = 4;
}

/// A message or an update.
#[derive(Clone, Serialize, Deserialize)]
pub struct EntryDoc {
    #[serde(rename = "_id")]
    pub key: Binary,
    pub kind: i32,
    pub from: Uuid,
    pub at: DateTime,
    /// A message's text, an edit's new one, a reaction's emoji.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What only a message has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageDoc>,
    /// What only an update has: the seq of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<i64>,
    /// Of an edit that still has its text: the key of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<Binary>,
    /// Of an update: its idempotency key, as the bits it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<i64>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct MessageDoc {
    /// The client id, and what finds it.
    id: String,
    client: Binary,
    /// The seq of the latest update that was folded in: each is folded once, in order, whoever does it.
    pub folded: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<ReactionDoc>,
}

#[derive(Clone, Serialize, Deserialize)]
struct ReactionDoc {
    emoji: String,
    users: Binary,
}

impl EntryDoc {
    /// A message into which updates up to the seq `folded` were folded; 0 when none was.
    pub fn of_message(conversation: ConversationId, message: &StoredMessage, folded: u64) -> Self {
        let content = &message.content;
        let reaction = |reaction: &StoredReaction| ReactionDoc {
            emoji: reaction.emoji.clone(),
            users: packed(&reaction.users),
        };
        Self {
            key: keys::entry(conversation, message.seq),
            kind: kind::MESSAGE,
            from: message.from.id(),
            at: date(message.at),
            body: Some(content.body.clone()),
            message: Some(MessageDoc {
                id: message.id.clone(),
                client: keys::client(conversation, message.from, &message.id),
                folded: number(folded),
                data: content.data.as_ref().map(|data| data.as_str().to_owned()),
                attachments: ids(&content.attachments),
                reply_to: content.reply_to.map(number),
                mentions: ids(&content.mentions),
                edited_at: message.edited_at.map(date),
                deleted: message.deleted,
                reactions: message.reactions.iter().map(reaction).collect(),
            }),
            of: None,
            edits: None,
            idempotency: None,
        }
    }

    pub fn of_update(conversation: ConversationId, update: &StoredUpdate) -> Self {
        let (kind, body) = match &update.change {
            StoredChange::Edit { body } => (kind::EDIT, body.clone()),
            StoredChange::Delete => (kind::DELETE, None),
            StoredChange::React { emoji, remove: false } => (kind::REACT, Some(emoji.clone())),
            StoredChange::React { emoji, remove: true } => (kind::UNREACT, Some(emoji.clone())),
        };
        Self {
            key: keys::entry(conversation, update.seq),
            kind,
            from: update.from.id(),
            at: date(update.at),
            edits: (kind == kind::EDIT && body.is_some()).then(|| keys::entry(conversation, update.of)),
            body,
            message: None,
            of: Some(number(update.of)),
            idempotency: update.idempotency.map(u64::cast_signed),
        }
    }

    pub fn seq(&self) -> u64 {
        keys::seq(&self.key)
    }

    /// The message, when it is one.
    pub fn into_message(self) -> Option<StoredMessage> {
        let seq = self.seq();
        let message = self.message.filter(|_| self.kind == kind::MESSAGE)?;
        let reaction = |reaction: ReactionDoc| StoredReaction {
            users: unpacked(&reaction.users),
            emoji: reaction.emoji,
        };
        Some(StoredMessage {
            seq,
            id: message.id,
            from: UserId::from_id(self.from),
            at: timestamp(self.at),
            content: Content {
                body: self.body.unwrap_or_default(),
                data: message.data.map(Json::from_stored),
                attachments: from_ids(message.attachments),
                reply_to: message.reply_to.map(|seq| seq as u64),
                mentions: from_ids(message.mentions),
            },
            edited_at: message.edited_at.map(timestamp),
            deleted: message.deleted,
            reactions: message.reactions.into_iter().map(reaction).collect(),
        })
    }

    /// The entry, when it is of a kind that is known.
    pub fn into_entry(self) -> Option<Entry> {
        let body = self.body.clone();
        let emoji = || body.clone().unwrap_or_default();
        let change = match self.kind {
            kind::MESSAGE => return self.into_message().map(Entry::Message),
            kind::EDIT => StoredChange::Edit { body },
            kind::DELETE => StoredChange::Delete,
            kind::REACT => StoredChange::React {
                emoji: emoji(),
                remove: false,
            },
            kind::UNREACT => StoredChange::React {
                emoji: emoji(),
                remove: true,
            },
            _ => return None,
        };
        Some(Entry::Update(StoredUpdate {
            seq: self.seq(),
            of: self.of.unwrap_or_default() as u64,
            from: UserId::from_id(self.from),
            at: timestamp(self.at),
            change,
            idempotency: self.idempotency.map(i64::cast_unsigned),
        }))
    }
}
