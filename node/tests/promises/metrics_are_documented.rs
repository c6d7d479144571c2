//! What Prometheus scrapes is what the documentation names, and tells of no person.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use crate::support::Server;

/// The names in the documentation's table of metrics.
fn documented() -> BTreeSet<String> {
    let page = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["docs", "metrics"])
        .output()
        .unwrap();
    assert!(page.status.success(), "`rookery docs metrics` failed");
    let page = String::from_utf8(page.stdout).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// Does a bit of everything, so that there is something to count.
async fn be_used(server: &Server) {
    let [ada, brian] = server.users(["Ada", "Brian"]).await;
    let group = ada.group("Counted", &[&brian]).await;
    let (mut adas, mut brians) = (ada.connect().await, brian.connect().await);
    adas.say(&group, "hello").await;
    brians.message(&group).await;
    brians.read(&group, 1);
    adas.expect_t("receipt").await;
    adas.refused(json!({"t": "nonsense"}), "unsupported").await;
    crate::files_reach_their_readers::upload(&ada, "a.txt", "text/plain", b"x").await;
    ada.get("/api/nowhere").await.refuses(404, "not_found");
    brians.close().await;
}

#[tokio::test]
async fn every_scraped_name_is_documented_and_well_formed() {
    let server = Server::start().await;
    be_used(&server).await;
    let scrape = server.admin().get("/metrics").await;
    assert_eq!(scrape.status, 200);
    assert!(scrape.header("content-type").unwrap().starts_with("text/plain"));
    let text = String::from_utf8(scrape.body.to_vec()).unwrap();
    let known = documented();
    assert!(known.len() > 10, "the documentation names {} metrics", known.len());
    let typed: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let helped: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    assert!(typed.len() > 5, "{text}");
    for name in &typed {
        assert!(known.contains(*name), "{name} is not in the documentation");
        assert!(helped.contains(name), "{name} has no help");
        let prefix = name.split('_').next().unwrap();
        assert!(["node", "actors", "cluster", "process"].contains(&prefix), "{name}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        assert!(typed.contains(name) || typed.contains(base), "{line} has no type");
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn no_label_names_a_user_a_group_or_a_path() {
    let server = Server::start().await;
    be_used(&server).await;
    let scrape = server.admin().get("/metrics").await;
    let text = String::from_utf8(scrape.body.to_vec()).unwrap();
    let is_id = |word: &str| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
    for line in text.lines() {
        let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        assert!(!words.any(is_id), "{line}");
        assert!(!line.contains("nowhere") && !line.contains("ada"), "{line}");
    }
}

#[tokio::test]
async fn liveness_and_readiness_answer() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.admin().get(path).await.status, 200);
    }
}
