//! Log records as bytes: protocol buffers (proto3 wire format), so that a later version can add fields and still read what
//! an earlier one wrote.
//!
//! A field may be added where a node that skips it comes to the same state. What else is new (a command, a kind of update, a
//! role) is read by one release and written by the next: a node that met it would not know the conversation's state from
//! there on, so it does not serve the shard (`shard.rs`).
//!
//! `checked` and `writer` are older than the first release, or they would have been such things: who skips them takes a send or a
//! change of a group that comes too late.

use std::fmt;

use bytes::Bytes;
use prost::Message;

use super::command::{Command, Record, Writer};
use crate::id::{ConversationId, FileId, UserId};
use crate::ports::chats::{Content, StoredChange};
use crate::protocol::Json;
use crate::protocol::view::Role;
use crate::time::Timestamp;

/// The bytes are no record this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("decode a log record: {0}")]
    Damaged(String),
    /// What it does is not known here, and so neither is what follows from it.
    #[error("it was written by a later release: {0}")]
    Later(String),
}

#[derive(Clone, PartialEq, Message)]
struct WireRecord {
    #[prost(bytes = "bytes", tag = "1")]
    conversation: Bytes,
    #[prost(sint64, tag = "2")]
    at: i64,
    #[prost(oneof = "WireCommand", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    command: Option<WireCommand>,
    #[prost(uint64, optional, tag = "13")]
    checked: Option<u64>,
    #[prost(message, optional, tag = "14")]
    writer: Option<WireWriter>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireWriter {
    #[prost(fixed64, tag = "1")]
    process: u64,
    #[prost(uint64, tag = "2")]
    seen: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum WireCommand {
    #[prost(message, tag = "3")]
    Send(WireSend),
    #[prost(message, tag = "4")]
    Update(WireUpdate),
    #[prost(message, tag = "5")]
    Create(WireCreate),
    #[prost(message, tag = "6")]
    Open(WireUsers),
    #[prost(message, tag = "7")]
    Add(WireUsers),
    #[prost(message, tag = "8")]
    Remove(WireUsers),
    #[prost(message, tag = "9")]
    SetRole(WireRole),
    #[prost(message, tag = "10")]
    Patch(WirePatch),
    #[prost(bytes = "bytes", tag = "11")]
    Delete(Bytes),
    #[prost(bytes = "bytes", tag = "12")]
    Gone(Bytes),
}

#[derive(Clone, PartialEq, Message)]
struct WireSend {
    #[prost(bytes = "bytes", tag = "1")]
    from: Bytes,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(string, tag = "3")]
    body: String,
    #[prost(string, optional, tag = "4")]
    data: Option<String>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    attachments: Vec<Bytes>,
    #[prost(uint64, optional, tag = "6")]
    reply_to: Option<u64>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    mentions: Vec<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    peer: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct WireUpdate {
    #[prost(bytes = "bytes", tag = "1")]
    from: Bytes,
    #[prost(uint64, tag = "2")]
    of: u64,
    /// 1 edit, 2 delete, 3 react, 4 take a reaction back.
    #[prost(uint32, tag = "3")]
    kind: u32,
    /// The new text or the emoji.
    #[prost(string, tag = "4")]
    text: String,
    #[prost(fixed64, optional, tag = "5")]
    idempotency: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct WireCreate {
    #[prost(bytes = "bytes", tag = "1")]
    by: Bytes,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "bytes", optional, tag = "3")]
    photo: Option<Bytes>,
    #[prost(string, optional, tag = "4")]
    description: Option<String>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    members: Vec<Bytes>,
}

/// Who does it, and to whom.
#[derive(Clone, PartialEq, Message)]
struct WireUsers {
    #[prost(bytes = "bytes", tag = "1")]
    by: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    users: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct WireRole {
    #[prost(bytes = "bytes", tag = "1")]
    by: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    user: Bytes,
    /// 1 member, 2 admin, 3 owner.
    #[prost(uint32, tag = "3")]
    role: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WirePatch {
    #[prost(bytes = "bytes", tag = "1")]
    by: Bytes,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    /// Empty takes the photo away.
    #[prost(bytes = "bytes", optional, tag = "3")]
    photo: Option<Bytes>,
    /// Empty takes the description away.
    #[prost(string, optional, tag = "4")]
    description: Option<String>,
}

impl Record {
    pub fn encode(&self) -> Bytes {
        let wire = WireRecord {
            conversation: bytes_of(self.conversation.as_bytes()),
            at: self.at.0,
            checked: self.checked,
            writer: self.writer.map(|Writer { process, seen }| WireWriter { process, seen }),
            command: Some(to_wire(&self.command)),
        };
        wire.encode_to_vec().into()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        let wire = WireRecord::decode(bytes).map_err(|error| Undecodable::Damaged(error.to_string()))?;
        let conversation = ConversationId::from_slice(&wire.conversation).ok_or_else(|| missing("conversation"))?;
        let command = from_wire(wire.command.ok_or_else(|| later("command"))?)?;
        Ok(Self {
            conversation,
            at: Timestamp(wire.at),
            checked: wire.checked,
            writer: wire.writer.map(|WireWriter { process, seen }| Writer { process, seen }),
            command,
        })
    }
}

fn missing(what: &str) -> Undecodable {
    Undecodable::Damaged(format!("no {what}"))
}

fn later(what: impl fmt::Display) -> Undecodable {
    Undecodable::Later(format!("unknown {what}"))
}

fn bytes_of(id: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(id)
}

fn user(bytes: &Bytes) -> Result<UserId, Undecodable> {
    UserId::from_slice(bytes).ok_or_else(|| missing("user"))
}

fn users(list: &[Bytes]) -> Result<Vec<UserId>, Undecodable> {
    list.iter().map(user).collect()
}

fn file(bytes: &Bytes) -> Result<FileId, Undecodable> {
    FileId::from_slice(bytes).ok_or_else(|| missing("file"))
}

fn list_of(users: &[UserId]) -> Vec<Bytes> {
    users.iter().map(|user| bytes_of(user.as_bytes())).collect()
}

fn two(by: &UserId, users: &[UserId]) -> WireUsers {
    WireUsers {
        by: bytes_of(by.as_bytes()),
        users: list_of(users),
    }
}

fn send_to_wire(from: &UserId, id: &str, content: &Content, peer: Option<&UserId>) -> WireSend {
    WireSend {
        from: bytes_of(from.as_bytes()),
        id: id.to_owned(),
        body: content.body.clone(),
        data: content.data.as_ref().map(|data| data.as_str().to_owned()),
        attachments: content
            .attachments
            .iter()
            .map(|file| bytes_of(file.as_bytes()))
            .collect(),
        reply_to: content.reply_to,
        mentions: list_of(&content.mentions),
        peer: peer.map(|peer| bytes_of(peer.as_bytes())),
    }
}

fn update_to_wire(from: &UserId, of: u64, change: &StoredChange, idempotency: Option<u64>) -> WireUpdate {
    let (kind, text) = match change {
        StoredChange::Edit { body } => (1, body.clone().unwrap_or_default()),
        StoredChange::Delete => (2, String::new()),
        StoredChange::React { emoji, remove } => (3 + u32::from(*remove), emoji.clone()),
    };
    WireUpdate {
        from: bytes_of(from.as_bytes()),
        of,
        kind,
        text,
        idempotency,
    }
}

fn to_wire(command: &Command) -> WireCommand {
    match command {
        Command::Send {
            from,
            id,
            content,
            peer,
        } => WireCommand::Send(send_to_wire(from, id, content, peer.as_ref())),
        Command::Update {
            from,
            of,
            change,
            idempotency,
        } => WireCommand::Update(update_to_wire(from, *of, change, *idempotency)),
        Command::Create {
            by,
            name,
            photo,
            description,
            members,
        } => WireCommand::Create(WireCreate {
            by: bytes_of(by.as_bytes()),
            name: name.clone(),
            photo: photo.as_ref().map(|photo| bytes_of(photo.as_bytes())),
            description: description.clone(),
            members: list_of(members),
        }),
        Command::Open { pair } => WireCommand::Open(two(&pair[0], &pair[1..])),
        Command::Add { by, users } => WireCommand::Add(two(by, users)),
        Command::Remove { by, user } => WireCommand::Remove(two(by, &[*user])),
        Command::SetRole { by, user, role } => WireCommand::SetRole(WireRole {
            by: bytes_of(by.as_bytes()),
            user: bytes_of(user.as_bytes()),
            role: *role as u32 + 1,
        }),
        Command::Patch {
            by,
            name,
            photo,
            description,
        } => WireCommand::Patch(WirePatch {
            by: bytes_of(by.as_bytes()),
            name: name.clone(),
            photo: photo
                .as_ref()
                .map(|photo| photo.map_or(Bytes::new(), |photo| bytes_of(photo.as_bytes()))),
            description: description.as_ref().map(|text| text.clone().unwrap_or_default()),
        }),
        Command::Delete { by } => WireCommand::Delete(bytes_of(by.as_bytes())),
        Command::Gone { user } => WireCommand::Gone(bytes_of(user.as_bytes())),
    }
}

fn send_from_wire(send: WireSend) -> Result<Command, Undecodable> {
    let content = Content {
        body: send.body,
        data: send.data.map(Json::from_stored),
        attachments: send.attachments.iter().map(file).collect::<Result<_, _>>()?,
        reply_to: send.reply_to,
        mentions: users(&send.mentions)?,
    };
    let peer = send.peer.as_ref().map(user).transpose()?;
    Ok(Command::Send {
        from: user(&send.from)?,
        id: send.id,
        content,
        peer,
    })
}

fn update_from_wire(update: WireUpdate) -> Result<Command, Undecodable> {
    let change = match update.kind {
        1 => StoredChange::Edit {
            body: Some(update.text),
        },
        2 => StoredChange::Delete,
        3 | 4 => StoredChange::React {
            emoji: update.text,
            remove: update.kind == 4,
        },
        other => return Err(later(format_args!("kind of update {other}"))),
    };
    Ok(Command::Update {
        from: user(&update.from)?,
        of: update.of,
        change,
        idempotency: update.idempotency,
    })
}

fn role_from_wire(role: u32) -> Result<Role, Undecodable> {
    match role {
        1 => Ok(Role::Member),
        2 => Ok(Role::Admin),
        3 => Ok(Role::Owner),
        other => Err(later(format_args!("role {other}"))),
    }
}

fn from_wire(wire: WireCommand) -> Result<Command, Undecodable> {
    Ok(match wire {
        WireCommand::Send(send) => send_from_wire(send)?,
        WireCommand::Update(update) => update_from_wire(update)?,
        WireCommand::Create(create) => Command::Create {
            by: user(&create.by)?,
            name: create.name,
            photo: create.photo.as_ref().map(file).transpose()?,
            description: create.description,
            members: users(&create.members)?,
        },
        WireCommand::Open(two) => Command::Open {
            pair: [user(&two.by)?, first(&two)?],
        },
        WireCommand::Add(two) => Command::Add {
            by: user(&two.by)?,
            users: users(&two.users)?,
        },
        WireCommand::Remove(two) => Command::Remove {
            by: user(&two.by)?,
            user: first(&two)?,
        },
        WireCommand::SetRole(set) => Command::SetRole {
            by: user(&set.by)?,
            user: user(&set.user)?,
            role: role_from_wire(set.role)?,
        },
        WireCommand::Patch(patch) => Command::Patch {
            by: user(&patch.by)?,
            name: patch.name,
            photo: patch
                .photo
                .map(|photo| {
                    if photo.is_empty() {
                        Ok(None)
                    } else {
                        file(&photo).map(Some)
                    }
                })
                .transpose()?,
            description: patch.description.map(|text| Some(text).filter(|text| !text.is_empty())),
        },
        WireCommand::Delete(by) => Command::Delete { by: user(&by)? },
        WireCommand::Gone(gone) => Command::Gone { user: user(&gone)? },
    })
}

fn first(two: &WireUsers) -> Result<UserId, Undecodable> {
    two.users.first().ok_or_else(|| missing("user")).and_then(user)
}

#[cfg(test)]
mod tests;
