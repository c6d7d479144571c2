//! Links to the other nodes over QUIC.
//!
//! **What is this.** One connection for each pair of nodes that are members, whichever way messages go: the node with the
//! smaller name dials, the other answers. Both show certificates ([`identity`]), agree by a handshake, and then keep a
//! control lane and a few ordered lanes each way open for as long as the link lives. Never a stream for a message.
//!
//! **Who owns whom.** A [`QuicTransport`] owns the endpoint, the acceptor and a keeper for each peer; a keeper owns one link
//! at a time; a link owns its lanes' tasks. Senders see a link's outboxes only.
//!
//! **What always holds.**
//! * Nothing of an old link is delivered after a new link to that node is announced, or after the old one's loss is.
//! * What waits for a peer is bounded in bytes for each lane, at the sender by its outbox, between the nodes by QUIC's
//!   stream windows, which are the receiver's credit: who does not read stops the sender's lane, whose outbox then
//!   refuses. Lanes share no window, so that one that stands still does not stop the others.
//! * A peer that says nothing for 1.5 s is lost, however well its kernel acknowledges.
//! * A connection whose certificate is no current member's, or another member's than it says, never becomes a link.
//!
//! **What is deliberately absent.** Queues for peers without a link: a send is refused. 0-RTT: it can be replayed, and links
//! are few and long. Migration to another port: a node's address is in the membership.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout_at;

use self::greeting::GreetError;
use self::handshake::Standing;
use self::identity::Identity;
use self::keeper::{ARRIVALS, Keeper, Orders};
use self::link::{Ending, Established, Link};
use self::trust::{Pins, TlsError};
use super::{Observer, SendError, Sink, Transport};
use crate::id::NodeId;
use crate::membership::{Fingerprint, Incarnation, Member};
use crate::metrics::LinkMeters;
use crate::seldom::Seldom;

pub mod identity;

mod backoff;
mod control;
mod defaults;
mod greeting;
mod handshake;
mod keeper;
mod lane;
mod link;
mod liveness;
mod outbox;
mod socket;
mod trust;

/// How a node's links are set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The UDP address to listen on. Port 0 is any that is free.
    pub listen: SocketAddr,
    /// What may wait for one lane of one peer.
    pub queue_bytes: usize,
}

/// A member as its peers need to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub node: NodeId,
    pub address: SocketAddr,
    /// Of the node's certificate.
    pub fingerprint: Fingerprint,
    pub incarnation: Incarnation,
}

/// A link as an operator sees it.
#[derive(Clone, Debug)]
pub struct LinkState {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub address: SocketAddr,
    pub round_trip: Duration,
    /// Bytes that wait for it.
    pub queued: usize,
}

/// A transport that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("listen for other nodes on UDP {listen}: {error}")]
    Listen { listen: SocketAddr, error: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The links of one node.
pub struct QuicTransport {
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

struct Shared {
    identity: Identity,
    settings: Settings,
    endpoint: Endpoint,
    runtime: Handle,
    pins: Pins,
    /// The links that are up.
    links: RwLock<HashMap<NodeId, Arc<Link>>>,
    keepers: Mutex<Keepers>,
    sink: watch::Sender<Option<Arc<dyn Sink>>>,
    announced: Mutex<Announced>,
    meters: Arc<LinkMeters>,
    /// Peers that share no version with this node.
    apart: Seldom,
}

#[derive(Default)]
struct Keepers {
    /// This node's incarnation; none before it is a member.
    own: Option<Incarnation>,
    by_node: HashMap<NodeId, KeeperHandle>,
    stopping: bool,
}

struct KeeperHandle {
    orders: watch::Sender<Orders>,
    arrivals: mpsc::Sender<Established>,
    task: JoinHandle<()>,
}

/// What the observer was told, or will be once there is one.
#[derive(Default)]
struct Announced {
    observer: Option<Arc<dyn Observer>>,
    up: HashSet<NodeId>,
}

impl From<&Member> for Peer {
    fn from(member: &Member) -> Self {
        Self {
            node: member.node.clone(),
            address: member.address,
            fingerprint: member.fingerprint,
            incarnation: member.incarnation,
        }
    }
}

impl Settings {
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            queue_bytes: defaults::QUEUE_BYTES,
        }
    }
}

