//! The stream under an HTTP connection.
//!
//! TCP, with or without TLS. It passes everything on but one thing: the head of a `101 Switching Protocols` stays here, for
//! whoever takes the stream over. So the answer to the upgrade and the first frames leave in one write, and a client is woken
//! once for both.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::socket::Wire;

/// How the head that stays here begins.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

pub struct Stream {
    under: Under,
    held: Bytes,
}

/// What is under it.
pub enum Under {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn new(under: Under) -> Self {
        Self {
            under,
            held: Bytes::new(),
        }
    }

    /// The stream by itself, what has to be written to it before anything else, and what was decrypted of it and not read.
    pub fn into_parts(self) -> io::Result<(Wire, Bytes, Vec<u8>)> {
        let (wire, rest) = match self.under {
            Under::Tcp(tcp) => (Wire::Tcp(tcp), Vec::new()),
            Under::Tls(tls) => {
                let (tcp, session) = tls.into_inner();
                Wire::secure(tcp, session)?
            }
        };
        Ok((wire, self.held, rest))
    }

    /// Keeps the head of a 101; hyper writes it with one call, as the first bytes of a buffer.
    fn hold(&mut self, bytes: &[u8]) -> bool {
        let holds = bytes.starts_with(SWITCHING);
        if holds {
            self.held = Bytes::copy_from_slice(bytes);
        }
        holds
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Under {
    fn pinned(&mut self) -> Pin<&mut dyn Io> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp),
            Self::Tls(tls) => Pin::new(&mut **tls),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.under.pinned().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hold(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.under.pinned().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [one] => self.poll_write(cx, one),
            many => self.under.pinned().poll_write_vectored(cx, many),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.under {
            Under::Tcp(tcp) => tcp.is_write_vectored(),
            Under::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.under.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.under.pinned().poll_shutdown(cx)
    }
}
