//! Who may depend on whom, over the graph that cargo resolved for this machine with every feature on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{licences, sources};

/// What each crate of ours may use of ours. Dependencies point down only.
const OURS: &[(&str, &[&str])] = &[
    ("rookery-loadtest", &["rookery-actors"]),
    ("rookery-node", &["rookery-actors", "rookery-cluster"]),
    ("rookery-actors", &["rookery-cluster"]),
    ("rookery-cluster", &[]),
];

/// Packages that only one crate may use directly.
const ONLY_BY: &[(&str, &str)] = &[
    ("rusqlite", "rookery-node"),
    ("rdkafka", "rookery-node"),
    ("mongodb", "rookery-node"),
    ("aws-sdk-s3", "rookery-node"),
    ("ractor", "rookery-actors"),
    ("quinn", "rookery-cluster"),
];

/// Never linked: one TLS stack is enough, and it is one that builds without OpenSSL or CMake. But for this feature, as the
/// client of Kafka knows no other.
const NEEDS_OPENSSL: &str = "rookery-node/kafka-tls";
const BANNED: &[&str] = &["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];

/// Of these at most one version.
const SINGLE: &[&str] = &["rustls", "ring", "tokio"];

/// Features of `rookery-actors` that the load harness does without: it is a client.
const NOT_A_CLIENTS: &[&str] = &["default", "runtime", "testkit"];

/// What is linked into our binaries or builds them; what only tests use is marked.
#[derive(Default)]
struct Graph {
    packages: BTreeMap<String, Package>,
    /// Ids of the packages of this workspace.
    members: Vec<String>,
}

#[derive(Default)]
struct Package {
    name: String,
    licence: Option<String>,
    /// Id of what it depends on, and whether for its own tests only.
    uses: Vec<(String, bool)>,
}

impl Graph {
    fn of(metadata: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut graph = Self {
            members: list(&metadata["workspace_members"]).map(text).collect(),
            packages: BTreeMap::new(),
        };
        for package in list(&metadata["packages"]) {
            let entry = graph.packages.entry(text(&package["id"])).or_default();
            entry.name = text(&package["name"]);
            entry.licence = package["license"].as_str().map(str::to_owned);
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let uses = list(&node["deps"]).map(|used| {
                let only_tests = list(&used["dep_kinds"]).all(|kind| kind["kind"] == "dev");
                (text(&used["pkg"]), only_tests)
            });
            graph.packages.get_mut(node["id"].as_str().unwrap()).unwrap().uses = uses.collect();
        }
        graph
    }

    /// Ids of everything that the workspace links or builds with, tests left out.
    fn linked(&self) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = self.members.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(
                    self.packages[id]
                        .uses
                        .iter()
                        .filter(|(_, only_tests)| !only_tests)
                        .map(|(id, _)| id.as_str()),
                );
            }
        }
        reached
    }

    /// Every direct use, by name, for tests too.
    fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        let name = |id: &str| self.packages[id].name.as_str();
        self.packages
            .values()
            .flat_map(move |user| user.uses.iter().map(move |(used, _)| (user.name.as_str(), name(used))))
    }

    fn offences(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (user, used) in self.edges() {
            let rule = OURS.iter().find(|(ours, _)| *ours == user);
            let is_ours = OURS.iter().any(|(ours, _)| *ours == used);
            if is_ours && !rule.is_some_and(|(_, may)| may.contains(&used)) {
                found.push(format!("{user} may not use {used}"));
            }
            if ONLY_BY.iter().any(|(package, only)| *package == used && *only != user) {
                found.push(format!("{used} is not for {user}"));
            }
        }
        let linked: Vec<&Package> = self.linked().into_iter().map(|id| &self.packages[id]).collect();
        for package in &linked {
            if !package.licence.as_deref().is_some_and(licences::is_allowed) {
                found.push(format!("licence of {}: {:?}", package.name, package.licence));
            }
        }
        let versions = |name: &str| self.packages.values().filter(|package| package.name == name).count();
        found.extend(
            BANNED
                .iter()
                .filter(|name| versions(name) > 0)
                .map(|name| format!("{name} is banned")),
        );
        found.extend(
            SINGLE
                .iter()
                .filter(|name| versions(name) > 1)
                .map(|name| format!("{name} is there twice")),
        );
        found
    }
}

