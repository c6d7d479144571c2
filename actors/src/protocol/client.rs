//! Frames from the client.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::error::{ErrorCode, Problem};
use super::json::Json;
use crate::id::{ConversationId, FileId, UserId};

/// To whom a message goes. On the wire `{"user": id}` or `{"conversation": id}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    User(UserId),
    Conversation(ConversationId),
}

impl Target {
    /// The conversation that a user means by it.
    pub fn conversation(&self, user: UserId) -> ConversationId {
        match self {
            Self::User(peer) => ConversationId::direct(user, *peer),
            Self::Conversation(conversation) => *conversation,
        }
    }
}

/// A message to be sent, over the WebSocket or `POST /api/messages`. `id` is the client message id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Send {
    pub id: String,
    pub to: Target,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<FileId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
}

/// One frame from the client.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientFrame {
    Send(Box<Send>),
    Ack {
        conversation: ConversationId,
        seq: u64,
    },
    Read {
        conversation: ConversationId,
        seq: u64,
    },
    Typing {
        conversation: ConversationId,
    },
    History {
        conversation: ConversationId,
        before: Option<u64>,
        after: Option<u64>,
        limit: Option<u32>,
    },
    Edit {
        conversation: ConversationId,
        seq: u64,
        body: String,
    },
    Delete {
        conversation: ConversationId,
        seq: u64,
    },
    React {
        conversation: ConversationId,
        seq: u64,
        emoji: String,
        remove: bool,
    },
    Watch {
        users: Vec<UserId>,
    },
    Reauth {
        token: String,
    },
    Ping,
}

/// A frame with the request id its answer or error will carry (for `send` the client message id).
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    pub id: Option<String>,
    pub frame: ClientFrame,
}

/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES: usize = 64;

/// A frame that could not be understood: the id, where one could be read, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejected {
    pub id: Option<String>,
    pub problem: Problem,
}

/// Every field of every frame, read in one pass; which of them must be there depends on `t`.
#[derive(Default, Serialize, Deserialize)]
struct Flat {
    #[serde(default)]
    t: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conversation: Option<ConversationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attachments: Option<Vec<FileId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mentions: Option<Vec<UserId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emoji: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remove: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    users: Option<Vec<UserId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

fn required<T>(value: Option<T>, field: &str) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::field(field, "is required"))
}

impl Flat {
    fn frame(self) -> Result<Request, Rejected> {
        let id = self.id.clone();
        if id.as_ref().is_some_and(|id| id.len() > REQUEST_ID_BYTES) {
            return Err(Rejected {
                id: None,
                problem: Problem::field("id", "longer than 64 bytes"),
            });
        }
        match self.typed() {
            Ok(frame) => Ok(Request { id, frame }),
            Err(problem) => Err(Rejected { id, problem }),
        }
    }

    fn typed(self) -> Result<ClientFrame, Problem> {
        let conversation = || required(self.conversation, "conversation");
        let seq = || required(self.seq, "seq");
        Ok(match self.t.as_str() {
            "send" => ClientFrame::Send(Box::new(Send {
                id: required(self.id, "id")?,
                to: required(self.to, "to")?,
                body: self.body,
                data: self.data,
                attachments: self.attachments.unwrap_or_default(),
                reply_to: self.reply_to,
                mentions: self.mentions.unwrap_or_default(),
            })),
            "ack" => ClientFrame::Ack {
                conversation: conversation()?,
                seq: seq()?,
            },
            "read" => ClientFrame::Read {
                conversation: conversation()?,
                seq: seq()?,
            },
            "typing" => ClientFrame::Typing {
                conversation: conversation()?,
            },
            "history" => ClientFrame::History {
                conversation: conversation()?,
                before: self.before,
                after: self.after,
                limit: self.limit,
            },
            "edit" => ClientFrame::Edit {
                conversation: conversation()?,
                seq: seq()?,
                body: required(self.body, "body")?,
            },
            "delete" => ClientFrame::Delete {
                conversation: conversation()?,
                seq: seq()?,
            },
            "react" => ClientFrame::React {
                conversation: conversation()?,
                seq: seq()?,
                emoji: required(self.emoji, "emoji")?,
                remove: self.remove.unwrap_or(false),
            },
            "watch" => ClientFrame::Watch {
                users: required(self.users, "users")?,
            },
            "reauth" => ClientFrame::Reauth {
                token: required(self.token, "token")?,
            },
            "ping" => ClientFrame::Ping,
            "" => return Err(Problem::field("t", "is required")),
            other => {
                return Err(Problem::new(
                    ErrorCode::Unsupported,
                    format!("unknown frame type {other:.40}"),
                ));
            }
        })
    }

