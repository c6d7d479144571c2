//! The front door from outside: a whole node in a temporary directory, spoken to byte by byte.

mod http;
mod upgrade;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rookery_actors::protocol::Limits;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::shutdown::Lifecycle;
use crate::wiring::{self, Node};

/// Long enough for anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(30);

struct Front {
    node: Node,
    _dir: TempDir,
}

/// An answer as it came.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a problem, which must be one in form, too.
    fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["request_id"], self.header("x-request-id"));
        for member in ["type", "title", "detail"] {
            assert!(document[member].is_string(), "a problem has a {member}");
        }
        document["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Front {
    async fn open() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            limits,
            ..Config::default()
        };
        config.process.data_dir = dir.path().join("data");
        config.process.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.process.drain_seconds = 4;
        config.gateway.cors_origins = vec!["https://app.example.org".into()];
        let node = wiring::open(&config, &Lifecycle::default())
            .await
            .expect("a node starts in an empty directory");
        Self { node, _dir: dir }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.node.address()).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    async fn request(&self, head: &str, body: &str) -> Answer {
        let mut stream = self.connect().await;
        let length = match body {
            "" => String::new(),
            body => format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()),
        };
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        let request = format!("{line} HTTP/1.1\r\nhost: chat.test\r\nconnection: close\r\n{headers}{length}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    }

    /// A new user's access token.
    async fn sign_up(&self, name: &str) -> String {
        let body = format!(r#"{{"email":"{name}@example.org","name":"{name}","password":"correct horse battery"}}"#);
        let answer = self.request("POST /api/auth/signup", &body).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }
}

/// Reads the head, and the body as far as it is announced.
async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let reading = async {
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer");
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    let whole = stream.read_exact(&mut body).await.is_ok();
    Answer {
        status: status.expect("a status line"),
        headers,
        // The answer to HEAD announces a body that doesn't come.
        body: if whole { body } else { Vec::new() },
    }
}
