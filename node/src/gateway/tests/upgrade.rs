//! From `GET /ws` to the first frames, and to the last ones when the node stops.

use std::ops::ControlFlow;

use rookery_actors::protocol::Codec;
use rookery_actors::protocol::websocket::{Decoder, Opcode, Role, close_code};

use super::*;

const HANDSHAKE: &str = "GET /ws
    upgrade: websocket
    connection: upgrade
    sec-websocket-version: 13
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

struct Socket {
    stream: TcpStream,
    decoder: Decoder,
    frames: Vec<(Opcode, Vec<u8>)>,
    answer: Answer,
}

impl Front {
    /// Asks for a socket with further header lines.
    async fn socket(&self, further: &str) -> Socket {
        let mut stream = self.connect().await;
        let lines = HANDSHAKE.lines().chain(further.lines()).map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty());
        let mut request = format!("{} HTTP/1.1\r\nhost: chat.test\r\n", lines.next().unwrap());
        lines.for_each(|line| request.extend([line, "\r\n"]));
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        Socket {
            stream,
            decoder: Decoder::new(Role::Client, 1 << 20),
            frames: Vec::new(),
            answer,
        }
    }
}

impl Socket {
    async fn next(&mut self) -> Option<(Opcode, Vec<u8>)> {
        let reading = async {
            let mut buffer = vec![0; 16 * 1024];
            while self.frames.is_empty() {
                let count = self.stream.read(&mut buffer).await.unwrap_or(0);
                if count == 0 {
                    return;
                }
                let frames = &mut self.frames;
                let each = |frame: rookery_actors::protocol::websocket::Frame<'_>| {
                    frames.push((frame.opcode, frame.payload.to_vec()));
                    ControlFlow::Continue(())
                };
                self.decoder
                    .read(&mut buffer[..count], each)
                    .expect("the server keeps RFC 6455");
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("a frame, or the end");
        (!self.frames.is_empty()).then(|| self.frames.remove(0))
    }

    /// The next frame of a kind.
    async fn until(&mut self, t: &str) -> Value {
        loop {
            let (_, payload) = self.next().await.expect("a frame");
            let frame: Value = serde_json::from_slice(&payload).expect("an object");
            if frame["t"] == t {
                return frame;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_opens_a_socket_that_begins_with_hello_and_sync() {
    let front = Front::open().await;
    let token = front.sign_up("ada").await;
    let mut socket = front.socket(&format!("authorization: Bearer {token}")).await;
    assert_eq!(socket.answer.status, 101);
    assert_eq!(
        socket.answer.header("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(socket.answer.header("sec-websocket-protocol"), "");
    let (opcode, hello) = socket.next().await.expect("hello");
    let hello: Value = serde_json::from_slice(&hello).unwrap();
    assert_eq!((opcode, &hello["t"]), (Opcode::Text, &"hello".into()));
    assert_eq!(hello["limits"]["frame_bytes"], 64 * 1024);
    assert_eq!(socket.until("sync").await["more"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_brings_token_and_codec_as_subprotocols() {
    let front = Front::open().await;
    let token = front.sign_up("ada").await;
    let offer = format!("origin: https://app.example.org\nsec-websocket-protocol: rookery.v1.msgpack, bearer.{token}");
    let mut socket = front.socket(&offer).await;
    assert_eq!(socket.answer.status, 101);
    assert_eq!(socket.answer.header("sec-websocket-protocol"), "rookery.v1.msgpack");
    let (opcode, hello) = socket.next().await.expect("hello");
    assert_eq!(opcode, Opcode::Binary);
    assert!(Codec::MsgPack.read_server(&hello).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_refused_is_refused_before_the_upgrade() {
    let front = Front::open().await;
    let token = front.sign_up("ada").await;
    let good = format!("authorization: Bearer {token}");
    let cases = [
        ("", 401, "unauthorized"),
        ("authorization: Bearer nonsense", 401, "unauthorized"),
        ("sec-websocket-protocol: bearer.nonsense", 401, "unauthorized"),
        (&format!("{good}\norigin: https://evil.example.org"), 403, "forbidden"),
    ];
    for (further, status, code) in cases {
        let answer = front.socket(further).await.answer;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{further}");
    }
    let plain = front.request(&format!("GET /ws\n{good}"), "").await;
    assert_eq!((plain.status, plain.code().as_str()), (426, "unsupported"));
    assert_eq!(plain.header("upgrade"), "websocket");
    let own = front.socket(&format!("{good}\norigin: http://chat.test")).await;
    assert_eq!(own.answer.status, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_and_a_node_take_only_so_many_sockets() {
    let front = Front::with(Limits {
        connections_per_address: 2,
        ..Limits::default()
    })
    .await;
    let good = format!("authorization: Bearer {}", front.sign_up("ada").await);
    let held = [front.socket(&good).await, front.socket(&good).await];
    assert!(held.iter().all(|socket| socket.answer.status == 101));
    let third = front.socket(&good).await.answer;
    assert_eq!((third.status, third.code().as_str()), (429, "rate_limited"));
    assert!(third.header("retry-after").parse::<u32>().is_ok());
    drop(held);
    let back = async {
        while front.socket(&good).await.answer.status != 101 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back)
        .await
        .expect("a place is given back");

    let busy = Front::with(Limits {
        connects_per_second: 1,
        ..Limits::default()
    })
    .await;
    let good = format!("authorization: Bearer {}", busy.sign_up("ada").await);
    let mut refused = None;
    for _ in 0..20 {
        let answer = busy.socket(&good).await.answer;
        if answer.status != 101 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("more than one a second");
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_asks_its_clients_to_go_and_closes_the_rest() {
    let front = Front::open().await;
    let token = front.sign_up("ada").await;
    let good = format!("authorization: Bearer {token}");
    let mut socket = front.socket(&good).await;
    socket.until("hello").await;
    let client = async {
        let goaway = socket.until("goaway").await;
        assert_eq!(goaway["reason"], "drain");
        assert!(goaway["reconnect_after_ms"].is_u64());
        let late = front.socket(&good).await.answer;
        assert_eq!((late.status, late.code().as_str()), (503, "unavailable"));
        let mut code = None;
        while let Some((opcode, payload)) = socket.next().await {
            if opcode == Opcode::Close {
                code = close_code(&payload);
            }
        }
        drop(socket);
        code
    };
    let ((), code) = tokio::join!(front.node.drain(Duration::from_secs(8)), client);
    assert_eq!(code, Some(1001));
}