impl QuicTransport {
    /// Listens. Call it on a Tokio runtime: that is where links live. There are none before `set_peers`.
    pub fn bind(settings: Settings, identity: Identity) -> Result<Arc<Self>, BindError> {
        let listen = |error| BindError::Listen {
            listen: settings.listen,
            error,
        };
        let pins = Pins::default();
        let mut server = trust::server(&identity, pins.clone())?;
        server.transport_config(socket::transport());
        let socket = socket::bind(settings.listen).map_err(listen)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime).map_err(listen)?;
        let shared = Arc::new(Shared {
            identity,
            settings,
            endpoint,
            runtime: Handle::current(),
            pins,
            links: RwLock::default(),
            keepers: Mutex::default(),
            sink: watch::Sender::new(None),
            announced: Mutex::default(),
            meters: Arc::new(LinkMeters::resolve()),
            apart: Seldom::default(),
        });
        let acceptor = tokio::spawn(accept(shared.clone()));
        Ok(Arc::new(Self { shared, acceptor }))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// SHA-256 of this node's certificate: what goes into the membership.
    pub fn fingerprint(&self) -> Fingerprint {
        self.shared.identity.fingerprint()
    }

    /// The members from now on, this node among them: links to new ones come up, those to who is gone end. A member with
    /// a new incarnation gets a new link at once. A node that is not among the members keeps the incarnation it last had,
    /// and has no links before it had one.
    pub fn set_peers(&self, members: &[Peer]) {
        self.shared.set_peers(members);
    }

    /// The links that are up, by node.
    pub fn links(&self) -> Vec<LinkState> {
        let links = self.shared.links.read();
        let mut states: Vec<LinkState> = links.values().map(|link| link.state()).collect();
        states.sort_by(|a, b| a.node.cmp(&b.node));
        states
    }

    /// Ends all links for good. What is queued leaves before, as far as that takes no longer than this; sends are refused
    /// from now on.
    pub async fn shutdown(&self, within: Duration) {
        let until = Instant::now() + within;
        let mut ending: JoinSet<()> = JoinSet::new();
        for handle in self.shared.stop(Some(until)) {
            ending.spawn(async move {
                let _ = handle.await;
            });
        }
        while ending.join_next().await.is_some() {}
        self.acceptor.abort();
        self.shared.endpoint.close(VarInt::from_u32(0), b"");
        let _ = timeout_at(until.into(), self.shared.endpoint.wait_idle()).await;
    }
}

impl Transport for QuicTransport {
    fn send(&self, to: &NodeId, lane: u64, payload: Bytes) -> Result<(), SendError> {
        match self.shared.links.read().get(to) {
            Some(link) => link.send(lane, &payload),
            None => Err(SendError::Unreachable(to.clone())),
        }
    }

    fn deliver_to(&self, sink: Arc<dyn Sink>) {
        self.shared.sink.send_replace(Some(sink));
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        let mut announced = self.shared.announced.lock();
        announced.up.iter().for_each(|node| observer.on_up(node));
        announced.observer = Some(observer);
    }
}

/// Without a shutdown, links end at once, as they do when the process dies.
impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.acceptor.abort();
        for task in self.shared.stop(None) {
            task.abort();
        }
        self.shared.endpoint.close(VarInt::from_u32(0), b"");
    }
}

/// Answers who dials, each on a task of its own, so many at a time.
async fn accept(shared: Arc<Shared>) {
    let mut greetings = JoinSet::new();
    loop {
        tokio::select! {
            incoming = shared.endpoint.accept() => match incoming {
                Some(incoming) if greetings.len() < defaults::MOST_HANDSHAKES => {
                    let shared = shared.clone();
                    greetings.spawn(async move {
                        let address = incoming.remote_address();
                        match greeting::answer(&shared, incoming).await {
                            Ok(established) => shared.hand_over(established),
                            Err(error) => {
                                shared.not_established(&address, &error);
                            }
                        }
                    });
                }
                Some(incoming) => incoming.refuse(),
                None => return,
            },
            Some(_) = greetings.join_next() => {}
        }
    }
}

impl Shared {
    fn set_peers(self: &Arc<Self>, members: &[Peer]) {
        let own = |member: &&Peer| member.node == self.identity.node;
        let mut keepers = self.keepers.lock();
        if keepers.stopping {
            return;
        }
        keepers.own = members
            .iter()
            .find(own)
            .map(|member| member.incarnation)
            .or(keepers.own);
        let Some(incarnation) = keepers.own else {
            return;
        };
        *self.pins.write() = members.iter().map(|member| member.fingerprint).collect();
        let peers: HashMap<&NodeId, &Peer> = members
            .iter()
            .filter(|member| !own(member))
            .map(|peer| (&peer.node, peer))
            .collect();
        for (node, handle) in &keepers.by_node {
            handle.order(Orders {
                own: incarnation,
                peer: peers.get(node).map(|peer| (*peer).clone()),
                shutdown: None,
            });
        }
        for (node, peer) in peers {
            if !keepers.by_node.contains_key(node) {
                let orders = Orders {
                    own: incarnation,
                    peer: Some(peer.clone()),
                    shutdown: None,
                };
                keepers.by_node.insert(node.clone(), self.start_keeper(node, orders));
            }
        }
    }

