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
use rookery_cluster::membership::{Cluster, Member, NodeState};
use rookery_cluster::router::Router;
use rookery_cluster::transport::quic::QuicTransport;
use serde::Serialize;
use tokio::sync::watch;

use super::AdminToken;
use crate::adapters::sqlite::Disk;
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
    /// None for a node that keeps all elsewhere.
    pub disk: Option<Arc<Disk>>,
    /// None for a node alone.
    pub peers: Option<Peers>,
}

/// The other nodes, and the links to them.
pub struct Peers {
    pub cluster: watch::Receiver<Arc<Cluster>>,
    pub links: Arc<QuicTransport>,
}

#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Node {
    node: NodeId,
    state: NodeState,
    shards: usize,
    /// Where its peers reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    /// Where clients reach it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// Of the link from the asked node, while it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_us: Option<u64>,
    /// Of the asked node alone.
    #[serde(flatten)]
    inside: Option<Inside>,
}

/// What a node knows of itself only.
#[derive(Serialize)]
struct Inside {
    version: &'static str,
    listen: SocketAddr,
    started_at: Timestamp,
    pid: u32,
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
        list(match &self.peers {
            Some(peers) => self.members(peers),
            None => vec![self.alone(phase)],
        })
    }

    fn alone(&self, phase: Phase) -> Node {
        Node {
            node: self.router.own().clone(),
            state: match phase {
                Phase::Starting | Phase::Apart => NodeState::Joining,
                Phase::Ready => NodeState::Up,
                Phase::Draining => NodeState::Draining,
            },
            shards: self.shards_of(self.router.own()),
            address: None,
            public_url: None,
            round_trip_us: None,
            inside: Some(self.inside()),
        }
    }

    fn members(&self, peers: &Peers) -> Vec<Node> {
        let cluster = peers.cluster.borrow().clone();
        let links = peers.links.links();
        let round_trip = |node: &NodeId| links.iter().find(|link| link.node == *node).map(|link| link.round_trip);
        let shown = |member: &Member| Node {
            node: member.node.clone(),
            state: member.state,
            shards: self.shards_of(&member.node),
            address: Some(member.address),
            public_url: member.public_url.clone(),
            round_trip_us: round_trip(&member.node).map(|time| time.as_micros() as u64),
            inside: (member.node == *self.router.own()).then(|| self.inside()),
        };
        cluster.view.members().iter().map(shown).collect()
    }

    fn shards_of(&self, node: &NodeId) -> usize {
        self.router.table().placement.shards_of(node).count()
    }

    fn inside(&self) -> Inside {
        let census = self.system.census();
        Inside {
            version: env!("CARGO_PKG_VERSION"),
            listen: self.gateway.local_addr(),
            started_at: self.started_at,
            pid: std::process::id(),
            connections: self.gateway.connections(),
            sessions: census.sessions,
            conversations: census.conversations,
        }
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
