//! Promise: a node is whole or it is not there, can be watched and asked, and stops in order. Proven on the real binary.

mod certificate;
mod disk;
mod process;

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use process::{Place, Server};

#[test]
fn a_node_starts_says_where_it_is_and_stops_on_sigterm() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    assert_eq!(server.admin("GET", "/healthz", None).status, 200);
    assert_eq!(server.admin("GET", "/readyz", None).status, 200);
    assert_eq!(server.public("GET", "/nowhere").status, 404);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn sigint_stops_it_and_sighup_does_not() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    server.signal("HUP");
    server.wait_for_log("the token keys were read again");
    assert_eq!(server.admin("GET", "/readyz", None).status, 200);
    server.signal("INT");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let refused = place.rookery(&Server::arguments(&place), &[]);
    assert_eq!(refused.status.code(), Some(73), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("in use by process {}", server.pid())), "{said}");
    assert_eq!(server.admin("GET", "/readyz", None).status, 200);
    let checked = place.rookery(&["check", "--data-dir", "data"], &[]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        String::from_utf8_lossy(&checked.stdout).contains("in use by process"),
        "{checked:?}"
    );
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_a_sentence() {
    let place = Place::new();
    for (name, prepare, words) in [
        (
            "newer",
            &(|at: &Path| write(at, "VERSION", "999")) as &dyn Fn(&Path),
            "999",
        ),
        ("foreign", &|at| write(at, "thesis.tex", "x"), "not empty"),
    ] {
        let at = place.path().join(name);
        prepare(&at);
        for command in ["serve", "check"] {
            let refused = place.rookery(
                &[
                    command,
                    "--data-dir",
                    name,
                    "--listen",
                    "127.0.0.1:0",
                    "--admin-listen",
                    "127.0.0.1:0",
                ],
                &[],
            );
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(73), "{command} {name}: {said}");
            assert!(said.contains(words) && said.contains(name), "{command} {name}: {said}");
        }
    }
    let file = place.path().join("file");
    std::fs::write(&file, "").expect("written");
    let refused = place.rookery(&["serve", "--data-dir", "file", "--admin-listen", "127.0.0.1:0"], &[]);
    assert_eq!(refused.status.code(), Some(73), "{refused:?}");
}

#[test]
fn check_changes_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("empty")).expect("a directory");
    write(&place.path().join("foreign"), "thesis.tex", "x");
    for (name, status) in [("absent", 0), ("empty", 0), ("foreign", 73)] {
        let checked = place.rookery(&["check", "--data-dir", name], &[]);
        assert_eq!(checked.status.code(), Some(status), "{name}: {checked:?}");
    }
    let entries = |name: &str| std::fs::read_dir(place.path().join(name)).map_or(0, Iterator::count);
    assert_eq!((entries("absent"), entries("empty"), entries("foreign")), (0, 0, 1));
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(directory).expect("a directory");
    std::fs::write(directory.join(name), text).expect("written");
}

#[test]
fn a_broken_database_is_refused_and_left_alone() {
    for name in ["store.db", "log.db"] {
        let place = Place::new();
        Server::start(&place, &[]).stop();
        let file = place.path().join("data").join(name);
        for leftover in ["-wal", "-shm"] {
            std::fs::remove_file(place.path().join(format!("data/{name}{leftover}"))).ok();
        }
        std::fs::write(
            &file,
            "this is no database, and long enough not to be taken for an empty one",
        )
        .expect("written");
        let refused = place.rookery(&Server::arguments(&place), &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(73), "{name}: {said}");
        assert!(said.contains(name), "{name}: {said}");
        assert!(
            std::fs::read_to_string(&file)
                .expect("still there")
                .starts_with("this is no database")
        );
    }
}

#[test]
fn a_taken_port_is_refused_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (flag, other, key) in [
        ("--listen", "--admin-listen", "`listen`"),
        ("--admin-listen", "--listen", "`admin_listen`"),
    ] {
        let place = Place::new();
        let refused = place.rookery(&["serve", flag, &address, other, "127.0.0.1:0"], &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(69), "{said}");
        assert!(said.contains(&address) && said.contains(key), "{said}");
    }
}