    fn of(request: &Request) -> Self {
        let id = request.id.clone();
        let named = |t: &str| Self {
            t: t.into(),
            id: id.clone(),
            ..Self::default()
        };
        let at = |t: &str, conversation, seq| Self {
            conversation: Some(conversation),
            seq: Some(seq),
            ..named(t)
        };
        match request.frame.clone() {
            ClientFrame::Send(send) => Self::of_send(*send),
            ClientFrame::Ack { conversation, seq } => at("ack", conversation, seq),
            ClientFrame::Read { conversation, seq } => at("read", conversation, seq),
            ClientFrame::Typing { conversation } => Self {
                conversation: Some(conversation),
                ..named("typing")
            },
            ClientFrame::History {
                conversation,
                before,
                after,
                limit,
            } => Self {
                conversation: Some(conversation),
                before,
                after,
                limit,
                ..named("history")
            },
            ClientFrame::Edit {
                conversation,
                seq,
                body,
            } => Self {
                body: Some(body),
                ..at("edit", conversation, seq)
            },
            ClientFrame::Delete { conversation, seq } => at("delete", conversation, seq),
            ClientFrame::React {
                conversation,
                seq,
                emoji,
                remove,
            } => Self {
                emoji: Some(emoji),
                remove: Some(remove),
                ..at("react", conversation, seq)
            },
            ClientFrame::Watch { users } => Self {
                users: Some(users),
                ..named("watch")
            },
            ClientFrame::Reauth { token } => Self {
                token: Some(token),
                ..named("reauth")
            },
            ClientFrame::Ping => named("ping"),
        }
    }

    fn of_send(send: Send) -> Self {
        Self {
            t: "send".into(),
            id: Some(send.id),
            to: Some(send.to),
            body: send.body,
            data: send.data,
            attachments: Some(send.attachments).filter(|list| !list.is_empty()),
            reply_to: send.reply_to,
            mentions: Some(send.mentions).filter(|list| !list.is_empty()),
            ..Self::default()
        }
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Flat::of(self).serialize(serializer)
    }
}

/// Between nodes; what clients send is read by the codec, which says what is wrong with it.
impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let incoming = Incoming::deserialize(deserializer)?;
        incoming
            .0
            .map_err(|rejected| serde::de::Error::custom(rejected.problem.detail))
    }
}

/// What came off the wire: a request, or why it is none.
pub(super) struct Incoming(pub Result<Request, Rejected>);

impl<'de> Deserialize<'de> for Incoming {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Flat::deserialize(deserializer).map(|flat| Self(flat.frame()))
    }
}

/// Why an object is no request: the first field that cannot be what it should be, in a frame whose type is known.
pub(super) fn rejected(mut object: Map<String, Value>, why: String) -> Rejected {
    let id = object.get("id").and_then(Value::as_str).map(str::to_owned);
    let kind = object.remove("t").unwrap_or_default();
    let of_kind = Flat {
        t: kind.as_str().unwrap_or_default().to_owned(),
        ..Flat::default()
    };
    let unknown = match of_kind.typed() {
        Err(problem) if problem.code == ErrorCode::Unsupported => Some(problem),
        _ => None,
    };
    let field = |(name, value): (String, Value)| {
        let alone = Value::Object(Map::from_iter([(name.clone(), value)]));
        let error = Flat::deserialize(alone).err()?;
        Some(Problem::field(name, error.to_string()))
    };
    let problem = unknown
        .or_else(|| object.into_iter().find_map(field))
        .unwrap_or_else(|| Problem::new(ErrorCode::BadRequest, why));
    Rejected {
        id: id.filter(|id| id.len() <= REQUEST_ID_BYTES),
        problem,
    }
}
