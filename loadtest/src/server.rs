//! The server under test: started by us in a directory of its own, killed and started again at will, always ended by its id.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::http::Http;
use crate::sys::{harden, signal};

/// How long a start may take before it has failed.
const START: Duration = Duration::from_secs(60);
/// How long a polite stop may take.
const STOP: Duration = Duration::from_secs(30);

/// How long the answer to whether it is ready may take.
const GLANCE: Duration = Duration::from_secs(2);

/// Limits that would otherwise stop one machine from being many users; all else is as shipped.
const RAISED: &[(&str, &str)] = &[
    ("ROOKERY_LIMITS__SIGNUPS_PER_MINUTE", "10000000"),
    ("ROOKERY_LIMITS__LOGINS_PER_MINUTE", "10000000"),
    ("ROOKERY_LIMITS__CONNECTIONS_PER_ADDRESS", "1000000"),
    ("ROOKERY_LIMITS__CONNECTS_PER_SECOND", "1000000"),
    ("ROOKERY_LIMITS__MESSAGES_PER_SECOND", "100000"),
    ("ROOKERY_LIMITS__MESSAGES_BURST", "100000"),
    ("ROOKERY_LIMITS__FRAMES_PER_SECOND", "10000"),
    ("ROOKERY_LIMITS__FRAMES_BURST", "20000"),
    // A fleet may take longer to come than a token lives.
    ("ROOKERY_AUTH__ACCESS_TOKEN_SECONDS", "7200"),
    ("ROOKERY_AUTH__PASSWORD_MEMORY_KIB", "8"),
    ("ROOKERY_AUTH__PASSWORD_ITERATIONS", "1"),
];

/// How to start it.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub name: String,
    /// The directory in which it gets one of its own.
    pub ground: PathBuf,
    pub binary: PathBuf,
    pub cpus: Option<Vec<usize>>,
    /// Where clients and operators come in; port 0 takes free ones.
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    /// Settings of the user's own, over ours.
    pub environment: Vec<(String, String)>,
}

pub struct Server {
    recipe: Recipe,
    directory: Option<tempfile::TempDir>,
    child: Child,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

impl Recipe {
    fn directory(&self) -> std::io::Result<tempfile::TempDir> {
        let prefix = format!("{}-", self.name);
        tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.ground)
    }
}

impl Server {
    /// Starts a server on an empty directory and waits until it is ready. Call it from the main thread.
    pub fn start(recipe: Recipe) -> anyhow::Result<Self> {
        let directory = recipe.directory()?;
        let started = launch(&recipe, directory.path(), recipe.listen, recipe.admin)
            .and_then(|(child, listen, admin)| await_ready(admin).map(|()| (child, listen, admin)));
        match started {
            Ok((child, listen, admin)) => Ok(Self {
                recipe,
                directory: Some(directory),
                child,
                listen,
                admin,
            }),
            Err(error) => {
                let kept = directory.keep();
                Err(error.context(format!(
                    "starting the server; its log is {}",
                    kept.join("server.log").display()
                )))
            }
        }
    }

    /// Starts one whose addresses are known beforehand, and waits for nothing.
    pub fn begin(recipe: Recipe) -> anyhow::Result<Self> {
        let directory = recipe.directory()?;
        let (child, _) = spawn(&recipe, directory.path(), recipe.listen, recipe.admin)?;
        Ok(Self {
            child,
            listen: recipe.listen,
            admin: recipe.admin,
            directory: Some(directory),
            recipe,
        })
    }

    /// Starts it again on the same directory and addresses, and waits for nothing.
    pub fn begin_again(&mut self) -> anyhow::Result<()> {
        let (child, _) = spawn(&self.recipe, self.directory()?, self.listen, self.admin)?;
        self.child = child;
        Ok(())
    }

