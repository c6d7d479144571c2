//! A Redis of the test's own: on a port of its own, in a directory of its own, ended by its pid.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rookery_cluster::primary::Target;

use crate::deadline;

/// How long a server may take to answer, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

/// A port that was free a moment ago, of those that no outgoing connection takes. Redis cannot choose one itself.
fn free_port() -> u16 {
    loop {
        let any = RandomState::new().build_hasher().finish() % 12_000;
        let port = 20_000 + any as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Redis {
    /// One that keeps nothing over a restart.
    pub fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// One that keeps everything.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub fn replica_of(port: u16) -> Self {
        let port = port.to_string();
        Self::with(&[
            "--save",
            "",
            "--replicaof",
            "127.0.0.1",
            &port,
            "--repl-diskless-sync-delay",
            "0",
        ])
    }

    /// A Sentinel that watches a primary and is alone enough to move it.
    pub fn sentinel(primary: u16) -> Self {
        let mut sentinel = Self::placed(&["--sentinel"]);
        let file = sentinel.directory.path().join("sentinel.conf");
        let text = format!(
            "sentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n"
        );
        std::fs::write(&file, text).unwrap();
        sentinel.arguments.insert(0, file.to_str().unwrap().to_owned());
        sentinel.run();
        sentinel
    }

    fn with(arguments: &[&str]) -> Self {
        let mut redis = Self::placed(arguments);
        redis.run();
        redis
    }

    fn placed(arguments: &[&str]) -> Self {
        deadline::of_this_test();
        Self {
            port: free_port(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            directory: tempfile::tempdir().unwrap(),
            child: None,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn target(&self) -> Target {
        Target::parse(&format!("redis://{}", self.address())).unwrap()
    }

    /// Runs it, once more or for the first time, and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--dir", self.directory.path().to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        let begun = Instant::now();
        while !answers(self.address()) {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs it as a primary that keeps nothing.
    pub fn serve_alone(&mut self) {
        self.arguments = ["--save", "", "--appendonly", "no"].map(str::to_owned).to_vec();
        self.run();
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Lets it stand still, with all connections open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id();
        // The shell's own: a program of that name isn't everywhere.
        let kill = format!("kill {signal} {pid}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn answers(address: SocketAddr) -> bool {
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"+PONG")
    };
    asked().unwrap_or(false)
}
