//! The public listener: accepts connections and serves HTTP on them until they end or become WebSockets.
//!
//! One socket and one accepting task: a single task accepts far more than `connects_per_second` admits, and without
//! `SO_REUSEPORT` a second server started by mistake on the same port fails clearly instead of taking half of the clients.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{Counter, Gauge, counter, gauge};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Settings;
use super::admission::{Addresses, Refusal};
use super::service::{Service, request_id};
use super::socket::Hub;
use super::stream::{Stream, Under};
use super::tls::Tls;
use super::upgrade;

/// How long the head of a request may take, an idle keep-alive connection's next one included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest head of a request: tokens and cookies fit well, and hyper starts with less.
const HEAD_BYTES: usize = 32 * 1024;
/// A peer that acknowledges nothing, or keeps its window shut, for so long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// When the kernel begins to ask a silent peer whether it lives, and how often it asks.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long accepting pauses when no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds the public address. Options are set on the listening socket: what it accepts inherits them, without a call each.
pub fn bind(settings: &Settings) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(settings.listen), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    if let Some(bytes) = settings.socket_send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = settings.socket_receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&settings.listen.into())?;
    socket.listen(i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts and serves.
pub struct Listener {
    service: Arc<Service>,
    hub: Arc<Hub>,
    tls: Option<Arc<Tls>>,
    /// True once the node stops: idle HTTP connections are closed.
    stopping: watch::Receiver<bool>,
    /// TCP connections open now; beyond `most` new ones are dropped at once.
    open: Arc<Open>,
    most: u64,
    accepts: Counter,
    errors: Counter,
    tls_failures: Counter,
}

/// The TCP connections that hyper holds.
struct Open {
    count: AtomicU64,
    addresses: Addresses,
    gauge: Gauge,
}

/// One of them, until dropped.
struct OpenOne {
    open: Arc<Open>,
    address: IpAddr,
}

impl OpenOne {
    /// Takes a place, if the address holds fewer than `most`.
    fn enter(open: &Arc<Open>, address: IpAddr, most: u32) -> Result<Self, Refusal> {
        open.addresses.enter(address, most, || Ok(()))?;
        open.count.fetch_add(1, Relaxed);
        open.gauge.increment(1.0);
        let open = open.clone();
        Ok(Self { open, address })
    }
}

impl Drop for OpenOne {
    fn drop(&mut self) {
        self.open.addresses.leave(self.address);
        self.open.count.fetch_sub(1, Relaxed);
        self.open.gauge.decrement(1.0);
    }
}

impl Listener {
    pub fn new(
        service: Arc<Service>,
        hub: Arc<Hub>,
        tls: Option<Arc<Tls>>,
        stopping: watch::Receiver<bool>,
        most: u64,
    ) -> Self {
        Self {
            service,
            hub,
            tls,
            stopping,
            open: Arc::new(Open {
                count: AtomicU64::new(0),
                addresses: Addresses::default(),
                gauge: gauge!("node_http_connections"),
            }),
            most,
            accepts: counter!("node_accepts_total"),
            errors: counter!("node_accept_errors_total"),
            tls_failures: counter!("node_tls_failures_total"),
        }
    }

    /// Accepts as long as its task lives.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.accepted(stream, peer),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    fn accepted(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        self.accepts.increment(1);
        let address = peer.ip().to_canonical();
        match self.enter(address) {
            Ok(open) => {
                let listener = self.clone();
                tokio::spawn(async move {
                    listener.serve(stream, address).await;
                    drop(open);
                });
            }
            // Reading a request to refuse it properly is more than what floods us is worth.
            Err(refusal) => drop(self.hub.admission.problem(refusal)),
        }
    }

    fn enter(&self, address: IpAddr) -> Result<OpenOne, Refusal> {
        if self.connections() + self.hub.connections() >= self.most {
            return Err(Refusal::Capacity);
        }
        let proxied = self
            .service
            .settings
            .trusted_proxies
            .iter()
            .any(|proxy| proxy.contains(address));
        let most = if proxied {
            u32::MAX
        } else {
            self.hub.limits.connections_per_address
        };
        OpenOne::enter(&self.open, address, most)
    }

    /// HTTP connections open now.
    pub fn connections(&self) -> u64 {
        self.open.count.load(Relaxed)
    }

    async fn failed(&self, error: &io::Error) {
        self.errors.increment(1);
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
        ) {
            return;
        }
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    /// The stream with TLS on it where the listener speaks it; none when the handshake failed.
    async fn under(&self, tcp: TcpStream, peer: IpAddr) -> Option<Under> {
        let Some(tls) = &self.tls else {
            return Some(Under::Tcp(tcp));
        };
        match tls.accept(tcp).await {
            Ok(stream) => Some(Under::Tls(Box::new(stream))),
            Err(error) => {
                self.tls_failures.increment(1);
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                None
            }
        }
    }

    async fn serve(self: Arc<Self>, tcp: TcpStream, peer: IpAddr) {
        let Some(under) = self.under(tcp, peer).await else {
            return;
        };
        let this = self.clone();
        let answering = service_fn(move |request| {
            let this = this.clone();
            async move { Ok::<_, Infallible>(this.answer(request, peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Stream::new(under)), answering)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping.clone();
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = async { stopping.wait_for(|stopping| *stopping).await.is_ok() } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "an HTTP connection ended badly");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> hyper::Response<super::http::Body> {
        if request.uri().path() != upgrade::PATH {
            return self.service.answer(request, peer).await;
        }
        let id = request_id(request.headers());
        let headers = request.headers().clone();
        let answered = upgrade::answer(&self.service, &self.hub, request, peer);
        self.service.finish(answered, &headers, &id)
    }
}
