//! A wire between two nodes that can be cut, slowed and made to lose: UDP in, UDP out.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::hash::mix;

/// What the wire does to a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Nothing passes.
    pub cut: bool,
    pub delay: Duration,
    /// Of a hundred datagrams, so many are lost.
    pub loss_percent: u64,
}

/// A wire to one node. It ends when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    _tasks: JoinSet<io::Result<()>>,
}

struct Wire {
    near: Arc<UdpSocket>,
    target: SocketAddr,
    weather: Arc<Mutex<Weather>>,
    /// Decides what is lost; the same seed and order of datagrams lose the same.
    lot: Mutex<u64>,
}

impl Proxy {
    /// A wire to a node, on an address of its own. Call it on a Tokio runtime.
    pub async fn to(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = near.local_addr()?;
        let weather = Arc::new(Mutex::new(Weather::default()));
        let wire = Arc::new(Wire {
            near,
            target,
            weather: weather.clone(),
            lot: Mutex::new(seed),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(wire.run());
        Ok(Self {
            address,
            weather,
            _tasks: tasks,
        })
    }

    /// Where to send what is for the node.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to datagrams both ways, from now on.
    pub fn set(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }
}

impl Wire {
    /// Gives each sender a socket of its own towards the target, as a network address translation does.
    async fn run(self: Arc<Self>) -> io::Result<()> {
        let mut senders: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut returns = JoinSet::new();
        let mut late = Late::default();
        let mut datagram = vec![0; 65_536];
        loop {
            let (length, from) = tokio::select! {
                received = self.near.recv_from(&mut datagram) => received?,
                () = late.next() => continue,
            };
            let far = match senders.entry(from) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
                    returns.spawn(self.clone().give_back(far.clone(), from));
                    new.insert(far)
                }
            };
            self.pass(far, self.target, &datagram[..length], &mut late).await;
        }
    }

    async fn give_back(self: Arc<Self>, far: Arc<UdpSocket>, to: SocketAddr) {
        let mut late = Late::default();
        let mut datagram = vec![0; 65_536];
        loop {
            tokio::select! {
                // An error is of one datagram that found nobody there.
                Ok((length, _)) = far.recv_from(&mut datagram) => {
                    self.pass(&self.near, to, &datagram[..length], &mut late).await;
                }
                () = late.next() => {}
            }
        }
    }

    async fn pass(&self, through: &Arc<UdpSocket>, to: SocketAddr, datagram: &[u8], late: &mut Late) {
        let weather = *self.weather.lock();
        if weather.cut || self.draw() < weather.loss_percent {
            return;
        }
        if weather.delay.is_zero() {
            let _ = through.send_to(datagram, to).await;
        } else {
            late.keep(Instant::now() + weather.delay, through.clone(), to, datagram);
        }
    }

    /// A number below 100.
    fn draw(&self) -> u64 {
        let mut lot = self.lot.lock();
        *lot = mix(*lot);
        *lot % 100
    }
}

/// Datagrams that are sent later, by when and in the order in which they came.
#[derive(Default)]
struct Late {
    waiting: BTreeMap<(Instant, u64), Datagram>,
    count: u64,
}

struct Datagram {
    through: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Late {
    fn keep(&mut self, due: Instant, through: Arc<UdpSocket>, to: SocketAddr, datagram: &[u8]) {
        self.count += 1;
        let datagram = Datagram {
            through,
            to,
            bytes: datagram.to_vec(),
        };
        self.waiting.insert((due, self.count), datagram);
    }

    /// Sends what is due next, and waits for ever when there is nothing. Nothing is lost when this future is dropped before
    /// its time.
    async fn next(&mut self) {
        let Some((due, _)) = self.waiting.keys().next().copied() else {
            return std::future::pending().await;
        };
        sleep_until(due.into()).await;
        if let Some((_, Datagram { through, to, bytes })) = self.waiting.pop_first() {
            let _ = through.try_send_to(&bytes, to);
        }
    }
}
