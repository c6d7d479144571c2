//! Clients that nobody here wrote, in two other languages, hold a conversation with each other through the server: Python with
//! `websockets`, `msgpack` and `httpx`, and Node.js with `ws` and its own `fetch`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Write};

use crate::support::Server;

/// Generous: two interpreters start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// One side of the conversation, in a process of its own that is killed when the test ends early.
struct Side {
    child: std::process::Child,
    lines: Lines<BufReader<std::process::ChildStdout>>,
}

impl Side {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; {INSTALL}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines
            .next()
            .expect("the client ended early, see its error above")
            .unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const INSTALL: &str =
    "run `make test`, which installs the clients in other languages, or `deploy/test/install-clients`";

/// Something of the installed clients, under cargo's target directory.
fn installed(path: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_rookery")).ancestors().nth(2).unwrap();
    let found = target.join("clients").join(path);
    assert!(found.exists(), "{} is missing: {INSTALL}", found.display());
    found
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

pub fn python(base: &str, name: &str, subprotocol: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(script("conversation.py")).args([base, name, subprotocol]);
    command
}

pub fn node(base: &str, name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script("conversation.mjs")).args([base, name]);
    command.arg(installed("node/node_modules").join("ws/package.json"));
    command
}

/// Lets two clients talk to each other and compares what they saw.
pub async fn converse(server: Server, one: Command, other: Command) {
    let talk = tokio::task::spawn_blocking(move || {
        let (mut one, mut other) = (Side::start(one), Side::start(other));
        let (first, second) = (one.line(), other.line());
        one.tell(&second);
        other.tell(&first);
        let orders = [one.line(), other.line()].map(|line| serde_json::from_str::<Value>(&line).unwrap());
        for side in [&mut one, &mut other] {
            assert!(
                side.child.wait().unwrap().success(),
                "a client failed, see its error above"
            );
        }
        orders
    });
    let orders = tokio::time::timeout(PATIENCE, talk)
        .await
        .expect("they finish in time")
        .unwrap();
    assert_eq!(orders[0].as_array().unwrap().len(), 60);
    assert_eq!(orders[0], orders[1], "both saw the same order");
    drop(server);
}

#[tokio::test]
async fn python_and_node_hold_a_conversation() {
    let server = Server::start().await;
    let [here, there] = server.doors();
    let (one, other) = (python(&here, "monty", "rookery.v1.json"), node(&there, "ryan"));
    converse(server, one, other).await;
}

#[tokio::test]
async fn python_by_msgpack_and_python_by_json_hold_a_conversation() {
    let server = Server::start().await;
    let [here, there] = server.doors();
    let packed = python(&here, "packed", "rookery.v1.msgpack");
    let plain = python(&there, "plain", "rookery.v1.json");
    converse(server, packed, plain).await;
}
