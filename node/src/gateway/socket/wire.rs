//! The stream under one socket: TCP, with or without TLS on it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::secure::Secure;

pub enum Wire {
    Tcp(TcpStream),
    Tls(Box<Tls>),
}

/// A stream with TLS on it. It takes a few KiB a connection; who has none pays nothing for it.
pub struct Tls {
    tcp: TcpStream,
    secure: Mutex<Secure>,
}

/// The socket as something to read from and to write to, which never waits.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire {
    /// TLS whose handshake is done, and what of it was decrypted and not read.
    pub fn secure(tcp: TcpStream, session: ServerConnection) -> io::Result<(Self, Vec<u8>)> {
        let mut secure = Secure::new(session);
        let rest = secure.rest()?;
        let secure = Mutex::new(secure);
        Ok((Self::Tls(Box::new(Tls { tcp, secure })), rest))
    }

    /// Writes what the socket takes.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(tcp), [one]) => tcp.try_write(one),
            (Self::Tcp(tcp), many) => tcp.try_write_vectored(many),
            (Self::Tls(tls), slices) => tls.secure.lock().write(slices, &mut Socket(&tls.tcp)),
        }
    }

    /// Reads what the socket has.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => read_once(tcp, buffer),
            Self::Tls(tls) => tls.secure.lock().read(buffer, &mut Socket(&tls.tcp)),
        }
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_read_ready(cx)
    }

    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_write_ready(cx)
    }

    /// Ends what we say, or both directions, after everything that was written.
    pub fn finish(&self, how: Shutdown) {
        if let Self::Tls(tls) = self {
            tls.secure.lock().finish(&mut Socket(&tls.tcp));
        }
        let _ = SockRef::from(self.tcp()).shutdown(how);
    }

    /// Ends both directions now.
    pub fn cut(&self) {
        let _ = SockRef::from(self.tcp()).shutdown(Shutdown::Both);
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }
}

/// A read that leaves room in the buffer has emptied the socket: readiness is cleared with it, which saves the second system
/// call that would only find out.
fn read_once(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut received = None;
    let read = tcp.try_io(Interest::READABLE, || {
        let count = (&*SockRef::from(tcp)).read(buffer)?;
        received = Some(count);
        if 0 < count && count < buffer.len() {
            Err(ErrorKind::WouldBlock.into())
        } else {
            Ok(count)
        }
    });
    received.map_or(read, Ok)
}
