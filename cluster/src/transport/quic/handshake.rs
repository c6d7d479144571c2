//! How two nodes agree on a link, as a pure state machine.
//!
//! TLS has proved by then that the other end holds the key of some member's certificate. The node with the smaller name
//! dials and says hello; the other answers with a welcome. Each checks that the other is who its certificate says, that it
//! is not an earlier life of a node that has been replaced, and that they share a version of frames. A step that is refused
//! ends in [`Handshake::Refused`], whose code and text close the connection, so that both ends' logs name the reason.

use super::control::{Introduction, Say};
use crate::id::NodeId;
use crate::membership::Incarnation;
use crate::wire::{MAX_PAYLOAD, OLDEST, VERSION, Versions};

/// The code that closes a connection of two nodes that share no version.
pub(super) const NO_COMMON_VERSION: u32 = 0x14;

/// Where a handshake stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Handshake {
    /// Dialled this node and said hello.
    Greeted(NodeId),
    /// Was dialled, and waits for the hello.
    Listening,
    Agreed(Terms),
    Refused(Refusal),
}

/// What a link goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) node: NodeId,
    /// The peer's.
    pub(super) incarnation: Incarnation,
    /// Of frames, both ways.
    pub(super) version: u8,
    /// The largest payload that the peer takes.
    pub(super) most_bytes: usize,
}

/// What the membership and the certificate say of a node that introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No member of this name.
    Stranger,
    /// The certificate is another node's.
    Impostor,
    /// A member. Its incarnation is this or a later one.
    Member { least: Incarnation },
}

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("node {0} is not in this node's view of the cluster")]
    Stranger(NodeId),
    #[error("the certificate is not that of node {0}")]
    Impostor(NodeId),
    #[error("this is not the node that was dialled but {0}")]
    Mistaken(NodeId),
    #[error("node {node} has been replaced: incarnation {theirs}, and {least} is the least")]
    Stale { node: NodeId, theirs: u64, least: u64 },
    #[error("no version of frames in common: theirs are {oldest} to {newest}, ours {OLDEST} to {VERSION}")]
    Version { oldest: u32, newest: u32 },
    #[error("node {0} should wait to be dialled")]
    WrongWay(NodeId),
    #[error("something else than the handshake's next step was said")]
    OutOfTurn,
}

impl Refusal {
    /// The code that closes the connection. Codes are never reused.
    pub(super) fn code(&self) -> u32 {
        match self {
            Self::Stranger(_) => 0x10,
            Self::Impostor(_) => 0x11,
            Self::Mistaken(_) => 0x12,
            Self::Stale { .. } => 0x13,
            Self::Version { .. } => NO_COMMON_VERSION,
            Self::WrongWay(_) => 0x15,
            Self::OutOfTurn => 0x16,
        }
    }

    /// The value of the label `reason`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Stranger(_) => "stranger",
            Self::Impostor(_) | Self::Mistaken(_) => "impostor",
            Self::Stale { .. } => "stale",
            Self::Version { .. } => "version",
            Self::WrongWay(_) | Self::OutOfTurn => "protocol",
        }
    }
}

/// Whether a node dials another, rather than being dialled by it.
pub(super) fn dials(own: &NodeId, peer: &NodeId) -> bool {
    own < peer
}

/// How this release introduces itself.
pub(super) fn introduce(own: &NodeId, incarnation: Incarnation) -> Introduction {
    Introduction {
        node: own.to_string(),
        incarnation: incarnation.0,
        oldest: u32::from(OLDEST),
        newest: u32::from(VERSION),
        most_bytes: MAX_PAYLOAD as u64,
    }
}

impl Handshake {
    /// A handshake with a node that was dialled, and what to say first.
    pub(super) fn dial(own: Introduction, peer: NodeId) -> (Self, Say) {
        (Self::Greeted(peer), Say::Hello(own))
    }

    /// What follows from what the other end said, and what to answer. `standing` says what is known of a node.
    pub(super) fn next(
        self,
        own: &Introduction,
        said: Say,
        standing: impl FnOnce(&NodeId) -> Standing,
    ) -> (Self, Option<Say>) {
        let settled = match (self, said) {
            (Self::Greeted(dialled), Say::Welcome(theirs)) => {
                let terms = if theirs.node == *dialled.0 {
                    agree(own, &theirs, standing)
                } else {
                    Err(Refusal::Mistaken(NodeId::from(&*theirs.node)))
                };
                terms.map(|terms| (terms, None))
            }
            (Self::Listening, Say::Hello(theirs)) => {
                let peer = NodeId::from(&*theirs.node);
                let terms = if dials(&peer, &NodeId::from(&*own.node)) {
                    agree(own, &theirs, standing)
                } else {
                    Err(Refusal::WrongWay(peer))
                };
                terms.map(|terms| (terms, Some(Say::Welcome(own.clone()))))
            }
            // A state that is final stays what it is.
            (state @ (Self::Agreed(_) | Self::Refused(_)), _) => return (state, None),
            (Self::Greeted(_) | Self::Listening, _) => Err(Refusal::OutOfTurn),
        };
        match settled {
            Ok((terms, answer)) => (Self::Agreed(terms), answer),
            Err(refusal) => (Self::Refused(refusal), None),
        }
    }
}

fn agree(
    own: &Introduction,
    theirs: &Introduction,
    standing: impl FnOnce(&NodeId) -> Standing,
) -> Result<Terms, Refusal> {
    let node = NodeId::from(&*theirs.node);
    let least = match standing(&node) {
        Standing::Stranger => return Err(Refusal::Stranger(node)),
        Standing::Impostor => return Err(Refusal::Impostor(node)),
        Standing::Member { least } => least,
    };
    if theirs.incarnation < least.0 {
        return Err(Refusal::Stale {
            node,
            theirs: theirs.incarnation,
            least: least.0,
        });
    }
    let (oldest, newest) = (theirs.oldest, theirs.newest);
    let ours = Versions {
        oldest: own.oldest,
        newest: own.newest,
    };
    let version = ours.common(Versions { oldest, newest });
    let version = version.ok_or(Refusal::Version { oldest, newest })?;
    Ok(Terms {
        node,
        incarnation: Incarnation(theirs.incarnation),
        version: u8::try_from(version).map_err(|_| Refusal::Version { oldest, newest })?,
        most_bytes: usize::try_from(theirs.most_bytes)
            .unwrap_or(usize::MAX)
            .min(MAX_PAYLOAD),
    })
}

#[cfg(test)]
mod tests;
