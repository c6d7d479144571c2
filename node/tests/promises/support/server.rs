//! The server under test: the real binary in a process of its own, on a data directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rookery_cluster::testkit::deadline;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::http::Http;
use super::user::User;

/// How long a server may take to start or to stop before the test fails.
const START_OR_STOP: Duration = Duration::from_secs(60);

/// What every server is started with, so that making many users is cheap. A test's own settings come after and win.
const CHEAP: &[(&str, &str)] = &[
    ("ROOKERY_LIMITS__SIGNUPS_PER_MINUTE", "100000"),
    ("ROOKERY_LIMITS__LOGINS_PER_MINUTE", "100000"),
    ("ROOKERY_LIMITS__MESSAGES_PER_SECOND", "100000"),
    ("ROOKERY_LIMITS__MESSAGES_BURST", "100000"),
    ("ROOKERY_AUTH__PASSWORD_MEMORY_KIB", "8"),
    ("ROOKERY_AUTH__PASSWORD_ITERATIONS", "1"),
];

/// Where the server can be reached now; it changes when the server is restarted.
#[derive(Clone)]
pub struct Endpoint(Arc<Mutex<[SocketAddr; 2]>>);

impl Endpoint {
    /// A server's public listener and its admin listener.
    pub fn new(addresses: [SocketAddr; 2]) -> Self {
        Self(Arc::new(Mutex::new(addresses)))
    }

    pub fn public(&self) -> SocketAddr {
        self.0.lock().unwrap()[0]
    }

    pub fn admin(&self) -> SocketAddr {
        self.0.lock().unwrap()[1]
    }
}

/// A running (or killed) server. Dropping it kills the process; a failed test prints what it logged.
pub struct Server {
    child: Child,
    dir: TempDir,
    env: Vec<(String, String)>,
    endpoint: Endpoint,
    log: Arc<Mutex<String>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with settings of the test's own, as environment variables without their `ROOKERY_`.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::within(&[], settings).await
    }

    /// The same, with environment variables that are no settings of the server's.
    pub async fn within(surroundings: &[(String, String)], settings: &[(&str, &str)]) -> Self {
        deadline::of_this_test();
        let dir = tempfile::tempdir().unwrap();
        let mut env: Vec<(String, String)> = CHEAP
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        for (key, value) in settings {
            env.retain(|(known, _)| *known != format!("ROOKERY_{key}"));
            env.push((format!("ROOKERY_{key}"), value.to_string()));
        }
        env.extend_from_slice(surroundings);
        let log = Arc::default();
        let (child, addresses) = launch(&dir, &env, &log).await;
        Self {
            child,
            dir,
            env,
            endpoint: Endpoint::new(addresses),
            log,
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Where two clients come in: by the same door.
    pub fn doors(&self) -> [String; 2] {
        let door = format!("http://{}", self.endpoint().public());
        [door.clone(), door]
    }

    /// A client of the public listener that is nobody.
    pub fn anonymous(&self) -> Http {
        Http::new(self.endpoint())
    }

    /// A client of the admin listener.
    pub fn admin(&self) -> Http {
        Http::new(self.endpoint()).on_admin_listener()
    }

    /// Signs somebody up; the e-mail and the username are made from the name.
    pub async fn user(&self, name: &str) -> User {
        User::sign_up(self.endpoint(), name).await
    }

    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [User; N] {
        let mut users = Vec::with_capacity(N);
        for name in names {
            users.push(self.user(name).await);
        }
        users
            .try_into()
            .unwrap_or_else(|_| unreachable!("one user was made for each name"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Descriptors that the server process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Resident memory of the server process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What the server has written so far, to stdout and stderr.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends the process as a power cut would.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to stop (SIGTERM) without waiting for it.
    pub fn ask_to_stop(&self) {
        self.signal("-TERM");
    }

    /// Sends the process a signal, named as `kill` names it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "could not signal the server");
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + START_OR_STOP;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not stop in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the process in order.
    pub async fn stop(&mut self) {
        self.ask_to_stop();
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "a stopped server exits with 0");
    }

    /// Starts the (ended) server again on the same data; clients made before find its new address by themselves.
    pub async fn start_again(&mut self) {
        let (child, addresses) = launch(&self.dir, &self.env, &self.log).await;
        self.child = child;
        *self.endpoint.0.lock().unwrap() = addresses;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{log}--- end of the log ---");
            return;
        }
        let alarming = |line: &&str| line.contains("panicked at") || line.contains("ERROR");
        if let Some(line) = log.lines().find(alarming) {
            panic!("the server logged what it should not: {line}\n--- log ---\n{log}");
        }
    }
}

async fn launch(dir: &TempDir, env: &[(String, String)], log: &Arc<Mutex<String>>) -> (Child, [SocketAddr; 2]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("ROOKERY_")) {
        command.env_remove(key);
    }
    let mut child = command
        .args(["--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .current_dir(dir.path())
        .env("ROOKERY_LISTEN", "127.0.0.1:0")
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (found, mut lines) = mpsc::unbounded_channel();
    capture(child.stdout.take().unwrap(), log.clone(), Some(found));
    capture(child.stderr.take().unwrap(), log.clone(), None);
    let addresses = tokio::time::timeout(START_OR_STOP, async {
        let (mut public, mut admin) = (None, None);
        while let Some(line) = lines.recv().await {
            let scheme = ["http", "https"].map(|scheme| format!("listening on {scheme}://"));
            public = public.or_else(|| scheme.iter().find_map(|scheme| address(&line, scheme)));
            admin = admin.or_else(|| address(&line, "admin on http://"));
            if let (Some(public), Some(admin)) = (public, admin) {
                return Some([public, admin]);
            }
        }
        None
    })
    .await;
    match addresses {
        Ok(Some(addresses)) => (child, addresses),
        _ => {
            child.kill().ok();
            child.wait().ok();
            panic!("the server did not start; it said:\n{}", log.lock().unwrap());
        }
    }
}

fn address(line: &str, after: &str) -> Option<SocketAddr> {
    line.split_once(after)?.1.trim().trim_end_matches('/').parse().ok()
}

/// Copies what the server writes into the log, and line by line to whoever waits for its addresses.
fn capture(from: impl Read + Send + 'static, log: Arc<Mutex<String>>, lines: Option<mpsc::UnboundedSender<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
            if let Some(lines) = &lines {
                lines.send(line).ok();
            }
        }
    });
}
