//! What a link between two nodes carries, over loopback and with both nodes in this process: messages of 200 bytes one way
//! per second, and the round trip of messages that are sent at a steady rate, answered or not.
//!
//! Prints a line for each; `--seconds N` sets how long each is measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::Incarnation;
use rookery_cluster::transport::quic::identity::Identity;
use rookery_cluster::transport::quic::{Peer, QuicTransport, Settings};
use rookery_cluster::transport::{SendError, Sink, Transport};

const PAYLOAD: usize = 200;
/// Keys that messages are spread over: the lanes are chosen by it.
const KEYS: u64 = 64;
const RATE: u64 = 10_000;

/// Counts what arrives.
#[derive(Default)]
struct Count(AtomicU64);

impl Sink for Count {
    fn receive(&self, _from: &NodeId, _payload: Bytes) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends everything back.
struct Echo(Arc<QuicTransport>);

impl Sink for Echo {
    fn receive(&self, from: &NodeId, payload: Bytes) {
        let lane = u64::from(payload[0]);
        self.0.send(from, lane, payload).expect("there is room for an answer");
    }
}

/// Records how long ago what comes back was sent.
struct Clock {
    start: Instant,
    micros: Mutex<Vec<u32>>,
}

impl Sink for Clock {
    fn receive(&self, _from: &NodeId, payload: Bytes) {
        let mut sent = [0; 8];
        sent.copy_from_slice(&payload[8..16]);
        let nanos = self.start.elapsed().as_nanos() as u64 - u64::from_be_bytes(sent);
        self.micros.lock().push((nanos / 1000) as u32);
    }
}

fn start(node: &str, incarnation: u64) -> (Peer, Arc<QuicTransport>) {
    let identity = Identity::make(node.into()).expect("a certificate can be made");
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let transport = QuicTransport::bind(Settings::new(listen), identity).expect("a port is free");
    let peer = Peer {
        node: node.into(),
        address: transport.local_addr().expect("it is bound"),
        fingerprint: transport.fingerprint(),
        incarnation: Incarnation(incarnation),
    };
    (peer, transport)
}

async fn pair() -> (Arc<QuicTransport>, Arc<QuicTransport>) {
    let ((peer_a, a), (peer_b, b)) = (start("a", 1), start("b", 2));
    let peers = [peer_a, peer_b];
    a.set_peers(&peers);
    b.set_peers(&peers);
    while a.links().is_empty() || b.links().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (a, b)
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

async fn throughput(seconds: u64) {
    let (a, b) = pair().await;
    let count = Arc::new(Count::default());
    b.deliver_to(count.clone());
    let to = NodeId::from("b");
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let (begin, used) = (Instant::now(), cpu());
    let mut key = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..64 {
            key += 1;
            match a.send(&to, key % KEYS, payload.clone()) {
                Ok(()) => {}
                Err(SendError::Full(_)) => tokio::time::sleep(Duration::from_micros(200)).await,
                Err(error) => panic!("{error}"),
            }
        }
        tokio::task::yield_now().await;
    }
    let (arrived, took, used) = (count.0.load(Ordering::Relaxed), begin.elapsed(), cpu() - used);
    let rate = arrived as f64 / took.as_secs_f64();
    let cost = used.as_nanos() as f64 / arrived as f64;
    println!("one way, {PAYLOAD} B: {rate:.0} messages/s, {cost:.0} ns of CPU each on both nodes together");
}

async fn round_trip(seconds: u64) {
    let (a, b) = pair().await;
    b.deliver_to(Arc::new(Echo(b.clone())));
    let start = Instant::now();
    let clock = Arc::new(Clock {
        start,
        micros: Mutex::default(),
    });
    a.deliver_to(clock.clone());
    let used = cpu();
    let sender = a.clone();
    let sent = tokio::task::spawn_blocking(move || send_at_rate(&sender, start, seconds * RATE));
    let sent = sent.await.expect("the sender runs to its end");
    let late = Instant::now() + Duration::from_secs(5);
    while clock.micros.lock().len() < sent as usize && Instant::now() < late {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The links live as long as their transports.
    drop((a, b));
    let mut micros = std::mem::take(&mut *clock.micros.lock());
    micros.sort_unstable();
    assert_eq!(micros.len() as u64, sent, "lost some");
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    let cost = (cpu() - used).as_micros() as f64 / sent as f64;
    println!(
        "round trip, {PAYLOAD} B at {RATE}/s: p50 {} us, p99 {} us, p99.9 {} us, {cost:.1} us of CPU each",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// Sends each message when it is due, or as soon after as the thread wakes. It carries when it was sent.
fn send_at_rate(a: &QuicTransport, start: Instant, messages: u64) -> u64 {
    let to = NodeId::from("b");
    let mut sent = 0;
    while sent < messages {
        std::thread::sleep(Duration::from_micros(50));
        let due = (start.elapsed().as_nanos() as u64 * RATE / 1_000_000_000).min(messages);
        while sent < due {
            let mut payload = vec![0; PAYLOAD];
            payload[0] = (sent % KEYS) as u8;
            payload[8..16].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            a.send(&to, sent % KEYS, payload.into()).expect("there is room");
            sent += 1;
        }
    }
    sent
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments.iter().position(|argument| argument == "--seconds");
    let seconds = seconds.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started");
    runtime.block_on(async {
        tokio::spawn(throughput(seconds)).await.expect("it runs to its end");
        tokio::spawn(round_trip(seconds)).await.expect("it runs to its end");
    });
}
