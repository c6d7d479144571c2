//! Delayed jobs: what is due for the whole cluster is done once, by whichever node finds it due.
//!
//! Every node looks now and then, and proposes what is to be done again and again, so that it is never forgotten for good. A node
//! that dies over a job leaves it to the next one when its claim ends. A job that failed is tried again at the next look.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use rookery_actors::ports::directory::Directory;
use rookery_actors::ports::jobs::{Claimed, Jobs};
use rookery_actors::ports::{PortError, PortResult};
use rookery_actors::time::Timestamp;
use tokio::time::sleep;

use crate::files::Files;

/// How often a node looks for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a job may take before its node is thought dead.
const CLAIMED_FOR: Duration = Duration::from_secs(10 * 60);
/// Jobs taken at once.
const AT_ONCE: usize = 10;

/// What is done again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chore {
    /// Clears away uploads that were given up and what deleted files left behind.
    SweepFiles,
}

impl Chore {
    const ALL: [Self; 1] = [Self::SweepFiles];

    fn name(self) -> &'static str {
        match self {
            Self::SweepFiles => "sweep files",
        }
    }

    fn every(self) -> Duration {
        match self {
            Self::SweepFiles => Duration::from_secs(10 * 60),
        }
    }

    /// None for a job of another version's.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chore| chore.name() == name)
    }
}

/// Does what is due on this node.
pub struct Runner {
    pub jobs: Arc<dyn Jobs>,
    /// Whose clock says what is due.
    pub directory: Arc<dyn Directory>,
    pub files: Files,
}

impl Runner {
    pub async fn run(self) {
        loop {
            if let Err(error) = self.look().await {
                error.log("look for delayed jobs that are due");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self) -> PortResult<()> {
        let now = self.directory.now();
        for chore in Chore::ALL {
            self.jobs.propose(chore.name(), after(now, chore.every())).await?;
        }
        for job in self.jobs.claim(now, after(now, CLAIMED_FOR), AT_ONCE).await? {
            self.carry_out(&job).await?;
        }
        Ok(())
    }

    /// A job that is not known here stays claimed for its time; then whoever knows it may find it.
    async fn carry_out(&self, job: &Claimed) -> PortResult<()> {
        let Some(chore) = Chore::named(&job.name) else {
            tracing::debug!(job = job.name, "a delayed job is left to nodes of another version");
            return Ok(());
        };
        let done = self.perform(chore).await;
        let outcome = if done.is_ok() { "ok" } else { "failed" };
        counter!("node_jobs_total", "job" => chore.name(), "outcome" => outcome).increment(1);
        let again = match done {
            Ok(()) => chore.every(),
            Err(error) => {
                error.log(format_args!("delayed job {:?}; trying again", chore.name()));
                LOOK_EVERY
            }
        };
        self.jobs.finish(job, Some(after(self.directory.now(), again))).await?;
        Ok(())
    }

    async fn perform(&self, chore: Chore) -> Result<(), PortError> {
        match chore {
            Chore::SweepFiles => {
                let gone = self.files.sweep(Timestamp::now()).await?;
                if gone > 0 {
                    tracing::info!(gone, "files that nobody uses were cleared away");
                }
                Ok(())
            }
        }
    }
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp(
        now.0
            .saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
    )
}

#[cfg(test)]
mod tests {
    use rookery_actors::id::{FileId, UserId};
    use rookery_actors::ports::files::{File, FileState, FileStore};

    use super::*;
    use crate::adapters::blobs::DirBlobs;
    use crate::adapters::sqlite::directory::SqliteDirectory;
    use crate::adapters::sqlite::files::SqliteFiles;
    use crate::adapters::sqlite::jobs::SqliteJobs;
    use crate::adapters::sqlite::schema;

    const LONG: Duration = Duration::from_secs(25 * 60 * 60);

    /// A runner over a directory, and the store of its files.
    async fn runner() -> (tempfile::TempDir, Runner, Arc<SqliteFiles>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        let db = schema::open(&at("store.db")).expect("the database opens");
        let blobs = DirBlobs::open(&at("blobs"), &at("keys/blobs.key")).expect("the directory opens");
        let store = Arc::new(SqliteFiles::new(db.clone()));
        let runner = Runner {
            jobs: Arc::new(SqliteJobs::new(db.clone())),
            directory: SqliteDirectory::open(db, Duration::from_secs(60)).await.expect("open"),
            files: Files::new(store.clone(), Arc::new(blobs), 1 << 30),
        };
        (dir, runner, store)
    }

    /// Looks when that job is due.
    async fn look_for(runner: &Runner, job: &str) {
        let now = Timestamp::now();
        runner.jobs.schedule(job, now).await.expect("schedule");
        runner.look().await.expect("look");
    }

    async fn abandoned(store: &SqliteFiles) -> FileId {
        let file = File {
            id: FileId::fresh(),
            owner: UserId::fresh(),
            name: "notes.txt".into(),
            media_type: "text/plain".into(),
            size: 5,
            sha256: None,
            state: FileState::Pending,
            upload: None,
            photo: None,
            created_at: Timestamp(Timestamp::now().0 - LONG.as_millis() as i64),
        };
        assert!(store.create(file.clone(), 1).await.expect("create"));
        file.id
    }

    async fn due_within(runner: &Runner, time: Duration) -> Vec<String> {
        let now = Timestamp::now();
        let claimed = runner.jobs.claim(after(now, time), after(now, LONG), AT_ONCE).await;
        claimed.expect("claim").into_iter().map(|job| job.name).collect()
    }

    #[tokio::test]
    async fn a_chore_is_proposed_and_done_when_due_and_then_due_again() {
        let (_dir, runner, store) = runner().await;
        let file = abandoned(&store).await;
        runner.look().await.expect("look");
        assert!(store.file(file).await.expect("file").is_some(), "it is not due yet");
        look_for(&runner, "sweep files").await;
        assert_eq!(store.file(file).await.expect("file"), None);
        assert_eq!(due_within(&runner, LOOK_EVERY).await, [""; 0]);
        assert_eq!(due_within(&runner, Chore::SweepFiles.every()).await, ["sweep files"]);
    }

    #[tokio::test]
    async fn a_chore_that_fails_is_tried_again_soon() {
        let (dir, runner, store) = runner().await;
        let file = abandoned(&store).await;
        // The blobs' directories are no longer there to be swept.
        std::fs::remove_dir_all(dir.path().join("blobs")).expect("remove");
        std::fs::write(dir.path().join("blobs"), "in the way").expect("write");
        look_for(&runner, "sweep files").await;
        assert!(store.file(file).await.expect("file").is_some());
        assert_eq!(due_within(&runner, LOOK_EVERY).await, ["sweep files"]);
    }

    #[tokio::test]
    async fn a_job_of_another_version_is_left_to_it() {
        let (_dir, runner, _) = runner().await;
        look_for(&runner, "polish").await;
        assert_eq!(due_within(&runner, LOOK_EVERY).await, [""; 0]);
        assert!(due_within(&runner, CLAIMED_FOR).await.contains(&"polish".to_owned()));
    }
}
