//! Moves are quiet: a node goes in order, and neither a request nor a message of anybody fails or waits for long.
//!
//! Callers with sockets at every node and posters over HTTP send while nodes drain and start again. Clients of a node that goes
//! are told where to go; those of the others notice nothing, wherever their sessions were.

use std::time::Duration;

use serde_json::json;

use crate::support::cluster::admin_of;
use crate::support::load::{Account, Load};
use crate::support::{Server, text};

/// How long a message may be unanswered while something moves, on a machine that has time for it.
const UNANSWERED: Duration = Duration::from_secs(2);
/// Work takes so many times as long where these tests, two at once, are all that two cores have to do.
const BUSY: f64 = 3.0;
/// How long the nodes that are asked to go give their clients, in all; and enough to replay that a client which reads slowly on
/// a busy machine gets no `gap`.
const DRAIN: &[(&str, &str)] = &[("DRAIN_SECONDS", "10"), ("LIMITS__SYNC_MESSAGES", "2000")];
/// A load before and after each change.
const BREATH: Duration = Duration::from_secs(1);

fn assert_nobody_waited(account: &Account) {
    let (took, which) = &account.slowest;
    let seen = format!(
        "{which}, the slowest, took {took:?}; the slowest read {:?}; work took {:.1} times as long as it needs",
        account.hiccup, account.stretch
    );
    println!("{} messages; {seen}", account.sent);
    // What a plain read takes at such a time is not the move's; nor that others have the cores.
    let bound = UNANSWERED.mul_f64((account.stretch / BUSY).max(1.0)) + account.hiccup;
    assert!(*took <= bound, "{seen}");
    for report in account.callers.iter().flatten() {
        assert_eq!(report.ended, [], "{} was cut off", report.user);
        for goaway in &report.goaways {
            assert!(goaway["url"].is_string(), "{goaway}");
        }
    }
}

#[tokio::test]
async fn a_node_that_drains_sends_its_clients_elsewhere_and_the_others_notice_nothing() {
    const GOES: usize = 1;
    let mut server = Server::with_addresses(DRAIN).await;
    let load = Load::start(&server, GOES).await;
    tokio::time::sleep(BREATH).await;
    load.avoid(GOES);
    let mut gone = server.nodes.remove(GOES);
    admin_of(&gone).post("/admin/drain", json!({})).await.succeeds();
    assert_eq!(gone.ended().await.code(), Some(0));
    server.agree().await;
    tokio::time::sleep(BREATH).await;
    let account = load.end().await;
    assert_nobody_waited(&account);
    let others: Vec<_> = server.nodes.iter().map(|node| node.endpoint().public()).collect();
    let there = |url: String| others.iter().any(|other| url == format!("ws://{other}/ws"));
    for (node, reports) in account.callers.iter().enumerate() {
        for report in reports {
            let urls: Vec<_> = report.goaways.iter().map(|goaway| text(&goaway["url"])).collect();
            if node == GOES {
                assert!(
                    urls.len() == 1 && there(urls[0].clone()),
                    "{urls:?}, not one of {others:?}"
                );
            } else {
                assert!(urls.is_empty(), "a client of another node was sent away");
            }
        }
    }
}

#[tokio::test]
async fn all_nodes_are_restarted_one_after_the_other_and_nobody_waits() {
    let mut server = Server::with_addresses(DRAIN).await;
    let load = Load::start(&server, 0).await;
    for node in 0..server.nodes.len() {
        tokio::time::sleep(BREATH).await;
        load.avoid(node);
        server.nodes[node].stop().await;
        server.nodes[node].start_again().await;
        server.agree().await;
        load.allow(node, server.nodes[node].endpoint());
    }
    tokio::time::sleep(BREATH).await;
    let account = load.end().await;
    assert_nobody_waited(&account);
    for reports in &account.callers {
        assert!(
            reports.iter().all(|report| !report.goaways.is_empty()),
            "one was told nothing"
        );
    }
}
