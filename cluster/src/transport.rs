//! The way to the other nodes: payloads out to a node on a lane, payloads in to a sink.
//!
//! A lane is a line in which order is kept. Callers name it by any number (a shard, a conversation's hash); a transport maps
//! the numbers to the few ordered streams that it keeps, so that two lanes may share one, but a lane never changes streams.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::NodeId;

pub mod memory;
pub mod quic;

/// Carries payloads between nodes.
///
/// * `send` never blocks and never waits: it queues the payload or says why not. `Ok` means queued, not arrived.
/// * Payloads of one lane to one node arrive in the order of the calls, each at most once. When one of them is lost (the
///   peer died), those queued behind it for the same link are lost with it.
/// * What waits for one node is bounded and takes no room from the others: a slow peer is felt by those who send to it.
/// * A payload for the node itself is refused as `Unreachable`; that way is the router's.
pub trait Transport: Send + Sync + 'static {
    fn send(&self, to: &NodeId, lane: u64, payload: Bytes) -> Result<(), SendError>;

    /// Hands what arrives to the sink from now on. What arrived before waits in its bounded queue. Called once.
    fn deliver_to(&self, sink: Arc<dyn Sink>);

    /// Tells of links as they come and go from now on, and at once of those that are up. Called once.
    fn observe(&self, observer: Arc<dyn Observer>);
}

/// Takes what arrives.
pub trait Sink: Send + Sync + 'static {
    /// Called in order for each lane of each peer, on the transport's own task: it must not block.
    fn receive(&self, from: &NodeId, payload: Bytes);
}

/// Is told of the links to other nodes. For one node the calls come one after the other and by turns: up, lost, up, lost.
/// They run on the transport's own task: they must not block, and must not call `observe`.
pub trait Observer: Send + Sync + 'static {
    /// From now on payloads to this node are taken, and some of it may arrive.
    fn on_up(&self, node: &NodeId);

    /// The link is gone, because the node left, died, fell silent or was replaced by its next incarnation. What was sent
    /// over it may or may not have arrived; nothing of it arrives from now on.
    fn on_lost(&self, node: &NodeId);
}

/// Why a message was not sent. It surely did not leave: sending it again, later or elsewhere, cannot make two of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("node {0} is not reachable")]
    Unreachable(NodeId),
    #[error("the queue to node {0} is full")]
    Full(NodeId),
    #[error("a message of {length} bytes to node {node} is larger than a frame may be")]
    TooLarge { node: NodeId, length: usize },
    #[error("this node does not take messages yet")]
    NotServing,
}

impl SendError {
    /// Whether the same send can succeed later without anything being changed by the caller.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::TooLarge { .. })
    }

    /// The value of the label `reason`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Full(_) => "full",
            Self::TooLarge { .. } => "too_large",
            Self::NotServing => "not_serving",
        }
    }
}

/// The transport of a node that has no peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&self, to: &NodeId, _lane: u64, _payload: Bytes) -> Result<(), SendError> {
        Err(SendError::Unreachable(to.clone()))
    }

    fn deliver_to(&self, _sink: Arc<dyn Sink>) {}

    fn observe(&self, _observer: Arc<dyn Observer>) {}
}
