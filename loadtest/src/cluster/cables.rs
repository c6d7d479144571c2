//! Links between nodes that can be cut: a UDP relay of our own before each node, which the others take for the node itself.
//!
//! A node sends from the port it listens on, so a relay knows by the source who sent, and drops what comes over a link that
//! is cut, in either direction. What reaches Redis, Kafka and clients is not touched: only the two nodes lose each other.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a relay looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);
/// The largest datagram there is.
const LARGEST: usize = 65_536;

/// The relays of all nodes.
#[derive(Default)]
pub struct Cables {
    shared: Arc<Shared>,
    relays: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Where each node listens, by its place.
    nodes: RwLock<Vec<SocketAddr>>,
    /// Pairs of places that do not reach each other, the smaller first.
    cut: RwLock<BTreeSet<(usize, usize)>>,
    /// Datagrams that met a cut.
    stopped: AtomicU64,
    ended: AtomicBool,
    returns: Mutex<Vec<JoinHandle<()>>>,
}

impl Cables {
    /// A relay before a node that is to listen there; the node must say that it is at the answered address.
    pub fn before(&mut self, node: SocketAddr) -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind((node.ip(), 0))?;
        socket.set_read_timeout(Some(LOOK))?;
        let public = socket.local_addr()?;
        let place = {
            let mut nodes = self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner);
            nodes.push(node);
            nodes.len() - 1
        };
        let relay = Relay {
            place,
            node,
            public: Arc::new(socket),
            shared: self.shared.clone(),
            ways: HashMap::new(),
        };
        let thread = std::thread::Builder::new().name("relay".into());
        self.relays.push(thread.spawn(move || relay.run())?);
        Ok(public)
    }

    pub fn cut(&self, a: usize, b: usize) {
        let mut cut = self.shared.cut.write().unwrap_or_else(PoisonError::into_inner);
        cut.insert((a.min(b), a.max(b)));
    }

    pub fn mend(&self, a: usize, b: usize) {
        let mut cut = self.shared.cut.write().unwrap_or_else(PoisonError::into_inner);
        cut.remove(&(a.min(b), a.max(b)));
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.relays.drain(..).for_each(|relay| drop(relay.join()));
        let mut returns = self.shared.returns.lock().unwrap_or_else(PoisonError::into_inner);
        returns.drain(..).for_each(|back| drop(back.join()));
    }
}

impl Shared {
    /// Whether a datagram meets a cut; then it is counted.
    fn stops(&self, from: Option<usize>, to: usize) -> bool {
        let cut = self.cut.read().unwrap_or_else(PoisonError::into_inner);
        let stops = from.is_some_and(|from| cut.contains(&(from.min(to), from.max(to))));
        self.stopped.fetch_add(u64::from(stops), Ordering::Relaxed);
        stops
    }

    fn place_of(&self, address: SocketAddr) -> Option<usize> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().position(|node| *node == address)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// What stands before one node: a socket for each that speaks to it, so that it can answer each.
struct Relay {
    place: usize,
    node: SocketAddr,
    public: Arc<UdpSocket>,
    shared: Arc<Shared>,
    ways: HashMap<SocketAddr, Arc<UdpSocket>>,
}

impl Relay {
    fn run(mut self) {
        let mut buffer = vec![0; LARGEST];
        while !self.shared.has_ended() {
            let Ok((size, from)) = self.public.recv_from(&mut buffer) else {
                continue;
            };
            if self.shared.stops(self.shared.place_of(from), self.place) {
                continue;
            }
            // A node that is away refuses: that is no failure of the relay's.
            if let Some(way) = self.way(from) {
                drop(way.send(&buffer[..size]));
            }
        }
    }

    fn way(&mut self, from: SocketAddr) -> Option<Arc<UdpSocket>> {
        if let Some(way) = self.ways.get(&from) {
            return Some(way.clone());
        }
        let socket = UdpSocket::bind((self.node.ip(), 0)).ok()?;
        socket.connect(self.node).ok()?;
        socket.set_read_timeout(Some(LOOK)).ok()?;
        let way = Arc::new(socket);
        let (back, public, shared) = (way.clone(), self.public.clone(), self.shared.clone());
        let (place, peer) = (self.place, shared.place_of(from));
        let thread = std::thread::Builder::new().name("relay-back".into());
        let thread = thread.spawn(move || {
            let mut buffer = vec![0; LARGEST];
            while !shared.has_ended() {
                let Ok(size) = back.recv(&mut buffer) else { continue };
                if !shared.stops(peer, place) {
                    drop(public.send_to(&buffer[..size], from));
                }
            }
        });
        let mut returns = self.shared.returns.lock().unwrap_or_else(PoisonError::into_inner);
        returns.push(thread.ok()?);
        drop(returns);
        self.ways.insert(from, way.clone());
        Some(way)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::Cables;

    fn node() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn a_cut_link_carries_nothing_either_way_and_the_others_go_on() {
        let mut cables = Cables::default();
        let nodes = [node(), node(), node()];
        let doors = [0, 1, 2].map(|n: usize| cables.before(nodes[n].local_addr().unwrap()).unwrap());
        let mut buffer = [0; 100];
        // The second speaks to the first, and is answered where it seems to be.
        nodes[1].send_to(b"hello", doors[0]).unwrap();
        let (size, seen) = nodes[0].recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"hello");
        nodes[0].send_to(b"welcome", seen).unwrap();
        let (size, from) = nodes[1].recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..size], from), (&b"welcome"[..], doors[0]));

        cables.cut(1, 0);
        nodes[1].send_to(b"lost", doors[0]).unwrap();
        nodes[0].send_to(b"lost", seen).unwrap();
        nodes[2].send_to(b"third", doors[0]).unwrap();
        let (size, _) = nodes[0].recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"third");
        // Either way has its thread, and the one back may be the slower.
        while cables.shared.stopped.load(Ordering::Relaxed) < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }

        cables.mend(0, 1);
        nodes[1].send_to(b"again", doors[0]).unwrap();
        let (size, seen) = nodes[0].recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"again");
        nodes[0].send_to(b"back", seen).unwrap();
        let (size, _) = nodes[1].recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"back");
    }
}
