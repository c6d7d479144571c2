//! What the subcommands but `serve` do.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{Failure, Page, Status, reference};
use crate::config::{Config, Loaded};
use crate::data_dir::{DataDir, DataDirError};
use crate::{telemetry, wiring};

/// How long the admin listener may take to answer `health`.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer `health` reads.
const HEALTH_BYTES: u64 = 16 * 1024;

/// Writes to standard output; a reader that went away is not a failure.
pub fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    Ok(ExitCode::SUCCESS)
}

/// The configuration was loaded; what is left is the data directory, which is looked at and not made.
pub fn check(loaded: &Loaded) -> Result<ExitCode, Failure> {
    for warning in &loaded.warnings {
        eprintln!("rookery: warning: {warning}");
    }
    let from = loaded
        .file
        .as_ref()
        .map_or("no file".into(), |file| file.display().to_string());
    let dir = &loaded.config.process.data_dir;
    let found = usable(dir).map_err(|error| wiring::data_dir_failure(&error))?;
    print(&format!(
        "configuration ({from}): valid\ndata directory {}: {found}\n",
        dir.display()
    ))
}

fn usable(dir: &Path) -> Result<String, DataDirError> {
    if DataDir::is_new(dir)? {
        return Ok("will be made".to_owned());
    }
    match DataDir::open(dir) {
        Ok(_) => Ok("usable".to_owned()),
        Err(DataDirError::InUse { pid, .. }) => Ok(format!("in use by process {pid}")),
        Err(error) => Err(error),
    }
}

/// Makes a key that signs from now on; the old ones verify until the tokens they signed have expired.
pub fn rotate_key(config: &Config) -> Result<ExitCode, Failure> {
    let key = wiring::rotate_key(config)?;
    print(&format!(
        "new key {key}: a running server signs with it within seconds, or at once on SIGHUP\n"
    ))
}

pub fn docs(page: Page) -> Result<ExitCode, Failure> {
    print(&match page {
        Page::Metrics => telemetry::table(),
        Page::Errors => reference::errors(),
    })
}

/// Asks the admin listener, from the same machine.
pub fn health(config: &Config, live: bool) -> Result<ExitCode, Failure> {
    let address = reachable(config.process.admin_listen);
    let path = if live { "/healthz" } else { "/readyz" };
    let no = |what: String| Failure::new(Status::No, format!("http://{address}{path}: {what}"));
    let answer = ask(address, path).map_err(|error| no(error.to_string()))?;
    let status = answer.split_whitespace().nth(1).unwrap_or("no HTTP");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if status == "200" {
        print(&format!("{body}\n"))
    } else {
        Err(no(format!("{status} {body}")))
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

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    socket.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    socket.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    socket.take(HEALTH_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