#[test]
fn admin_wants_its_token_and_tells_what_the_node_does() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let file = place.path().join("data/admin-token");
    let mode = std::fs::metadata(&file)
        .expect("the token is kept")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).expect("readable").trim().to_owned();
    for path in ["/admin/nodes", "/admin/shards", "/admin/users/x", "/admin/nowhere"] {
        for wrong in [None, Some("wrong"), Some("")] {
            let refused = server.admin("GET", path, wrong);
            assert_eq!(refused.status, 401, "{path} {wrong:?}");
            assert_eq!(refused.json()["code"], "unauthorized");
        }
    }
    assert_eq!(server.admin("POST", "/admin/drain", None).status, 401);
    let nodes = server.admin("GET", "/admin/nodes", Some(&token)).json();
    assert_eq!(nodes["items"][0]["state"], "up", "{nodes}");
    assert_eq!(nodes["items"][0]["pid"], server.pid());
    let shards = server.admin("GET", "/admin/shards", Some(&token)).json();
    assert_eq!(shards["items"].as_array().map(Vec::len), Some(256));
    assert_eq!(shards["items"][255]["node"], nodes["items"][0]["node"]);
    assert_eq!(server.admin("GET", "/admin/users/x", Some(&token)).status, 404);
    assert_eq!(server.admin("POST", "/admin/nodes", Some(&token)).status, 405);
    assert_eq!(server.admin("GET", "/nowhere", None).status, 404);
    assert!(!server.log().contains(&token));
}

#[test]
fn an_operator_sees_that_a_user_is_there_and_nothing_private() {
    let place = Place::new();
    let token = "a-token-of-the-operator";
    let server = Server::start(&place, &[("ROOKERY_ADMIN_TOKEN", token)]);
    let ada = serde_json::json!({"email": "ada@example.org", "name": "Ada", "password": "a long enough password"});
    let signed_up = server.post("/api/auth/signup", None, &ada);
    assert_eq!(signed_up.status, 201, "{}", signed_up.body);
    let id = signed_up.json()["user"]["id"].as_str().expect("an id").to_owned();
    let user = server.admin("GET", &format!("/admin/users/{id}"), Some(token));
    assert_eq!(user.status, 200, "{}", user.body);
    assert_eq!(user.json()["name"], "Ada");
    assert_eq!(user.json()["connections"], serde_json::json!([]));
    assert!(!user.body.contains("ada@example.org"), "{}", user.body);
    assert_eq!(server.admin("GET", &format!("/admin/users/{id}"), None).status, 401);
}

#[test]
fn a_drain_asked_for_on_the_admin_listener_ends_the_process() {
    let place = Place::new();
    let token = "a-token-of-the-operator";
    let mut server = Server::start(&place, &[("ROOKERY_ADMIN_TOKEN", token)]);
    assert_eq!(server.admin("POST", "/admin/drain", Some(token)).status, 202);
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    assert!(!place.path().join("data/admin-token").exists());
}

#[test]
fn a_draining_node_waits_for_its_clients_and_a_second_signal_ends_it_at_once() {
    let place = Place::new();
    let mut server = Server::start(&place, &[("ROOKERY_DRAIN_SECONDS", "600")]);
    let client = server.silent_client("ada");
    server.signal("TERM");
    server.wait_for_log("asking clients to go elsewhere");
    let ready = server.admin("GET", "/readyz", None);
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("draining")),
        "{}",
        ready.body
    );
    assert_eq!(server.admin("GET", "/healthz", None).status, 200);
    assert_eq!(server.upgrade("any").1, 503);
    assert_eq!(
        server.public("GET", "/api/users/me").status,
        401,
        "requests are still answered"
    );
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(1), "{}", server.log());
    drop(client);
}

