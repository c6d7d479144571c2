//! The subcommands that ask the running server's admin listener: `health`, `nodes`, `shards`, `drain`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::commands::print;
use super::{Failure, Status, table};
use crate::admin::AdminToken;
use crate::config::{Config, Process};

/// How long the admin listener may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read: the owners of 65,536 shards.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Whether it is ready, or lives.
pub fn health(config: &Config, live: bool) -> Result<ExitCode, Failure> {
    let listener = Listener::of(&config.process);
    let path = if live { "/healthz" } else { "/readyz" };
    let body = listener.ask("GET", path)?;
    print(&format!("{body}\n"))
}

/// The nodes, as the asked one sees them.
pub fn nodes(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let body = Listener::with_token(config)?.ask("GET", "/admin/nodes")?;
    if json {
        return print(&format!("{body}\n"));
    }
    let nodes: List<Node> = read(&body)?;
    let head = [
        "NODE",
        "STATE",
        "SHARDS",
        "ADDRESS",
        "PUBLIC URL",
        "ROUND TRIP",
        "CONNECTIONS",
    ];
    let rows = nodes.items.iter().map(Node::row);
    print(&table::of(&head.map(str::to_owned), &rows.collect::<Vec<_>>()))
}

/// Which node owns which shards.
pub fn shards(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let body = Listener::with_token(config)?.ask("GET", "/admin/shards")?;
    if json {
        return print(&format!("{body}\n"));
    }
    let shards: List<Shard> = read(&body)?;
    let mut owned: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for Shard { shard, node } in shards.items {
        owned.entry(node).or_default().push(shard);
    }
    let rows = owned
        .into_iter()
        .map(|(node, mut shards)| {
            shards.sort_unstable();
            [node, shards.len().to_string(), table::ranges(&shards)]
        })
        .collect::<Vec<_>>();
    print(&table::of(&["NODE", "COUNT", "SHARDS"].map(str::to_owned), &rows))
}

/// Tells the asked node to hand over and stop.
pub fn drain(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let listener = Listener::with_token(config)?;
    let body = listener.ask("POST", "/admin/drain")?;
    if json {
        return print(&format!("{body}\n"));
    }
    let within = config.process.drain_seconds;
    print(&format!(
        "the node at {} drains: it hands over, tells its clients to go, and ends within {within} s\n",
        listener.address
    ))
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Shard {
    shard: u16,
    node: String,
}

#[derive(Deserialize)]
struct Node {
    node: String,
    state: String,
    shards: usize,
    address: Option<String>,
    public_url: Option<String>,
    round_trip_us: Option<u64>,
    connections: Option<u64>,
}

impl Node {
    fn row(&self) -> [String; 7] {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        [
            self.node.clone(),
            self.state.clone(),
            self.shards.to_string(),
            text(&self.address),
            text(&self.public_url),
            text(&self.round_trip_us.map(|us| format!("{us} us"))),
            text(&self.connections.map(|count| count.to_string())),
        ]
    }
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body)
        .map_err(|error| Failure::new(Status::No, format!("the admin listener is another version's: {error}")))
}

/// The admin listener of a server on this machine.
struct Listener {
    address: SocketAddr,
    token: Option<AdminToken>,
}

impl Listener {
    fn of(process: &Process) -> Self {
        let address = reachable(process.admin_listen);
        Self { address, token: None }
    }

    fn with_token(config: &Config) -> Result<Self, Failure> {
        let process = &config.process;
        let token = AdminToken::existing(process, &process.data_dir)
            .map_err(|error| Failure::new(Status::Configuration, error.to_string()))?;
        Ok(Self {
            token: Some(token),
            ..Self::of(process)
        })
    }

    /// The body of the answer, if that is a success.
    fn ask(&self, method: &str, path: &str) -> Result<String, Failure> {
        let no = |what: String| Failure::new(Status::No, format!("http://{}{path}: {what}", self.address));
        let answer = self.exchange(method, path).map_err(|error| no(error.to_string()))?;
        let status = answer.split_whitespace().nth(1).unwrap_or("no HTTP");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        match status {
            "200" | "202" => Ok(body.to_owned()),
            _ => Err(no(format!("{status} {body}"))),
        }
    }

    fn exchange(&self, method: &str, path: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let authorization = self.token.as_ref().map(AdminToken::header).unwrap_or_default();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}Connection: close\r\nContent-Length: 0\r\n\r\n",
            self.address
        )?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// An address that stands for every one of the machine is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}
