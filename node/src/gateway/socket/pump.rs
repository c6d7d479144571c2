//! The reading task of one connection. It owns no buffer: bytes are read into the thread's, and only the beginning of an
//! incomplete frame is kept. Written as a future by hand because its size is paid for by every idle connection.

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use rookery_actors::outlet::Outlet;
use rookery_actors::protocol::websocket::{Decoder, Role};

use super::connection::Connection;
use super::requests;

/// What one read takes at most.
const BUFFER_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
}

/// Reads until the connection ends, and then cleans up, whatever ended it.
pub struct Pump {
    connection: Arc<Connection>,
    decoder: Decoder,
}

impl Pump {
    pub fn new(connection: Arc<Connection>) -> Self {
        let hub = connection.hub();
        let decoder = Decoder::new(Role::Server, hub.limits.frame_bytes);
        Self { connection, decoder }
    }

    /// Takes bytes of the stream.
    pub fn take(&mut self, bytes: &mut [u8]) {
        let connection = &*self.connection;
        let hub = connection.hub();
        hub.meters.bytes_received.increment(bytes.len() as u64);
        connection.heard.store(hub.clock.seconds(), Relaxed);
        // What comes after a close is not looked at: a login that was revoked can do nothing more.
        if connection.is_closing() {
            return;
        }
        let was_midway = self.decoder.is_midway();
        let decoded = self.decoder.read(bytes, |frame| requests::handle(connection, frame));
        if let Err(violation) = decoded {
            connection.close_with(violation.close_code().code(), &violation.to_string(), false, false);
        }
        if was_midway || self.decoder.is_midway() {
            let since = if self.decoder.is_midway() {
                hub.clock.seconds() + 1
            } else {
                0
            };
            if since == 0 || !was_midway {
                connection.waits.frame.store(since, Relaxed);
            }
        }
    }

    fn read(&mut self) -> ControlFlow<()> {
        BUFFER.with_borrow_mut(|buffer| match self.connection.receive(buffer) {
            Ok(0) => Break(()),
            Ok(count) => {
                self.take(&mut buffer[..count]);
                Continue(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Continue(()),
            Err(_) => Break(()),
        })
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Readiness counts against the runtime's budget of a turn, so a busy client cannot keep the core.
        while let Poll::Ready(ready) = self.connection.poll_readable(cx) {
            if ready.is_err() || self.read().is_break() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let connection = &self.connection;
        tracing::trace!(connection = %connection.id(), "a socket ended");
        connection.hub().forget(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Pump};

    /// With the runtime's 256 bytes for the socket this makes 640 bytes of heap an idle connection: the task takes 128 when
    /// its future has at most 24, the connection 256 with its two counters.
    #[test]
    fn what_every_idle_connection_pays_for_stays_small() {
        assert!(size_of::<Pump>() <= 24, "{}", size_of::<Pump>());
        assert!(size_of::<Connection>() + 16 <= 256, "{}", size_of::<Connection>());
    }
}
