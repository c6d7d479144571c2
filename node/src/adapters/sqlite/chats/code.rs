//! How messages and profiles stand in their rows: protobuf, so that fields can be added.

use prost::Message as _;
use rookery_actors::id::{FileId, UserId};
use rookery_actors::ports::chats::{Content, LastChange, Profile, StoredMessage, StoredReaction};
use rookery_actors::protocol::Json;
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
use rusqlite::Result;
use uuid::Uuid;

/// What of a message is no column.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    body: String,
    #[prost(string, optional, tag = "2")]
    data: Option<String>,
    /// 16 bytes each, as are all lists of ids.
    #[prost(bytes = "vec", tag = "3")]
    attachments: Vec<u8>,
    #[prost(uint64, optional, tag = "4")]
    reply_to: Option<u64>,
    #[prost(bytes = "vec", tag = "5")]
    mentions: Vec<u8>,
    #[prost(int64, optional, tag = "6")]
    edited_at: Option<i64>,
    #[prost(bool, tag = "7")]
    deleted: bool,
    #[prost(message, repeated, tag = "8")]
    reactions: Vec<Reaction>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reaction {
    #[prost(string, tag = "1")]
    emoji: String,
    #[prost(bytes = "vec", tag = "2")]
    users: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredProfile {
    /// Of a direct conversation: its two users; empty for a group.
    #[prost(bytes = "vec", tag = "1")]
    pair: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    gone: Vec<u8>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(bytes = "vec", optional, tag = "4")]
    photo: Option<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    description: Option<String>,
    #[prost(int64, tag = "6")]
    created_at: i64,
    #[prost(int64, tag = "7")]
    updated_at: i64,
    #[prost(message, optional, tag = "8")]
    last_change: Option<StoredChange>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredChange {
    #[prost(fixed64, tag = "1")]
    process: u64,
    #[prost(uint64, tag = "2")]
    offset: u64,
}

/// The body column of a message.
pub fn message_body(message: &StoredMessage) -> Vec<u8> {
    let content = &message.content;
    let reaction = |reaction: &StoredReaction| Reaction {
        emoji: reaction.emoji.clone(),
        users: joined(reaction.users.iter().map(|user| user.0)),
    };
    let body = Body {
        body: content.body.clone(),
        data: content.data.as_ref().map(|data| data.as_str().to_owned()),
        attachments: joined(content.attachments.iter().map(|file| file.0)),
        reply_to: content.reply_to,
        mentions: joined(content.mentions.iter().map(|user| user.0)),
        edited_at: message.edited_at.map(|at| at.0),
        deleted: message.deleted,
        reactions: message.reactions.iter().map(reaction).collect(),
    };
    body.encode_to_vec()
}

/// Fills a message from its body column.
pub fn read_message_body(bytes: &[u8], message: &mut StoredMessage) -> Result<()> {
    let body = Body::decode(bytes).map_err(damaged)?;
    message.content = Content {
        body: body.body,
        data: body.data.map(Json::from_stored),
        attachments: split(&body.attachments).map(FileId).collect(),
        reply_to: body.reply_to,
        mentions: split(&body.mentions).map(UserId).collect(),
    };
    message.edited_at = body.edited_at.map(Timestamp);
    message.deleted = body.deleted;
    let reaction = |reaction: Reaction| StoredReaction {
        users: split(&reaction.users).map(UserId).collect(),
        emoji: reaction.emoji,
    };
    message.reactions = body.reactions.into_iter().map(reaction).collect();
    Ok(())
}

/// The profile column.
pub fn profile(profile: &Profile) -> Vec<u8> {
    let stored = match profile {
        Profile::Direct { pair, gone } => StoredProfile {
            pair: joined(pair.iter().map(|user| user.0)),
            gone: joined(gone.iter().map(|user| user.0)),
            ..StoredProfile::default()
        },
        Profile::Group {
            name,
            photo,
            description,
            created_at,
            updated_at,
            last_change,
        } => StoredProfile {
            name: name.clone(),
            photo: photo.map(|photo| photo.as_bytes().to_vec()),
            description: description.clone(),
            created_at: created_at.0,
            updated_at: updated_at.0,
            last_change: last_change.map(|LastChange { process, offset }| StoredChange { process, offset }),
            ..StoredProfile::default()
        },
    };
    stored.encode_to_vec()
}

/// A profile from its column.
pub fn read_profile(bytes: &[u8]) -> Result<Profile> {
    let stored = StoredProfile::decode(bytes).map_err(damaged)?;
    let mut pair = split(&stored.pair).map(UserId);
    if let (Some(one), Some(other)) = (pair.next(), pair.next()) {
        let gone = split(&stored.gone).map(UserId).collect();
        return Ok(Profile::Direct {
            pair: [one, other],
            gone,
        });
    }
    Ok(Profile::Group {
        name: stored.name,
        photo: stored.photo.as_deref().and_then(FileId::from_slice),
        description: stored.description,
        created_at: Timestamp(stored.created_at),
        updated_at: Timestamp(stored.updated_at),
        last_change: stored
            .last_change
            .map(|StoredChange { process, offset }| LastChange { process, offset }),
    })
}

/// A role as it stands in its column.
pub fn role(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

/// A role from its column.
pub fn read_role(stored: i64) -> Result<Role> {
    match stored {
        0 => Ok(Role::Member),
        1 => Ok(Role::Admin),
        2 => Ok(Role::Owner),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(0, other)),
    }
}

fn joined(ids: impl Iterator<Item = Uuid>) -> Vec<u8> {
    ids.flat_map(Uuid::into_bytes).collect()
}

fn split(bytes: &[u8]) -> impl Iterator<Item = Uuid> {
    bytes.as_chunks().0.iter().map(|bytes| Uuid::from_bytes(*bytes))
}

fn damaged(error: prost::DecodeError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error.into())
}
