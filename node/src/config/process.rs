//! The keys at the top of the file and the section `log`: what belongs to the process as a whole.

use std::net::SocketAddr;
use std::path::PathBuf;

use rookery_actors::defaults::UNSTORED_BYTES;
use serde::{Deserialize, Serialize};

use super::settings;

settings! {
    /// The process.
    secrets(admin_token)
    pub struct Process {
        /// Where clients connect, for HTTP and WebSocket. Port 0 takes a free one, which is printed at start.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080));
        /// Where operators connect: `/healthz`, `/readyz`, `/metrics`, and `/admin` with the admin token. Keep it private.
        admin_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9090));
        /// The directory that holds everything this node keeps. Made with owner-only rights when it is not there; one
        /// process at a time uses it.
        data_dir: PathBuf = PathBuf::from("./data");
        /// The node's name, as clients see it in `hello` and operators in `/admin/nodes`. Empty: one is made at first start
        /// and kept in the data directory.
        node: String = String::new();
        /// Threads that run the actors and the sockets. 0: as many as the process may use cores.
        worker_threads: usize = 0;
        /// How long a stop may take, in seconds: clients are told to go, what is unflushed is flushed, then sockets close.
        drain_seconds: u32 = 20;
        /// Bytes of messages that may wait in memory for the store, about, on each node: beyond it sends are answered
        /// `unavailable` until the store has taken some. So it is how much may be said while MongoDB is away.
        unstored_bytes: usize = UNSTORED_BYTES;
        /// The token that `/admin` wants as `Authorization: Bearer`. Empty: read from `admin_token_file`.
        admin_token: String = String::new();
        /// The file that holds the admin token. Empty: `admin-token` in the data directory, made at first start.
        admin_token_file: PathBuf = PathBuf::new();
    }
}

settings! {
    /// What is logged, to standard error.
    pub struct Log {
        /// Which events: a level (`error`, `warn`, `info`, `debug`, `trace`), then exceptions by module, such as
        /// `info,rookery_node::gateway=debug`.
        filter: String = "info".to_owned();
        /// `text` for people, `json` for one object a line.
        format: LogFormat = LogFormat::Text;
    }
}

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}
