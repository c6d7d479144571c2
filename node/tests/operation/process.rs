//! The real binary: run to its end, or as a server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of the test's own, in which the binary runs.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(variables.iter().copied());
        command
    }

    /// Runs the binary to its end.
    pub fn rookery(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.command(arguments, variables).output().expect("the binary runs")
    }
}

/// What an HTTP request was answered.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> String {
        let line = self
            .head
            .lines()
            .find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    /// What a server is started with in this place.
    pub fn arguments(_place: &Place) -> Vec<&'static str> {
        vec![
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
            "data",
        ]
    }

    /// Starts one and waits until it says where it is.
    pub fn start(place: &Place, variables: &[(&str, &str)]) -> Self {
        Self::spawn(place.command(&Self::arguments(place), variables))
    }

    /// Starts one to which a signal does nothing that would end it otherwise.
    pub fn start_deaf_to(place: &Place, signal: &str, variables: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("trap '' {signal}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_rookery"))
            .args(Self::arguments(place))
            .current_dir(place.path())
            .env_clear()
            .envs(variables.iter().copied());
        Self::spawn(shell)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::<Mutex<String>>::default();
        let (kept, errors) = (log.clone(), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut log = kept.lock().expect("no writer panicked");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok);
        let mut address = |after: &str| {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it did not start: {}", log.lock().expect("readable")));
            let place = line.strip_prefix(after).and_then(|url| url.split_once("://"));
            place
                .and_then(|(_, address)| address.parse().ok())
                .unwrap_or_else(|| panic!("not {after}: {line}"))
        };
        let (admin, public) = (address("admin on "), address("listening on "));
        Self {
            child,
            log,
            public,
            admin,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn public_address(&self) -> SocketAddr {
        self.public
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("no writer panicked").clone()
    }

    /// Waits until the log has a line with these words.
    pub fn wait_for_log(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "never logged {words:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until the process has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
    }

    pub fn admin(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        ask(self.admin, method, path, &authorization.unwrap_or_default(), "")
    }

    pub fn public(&self, method: &str, path: &str) -> Answer {
        ask(self.public, method, path, "", "")
    }

    /// Posts JSON to the public listener.
    pub fn post(&self, path: &str, token: Option<&str>, body: &serde_json::Value) -> Answer {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let headers = format!(
            "Content-Type: application/json\r\n{}",
            authorization.unwrap_or_default()
        );
        ask(self.public, "POST", path, &headers, &body.to_string())
    }
}

impl Server {
    /// Signs somebody up and opens a WebSocket that reads nothing and answers nothing.
    pub fn silent_client(&self, name: &str) -> TcpStream {
        let account = serde_json::json!({
            "email": format!("{name}@example.org"), "name": name, "password": "a long enough password",
        });
        let token = self.post("/api/auth/signup", None, &account).json()["access_token"].clone();
        let token = token.as_str().expect("a token");
        let (socket, status) = self.upgrade(token);
        assert_eq!(status, 101);
        socket
    }

    /// Asks for a WebSocket; answers with the status.
    pub fn upgrade(&self, token: &str) -> (TcpStream, u16) {
        let mut socket = TcpStream::connect(self.public).expect("it accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n",
            self.public
        );
        socket.write_all(request.as_bytes()).expect("written");
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("answered");
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let status = line.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        (socket, status.expect("a status"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(address).expect("it accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("written");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("answered");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