#[test]
fn a_client_that_does_not_go_is_closed_and_the_node_ends_in_time() {
    let place = Place::new();
    let mut server = Server::start(&place, &[("ROOKERY_DRAIN_SECONDS", "2")]);
    let mut client = server.silent_client("ada");
    let began = std::time::Instant::now();
    server.stop();
    assert!(
        began.elapsed() >= std::time::Duration::from_millis(900),
        "it had no time to go"
    );
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("read to the end");
    let text = String::from_utf8_lossy(&received);
    assert!(text.contains("goaway") && text.contains("drain"), "{text}");
    let close = [&[0x88, 15][..], &1001_u16.to_be_bytes(), b"node stopping"].concat();
    assert!(
        received.ends_with(&close),
        "{:?}",
        &received[received.len().saturating_sub(40)..]
    );
}

#[test]
fn health_is_asked_with_the_same_configuration() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let address = server.admin_address().to_string();
    for arguments in [vec!["health"], vec!["health", "--live"]] {
        let asked = place.rookery(&[&arguments[..], &["--admin-listen", &address]].concat(), &[]);
        assert!(asked.status.success(), "{asked:?}");
    }
    server.stop();
    let asked = place.rookery(&["health", "--admin-listen", &address], &[]);
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
}

#[test]
fn a_key_is_rotated_beside_a_running_server() {
    let place = Place::new();
    let none = place.rookery(&["rotate-key", "--data-dir", "data"], &[]);
    assert_eq!(none.status.code(), Some(73), "{none:?}");
    let server = Server::start(&place, &[]);
    let rotated = place.rookery(&["rotate-key", "--data-dir", "data"], &[]);
    assert!(rotated.status.success(), "{rotated:?}");
    let keys = std::fs::read_dir(place.path().join("data/keys/tokens"))
        .expect("the keys")
        .count();
    assert_eq!(keys, 2);
    server.signal("HUP");
    server.wait_for_log("the token keys were read again");
}

#[test]
fn every_metric_that_is_scraped_is_documented() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    assert_eq!(server.public("GET", "/nowhere").status, 404);
    let _client = server.silent_client("ada");
    let page = server.admin("GET", "/metrics", None);
    assert!(page.header("content-type").starts_with("text/plain; version=0.0.4"));
    let docs = read_docs("metrics.md");
    let mut seen = BTreeSet::new();
    for line in page.body.lines().filter(|line| line.starts_with("# TYPE ")) {
        let mut words = line.split_whitespace().skip(2);
        let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let row = docs.lines().find(|row| row.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is scraped and not documented"));
        assert!(row.contains(&format!("| {kind} |")), "{name} is a {kind}: {row}");
        seen.insert(name.to_owned());
    }
    for name in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "node_http_requests_total",
        "node_build_info",
    ] {
        assert!(seen.contains(name), "{name} is missing from\n{}", page.body);
    }
    for name in &seen {
        assert!(
            page.body.contains(&format!("# HELP {name} ")),
            "{name} has no help text"
        );
    }
}

#[test]
fn every_label_that_is_scraped_is_documented() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let _client = server.silent_client("ada");
    let docs = read_docs("metrics.md");
    let page = server.admin("GET", "/metrics", None).body;
    let mut labelled = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, labels)) = line.split_once('{') else {
            continue;
        };
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| series.strip_suffix(end))
            .unwrap_or(series);
        let row = docs.lines().find(|row| row.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is scraped and not documented"));
        for label in labels
            .split("\",")
            .filter_map(|part| part.split_once('='))
            .map(|(label, _)| label)
        {
            assert!(
                label == "le" || row.contains(&format!("`{label}`")),
                "{line} has a label that is not in {row}"
            );
            labelled += 1;
        }
    }
    assert!(labelled > 0, "nothing had a label:\n{page}");
}

#[test]
fn the_pages_made_from_the_code_are_in_step_with_it() {
    for (page, file) in [("metrics", "metrics.md"), ("errors", "errors.md")] {
        let made = Place::new().rookery(&["docs", page], &[]).stdout;
        let stale = format!("node/docs/{file} is stale: cargo run --bin rookery -- docs {page} > node/docs/{file}");
        assert!(read_docs(file).as_bytes() == made, "{stale}");
    }
}

fn read_docs(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    std::fs::read_to_string(path).unwrap_or_default()
}
