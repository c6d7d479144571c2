//! The actors' front door: what the gateway and the HTTP routes call.
//!
//! Everything here answers `Problem`s of the contract. Nobody outside this crate sees an actor, a mailbox or a shard.

mod attach;
mod groups;
mod inbox;
mod inspect;
mod messages;

use std::collections::BTreeSet;
use std::sync::Arc;

use rookery_cluster::id::NodeId;
use rookery_cluster::membership::Table;
use rookery_cluster::router::Router;

pub(crate) use self::attach::attach as attach_here;
pub use self::inspect::Attachment;
use crate::conversation::command::Command;
use crate::conversation::state::Outcome;
use crate::hub::Hub;
pub use crate::hub::Ports;
use crate::id::{ConversationId, DeviceId, FileId, LoginId, UserId};
pub use crate::interchange::Peer;
use crate::interchange::{Question, Reply, UserQuestion};
use crate::outlet::Outlet;
use crate::ports::PortError;
use crate::ports::chats::{Member, StoredMessage};
use crate::protocol::view::{Kind, Message};
use crate::protocol::{CloseCode, Limits, Problem};
use crate::session::hold;
pub use crate::session::hold::Hold as Link;
use crate::session::link::answered_otherwise;
use crate::time::Timestamp;

/// A socket that asks for its session.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub user: UserId,
    pub login: LoginId,
    /// The device named by `?device=`, if any.
    pub device: Option<DeviceId>,
    /// What a new device is called in the list of devices (from the User-Agent).
    pub device_name: String,
}

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    pub name: String,
    pub photo: Option<FileId>,
    pub description: Option<String>,
    pub members: Vec<UserId>,
}

/// What of a group is to change; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct GroupPatch {
    pub name: Option<String>,
    pub photo: Option<Option<FileId>>,
    pub description: Option<Option<String>>,
}

/// A group as its owner actor knows it, without what only the account tables know.
#[derive(Clone, Debug)]
pub struct GroupState {
    pub id: ConversationId,
    pub name: String,
    pub photo: Option<FileId>,
    pub description: Option<String>,
    pub owner: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub member_count: usize,
    /// The first page, by user id.
    pub members: Vec<Member>,
}

/// A row of the inbox, without what only the account tables know.
#[derive(Clone, Debug)]
pub struct InboxRow {
    pub id: ConversationId,
    pub kind: Kind,
    /// The name of a group; a direct conversation is titled by its peer.
    pub group_name: Option<String>,
    pub photo: Option<FileId>,
    pub peer: Option<UserId>,
    pub head: u64,
    pub read: u64,
    pub delivered: u64,
    pub unread: u32,
    pub muted_until: Option<Timestamp>,
    pub pinned: bool,
    pub last_message: Option<Message>,
}

/// The running actors of this node. Cheap to clone.
#[derive(Clone)]
pub struct System(Arc<Hub>);

impl System {
    /// Starts the actors over their ports. A node alone reads back what the log has beyond the store and serves everything;
    /// one of a cluster serves nothing before [`place`](Self::place) says what is its own. What waits for the store is held to
    /// about `unstored_bytes`.
    pub async fn start(
        router: Router<Peer>,
        ports: Ports,
        limits: Arc<Limits>,
        unstored_bytes: usize,
    ) -> Result<Self, PortError> {
        Hub::start(router, ports, limits, unstored_bytes).await.map(Self)
    }

    /// Attaches a socket to its user's session. On success `hello` is already on its way to the outlet and `sync` follows.
    pub async fn attach(&self, arrival: Arrival, outlet: Arc<dyn Outlet>) -> Result<Link, Problem> {
        hold::attach(&self.0, arrival, outlet).await
    }

    /// Closes the sockets of one login (4001), or of every login of the user but `except`.
    pub fn close_logins(&self, user: UserId, only: Option<LoginId>, except: Option<LoginId>, code: CloseCode) {
        self.0
            .tell_owner(user, UserQuestion::CloseLogins { only, except, code });
    }

    /// Closes the sockets of a device and forgets its cursors.
    pub fn forget_device(&self, user: UserId, device: DeviceId, code: CloseCode) {
        self.0.tell_owner(user, UserQuestion::ForgetDevice { device, code });
    }

    /// Gives a device to another login (a log-in that bound it): its old socket is closed with 4009.
    pub fn rebind_device(&self, user: UserId, device: DeviceId, login: LoginId) {
        self.0.tell_owner(user, UserQuestion::RebindDevice { device, login });
    }

    /// Ends every membership of a user whose account goes, and closes its direct conversations to new messages.
    pub async fn forget_user(&self, user: UserId) -> Result<(), Problem> {
        let inboxes = self.0.chats.inboxes(&[user]).await?;
        let stored = inboxes
            .iter()
            .flat_map(|inbox| &inbox.memberships)
            .map(|membership| membership.conversation);
        let loaded = self.0.progress(user).await;
        let loaded = loaded.iter().map(|progress| progress.conversation);
        let conversations: BTreeSet<_> = stored.chain(loaded).collect();
        for conversation in conversations {
            self.command(conversation, Command::Gone { user }).await?;
        }
        self.renamed(user);
        Ok(())
    }

    /// Says that a user's name changed, so that titles follow.
    pub fn renamed(&self, user: UserId) {
        self.0.names.forget(user);
        self.0.tell_renamed(user);
    }

    async fn command(&self, conversation: ConversationId, command: Command) -> Result<Outcome, Problem> {
        match self
            .0
            .call(conversation, Question::Do { command, repeat: true })
            .await?
        {
            Reply::Done { outcome, .. } => Ok(outcome),
            _ => Err(answered_otherwise()),
        }
    }

    /// How many sessions and conversations this node has in memory.
    pub fn census(&self) -> Census {
        Census {
            sessions: self.0.sessions.count(),
            conversations: self.0.conversations.count(),
        }
    }

    /// Makes a table take effect: which shards are served here. Called with each new table, the first one too, on a node of a
    /// cluster. Returns when what this node lost is stored and closed; what it gained opens by itself.
    pub async fn place(&self, table: Table) {
        self.0.place(table).await;
    }

    /// A node left the cluster, or the link to it broke: what was on its way between it and this one is lost.
    pub fn peer_lost(&self, node: &NodeId) {
        self.0.peer_lost(node);
    }

    /// The node that owns a user's session, where a socket of that user is best off.
    pub fn home(&self, user: UserId) -> NodeId {
        self.0.node_of(user)
    }

    /// Stores everything that waits and stops the actors. Part of a drain.
    pub async fn drain(&self) {
        self.0.drain().await;
    }
}

/// What a node has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    pub sessions: usize,
    pub conversations: usize,
}

/// A stored message as clients see it.
pub fn view(conversation: ConversationId, stored: &StoredMessage) -> Message {
    use crate::protocol::view::Reaction;
    /// How many of those who reacted are named.
    const NAMED: usize = 20;
    let content = &stored.content;
    Message {
        conversation,
        seq: stored.seq,
        id: stored.id.clone(),
        from: stored.from,
        at: stored.at,
        body: content.body.clone(),
        data: content.data.clone(),
        attachments: content.attachments.clone(),
        reply_to: content.reply_to,
        mentions: content.mentions.clone(),
        edited_at: stored.edited_at,
        deleted: stored.deleted,
        reactions: stored
            .reactions
            .iter()
            .map(|reaction| Reaction {
                emoji: reaction.emoji.clone(),
                count: reaction.users.len() as u32,
                users: reaction.users.iter().take(NAMED).copied().collect(),
            })
            .collect(),
    }
}
