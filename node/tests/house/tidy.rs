//! What the sources and the top of the repository may not contain.

use std::fs;

use crate::sources::{self, Source};

/// The longest a file may be, and a function outside tests.
const MOST_LINES: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 70;

/// Where a rule applies, what it refuses in a line of code there, and why.
struct Rule {
    applies: fn(&Source) -> bool,
    refuses: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        applies: |source| source.path.ends_with("/state.rs") || source.path.contains("/state/"),
        refuses: &[
            "tokio",
            "ractor",
            "Timestamp::now",
            "Instant::now",
            "SystemTime",
            "rand::",
            "Uuid::now",
            "::fresh()",
        ],
        why: "a state machine is pure: time, identities and chance come in as arguments",
    },
    Rule {
        applies: |source| source.path.starts_with("cluster/src/") || source.path.starts_with("actors/src/protocol"),
        refuses: &["Timestamp::now", "SystemTime"],
        why: "this layer has no wall clock",
    },
    Rule {
        applies: |source| source.path != "actors/src/time.rs",
        refuses: &["SystemTime::now", "jiff::Timestamp::now", "Zoned::now"],
        why: "the wall clock is read in one place, `Timestamp::now` of actors/src/time.rs",
    },
    Rule {
        applies: |source| !source.path.starts_with("node/src/adapters") && !source.is_test(),
        refuses: &["rusqlite", "rdkafka", "mongodb::", "aws_sdk_s3"],
        why: "clients of services are the adapters' alone",
    },
    Rule {
        applies: |source| !source.path.starts_with("actors/src/"),
        refuses: &["ractor::"],
        why: "nobody outside the actors' crate sees an actor",
    },
];

/// Refused in every line of every file, comments and tests too. Written in halves, so that this file passes.
const NOWHERE: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// What the top of the repository holds, beside dot files and what git ignores.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "actors",
    "cluster",
    "deploy",
    "loadtest",
    "node",
];
const IGNORED: &[&str] = &["data", "target"];

fn offences(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let length = source.text.lines().count();
    if length > MOST_LINES {
        found.push(format!(
            "{}: {length} lines, and {MOST_LINES} are the most",
            source.path
        ));
    }
    for (number, length) in functions(source).filter(|(_, length)| *length > MOST_LINES_OF_A_FUNCTION) {
        found.push(format!("{}:{number}: a function of {length} lines", source.path));
    }
    for (number, line) in (1..).zip(source.text.lines()) {
        for word in NOWHERE.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{}:{number}: {word}", source.path));
        }
    }
    // This test names what it refuses.
    let bound_by = |rule: &&Rule| !source.path.starts_with("node/tests/house/") && (rule.applies)(source);
    for rule in RULES.iter().filter(bound_by) {
        for (number, line) in source.code() {
            for word in rule.refuses.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}: {}", source.path, rule.why));
            }
        }
    }
    found
}

/// Where the functions outside tests begin, and how many lines they have. The sources are formatted, so a function ends at
/// the next closing brace that stands as far in as its head.
fn functions(source: &Source) -> impl Iterator<Item = (usize, usize)> {
    let lines: Vec<(usize, &str)> = if source.is_test() {
        Vec::new()
    } else {
        source.code().collect()
    };
    (0..lines.len()).filter_map(move |head| {
        let (number, line) = lines[head];
        let code = line.trim_start();
        let is_head = code
            .split('(')
            .next()
            .is_some_and(|start| start.split(' ').any(|word| word == "fn"));
        if !is_head || code.ends_with(['}', ';']) {
            return None;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let last = lines[head..].iter().find(|(_, line)| *line == end)?;
        Some((number, last.0 - number + 1))
    })
}

fn is_allowed_at_the_top(name: &str) -> bool {
    name.starts_with('.') || TOP.contains(&name) || IGNORED.contains(&name)
}

#[test]
fn the_sources_keep_the_rules() {
    let found: Vec<String> = sources::all().iter().flat_map(offences).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_top_of_the_repository_holds_what_it_should() {
    let names = fs::read_dir(sources::root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (allowed, others): (Vec<_>, Vec<_>) = names.partition(|name| is_allowed_at_the_top(name));
    assert!(others.is_empty(), "does not belong at the top: {others:?}");
    let missing: Vec<_> = TOP
        .iter()
        .filter(|name| !allowed.iter().any(|there| there == *name))
        .collect();
    assert!(missing.is_empty(), "missing at the top: {missing:?}");
    let ignored = fs::read_to_string(sources::root().join(".gitignore")).unwrap();
    assert!(
        IGNORED
            .iter()
            .all(|name| ignored.lines().any(|line| line == format!("/{name}"))),
        "{ignored}"
    );
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    let long = "\n".repeat(MOST_LINES + 1);
    let function = format!(
        "impl X {{\n    pub async fn go(&self) {{\n{}    }}\n}}",
        "        1;\n".repeat(69)
    );
    let cases = [
        ("node/src/main.rs", long.as_str()),
        ("node/src/main.rs", function.as_str()),
        ("actors/src/session/state.rs", "use tokio::sync::mpsc;"),
        ("actors/src/session/state.rs", "    let now = Timestamp::now();"),
        (
            "actors/src/conversation/state/roster.rs",
            "    let lot = rand::random();",
        ),
        ("actors/src/protocol/server.rs", "    at: Timestamp::now(),"),
        ("cluster/src/router.rs", "use std::time::SystemTime;"),
        ("node/src/files.rs", "    let now = SystemTime::now();"),
        ("node/src/gateway/socket.rs", "use rusqlite::Connection;"),
        ("node/src/wiring.rs", "use ractor::Actor;"),
        ("node/src/config.rs", concat!("// TO", "DO: later")),
        ("node/src/config.rs", concat!("    todo", "!()")),
        ("node/tests/promises/once.rs", concat!("#[ig", "nore = \"slow\"]")),
    ];
    for (path, text) in cases {
        assert_eq!(offences(&Source::new(path, text)).len(), 1, "{path}: {}", text.trim());
    }
    assert!(!is_allowed_at_the_top("docs") && !is_allowed_at_the_top("CHANGELOG.md"));
}

#[test]
fn each_rule_leaves_alone_what_keeps_it() {
    let function = |lines| format!("fn go() {{\n{}}}\nfn next() {{}}", "    1;\n".repeat(lines));
    let cases = [
        ("node/src/main.rs", "\n".repeat(MOST_LINES)),
        ("node/src/main.rs", function(68)),
        ("node/tests/promises/once.rs", function(200)),
        (
            "actors/src/session/state.rs",
            "// tokio is not used here\n#[cfg(test)]\nuse tokio::test;".into(),
        ),
        ("actors/src/session/shell.rs", "    let now = Timestamp::now();".into()),
        (
            "actors/src/time.rs",
            "    Self(jiff::Timestamp::now().as_millisecond())".into(),
        ),
        ("node/src/adapters/sqlite/db.rs", "use rusqlite::Connection;".into()),
        ("node/src/files/tests.rs", "use rusqlite::Connection;".into()),
        ("actors/src/supervisor.rs", "use ractor::Actor;".into()),
    ];
    for (path, text) in cases {
        assert_eq!(offences(&Source::new(path, &text)), [""; 0], "{path}");
    }
    assert!(is_allowed_at_the_top(".ci") && is_allowed_at_the_top("target") && is_allowed_at_the_top("LICENSE"));
}
