//! How the process lives and ends: its phase, the signals it hears, and the order in which it goes.
//!
//! A stop is a drain: not ready, clients told to go, what is unflushed flushed, sockets closed, exit. It happens once, however
//! many ask for it, and never takes longer than `drain_seconds`. A second signal ends the process at once; nothing that was
//! acknowledged is lost then either, because that was in the log before it was acknowledged.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::watch;

/// Where the process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Opening what it keeps, not yet serving.
    Starting,
    /// Serving.
    Ready,
    /// Out of the cluster, and about to join it again: serving who is here, and taking nobody new.
    Apart,
    /// On its way out.
    Draining,
}

/// The phase, shared by everybody who wants to know or to end it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<watch::Sender<Phase>>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Starting)))
    }
}

impl Lifecycle {
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Everything is open: clients may come. Has no effect on a process that was already asked to stop.
    pub fn ready(&self) {
        self.0.send_if_modified(|phase| {
            let becomes = matches!(phase, Phase::Starting | Phase::Apart);
            if becomes {
                *phase = Phase::Ready;
            }
            becomes
        });
    }

    /// The node is out of its cluster until it is ready again.
    pub fn apart(&self) {
        self.0.send_if_modified(|phase| {
            let serving = *phase == Phase::Ready;
            if serving {
                *phase = Phase::Apart;
            }
            serving
        });
    }

    /// Asks for the drain; whether this was the first to ask.
    pub fn drain(&self) -> bool {
        let before = self.0.send_replace(Phase::Draining);
        before != Phase::Draining
    }

    /// Waits until somebody asked for the drain.
    pub async fn draining(&self) {
        let mut phase = self.0.subscribe();
        // The sender is ours, so the channel cannot close while we wait.
        phase.wait_for(|phase| *phase == Phase::Draining).await.ok();
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals the process hears from the moment this is made; before, they end it as usual.
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// The next one that asks to stop.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Signal::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_is_asked_for_once_and_heard_by_all() {
        let life = Lifecycle::default();
        assert_eq!(life.phase(), Phase::Starting);
        life.ready();
        assert_eq!(life.phase(), Phase::Ready);
        let other = life.clone();
        let waiting = tokio::spawn(async move { other.draining().await });
        assert!(life.drain());
        assert!(!life.drain());
        waiting.await.expect("heard");
        life.ready();
        assert_eq!(life.phase(), Phase::Draining);
        life.draining().await;
    }
}
