//! Contract suite of [`Jobs`].

use std::sync::Arc;

use crate::ports::jobs::{Claimed, Jobs};
use crate::time::Timestamp;

type Port = Arc<dyn Jobs>;

/// More than a test has.
const ALL: usize = 100;
const CLAIMERS: usize = 8;

/// Runs the whole suite. `fresh` opens an empty set of jobs; `reopened` is given what `fresh` made and opens the same once more, as
/// a restart would.
pub async fn suite(fresh: impl AsyncFn() -> Port, reopened: impl AsyncFn(Port) -> Port) {
    a_job_is_given_when_it_is_due_the_oldest_first(fresh().await).await;
    a_claimed_job_is_nobody_elses_for_a_while(fresh().await).await;
    a_job_that_is_done_is_gone_or_due_again(fresh().await).await;
    a_job_set_down_anew_takes_the_place_of_the_old(fresh().await).await;
    a_proposed_job_leaves_what_there_is(fresh().await).await;
    a_job_that_was_taken_out_is_not_given(fresh().await).await;
    a_race_for_jobs_gives_each_to_one(fresh().await).await;
    let port = fresh().await;
    jobs_and_claims_outlive_a_restart(port, reopened).await;
}

fn at(milliseconds: i64) -> Timestamp {
    Timestamp(1_000_000 + milliseconds)
}

async fn claim(port: &Port, now: i64, until: i64, limit: usize) -> Vec<Claimed> {
    port.claim(at(now), at(until), limit).await.expect("claim")
}

/// The names of what is due, which nobody else is given for 100 ms.
async fn due(port: &Port, now: i64) -> Vec<String> {
    let claimed = claim(port, now, now + 100, ALL).await;
    claimed.into_iter().map(|job| job.name).collect()
}

async fn a_job_is_given_when_it_is_due_the_oldest_first(port: Port) {
    for (name, time) in [("third", 30), ("first", 10), ("second", 20), ("later", 31)] {
        port.schedule(name, at(time)).await.expect("schedule");
    }
    assert_eq!(due(&port, 9).await, [""; 0]);
    let first = claim(&port, 30, 130, 1).await;
    assert_eq!(first.iter().map(|job| &job.name[..]).collect::<Vec<_>>(), ["first"]);
    assert_eq!(due(&port, 30).await, ["second", "third"]);
    assert_eq!(due(&port, 31).await, ["later"]);
}

async fn a_claimed_job_is_nobody_elses_for_a_while(port: Port) {
    port.schedule("job", at(0)).await.expect("schedule");
    let dead = claim(&port, 0, 100, ALL).await;
    assert_eq!(due(&port, 99).await, [""; 0]);
    let next = claim(&port, 100, 200, ALL).await;
    assert_eq!((dead.len(), next.len()), (1, 1));
    assert_ne!(dead[0].claim, next[0].claim);
    assert!(!port.finish(&dead[0], None).await.expect("finish"), "another has it");
    assert!(port.finish(&next[0], None).await.expect("finish"));
    assert!(!port.finish(&next[0], None).await.expect("finish"), "there is none");
}

async fn a_job_that_is_done_is_gone_or_due_again(port: Port) {
    port.schedule("once", at(0)).await.expect("schedule");
    port.schedule("often", at(1)).await.expect("schedule");
    for (job, again) in claim(&port, 1, 100, ALL).await.iter().zip([None, Some(at(50))]) {
        assert!(port.finish(job, again).await.expect("finish"));
    }
    assert_eq!(due(&port, 49).await, [""; 0]);
    assert_eq!(
        due(&port, 50).await,
        ["often"],
        "sooner than the claim would have ended"
    );
    assert_eq!(due(&port, 1_000).await, ["often"]);
}

async fn a_job_set_down_anew_takes_the_place_of_the_old(port: Port) {
    port.schedule("job", at(0)).await.expect("schedule");
    port.schedule("job", at(10)).await.expect("schedule");
    assert_eq!(due(&port, 9).await, [""; 0]);
    let claimed = claim(&port, 10, 100, ALL).await;
    port.schedule("job", at(100)).await.expect("schedule");
    assert!(
        !port.finish(&claimed[0], None).await.expect("finish"),
        "that was the old"
    );
    assert_eq!(due(&port, 99).await, [""; 0]);
    assert_eq!(due(&port, 100).await, ["job"]);
}

async fn a_proposed_job_leaves_what_there_is(port: Port) {
    assert!(port.propose("job", at(10)).await.expect("propose"));
    assert!(!port.propose("job", at(0)).await.expect("propose"));
    assert_eq!(due(&port, 9).await, [""; 0]);
    let claimed = claim(&port, 10, 100, ALL).await;
    assert!(!port.propose("job", at(20)).await.expect("propose"), "it is being done");
    assert!(port.finish(&claimed[0], None).await.expect("finish"));
    assert!(port.propose("job", at(20)).await.expect("propose"));
    assert_eq!(due(&port, 20).await, ["job"]);
}

async fn a_job_that_was_taken_out_is_not_given(port: Port) {
    port.schedule("job", at(0)).await.expect("schedule");
    assert!(port.cancel("job").await.expect("cancel"));
    assert!(!port.cancel("job").await.expect("cancel"));
    assert_eq!(due(&port, 10).await, [""; 0]);
    port.schedule("job", at(0)).await.expect("schedule");
    let claimed = claim(&port, 0, 100, ALL).await;
    assert!(port.cancel("job").await.expect("cancel"), "while it is being done");
    let again = Some(at(0));
    assert!(!port.finish(&claimed[0], again).await.expect("finish"));
    assert_eq!(due(&port, 1_000).await, [""; 0]);
}

async fn a_race_for_jobs_gives_each_to_one(port: Port) {
    let mut names: Vec<String> = (0..40).map(|number| format!("job {number:02}")).collect();
    for name in &names {
        port.schedule(name, at(0)).await.expect("schedule");
    }
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..CLAIMERS {
        let port = Arc::clone(&port);
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = claim(&port, 0, 100, 3).await;
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some.into_iter().map(|job| job.name));
            }
        });
    }
    let mut given = claimers.join_all().await.concat();
    given.sort();
    names.sort();
    assert_eq!(given, names);
}

async fn jobs_and_claims_outlive_a_restart(port: Port, reopened: impl AsyncFn(Port) -> Port) {
    port.schedule("waits", at(50)).await.expect("schedule");
    port.schedule("claimed", at(0)).await.expect("schedule");
    let claimed = claim(&port, 0, 100, ALL).await;
    let port = reopened(port).await;
    assert_eq!(due(&port, 60).await, ["waits"]);
    assert!(port.finish(&claimed[0], None).await.expect("finish"));
    assert_eq!(due(&port, 1_000).await, ["waits"]);
}