    /// It serves clients; an error once it has ended in place of that.
    pub fn is_ready(&mut self) -> anyhow::Result<bool> {
        if self.is_gone() {
            let log = self
                .directory
                .take()
                .map(|directory| directory.keep().join("server.log"));
            bail!(
                "the server ended while it started; its log is {}",
                log.unwrap_or_default().display()
            );
        }
        Ok(is_ready(self.admin))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `--version` of the binary.
    pub fn version(binary: &Path) -> Option<String> {
        let output = Command::new(binary).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().next().map(str::to_owned).filter(|line| !line.is_empty())
    }

    /// What was set differently from a server as shipped.
    pub fn settings(&self) -> Vec<String> {
        let raised = RAISED.iter().map(|(key, value)| format!("{key}={value}"));
        let own = self
            .recipe
            .environment
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        raised.chain(own).collect()
    }

    /// `kill -9`, and nothing is said to anybody.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        signal(self.child.id(), libc::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and no waiting for what comes of it.
    pub fn ask_to_stop(&self) -> anyhow::Result<()> {
        Ok(signal(self.child.id(), libc::SIGTERM)?)
    }

    /// SIGTERM, and the time it took to end.
    pub fn stop(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        signal(self.child.id(), libc::SIGTERM)?;
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > STOP {
                bail!("the server did not end within {STOP:?} of SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed())
    }

    /// Starts it again on the same directory and addresses; the time until it is ready.
    pub fn start_again(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (child, listen, admin) = launch(&self.recipe, self.directory()?, self.listen, self.admin)?;
        (self.child, self.listen, self.admin) = (child, listen, admin);
        await_ready(self.admin)?;
        Ok(began.elapsed())
    }

    fn directory(&self) -> anyhow::Result<&Path> {
        let directory = self.directory.as_ref().context("the server's directory is gone")?;
        Ok(directory.path())
    }

    /// What it lets operators in with.
    pub fn admin_token(&self) -> anyhow::Result<String> {
        let file = self.directory()?.join("data/admin-token");
        let token = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(token.trim().to_owned())
    }

    /// It has ended without being told to.
    pub fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Leaves data and log behind.
    pub fn keep(&mut self) {
        if let Some(directory) = &mut self.directory {
            directory.disable_cleanup(true);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(signal(self.child.id(), libc::SIGKILL));
            drop(self.child.wait());
        }
    }
}

/// Starts the process and reads its addresses from its standard output.
fn launch(
    recipe: &Recipe,
    directory: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
) -> anyhow::Result<(Child, SocketAddr, SocketAddr)> {
    let (mut child, lines) = spawn(recipe, directory, listen, admin)?;
    match addresses(&lines) {
        Ok((listen, admin)) => Ok((child, listen, admin)),
        Err(error) => {
            drop(signal(child.id(), libc::SIGKILL));
            drop(child.wait());
            Err(error)
        }
    }
}

/// Starts the process; what it prints goes to its log and to who listens.
fn spawn(
    recipe: &Recipe,
    directory: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
) -> anyhow::Result<(Child, Receiver<String>)> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("server.log"))?;
    let mut command = Command::new(&recipe.binary);
    // No variable of this shell's is meant for the server: what it is told, it is told by `--server-env`.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROOKERY_")) {
        command.env_remove(name);
    }
    command
        .current_dir(directory)
        .env("ROOKERY_LISTEN", listen.to_string())
        .env("ROOKERY_ADMIN_LISTEN", admin.to_string())
        .env("ROOKERY_DATA_DIR", directory.join("data"))
        .envs(RAISED.iter().copied())
        .envs(recipe.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?);
    harden(&mut command, recipe.cpus.clone());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {}", recipe.binary.display()))?;
    let stdout = child.stdout.take().context("the server has no standard output")?;
    let (sender, lines) = channel();
    std::thread::Builder::new().name("server-log".into()).spawn(move || {
        let mut log = log;
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            drop(writeln!(log, "{line}"));
            drop(sender.send(line));
        }
    })?;
    Ok((child, lines))
}

/// Reads `listening on http://...` and `admin on http://...`.
fn addresses(lines: &Receiver<String>) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let end = Instant::now() + START;
    let (mut listen, mut admin) = (None, None);
    loop {
        let line = lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .context("the server did not print its addresses")?;
        let after = |mark: &str| {
            let (_, rest) = line.split_once(mark)?;
            rest.split([' ', '/', '"']).next()?.parse().ok()
        };
        listen = listen.or_else(|| after("listening on http://"));
        admin = admin.or_else(|| after("admin on http://"));
        if let (Some(listen), Some(admin)) = (listen, admin) {
            return Ok((listen, admin));
        }
    }
}

fn await_ready(admin: SocketAddr) -> anyhow::Result<()> {
    let end = Instant::now() + START;
    while !is_ready(admin) {
        if Instant::now() > end {
            bail!("the server was not ready within {START:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_ready(admin: SocketAddr) -> bool {
    let answer = Http::new(admin).patient(GLANCE).request("GET", "/readyz", None, b"");
    answer.is_ok_and(|answer| answer.status == 200)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    #[test]
    fn addresses_are_read_from_among_other_lines() {
        let (sender, lines) = channel();
        for line in [
            "rookery 0.1.0",
            "listening on http://127.0.0.1:4242",
            "admin on http://127.0.0.1:4343/",
        ] {
            sender.send(line.to_owned()).unwrap();
        }
        let (listen, admin) = super::addresses(&lines).unwrap();
        assert_eq!((listen.port(), admin.port()), (4242, 4343));
    }

    #[test]
    fn a_server_that_ends_without_addresses_has_failed() {
        let (sender, lines) = channel();
        sender.send("error: the data directory is locked".to_owned()).unwrap();
        drop(sender);
        assert!(super::addresses(&lines).is_err());
    }
}
