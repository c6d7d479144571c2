//! Nodes on 127.0.0.1, each on a port of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Runtime;

use super::super::*;
use crate::testkit::contract::Bench;
use crate::testkit::eventually;

pub(super) struct Cluster {
    members: Mutex<Vec<(Peer, Arc<QuicTransport>)>>,
    /// Those that were replaced, and go on.
    zombies: Mutex<Vec<Arc<QuicTransport>>>,
    incarnations: AtomicU64,
    runtime: Runtime,
}

pub(super) fn runtime(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

pub(super) const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A node with a certificate of its own making.
pub(super) fn start(runtime: &Runtime, node: &str, incarnation: u64) -> (Peer, Arc<QuicTransport>) {
    start_as(runtime, Identity::make(node.into()).unwrap(), incarnation)
}

pub(super) fn start_as(runtime: &Runtime, identity: Identity, incarnation: u64) -> (Peer, Arc<QuicTransport>) {
    let _guard = runtime.enter();
    let node = identity.node().clone();
    let transport = QuicTransport::bind(Settings::new(ANYWHERE), identity).unwrap();
    let peer = Peer {
        node,
        address: transport.local_addr().unwrap(),
        fingerprint: transport.fingerprint(),
        incarnation: Incarnation(incarnation),
    };
    (peer, transport)
}

/// Whether a node has a link to this life of a peer.
pub(super) fn is_linked(transport: &QuicTransport, peer: &Peer) -> bool {
    let is_it = |link: &LinkState| link.node == peer.node && link.incarnation == peer.incarnation;
    transport.links().iter().any(is_it)
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            members: Mutex::default(),
            zombies: Mutex::default(),
            incarnations: AtomicU64::new(1),
            runtime: runtime(2),
        }
    }

    fn tell(&self) {
        let members = self.members.lock();
        let peers: Vec<Peer> = members.iter().map(|(peer, _)| peer.clone()).collect();
        members.iter().for_each(|(_, transport)| transport.set_peers(&peers));
    }

    fn is_complete(&self) -> bool {
        let members = self.members.lock();
        members.iter().all(|(own, transport)| {
            let others = members.iter().filter(|(peer, _)| peer.node != own.node);
            transport.links().len() == members.len() - 1 && others.clone().all(|(peer, _)| is_linked(transport, peer))
        })
    }
}

impl Bench for Cluster {
    fn join(&self, node: &str) -> Arc<dyn Transport> {
        let (peer, transport) = start(&self.runtime, node, self.incarnations.fetch_add(1, Ordering::Relaxed));
        let mut members = self.members.lock();
        if let Some(old) = members.iter().position(|(member, _)| member.node == peer.node) {
            self.zombies.lock().push(members.remove(old).1);
        }
        members.push((peer, transport.clone()));
        drop(members);
        self.tell();
        eventually("all links are up", || self.is_complete());
        transport
    }

    fn leave(&self, node: &str) {
        let mut members = self.members.lock();
        let index = members
            .iter()
            .position(|(member, _)| member.node == node.into())
            .unwrap();
        let (_, gone) = members.remove(index);
        drop(members);
        self.runtime.block_on(gone.shutdown(Duration::from_millis(100)));
        self.tell();
    }
}
