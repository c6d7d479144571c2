//! A service of a test's own, for the tests of its faults.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_cluster::testkit::deadline;
use tempfile::TempDir;

/// How long an ended service may take to be gone.
const END: Duration = Duration::from_secs(30);

/// A process started by `deploy/services/start`. Its data and its ports stay the same over stops and starts; dropping it
/// ends it.
pub struct Service {
    name: &'static str,
    dir: PathBuf,
    /// Removed with the last service in it.
    _root: Arc<TempDir>,
}

impl Service {
    /// `kafka`, `mongodb`, `redis` or `s3`, on free ports.
    pub async fn start(name: &'static str) -> Self {
        Self::with(name, &[]).await
    }

    /// The same with files in its directory, which say how it is to be started (`deploy/services/run`).
    pub async fn with(name: &'static str, files: &[(&str, &str)]) -> Self {
        let root = root();
        let service = Self {
            name,
            dir: root.path().join(name),
            _root: Arc::clone(&root),
        };
        std::fs::create_dir(&service.dir).unwrap();
        for (file, content) in files {
            std::fs::write(service.dir.join(file), content).unwrap();
        }
        service.start_again().await;
        service
    }

    /// Three Kafka brokers, each of which can be stopped and started alone.
    pub async fn three_brokers() -> [Self; 3] {
        let root = root();
        launch("kafka3", root.path()).await;
        [1, 2, 3].map(|id: u8| Self {
            name: "kafka",
            dir: root.path().join(id.to_string()),
            _root: Arc::clone(&root),
        })
    }

    /// Where it is: `host:port` of Kafka, a URL of the others.
    pub fn address(&self) -> String {
        read(&self.dir.join("address"))
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Starts the (ended) service again on the same data and ports; it answers when this returns.
    pub async fn start_again(&self) {
        launch(self.name, &self.dir).await;
    }

    /// Stops it in order, and waits until it is gone.
    pub async fn stop(&self) {
        self.signal("TERM");
        self.gone().await;
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub async fn kill(&self) {
        self.signal("KILL");
        self.gone().await;
    }

    /// Holds it, with its connections open, until [`Self::resume`]. On a busy machine the signal takes its time.
    pub fn pause(&self) {
        self.signal("STOP");
        let deadline = Instant::now() + END;
        while !self.stands_still() {
            assert!(Instant::now() < deadline, "{} does not stand still", self.name);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether all its threads are stopped.
    fn stands_still(&self) -> bool {
        let pid = self.pid().unwrap_or_else(|| panic!("{} does not run", self.name));
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        // After the name, which is in parentheses.
        let stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        states.map(stopped).all(|stopped| stopped)
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Its process, while that runs: it works in its directory or below, unlike a stranger that was given its pid.
    fn pid(&self) -> Option<String> {
        let pid = read(&self.dir.join("pid"));
        let works_in = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        works_in.starts_with(self.dir.canonicalize().ok()?).then_some(pid)
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().unwrap_or_else(|| panic!("{} does not run", self.name));
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success(), "could not send SIG{name} to {}", self.name);
    }

    async fn gone(&self) {
        let deadline = Instant::now() + END;
        while self.pid().is_some() {
            assert!(Instant::now() < deadline, "{} did not end:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}--- end of the log ---", self.name, self.log());
        }
        if let Some(pid) = self.pid() {
            Command::new("kill").args(["-s", "KILL", &pid]).status().ok();
        }
    }
}

fn root() -> Arc<TempDir> {
    deadline::of_this_test();
    Arc::new(tempfile::tempdir().unwrap())
}

fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

async fn launch(name: &'static str, dir: &Path) {
    let dir = dir.to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/services/start");
    let run = move || Command::new(script).arg(name).arg(dir).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} did not start:\n{said}");
}
