//! Promise: whatever the log reported is there after `kill -9` at any instant and after its file could not grow, at the
//! offset it was reported at, and no offset is given twice. Proven on a child process (this binary again) that appends and
//! names each report on its standard output.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_actors::ports::PortError;
use rookery_actors::ports::log::{EventLog, Offset, Report, Reports};
use rookery_cluster::id::ShardId;
use rookery_node::adapters::sqlite::SqliteLog;

const SHARDS: u16 = 16;
/// Where the child finds the log, and from which token on it counts.
const PATH: &str = "ROOKERY_TEST_LOG";
const FIRST_TOKEN: &str = "ROOKERY_TEST_FIRST_TOKEN";
/// How many failed appends end the child.
const FAILURES: u64 = 200;

/// Names each report on standard output, a line in one write.
struct Named {
    /// The offset after the last reported record, by shard.
    reported: Mutex<HashMap<u16, Offset>>,
    settled: AtomicU64,
    failed: AtomicU64,
}

impl Reports for Named {
    fn appended(&self, shard: ShardId, reports: Vec<Report>) {
        let mut lines = String::new();
        for report in &reports {
            match &report.outcome {
                Ok(offset) => {
                    self.reported.lock().insert(shard.0, offset + 1);
                    lines += &format!("kept {shard} {offset} {}\n", report.token);
                }
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    lines += match error {
                        PortError::Unknown(_) => "unknown\n",
                        PortError::Unavailable(_) => "refused\n",
                        PortError::Broken(_) => panic!("{error}"),
                    };
                }
            }
        }
        std::io::stdout().write_all(lines.as_bytes()).expect("the parent reads");
        self.settled.fetch_add(reports.len() as u64, Ordering::Release);
    }
}

fn payload(token: u64) -> Bytes {
    let mut payload = token.to_le_bytes().to_vec();
    payload.resize(40 + (token % 500) as usize, token as u8);
    payload.into()
}

/// What this binary does when it is started again by a test below.
async fn child(path: PathBuf) {
    let first: u64 = std::env::var(FIRST_TOKEN).expect("a token").parse().expect("a number");
    let log = SqliteLog::open(&path, SHARDS).expect("the log opens");
    let named = Arc::new(Named {
        reported: Mutex::default(),
        settled: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    log.start(named.clone());
    for count in 0.. {
        let token = first + count;
        log.append(ShardId((token % u64::from(SHARDS)) as u16), payload(token), token);
        // Some hundred under way, so that commits of every size are cut short.
        while count > named.settled.load(Ordering::Acquire) + 300 {
            std::thread::yield_now();
        }
        if count % 1000 == 999 {
            let reported = named.reported.lock().clone();
            let behind = reported
                .iter()
                .map(|(shard, end)| (ShardId(*shard), end.saturating_sub(100)));
            log.commit(behind.collect()).await.ok();
        }
        if named.failed.load(Ordering::Relaxed) > FAILURES {
            break;
        }
    }
}

/// This binary as the child, by way of `command`.
fn child_of(mut command: Command, log: &Path, first: u64) -> Child {
    command
        .args([
            "every_reported_record_survives_a_kill_at_any_instant",
            "--exact",
            "--nocapture",
        ])
        .env(PATH, log)
        .env(FIRST_TOKEN, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().expect("the child starts")
}

fn this_binary() -> PathBuf {
    std::env::current_exe().expect("this binary")
}

/// Everything ever reported, over all rounds.
#[derive(Default)]
struct Kept(HashMap<(u16, Offset), u64>);

impl Kept {
    /// Takes a line of the child; true when it is a report of a record that was kept.
    fn note(&mut self, line: &str) -> bool {
        let Some(report) = line.strip_prefix("kept ") else {
            return false;
        };
        let numbers: Vec<u64> = report
            .split(' ')
            .map(|number| number.parse().expect("a number"))
            .collect();
        let before = self.0.insert((numbers[0] as u16, numbers[1]), numbers[2]);
        assert_eq!(
            before, None,
            "offset {} of shard {} was given twice",
            numbers[1], numbers[0]
        );
        true
    }

    /// Opens the log and looks for every record that was not committed away.
    async fn check(&self, path: &Path) {
        let log = SqliteLog::open(path, SHARDS).expect("the log opens after a crash");
        let committed = log.committed().await.expect("committed");
        let ends = log.ends().await.expect("ends");
        let mut records = HashMap::new();
        for shard in 0..SHARDS {
            let from = committed[usize::from(shard)];
            let read = log
                .read(ShardId(shard), from, usize::MAX)
                .await
                .expect("the rest is whole");
            assert_eq!(from + read.len() as u64, ends[usize::from(shard)]);
            records.extend(read.into_iter().map(|record| ((shard, record.offset), record.payload)));
        }
        for ((shard, offset), token) in &self.0 {
            assert!(
                *offset < ends[usize::from(*shard)],
                "record {offset} of shard {shard} is lost"
            );
            if *offset >= committed[usize::from(*shard)] {
                assert_eq!(records[&(*shard, *offset)], payload(*token));
            }
        }
    }
}

#[tokio::test]
async fn every_reported_record_survives_a_kill_at_any_instant() {
    if let Some(path) = std::env::var_os(PATH) {
        return child(path.into()).await;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("log.db");
    let mut kept = Kept::default();
    // Killed after so many reports: at once, in the first commits, after checkpoints and discards.
    for (round, reports) in [1, 40, 9_000, 350, 2_500, 17, 5_000].into_iter().enumerate() {
        let mut child = child_of(Command::new(this_binary()), &path, round as u64 * 1_000_000_000);
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let (mut line, mut seen) = (String::new(), 0);
        while lines.read_line(&mut line).expect("text") > 0 {
            // A line that was cut off by the kill is no report.
            if line.ends_with('\n') && kept.note(line.trim_end()) {
                seen += 1;
                if seen == reports {
                    child.kill().expect("killed");
                }
            }
            line.clear();
        }
        child.wait().expect("the child ends");
        assert!(seen >= reports, "the child ended by itself after {seen} reports");
        kept.check(&path).await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_grow_fails_appends_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("log.db");
    let mut kept = Kept::default();
    for round in 0..2 {
        // Writes beyond the limit fail as they would on a file system that is out of order.
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
            .arg(this_binary());
        let mut child = child_of(limited, &path, round * 1_000_000_000);
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let lines: Vec<String> = lines.map(|line| line.expect("text")).collect();
        assert!(child.wait().expect("the child ends").success());
        let unknown = lines.iter().filter(|line| *line == "unknown").count();
        assert!(
            unknown as u64 > FAILURES,
            "only a commit can fail here, and its outcome is not known"
        );
        let reported = lines.iter().filter(|line| kept.note(line)).count();
        assert!(reported > 0 || round > 0, "nothing was kept before the limit");
        kept.check(&path).await;
    }
}
