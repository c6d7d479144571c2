//! A conversation's own document: how far it has come, what it is, and which changes of its members are not carried out yet.

use mongodb::bson::{DateTime, Document, Uuid, doc};
use rookery_actors::id::{FileId, UserId};
use rookery_actors::ports::chats::{LastChange, Member, Profile};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::protocol::view::Role;
use rookery_actors::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::code::{AsId as _, date, from_ids, ids, number, timestamp};
use super::plan::{Roster, Standing};

/// What stands in a conversation's document; a question may leave fields out.
#[derive(Deserialize)]
pub struct ConversationDoc {
    #[serde(rename = "_id")]
    pub id: Uuid,
    #[serde(default)]
    pub applied: i64,
    #[serde(default)]
    pub head: i64,
    #[serde(default = "epoch")]
    pub active_at: DateTime,
    pub profile: Option<ProfileDoc>,
    #[serde(default)]
    pub deleted: bool,
    /// Of a deleted group: nothing of it is left elsewhere.
    #[serde(default)]
    pub swept: bool,
    /// Committed and perhaps not carried out, oldest first.
    #[serde(default)]
    pub changes: Vec<ChangeDoc>,
}

fn epoch() -> DateTime {
    DateTime::from_millis(0)
}

#[derive(Serialize, Deserialize)]
pub struct ProfileDoc {
    /// Of a direct conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pair: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<Uuid>,
    /// Of a group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    photo: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_change: Option<LastChangeDoc>,
}

#[derive(Serialize, Deserialize)]
struct LastChangeDoc {
    /// As the bits it has.
    process: i64,
    offset: i64,
}

impl From<LastChange> for LastChangeDoc {
    fn from(change: LastChange) -> Self {
        Self {
            process: change.process.cast_signed(),
            offset: number(change.offset),
        }
    }
}

impl From<LastChangeDoc> for LastChange {
    fn from(stored: LastChangeDoc) -> Self {
        Self {
            process: stored.process.cast_unsigned(),
            offset: stored.offset as u64,
        }
    }
}

impl From<&Profile> for ProfileDoc {
    fn from(profile: &Profile) -> Self {
        let nothing = Self {
            pair: Vec::new(),
            gone: Vec::new(),
            name: String::new(),
            photo: None,
            description: None,
            created_at: None,
            updated_at: None,
            last_change: None,
        };
        match profile {
            Profile::Direct { pair, gone } => Self {
                pair: ids(pair),
                gone: ids(gone),
                ..nothing
            },
            Profile::Group {
                name,
                photo,
                description,
                created_at,
                updated_at,
                last_change,
            } => Self {
                name: name.clone(),
                photo: photo.map(|photo| photo.id()),
                description: description.clone(),
                created_at: Some(date(*created_at)),
                updated_at: Some(date(*updated_at)),
                last_change: last_change.map(LastChangeDoc::from),
                ..nothing
            },
        }
    }
}

impl From<ProfileDoc> for Profile {
    fn from(stored: ProfileDoc) -> Self {
        if let [one, other] = stored.pair[..] {
            return Self::Direct {
                pair: [UserId::from_id(one), UserId::from_id(other)],
                gone: from_ids(stored.gone),
            };
        }
        let time = |at: Option<DateTime>| at.map_or(Timestamp(0), timestamp);
        Self::Group {
            name: stored.name,
            photo: stored.photo.map(FileId::from_id),
            description: stored.description,
            created_at: time(stored.created_at),
            updated_at: time(stored.updated_at),
            last_change: stored.last_change.map(LastChange::from),
        }
    }
}

/// What one commit does to the members.
#[derive(Serialize, Deserialize)]
pub struct ChangeDoc {
    /// The offset that the commit came to: what orders the changes of a membership.
    pub v: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    joined: Vec<MemberDoc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<GoneDoc>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct MemberDoc {
    pub user: Uuid,
    pub role: i32,
    pub joined_at: DateTime,
    pub joined_seq: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_since: Option<DateTime>,
}

#[derive(Serialize, Deserialize)]
struct GoneDoc {
    user: Uuid,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    was: bool,
}

impl ChangeDoc {
    pub fn of(applied: u64, roster: &Roster) -> Self {
        let mut change = Self {
            v: number(applied),
            joined: Vec::new(),
            gone: Vec::new(),
        };
        for (user, standing) in roster {
            match standing {
                Standing::Member(member) => change.joined.push(MemberDoc::from(member)),
                Standing::Gone { was } => change.gone.push(GoneDoc {
                    user: user.id(),
                    was: *was,
                }),
            }
        }
        change
    }

    /// How the users it names stand after it.
    pub fn standings(&self) -> PortResult<Vec<(UserId, Standing)>> {
        let joined = self.joined.iter().map(|member| {
            let member = Member::try_from(member)?;
            Ok((member.user, Standing::Member(member)))
        });
        let gone = self
            .gone
            .iter()
            .map(|gone| Ok((UserId::from_id(gone.user), Standing::Gone { was: gone.was })));
        joined.chain(gone).collect()
    }
}

impl From<&Member> for MemberDoc {
    fn from(member: &Member) -> Self {
        Self {
            user: member.user.id(),
            role: role(member.role),
            joined_at: date(member.joined_at),
            joined_seq: number(member.joined_seq),
            admin_since: member.admin_since.map(date),
        }
    }
}

impl TryFrom<&MemberDoc> for Member {
    type Error = PortError;
    fn try_from(stored: &MemberDoc) -> PortResult<Self> {
        Ok(Self {
            user: UserId::from_id(stored.user),
            role: read_role(stored.role)?,
            joined_at: timestamp(stored.joined_at),
            joined_seq: stored.joined_seq as u64,
            admin_since: stored.admin_since.map(timestamp),
        })
    }
}

/// A role as it stands in documents.
pub fn role(role: Role) -> i32 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

fn read_role(stored: i32) -> PortResult<Role> {
    match stored {
        0 => Ok(Role::Member),
        1 => Ok(Role::Admin),
        2 => Ok(Role::Owner),
        other => Err(PortError::Broken(format!(
            "MongoDB: a member has the unknown role {other}"
        ))),
    }
}

/// As a document to be written.
pub fn document(value: &impl Serialize) -> PortResult<Document> {
    mongodb::bson::serialize_to_document(value)
        .map_err(|error| PortError::Broken(format!("MongoDB: a document cannot be written: {error}")))
}

/// Only what says how far a conversation is and what is left to do.
pub fn progress() -> Document {
    doc! { "applied": 1, "deleted": 1, "swept": 1, "changes": 1 }
}