    fn start_keeper(self: &Arc<Self>, node: &NodeId, orders: Orders) -> KeeperHandle {
        let orders = watch::Sender::new(orders);
        let (arrivals, arrived) = mpsc::channel(ARRIVALS);
        let keeper = Keeper::new(self.clone(), node.clone(), orders.subscribe(), arrived);
        KeeperHandle {
            orders,
            arrivals,
            task: self.runtime.spawn(keeper.run()),
        }
    }

    /// Takes a keeper off the list; false if its peer is wanted again.
    fn retire(&self, node: &NodeId) -> bool {
        let mut keepers = self.keepers.lock();
        let wanted = keepers
            .by_node
            .get(node)
            .is_some_and(|handle| handle.orders.borrow().peer.is_some());
        if !wanted {
            keepers.by_node.remove(node);
        }
        !wanted
    }

    /// Has all keepers end, and gives their tasks. Refuses new ones.
    fn stop(&self, until: Option<Instant>) -> Vec<JoinHandle<()>> {
        let mut keepers = self.keepers.lock();
        keepers.stopping = true;
        let handles = std::mem::take(&mut keepers.by_node);
        let shutdown = until.unwrap_or_else(Instant::now);
        handles
            .into_values()
            .map(|handle| {
                handle.orders.send_modify(|orders| orders.shutdown = Some(shutdown));
                handle.task
            })
            .collect()
    }

    fn own_incarnation(&self) -> Incarnation {
        self.keepers.lock().own.unwrap_or_default()
    }

    /// What is known of a node that introduces itself with a certificate.
    fn standing(&self, node: &NodeId, certificate: Option<&CertificateDer<'_>>) -> Standing {
        let keepers = self.keepers.lock();
        let peer = keepers
            .by_node
            .get(node)
            .and_then(|handle| handle.orders.borrow().peer.clone());
        let (Some(peer), Some(certificate)) = (peer, certificate) else {
            return Standing::Stranger;
        };
        if !self.identity.trust.is_of(certificate, &peer) {
            return Standing::Impostor;
        }
        let linked = self
            .links
            .read()
            .get(node)
            .map_or(Incarnation::default(), |link| link.terms.incarnation);
        Standing::Member {
            least: peer.incarnation.max(linked),
        }
    }

    /// Gives a connection that was answered to its keeper. Where that has no room, or is gone, the connection is closed.
    fn hand_over(&self, established: Established) {
        let keepers = self.keepers.lock();
        if let Some(handle) = keepers.by_node.get(&established.terms.node) {
            let _ = handle.arrivals.try_send(established);
        }
    }

    /// Tells why there is no link. That comes and goes; but nodes that share no version have none until one is replaced.
    fn not_established(&self, peer: &dyn std::fmt::Display, error: &GreetError) {
        let reason = error.reason();
        self.meters.not_established(reason);
        if reason != "version" {
            tracing::debug!(%peer, %error, "no link to a node");
        } else if self.apart.is_to_be_told(Instant::now()).is_some() {
            tracing::error!(%peer, %error, "a node is of a release that this one cannot speak to: replace one of them");
        }
    }

    /// Opens a link to senders, then tells of it.
    fn link_up(&self, link: &Arc<Link>) {
        let node = &link.terms.node;
        self.links.write().insert(node.clone(), link.clone());
        self.meters.up.increment(1.0);
        tracing::info!(%node, incarnation = link.terms.incarnation.0, version = link.terms.version, "a link is up");
        let mut announced = self.announced.lock();
        announced.up.insert(node.clone());
        if let Some(observer) = &announced.observer {
            observer.on_up(node);
        }
    }

    /// Closes a link to senders.
    fn link_down(&self, link: &Link) {
        self.links.write().remove(&link.terms.node);
        self.meters.up.decrement(1.0);
    }

    /// Tells of a link that has ended.
    fn link_lost(&self, link: &Link, ending: &Ending) {
        let node = &link.terms.node;
        self.meters.lost(ending.reason());
        tracing::info!(%node, %ending, "a link is lost");
        let mut announced = self.announced.lock();
        announced.up.remove(node);
        if let Some(observer) = &announced.observer {
            observer.on_lost(node);
        }
    }
}

impl KeeperHandle {
    /// Changes the orders, and wakes the keeper if they are others.
    fn order(&self, orders: Orders) {
        self.orders.send_if_modified(|current| {
            let changed = *current != orders;
            *current = orders;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
