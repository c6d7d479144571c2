//! Passwords: hashed by Argon2id on a few threads of low priority, with a bounded queue before them.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, Version};
use rookery_actors::protocol::Problem;
use tokio::sync::oneshot;

use super::{Settings, internal, random};

/// How long somebody is asked to wait who found the queue full; about what a full queue takes.
const RETRY_AFTER_MS: u64 = 2_000;

type Job = Box<dyn FnOnce() + Send>;
type Outcome<T> = Result<T, password_hash::Error>;

/// The pool. Its threads end when it is dropped.
pub struct Passwords {
    jobs: SyncSender<Job>,
    cost: Cost,
    /// Looks like a hash of this cost and is none of any password.
    decoy: String,
}

/// What a password turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    /// With a new hash when the stored one was made at another cost.
    Right {
        rehashed: Option<String>,
    },
}

#[derive(Clone)]
struct Cost(Params);

impl Passwords {
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let cost = settings.password_cost().map_err(io::Error::other)?;
        let decoy = decoy(&cost).map_err(io::Error::other)?;
        let (jobs, queue) = sync_channel(settings.password_queue);
        let queue = Arc::new(Mutex::new(queue));
        for nth in 0..settings.thread_count() {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("password-{nth}"))
                .spawn(move || work(&queue))?;
        }
        let cost = Cost(cost);
        Ok(Self { jobs, cost, decoy })
    }

    /// The hash of a password, as a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        let cost = self.cost.clone();
        self.run(move || cost.hash(&password)).await
    }

    /// Checks a password; one to which there is nothing to compare takes as long and is wrong.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, Problem> {
        let (cost, known) = (self.cost.clone(), stored.is_some());
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let verdict = self.run(move || cost.verify(&password, &stored)).await?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> Outcome<T> + Send + 'static) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let waiting = metrics::gauge!("node_passwords_waiting");
        let done = waiting.clone();
        let job: Job = Box::new(move || {
            done.decrement(1.0);
            // Nobody waits any more: the client went away.
            if !answer.is_closed() {
                answer.send(job()).ok();
            }
        });
        waiting.increment(1.0);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.jobs.try_send(job) {
            waiting.decrement(1.0);
            metrics::counter!("node_passwords_refused_total").increment(1);
            return Err(Problem::unavailable("too many people sign in at once").retry_after(RETRY_AFTER_MS));
        }
        match answered.await {
            Ok(outcome) => outcome.map_err(|error| internal("a password could not be hashed", &error)),
            Err(error) => Err(internal("hashing a password panicked", &error)),
        }
    }
}

impl Cost {
    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.0.clone())
    }

    fn hash(&self, password: &str) -> Outcome<String> {
        let hash: PasswordHash = self
            .argon2()
            .hash_password_with_salt(password.as_bytes(), &random::<16>())?;
        Ok(hash.to_string())
    }

    fn verify(&self, password: &str, stored: &str) -> Outcome<Verdict> {
        let stored = PasswordHash::new(stored)?;
        match self.argon2().verify_password(password.as_bytes(), &stored) {
            Ok(()) => {
                let rehashed = (!self.made(&stored)).then(|| self.hash(password)).transpose()?;
                Ok(Verdict::Right { rehashed })
            }
            Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
            Err(error) => Err(error),
        }
    }

    /// Whether a hash was made at this cost.
    fn made(&self, stored: &PasswordHash) -> bool {
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        stored.algorithm == ARGON2ID_IDENT
            && Params::try_from(stored).is_ok_and(|params| costs(&params) == costs(&self.0))
    }
}

fn decoy(cost: &Params) -> Outcome<String> {
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(cost)?,
        salt: Some(Salt::new(&random::<16>())?),
        hash: Some(Output::new(&random::<32>())?),
    };
    Ok(hash.to_string())
}

fn work(queue: &Mutex<Receiver<Job>>) {
    yield_to_others();
    loop {
        // The lock is held while waiting for a job, never while doing one; a job that panicked poisons nothing.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let started = std::time::Instant::now();
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("hashing a password panicked");
        }
        metrics::histogram!("node_password_seconds").record(started.elapsed());
    }
}

/// Gives the calling thread the lowest priority, so that what serves sockets goes first.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn yield_to_others() {
    const LOWEST: libc::c_int = 19;
    // SAFETY: takes three integers and touches no memory of ours; on Linux 0 names the calling thread alone.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
    if lowered != 0 {
        tracing::debug!("the priority of a password thread stays as it is");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rookery_actors::protocol::ErrorCode;

    use super::*;

    fn settings(memory: u32) -> Settings {
        Settings {
            password_memory_kib: memory,
            password_iterations: 1,
            password_threads: 1,
            password_queue: 2,
            ..Settings::default()
        }
    }

    #[tokio::test]
    async fn the_right_password_is_told_from_a_wrong_one() {
        let passwords = Passwords::start(&settings(8)).unwrap();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        let right = passwords.verify("correct horse".into(), Some(hash.clone())).await;
        assert_eq!(right.unwrap(), Verdict::Right { rehashed: None });
        let wrong = passwords.verify("correct horsf".into(), Some(hash)).await;
        assert_eq!(wrong.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_verification_that_fails() {
        let passwords = Passwords::start(&settings(8)).unwrap();
        assert_eq!(passwords.verify("any".into(), None).await.unwrap(), Verdict::Wrong);
        let stored = PasswordHash::new(&passwords.decoy).unwrap();
        assert!(passwords.cost.made(&stored), "the decoy costs what a real hash costs");
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_made_anew() {
        let old = Passwords::start(&settings(8)).unwrap();
        let hash = old.hash("correct horse".into()).await.unwrap();
        let new = Passwords::start(&settings(16)).unwrap();
        let verdict = new.verify("correct horse".into(), Some(hash)).await.unwrap();
        let Verdict::Right { rehashed: Some(better) } = verdict else {
            panic!("{verdict:?}")
        };
        let verdict = new.verify("correct horse".into(), Some(better)).await.unwrap();
        assert_eq!(verdict, Verdict::Right { rehashed: None });
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_says_when_to_come_back() {
        let passwords = Passwords::start(&settings(8)).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let (begun, began) = mpsc::channel();
        let block: Job = Box::new(move || {
            begun.send(()).unwrap();
            held.recv().unwrap();
        });
        passwords.jobs.try_send(block).ok().unwrap();
        began.recv().unwrap();
        let waiting = [passwords.hash("one".into()), passwords.hash("two".into())];
        let mut waiting = waiting.map(Box::pin);
        for one in &mut waiting {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        let refused = passwords.hash("three".into()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert!(refused.retry_after_ms.is_some());
        release.send(()).unwrap();
        for one in waiting {
            one.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let passwords = Passwords::start(&settings(8)).unwrap();
        let refused = passwords.run::<()>(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Internal);
        passwords.hash("still here".into()).await.unwrap();
    }
}
