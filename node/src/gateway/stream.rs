//! The stream under an HTTP connection.
//!
//! It passes everything on but one thing: the head of a `101 Switching Protocols` stays here, for whoever takes the stream
//! over. So the answer to the upgrade and the first frames leave in one write, and a client is woken once for both.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How the head that stays here begins.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

pub struct Stream {
    tcp: TcpStream,
    held: Bytes,
}

impl Stream {
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            held: Bytes::new(),
        }
    }

    /// The TCP stream, and what has to be written to it before anything else.
    pub fn into_parts(self) -> (TcpStream, Bytes) {
        (self.tcp, self.held)
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

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hold(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [one] => self.poll_write(cx, one),
            many => Pin::new(&mut self.tcp).poll_write_vectored(cx, many),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
