//! The process as the operating system sees it: its threads, its private listener, its standard output.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Failure, Status};

/// Connections that may wait for the admin listener.
pub const ADMIN_BACKLOG: u32 = 128;

/// The threads that run everything; 0 takes as many as the process may use cores.
pub fn runtime(worker_threads: usize) -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name("rookery");
    builder.worker_threads(match worker_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    });
    builder
        .build()
        .map_err(|error| Failure::internal(format!("start the threads: {error}")))
}

/// A listening socket. The address is free again at once when a process has just left it.
pub fn bind(address: SocketAddr, backlog: u32, key: &str) -> Result<TcpListener, Failure> {
    listen(address, backlog).map_err(|error| cannot_listen(address, key, &error))
}

/// What an address that cannot be listened on means for the process.
pub fn cannot_listen(address: SocketAddr, key: &str, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it",
        io::ErrorKind::AddrNotAvailable => "; it is no address of this machine",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    };
    Failure::new(
        Status::Unavailable,
        format!("cannot listen on {address} (`{key}`): {error}{hint}"),
    )
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Says where the node listens, one stable line a listener: scripts and tests read them.
pub fn announce(scheme: &str, public: SocketAddr, admin: SocketAddr) {
    let mut out = io::stdout().lock();
    writeln!(out, "admin on http://{admin}\nlistening on {scheme}://{public}").ok();
    out.flush().ok();
    tracing::info!(%public, %admin, "serving");
}
