//! What the socket path costs: encode and decode a frame, push it, flush it over loopback, hold it idle.
//!
//! The server side runs on this thread alone and the clients on another, so the thread's own CPU time (user and system) is
//! the server's. Heap is counted exactly, by the allocator.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rookery_actors::frames::Frames;
use rookery_actors::id::{ConversationId, LoginId, UserId};
use rookery_actors::outlet::{Outlet, Urgency};
use rookery_actors::protocol::client::Request;
use rookery_actors::protocol::view::Message;
use rookery_actors::protocol::websocket::{Decoder, Opcode, Role, client_frame};
use rookery_actors::protocol::{Codec, Limits, Problem, ServerFrame};
use rookery_actors::system::Arrival;
use rookery_actors::time::Timestamp;
use rookery_node::accounts::Caller;
use rookery_node::gateway::admission::{Admission, Place};
use rookery_node::gateway::door::{Door, Session};
use rookery_node::gateway::socket::{Hub, Newcomer, Wire};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// CPU time of this thread, user and system.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the CPU time of a thread");
    let nanoseconds = text
        .split_ascii_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number is nanoseconds"))
}

#[derive(Default)]
struct Outlets(Mutex<Vec<Arc<dyn Outlet>>>);

struct Silent;

impl Session for Silent {
    fn frame(&self, request: Request) {
        black_box(request);
    }
    fn drained(&self) {}
    fn detach(&self) {}
}

#[async_trait]
impl Door for Outlets {
    fn authenticate(&self, _: &str) -> Result<Caller, Problem> {
        Ok(caller())
    }
    fn still(&self, caller: Caller) -> Result<Caller, Problem> {
        Ok(caller)
    }
    async fn attach(&self, _: Arrival, outlet: Arc<dyn Outlet>) -> Result<Box<dyn Session>, Problem> {
        self.0.lock().push(outlet);
        Ok(Box::new(Silent))
    }
}

fn caller() -> Caller {
    Caller {
        user: UserId::fresh(),
        login: LoginId::fresh(),
        expires: Instant::now() + Duration::from_secs(3600),
    }
}

fn message(body: usize) -> ServerFrame {
    ServerFrame::Message(Box::new(Message {
        conversation: ConversationId::fresh(),
        seq: 123_456,
        id: "0d3c1f6e-7f6e".into(),
        from: UserId::fresh(),
        at: Timestamp::now(),
        body: "x".repeat(body),
        data: None,
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }))
}

fn each(what: &str, count: usize, mut work: impl FnMut()) {
    work();
    let started = Instant::now();
    for _ in 0..count {
        work();
    }
    let nanoseconds = started.elapsed().as_nanos() as f64 / count as f64;
    println!("{what:<58} {nanoseconds:>9.0} ns");
}

fn codecs() {
    let frame = message(100);
    for codec in [Codec::Json, Codec::MsgPack] {
        each(&format!("encode a message of 100 B, {codec:?}"), 200_000, || {
            black_box(Frames::one(frame.clone()).bytes(codec));
        });
    }
    let send = br#"{"t":"send","id":"0d3c1f6e-7f6e","to":{"user":"01890000-0000-7000-8000-000000000000"},"body":"hello there"}"#;
    let mut masked = BytesMut::new();
    client_frame(Opcode::Text, [1, 2, 3, 4], &mut masked, |out| {
        out.extend_from_slice(send)
    });
    let mut decoder = Decoder::new(Role::Server, 65_536);
    let mut chunk = masked.to_vec();
    each("decode a send frame: head, mask, UTF-8", 500_000, || {
        chunk.copy_from_slice(&masked);
        let decoded = decoder.read(&mut chunk, |frame| {
            black_box(frame.payload);
            ControlFlow::Continue(())
        });
        black_box(decoded.is_ok());
    });
    each("parse a send frame's JSON", 200_000, || {
        black_box(Codec::Json.read(send).is_ok());
    });
}

/// The far ends: read whatever comes, answer pings, count bytes.
struct Far {
    bytes: AtomicU64,
}

