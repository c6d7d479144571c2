//! The keeper of the links to one peer: one after the other, never two at a time.
//!
//! A keeper dials, or waits for connections that were answered; it announces a link before anything of it is delivered, and
//! its loss after everything was. It outlives the peer's membership until the last link has ended, so that a peer that
//! leaves and comes back cannot have two keepers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout_at};

use super::backoff::Backoff;
use super::defaults::{PART_WITHIN, REDIAL_LAST};
use super::greeting::dial;
use super::handshake::dials;
use super::link::{Ending, Established, Running};
use super::{Peer, Shared};
use crate::id::NodeId;
use crate::membership::Incarnation;

/// Connections that wait for the one before to end. There are more only if a peer reconnects faster than links end.
pub(super) const ARRIVALS: usize = 4;

/// What a keeper is to bring about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Orders {
    /// This node's incarnation.
    pub(super) own: Incarnation,
    /// The peer as the membership has it; none when it left.
    pub(super) peer: Option<Peer>,
    /// The node shuts down: flush until then, and end.
    pub(super) shutdown: Option<Instant>,
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    node: NodeId,
    orders: watch::Receiver<Orders>,
    arrivals: mpsc::Receiver<Established>,
    backoff: Backoff,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        node: NodeId,
        orders: watch::Receiver<Orders>,
        arrivals: mpsc::Receiver<Established>,
    ) -> Self {
        Self {
            backoff: Backoff::new(&shared.identity.node, &node),
            shared,
            node,
            orders,
            arrivals,
        }
    }

    pub(super) async fn run(mut self) {
        let mut next = None;
        loop {
            let established = match next.take() {
                Some(established) => established,
                None => match self.establish().await {
                    Some(established) => established,
                    None => return,
                },
            };
            next = self.keep(established).await;
        }
    }

    /// Brings about a connection; none when the keeper is not needed any more.
    async fn establish(&mut self) -> Option<Established> {
        loop {
            let orders = self.orders.borrow_and_update().clone();
            if orders.shutdown.is_some() {
                return None;
            }
            let Some(peer) = orders.peer else {
                if self.shared.retire(&self.node) {
                    return None;
                }
                continue;
            };
            let brought = if dials(&self.shared.identity.node, &self.node) {
                self.dial(&peer, orders.own).await
            } else {
                tokio::select! {
                    arrived = self.arrivals.recv() => arrived,
                    _ = self.orders.changed() => None,
                }
            };
            // A connection that was answered long ago may be gone by now.
            if let Some(established) = brought.filter(|brought| brought.connection.close_reason().is_none()) {
                return Some(established);
            }
        }
    }

    /// Dials once, and waits before the next time. None too when there are new orders.
    async fn dial(&mut self, peer: &Peer, own: Incarnation) -> Option<Established> {
        let attempt = async {
            let error = match dial(&self.shared, peer, own).await {
                Ok(established) => return Some(established),
                Err(error) => error,
            };
            self.shared.not_established(&peer.node, &error);
            sleep(self.backoff.next()).await;
            None
        };
        tokio::select! {
            dialled = attempt => dialled,
            _ = self.orders.changed() => {
                self.backoff.reset();
                None
            }
        }
    }

    /// Holds a link until it ends. A connection that replaces it is given back.
    async fn keep(&mut self, established: Established) -> Option<Established> {
        let shared = self.shared.clone();
        let since = Instant::now();
        let mut running = Running::start(established, shared.settings.queue_bytes, &shared.meters);
        let link = running.link.clone();
        shared.link_up(&link);
        running.listen(shared.sink.subscribe());
        let (ending, next) = self.hold(&mut running).await;
        shared.link_down(&link);
        self.part(&mut running, &ending).await;
        running.stop(&ending).await;
        shared.link_lost(&link, &ending);
        if since.elapsed() > REDIAL_LAST {
            self.backoff.reset();
        }
        if next.is_none() && matches!(ending, Ending::Closed(_)) {
            // Whoever closed it may need a moment; and a peer that closes each link at once is not hammered.
            sleep(self.backoff.next().min(Duration::from_millis(100))).await;
        }
        next
    }

    async fn hold(&mut self, running: &mut Running) -> (Ending, Option<Established>) {
        loop {
            tokio::select! {
                ending = running.ended() => return (ending, None),
                Some(newer) = self.arrivals.recv() => {
                    if newer.connection.close_reason().is_none() {
                        return (Ending::Replaced, Some(newer));
                    }
                }
                changed = self.orders.changed() => {
                    let orders = self.orders.borrow_and_update();
                    if changed.is_err() || orders.shutdown.is_some() {
                        return (Ending::Shutdown, None);
                    }
                    let Some(peer) = &orders.peer else {
                        return (Ending::Left, None);
                    };
                    let link = &running.link;
                    if orders.own != link.own_incarnation || peer.incarnation > link.terms.incarnation {
                        return (Ending::Superseded, None);
                    }
                }
            }
        }
    }

    /// Flushes what is queued for a peer that this node leaves, or that left and may still be flushing itself.
    async fn part(&mut self, running: &mut Running, ending: &Ending) {
        match ending {
            Ending::Shutdown => {
                let until = self.orders.borrow().shutdown.unwrap_or_else(Instant::now);
                running.flush(until).await;
            }
            Ending::Left => {
                let until = Instant::now() + PART_WITHIN;
                let parted = async {
                    running.flush(until).await;
                    running.ended().await;
                };
                tokio::select! {
                    _ = timeout_at(until.into(), parted) => {}
                    _ = self.orders.changed() => {}
                }
            }
            _ => {}
        }
    }
}
