//! What `/admin` answers: who is here, who owns what, what is known of a user.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use rookery_actors::id::{ConnectionId, DeviceId, LoginId, UserId};
use rookery_actors::ports::accounts::AccountStore;
use rookery_actors::protocol::Problem;
use rookery_actors::system::{Attachment, Peer, System};
use rookery_actors::time::Timestamp;
use rookery_cluster::id::NodeId;
use rookery_cluster::router::Router;
use serde::Serialize;

use super::AdminToken;
use crate::gateway::Gateway;
use crate::gateway::http::{Failure, Reply};
use crate::shutdown::Phase;

/// What operators look into, once the node is whole.
pub struct Control {
    pub token: AdminToken,
    pub started_at: Timestamp,
    pub router: Router<Peer>,
    pub gateway: Arc<Gateway>,
    pub system: System,
    pub accounts: Arc<dyn AccountStore>,
}

#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Node<'c> {
    node: &'c NodeId,
    state: &'static str,
    version: &'static str,
    listen: SocketAddr,
    started_at: Timestamp,
    pid: u32,
    shards: usize,
    /// Sockets open now.
    connections: u64,
    /// Sessions and conversations in memory now.
    sessions: usize,
    conversations: usize,
}

#[derive(Serialize)]
struct Shard<'c> {
    shard: u16,
    node: &'c NodeId,
}

#[derive(Serialize)]
struct User {
    id: UserId,
    username: String,
    name: String,
    created_at: Timestamp,
    last_seen_at: Option<Timestamp>,
    devices: Vec<Device>,
    connections: Vec<Connection>,
}

#[derive(Serialize)]
struct Connection {
    connection: ConnectionId,
    device: DeviceId,
    login: LoginId,
}

#[derive(Serialize)]
struct Device {
    id: DeviceId,
    login: LoginId,
    name: String,
    created_at: Timestamp,
    last_seen_at: Option<Timestamp>,
}

impl Control {
    /// The nodes. A node alone is the cluster.
    pub(super) fn nodes(&self, phase: Phase) -> Reply {
        let state = match phase {
            Phase::Starting => "joining",
            Phase::Ready => "up",
            Phase::Draining => "draining",
        };
        let (own, census) = (self.router.own(), self.system.census());
        let node = Node {
            node: own,
            state,
            version: env!("CARGO_PKG_VERSION"),
            listen: self.gateway.local_addr(),
            started_at: self.started_at,
            pid: std::process::id(),
            shards: self.router.table().placement.shards_of(own).count(),
            connections: self.gateway.connections(),
            sessions: census.sessions,
            conversations: census.conversations,
        };
        list(vec![node])
    }

    /// Every shard with its owner.
    pub(super) fn shards(&self) -> Reply {
        let table = self.router.table();
        let placement = &table.placement;
        let of = |node| {
            placement
                .shards_of(node)
                .map(move |shard| Shard { shard: shard.0, node })
        };
        let mut shards: Vec<_> = placement.nodes().iter().flat_map(of).collect();
        shards.sort_by_key(|shard| shard.shard);
        list(shards)
    }

    /// A user's account and devices; no message, no e-mail address, no secret.
    pub(super) async fn user(&self, id: &str) -> Result<Reply, Failure> {
        let id: UserId = id.parse().map_err(|_| Problem::not_found("user"))?;
        let account = self.accounts.accounts(&[id]).await?.pop();
        let account = account.ok_or_else(|| Problem::not_found("user"))?;
        let device = |device: rookery_actors::ports::accounts::Device| Device {
            id: device.id,
            login: device.login,
            name: device.name,
            created_at: device.created_at,
            last_seen_at: device.last_seen_at,
        };
        let connection = |attached: Attachment| Connection {
            connection: attached.connection,
            device: attached.device,
            login: attached.login,
        };
        Ok(Reply::ok(&User {
            id,
            username: account.username,
            name: account.name,
            created_at: account.created_at,
            last_seen_at: account.last_seen_at,
            connections: self.system.attachments(id).into_iter().map(connection).collect(),
            devices: self.accounts.devices(id).await?.into_iter().map(device).collect(),
        }))
    }
}

fn list<T: Serialize>(items: Vec<T>) -> Reply {
    Reply::json(StatusCode::OK, &List { items, next: None })
}
