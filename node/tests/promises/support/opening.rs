//! The opening handshake of a WebSocket, and all the ways in which a test may want it.

use bytes::Bytes;
use fastwebsockets::handshake::generate_key;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use super::client::{Client, PATIENCE};
use super::http::Reply;
use super::server::Endpoint;

/// How the objects of a connection are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    Json,
    MsgPack,
}

/// A socket yet to be opened.
#[derive(Clone)]
pub struct Opening {
    endpoint: Endpoint,
    token: Option<String>,
    device: Option<String>,
    protocols: Vec<String>,
    headers: Vec<(String, String)>,
    receive_buffer: Option<usize>,
}

impl Opening {
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            token: None,
            device: None,
            protocols: vec!["rookery.v1.json".into()],
            headers: Vec::new(),
            receive_buffer: None,
        }
    }

    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self
    }

    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(device.into());
        self
    }

    pub fn msgpack(self) -> Self {
        self.protocols(&["rookery.v1.msgpack"])
    }

    /// The subprotocols offered, none included.
    pub fn protocols(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Makes the kernel keep little for a client that does not read.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the socket and reads `hello` and every `sync`.
    pub async fn open(self) -> Client {
        let mut client = self.open_silently().await;
        client.greet().await;
        client
    }

    /// Opens the socket and reads nothing yet.
    pub async fn open_silently(self) -> Client {
        match self.handshake().await {
            Ok((stream, protocol)) => Client::over(stream, protocol),
            Err(reply) => panic!("refused: {} {}", reply.status, reply.text()),
        }
    }

    /// Expects the server to refuse before the upgrade.
    pub async fn refused(self) -> Reply {
        match self.handshake().await {
            Ok(_) => panic!("upgraded where a refusal was due"),
            Err(reply) => reply,
        }
    }

    /// Opens the socket, if the server lets it.
    pub async fn answer(self) -> Result<Client, Reply> {
        self.handshake()
            .await
            .map(|(stream, protocol)| Client::over(stream, protocol))
    }

    /// Whether the server lets a socket open now; it is gone at once.
    pub async fn opens(self) -> bool {
        self.answer().await.is_ok()
    }

    async fn handshake(self) -> Result<(TokioIo<Upgraded>, Option<String>), Reply> {
        tokio::time::timeout(PATIENCE, self.exchange())
            .await
            .expect("the handshake is answered in time")
    }

    async fn exchange(self) -> Result<(TokioIo<Upgraded>, Option<String>), Reply> {
        let stream = self.tcp().await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("the server takes connections");
        tokio::spawn(connection.with_upgrades());
        let response = sender
            .send_request(self.request())
            .await
            .expect("the server answers a handshake");
        if response.status() != 101 {
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("a refusal has a whole body").to_bytes();
            return Err(Reply::new("GET /ws".into(), head.status.as_u16(), head.headers, body));
        }
        let protocol = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        let protocol = protocol.map(|chosen| chosen.to_str().unwrap().to_owned());
        let upgraded = hyper::upgrade::on(response).await.expect("101 upgrades");
        Ok((TokioIo::new(upgraded), protocol))
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let path = match &self.device {
            Some(device) => format!("/ws?device={device}"),
            None => "/ws".into(),
        };
        let mut request = Request::builder()
            .uri(path)
            .header(HOST, self.endpoint.public().to_string())
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "Upgrade")
            .header("Sec-WebSocket-Key", generate_key())
            .header("Sec-WebSocket-Version", "13");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !self.protocols.is_empty() {
            request = request.header(SEC_WEBSOCKET_PROTOCOL, self.protocols.join(", "));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Empty::new()).unwrap()
    }

    async fn tcp(&self) -> TcpStream {
        let address = self.endpoint.public();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
        let stream = socket.connect(address).await.expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream
    }
}