/// The features of `rookery-actors` that a manifest of the load harness asks for and should not.
fn features_too_many(metadata: &Value) -> Vec<String> {
    let harness = list(&metadata["packages"]).filter(|package| package["name"] == "rookery-loadtest");
    let wanted = harness
        .flat_map(|package| list(&package["dependencies"]))
        .filter(|used| used["name"] == "rookery-actors");
    let features = wanted.flat_map(|used| {
        let default = (used["uses_default_features"] == true).then(|| "default".to_owned());
        default
            .into_iter()
            .chain(list(&used["features"]).filter_map(Value::as_str).map(str::to_owned))
    });
    features
        .filter(|feature| NOT_A_CLIENTS.contains(&feature.as_str()))
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(sources::root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// All features of our crates, as `crate/feature`.
fn features() -> Vec<String> {
    let crates = cargo(&["metadata", "--format-version", "1", "--locked", "--no-deps"]);
    let crates: Value = serde_json::from_str(&crates).unwrap();
    let of = |package: &Value| {
        let name = package["name"].as_str().unwrap().to_owned();
        let features: Vec<_> = package["features"].as_object().unwrap().keys().cloned().collect();
        features.into_iter().map(move |feature| format!("{name}/{feature}"))
    };
    list(&crates["packages"]).flat_map(of).collect()
}

fn metadata(features: &[String]) -> Value {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let options = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--features",
        &features.join(","),
        "--filter-platform",
        host,
    ];
    serde_json::from_str(&cargo(&options)).unwrap()
}

#[test]
fn dependencies_point_down_and_licences_are_allowed() {
    let features: Vec<_> = features().into_iter().filter(|name| name != NEEDS_OPENSSL).collect();
    let metadata = metadata(&features);
    let graph = Graph::of(&metadata);
    assert_eq!(graph.members.len(), OURS.len(), "a crate without a rule");
    assert!(graph.linked().len() > 50, "the graph is not all there");
    let offences = graph.offences();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
    assert_eq!(features_too_many(&metadata), [""; 0], "the load harness is a client");
}

#[test]
fn openssl_comes_with_one_feature_alone() {
    let graph = Graph::of(&metadata(&features()));
    assert_eq!(graph.offences(), ["openssl-sys is banned"], "with {NEEDS_OPENSSL}");
}

/// A graph of packages (name, licence) and uses (from, to, kind).
fn graph(packages: &[(&str, &str)], uses: &[(&str, &str, Option<&str>)]) -> Graph {
    let package = |(name, licence): &(&str, &str)| serde_json::json!({"id": name, "name": name, "license": licence});
    let node = |(name, _): &(&str, &str)| {
        let deps = uses.iter().filter(|(from, ..)| from == name);
        let deps = deps.map(|(_, to, kind)| serde_json::json!({"pkg": to, "dep_kinds": [{"kind": kind}]}));
        serde_json::json!({"id": name, "deps": deps.collect::<Vec<_>>()})
    };
    Graph::of(&serde_json::json!({
        "workspace_members": [packages[0].0],
        "packages": packages.iter().map(package).collect::<Vec<_>>(),
        "resolve": {"nodes": packages.iter().map(node).collect::<Vec<_>>()},
    }))
}

#[test]
fn a_graph_that_breaks_a_rule_is_refused() {
    let (ours, dev) = ("Apache-2.0", Some("dev"));
    let cases = [
        (
            graph(
                &[("rookery-cluster", ours), ("rookery-actors", ours)],
                &[("rookery-cluster", "rookery-actors", None)],
            ),
            1,
        ),
        (
            graph(
                &[("rookery-loadtest", ours), ("rookery-node", ours)],
                &[("rookery-loadtest", "rookery-node", dev)],
            ),
            1,
        ),
        (
            graph(
                &[("rookery-actors", ours), ("rusqlite", "MIT")],
                &[("rookery-actors", "rusqlite", None)],
            ),
            1,
        ),
        (
            graph(
                &[("rookery-node", ours), ("ractor", "MIT")],
                &[("rookery-node", "ractor", None)],
            ),
            1,
        ),
        (
            graph(
                &[("rookery-node", ours), ("x", "GPL-3.0")],
                &[("rookery-node", "x", Some("build"))],
            ),
            1,
        ),
        (
            graph(
                &[("rookery-node", ours), ("openssl-sys", "MIT")],
                &[("rookery-node", "openssl-sys", None)],
            ),
            1,
        ),
        (
            graph(
                &[("rookery-node", ours), ("x", "GPL-3.0")],
                &[("rookery-node", "x", dev)],
            ),
            0,
        ),
        (
            graph(
                &[("rookery-node", ours), ("rusqlite", "MIT")],
                &[("rookery-node", "rusqlite", None)],
            ),
            0,
        ),
        (
            graph(
                &[("rookery-node", ours), ("rookery-actors", ours)],
                &[("rookery-node", "rookery-actors", None)],
            ),
            0,
        ),
    ];
    for (number, (graph, expected)) in cases.iter().enumerate() {
        assert_eq!(
            graph.offences().len(),
            *expected,
            "case {number}: {:?}",
            graph.offences()
        );
    }
}

#[test]
fn a_second_version_is_refused() {
    let mut graph = graph(
        &[("rookery-node", "MIT"), ("rustls", "MIT")],
        &[("rookery-node", "rustls", None)],
    );
    assert_eq!(graph.offences(), [""; 0]);
    let name = "rustls".to_owned();
    graph.packages.insert(
        "rustls 2".into(),
        Package {
            name,
            ..Package::default()
        },
    );
    assert_eq!(graph.offences(), ["rustls is there twice"]);
}

#[test]
fn a_harness_that_asks_for_the_actors_is_refused() {
    let metadata = |features: &[&str], default| {
        serde_json::json!({"packages": [{"name": "rookery-loadtest", "dependencies": [
            {"name": "rookery-actors", "uses_default_features": default, "features": features},
            {"name": "tokio", "uses_default_features": true, "features": ["runtime"]},
        ]}]})
    };
    assert_eq!(features_too_many(&metadata(&[], false)), [""; 0]);
    assert_eq!(features_too_many(&metadata(&["runtime"], true)), ["default", "runtime"]);
}