async fn client(stream: TcpStream, far: Arc<Far>) {
    const PONG: [u8; 6] = [0x80 | Opcode::Pong as u8, 0x80, 0, 0, 0, 0];
    thread_local!(static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 65_536]));
    let mut stream = stream;
    while stream.readable().await.is_ok() {
        let read = BUFFER.with_borrow_mut(|buffer| {
            let count = stream.try_read(buffer)?;
            Ok::<_, std::io::Error>((count, count == 2 && buffer[0] == 0x80 | Opcode::Ping as u8))
        });
        match read {
            Ok((0, _)) => return,
            Ok((count, is_ping)) => {
                far.bytes.fetch_add(count as u64, Relaxed);
                if is_ping && stream.write_all(&PONG).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

struct Bench {
    hub: Arc<Hub>,
    door: Arc<Outlets>,
    far: Arc<Far>,
}

impl Bench {
    async fn new(count: usize, limits: Limits) -> Self {
        let limits = Arc::new(limits);
        let door = Arc::new(Outlets::default());
        let everybody = Limits {
            connections_per_address: u32::MAX,
            connects_per_second: u32::MAX,
            ..(*limits).clone()
        };
        let admission = Arc::new(Admission::new(Arc::new(everybody)));
        let hub = Hub::new(1, limits, door.clone(), admission);
        drop(hub.start());
        let far = Arc::new(Far {
            bytes: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let clients = far.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                for _ in 0..count {
                    let stream = TcpStream::connect(address).await.expect("the listener is there");
                    tokio::spawn(client(stream, clients.clone()));
                }
                std::future::pending::<()>().await;
            });
        });
        let bench = Self { hub, door, far };
        for _ in 0..count {
            let (stream, _) = listener.accept().await.expect("a connection");
            let place = bench.hub.admission.enter(LOCALHOST, Instant::now()).expect("a place");
            bench.hub.clone().welcome(newcomer(stream, place)).await;
        }
        bench
    }

    fn sent(&self) -> u64 {
        self.far.bytes.load(Relaxed)
    }

    /// Pushes `messages` frames to everybody, turn by turn, and waits until all have arrived.
    async fn deliver(&self, what: &str, turns: usize, messages: usize) {
        let outlets = self.door.0.lock().clone();
        let frames: Vec<Frames> = (0..messages).map(|_| Frames::one(message(100))).collect();
        let bytes: u64 = frames.iter().map(|frames| frames.bytes(Codec::Json).len() as u64).sum();
        let expected = self.sent() + bytes * (outlets.len() * turns) as u64;
        let (cpu_before, started) = (cpu(), Instant::now());
        let mut pushing = Duration::ZERO;
        for turn in 1..=turns {
            let walk = Instant::now();
            for frames in &frames {
                for outlet in &outlets {
                    outlet.push(frames, Urgency::Sequenced);
                }
            }
            pushing += walk.elapsed();
            let due = expected - bytes * (outlets.len() * (turns - turn)) as u64;
            while self.sent() < due {
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        }
        let deliveries = (outlets.len() * turns * messages) as f64;
        let microseconds = |spent: Duration| spent.as_nanos() as f64 / 1000.0 / deliveries;
        println!(
            "{what:<58} {:>9.3} us CPU a delivery ({:.3} us of it the push), {:.0}/s",
            microseconds(cpu() - cpu_before),
            microseconds(pushing),
            deliveries / started.elapsed().as_secs_f64(),
        );
    }
}

fn newcomer(stream: TcpStream, place: Place) -> Newcomer {
    let caller = caller();
    Newcomer {
        wire: Wire::Tcp(stream),
        answer: Bytes::new(),
        early: Bytes::new(),
        arrival: Arrival {
            user: caller.user,
            login: caller.login,
            device: None,
            device_name: String::new(),
        },
        caller,
        codec: Codec::Json,
        place,
    }
}

/// What the kernel takes by itself: a bare write a socket, with nothing of ours around it.
async fn raw(count: usize, turns: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let far = Arc::new(Far {
        bytes: AtomicU64::new(0),
    });
    let clients = far.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for _ in 0..count {
                let stream = TcpStream::connect(address).await.expect("the listener is there");
                tokio::spawn(client(stream, clients.clone()));
            }
            std::future::pending::<()>().await;
        });
    });
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(listener.accept().await.expect("a connection").0);
    }
    for stream in &streams {
        stream.writable().await.expect("a new socket takes bytes");
    }
    let bytes = Frames::one(message(100)).bytes(Codec::Json);
    let before = cpu();
    for turn in 1..=turns {
        for stream in &streams {
            assert!(stream.try_write(&bytes).is_ok_and(|taken| taken == bytes.len()));
        }
        while far.bytes.load(Relaxed) < (bytes.len() * count * turn) as u64 {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
    let each = (cpu() - before).as_nanos() as f64 / 1000.0 / (count * turns) as f64;
    println!(
        "{:<58} {each:>9.3} us CPU a delivery",
        "1,000 bare sockets, one write each"
    );
}

async fn deliveries() {
    raw(1000, 100).await;
    let limits = Limits {
        outbound_queue_bytes: 1 << 20,
        ..Limits::default()
    };
    let bench = Bench::new(1000, limits).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.deliver("1,000 sockets, one message a turn", 100, 1).await;
    bench.deliver("1,000 sockets, 5 messages a turn", 50, 5).await;
    bench.deliver("1,000 sockets, 20 messages a turn", 30, 20).await;
    bench.deliver("1,000 sockets, 100 messages a turn", 10, 100).await;
}

async fn idle() {
    const SOCKETS: usize = 4000;
    // The far ends are on this process's heap too: what they take is found with the same sockets and no hub.
    let limits = Limits {
        heartbeat_seconds: 2,
        idle_seconds: 10,
        ..Limits::default()
    };
    let far = far_heap(SOCKETS).await;
    let before = LIVE.load(Relaxed);
    let bench = Bench::new(SOCKETS, limits).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let outlets = (SOCKETS * size_of::<Arc<dyn Outlet>>()) as i64;
    let mine = (LIVE.load(Relaxed) - before - far - outlets) / SOCKETS as i64;
    println!(
        "{:<58} {mine:>9} B of heap",
        "an idle connection, without its session's record"
    );
    let (cpu_before, window) = (cpu(), Duration::from_secs(8));
    tokio::time::sleep(window).await;
    let spent = (cpu() - cpu_before).as_nanos() as f64 / 1000.0;
    let a_second = spent / SOCKETS as f64 / window.as_secs_f64();
    println!(
        "{:<58} {a_second:>9.3} us CPU a second",
        "an idle connection, heartbeat every 2 s"
    );
    println!(
        "{:<58} {:>9.3} us CPU a second",
        "the same, scaled to a heartbeat every 30 s",
        a_second * 2.0 / 30.0
    );
    drop(bench);
}

/// Heap of the far ends of so many connections, whose near ends are plain streams of the same runtime.
async fn far_heap(count: usize) -> i64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let far = Arc::new(Far {
        bytes: AtomicU64::new(0),
    });
    let (done, ready) = std::sync::mpsc::channel();
    let accepting = std::thread::spawn(move || {
        let near: Vec<_> = (0..count).map(|_| listener_accept(&listener)).collect();
        done.send(()).ok();
        near
    });
    let before = LIVE.load(Relaxed);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for _ in 0..count {
                let stream = TcpStream::connect(address).await.expect("the listener is there");
                tokio::spawn(client(stream, far.clone()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            LIVE.load(Relaxed)
        })
    });
    ready.recv().ok();
    let heap = thread.join().expect("the clients ran") - before;
    drop(accepting.join());
    heap
}

/// A blocking accept that allocates nothing on the heap.
fn listener_accept(listener: &TcpListener) -> std::net::TcpStream {
    let socket = socket2::SockRef::from(listener);
    loop {
        match socket.accept() {
            Ok((stream, _)) => return stream.into(),
            Err(_) => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

fn main() {
    codecs();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    runtime().block_on(deliveries());
    runtime().block_on(idle());
}
