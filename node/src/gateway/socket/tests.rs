//! Sockets over loopback, with a door that records what the sessions would see.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rookery_actors::frames::Frames;
use rookery_actors::id::{LoginId, UserId};
use rookery_actors::outlet::{Outlet, Pushed, Urgency};
use rookery_actors::protocol::client::Request;
use rookery_actors::protocol::websocket::{Decoder, Opcode, Role, client_frame, close_code, close_payload};
use rookery_actors::protocol::{CloseCode, Codec, ErrorCode, Limits, Problem, ServerFrame};
use rookery_actors::system::Arrival;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Hub, Newcomer, Wire};
use crate::accounts::Caller;
use crate::gateway::admission::Admission;
use crate::gateway::door::{Door, Session};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long enough for anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<Request>>,
    drained: AtomicUsize,
    detached: AtomicUsize,
    outlets: Mutex<Vec<Arc<dyn Outlet>>>,
}

struct Fake {
    log: Arc<Log>,
    refuse: bool,
}

struct FakeSession(Arc<Log>);

impl Session for FakeSession {
    fn frame(&self, request: Request) {
        self.0.requests.lock().push(request);
    }
    fn drained(&self) {
        self.0.drained.fetch_add(1, SeqCst);
    }
    fn detach(&self) {
        self.0.detached.fetch_add(1, SeqCst);
    }
}

fn caller() -> Caller {
    Caller {
        user: UserId::from_slice(&[1; 16]).unwrap(),
        login: LoginId::from_slice(&[2; 16]).unwrap(),
        expires: Instant::now() + Duration::from_secs(3600),
    }
}

#[async_trait]
impl Door for Fake {
    fn authenticate(&self, token: &str) -> Result<Caller, Problem> {
        match token {
            "good" => Ok(caller()),
            "other" => Ok(Caller {
                login: LoginId::from_slice(&[3; 16]).unwrap(),
                ..caller()
            }),
            _ => Err(Problem::new(ErrorCode::Unauthorized, "no such token")),
        }
    }

    fn still(&self, caller: Caller) -> Result<Caller, Problem> {
        Ok(caller)
    }

    async fn attach(&self, _: Arrival, outlet: Arc<dyn Outlet>) -> Result<Box<dyn Session>, Problem> {
        if self.refuse {
            return Err(Problem::unavailable("away"));
        }
        self.log.outlets.lock().push(outlet);
        Ok(Box::new(FakeSession(self.log.clone())))
    }
}

struct Rig {
    hub: Arc<Hub>,
    log: Arc<Log>,
    listener: TcpListener,
    tls: Option<tls::Ends>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What a client sees.
struct Client {
    stream: Box<dyn Duplex>,
    decoder: Decoder,
    frames: Vec<(Opcode, Vec<u8>)>,
}

impl Rig {
    async fn new(limits: Limits) -> Self {
        Self::with(limits, false).await
    }

    async fn with(limits: Limits, refuse: bool) -> Self {
        let limits = Arc::new(limits);
        let log = Arc::new(Log::default());
        let door = Arc::new(Fake {
            log: log.clone(),
            refuse,
        });
        let hub = Hub::new(2, limits.clone(), door, Arc::new(Admission::new(limits)));
        hub.start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            hub,
            log,
            listener,
            tls: None,
        }
    }

    async fn connect(&self) -> Client {
        self.connect_with(caller(), Codec::Json, b"").await
    }

    async fn connect_with(&self, caller: Caller, codec: Codec, early: &[u8]) -> Client {
        let address = self.listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let (client, accepted) = (client.unwrap(), accepted.unwrap().0);
        let (stream, wire): (Box<dyn Duplex>, _) = match &self.tls {
            Some(ends) => ends.shake_hands(client, accepted).await,
            None => (Box::new(client), Wire::Tcp(accepted)),
        };
        let newcomer = Newcomer {
            wire,
            answer: Bytes::new(),
            early: Bytes::copy_from_slice(early),
            arrival: Arrival {
                user: caller.user,
                login: caller.login,
                device: None,
                device_name: String::new(),
            },
            caller,
            codec,
            place: self.hub.admission.enter(LOCALHOST, Instant::now()).unwrap(),
        };
        self.hub.clone().welcome(newcomer).await;
        Client {
            stream,
            decoder: Decoder::new(Role::Client, 1 << 24),
            frames: Vec::new(),
        }
    }

    fn outlet(&self) -> Arc<dyn Outlet> {
        self.log.outlets.lock()[0].clone()
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "never happened: {what}");
    }
}

fn masked(opcode: Opcode, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    client_frame(opcode, [9, 8, 7, 6], &mut out, |out| out.extend_from_slice(payload));
    out
}

impl Client {
    async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).await.unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(Opcode, Vec<u8>)> {
        let reading = async {
            let mut buffer = vec![0; 64 * 1024];
            while self.frames.is_empty() {
                let count = self.stream.read(&mut buffer).await.unwrap_or(0);
                if count == 0 {
                    return;
                }
                let frames = &mut self.frames;
                self.decoder
                    .read(&mut buffer[..count], |frame| {
                        frames.push((frame.opcode, frame.payload.to_vec()));
                        std::ops::ControlFlow::Continue(())
                    })
                    .expect("the server keeps RFC 6455");
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("a frame, or the end");
        (!self.frames.is_empty()).then(|| self.frames.remove(0))
    }

    async fn next_json(&mut self) -> serde_json::Value {
        let (opcode, payload) = self.next().await.expect("a frame");
        assert_eq!(opcode, Opcode::Text);
        serde_json::from_slice(&payload).unwrap()
    }

    /// The code of the close frame, after which the stream must end.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Some((Opcode::Close, payload)) => {
                    self.stream.shutdown().await.ok();
                    assert_eq!(self.next().await, None, "nothing follows a close frame");
                    return close_code(&payload);
                }
                Some(_) => {}
                None => return None,
            }
        }
    }
}

fn frame(length: usize) -> Frames {
    Frames::one(ServerFrame::Pong {
        id: Some("x".repeat(length)),
    })
}

mod endings;
mod exchange;
mod tls;
