//! The handshake's shell: connects or answers, and carries the steps of [`Handshake`] over the control lane.

use std::sync::Arc;

use quinn::{ConnectError, Connection, ConnectionError, Incoming, ReadError, SendStream, VarInt, WriteError};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::time::timeout;

use super::control::{Deaf, Ear, Introduction, Say};
use super::defaults::HANDSHAKE_WITHIN;
use super::handshake::{Handshake, NO_COMMON_VERSION, Refusal, introduce};
use super::link::Established;
use super::trust::{self, TlsError};
use super::{Peer, Shared, socket};
use crate::id::NodeId;
use crate::membership::Incarnation;
use crate::wire::{FrameError, write_frame};

/// Control goes before everything else: a lane that is busy must not make this node look dead.
const CONTROL_PRIORITY: i32 = 1;

/// Why a link did not come up.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("{0}")]
    Deaf(#[from] Deaf),
    #[error("write the handshake: {0}")]
    Write(#[from] WriteError),
    #[error("write the handshake: {0}")]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no answer within {HANDSHAKE_WITHIN:?}")]
    Late,
}

impl GreetError {
    /// The value of the label `reason`.
    pub(super) fn reason(&self) -> &'static str {
        let connection = match self {
            Self::Refused(refusal) => return refusal.reason(),
            Self::Late => return "timeout",
            Self::Connection(error)
            | Self::Deaf(Deaf::Stream(ReadError::ConnectionLost(error)))
            | Self::Write(WriteError::ConnectionLost(error)) => error,
            Self::Deaf(_) | Self::Write(_) | Self::Frame(_) => return "protocol",
            Self::Tls(_) | Self::Connect(_) => return "local",
        };
        match connection {
            ConnectionError::TimedOut => "timeout",
            ConnectionError::ApplicationClosed(close) if close.error_code == NO_COMMON_VERSION.into() => "version",
            ConnectionError::ApplicationClosed(_) => "refused",
            ConnectionError::TransportError(error) if is_crypto(error.code.into()) => "certificate",
            ConnectionError::ConnectionClosed(close) if is_crypto(close.error_code.into()) => "certificate",
            _ => "network",
        }
    }
}

/// QUIC's codes for the alerts of TLS (RFC 9001, 4.8).
fn is_crypto(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

/// Connects to a peer and agrees with it on a link.
pub(super) async fn dial(
    shared: &Arc<Shared>,
    peer: &Peer,
    own_incarnation: Incarnation,
) -> Result<Established, GreetError> {
    let dialled = async {
        let mut config = trust::client(&shared.identity, peer)?;
        config.transport_config(socket::transport());
        let connecting = shared
            .endpoint
            .connect_with(config, peer.address, server_name(&peer.node))?;
        let connection = connecting.await?;
        let own = introduce(&shared.identity.node, own_incarnation);
        let (handshake, hello) = Handshake::dial(own.clone(), peer.node.clone());
        let mut mouth = open(&connection).await?;
        say(&mut mouth, hello).await?;
        settle(shared, connection, mouth, handshake, own).await
    };
    timeout(HANDSHAKE_WITHIN, dialled)
        .await
        .unwrap_or(Err(GreetError::Late))
}

/// Agrees on a link with a peer that connects.
pub(super) async fn answer(shared: &Arc<Shared>, incoming: Incoming) -> Result<Established, GreetError> {
    let answered = async {
        let connection = incoming.await?;
        let own = introduce(&shared.identity.node, shared.own_incarnation());
        let mouth = open(&connection).await?;
        settle(shared, connection, mouth, Handshake::Listening, own).await
    };
    timeout(HANDSHAKE_WITHIN, answered)
        .await
        .unwrap_or(Err(GreetError::Late))
}

/// Takes the steps that are left, and closes the connection where they end badly.
async fn settle(
    shared: &Arc<Shared>,
    connection: Connection,
    mut mouth: SendStream,
    mut handshake: Handshake,
    own: Introduction,
) -> Result<Established, GreetError> {
    let mut ear = Ear::new(connection.accept_uni().await?);
    let certificate = certificate(&connection);
    loop {
        let said = ear.next().await?;
        let standing = |node: &NodeId| shared.standing(node, certificate.as_ref());
        let (next, answer) = handshake.next(&own, said, standing);
        if let Some(answer) = answer {
            say(&mut mouth, answer).await?;
        }
        match next {
            Handshake::Agreed(terms) => {
                return Ok(Established {
                    connection,
                    terms,
                    own_incarnation: Incarnation(own.incarnation),
                    mouth,
                    ear,
                });
            }
            Handshake::Refused(refusal) => {
                let text = refusal.to_string();
                connection.close(VarInt::from_u32(refusal.code()), text.as_bytes());
                return Err(refusal.into());
            }
            unsettled => handshake = unsettled,
        }
    }
}

async fn open(connection: &Connection) -> Result<SendStream, GreetError> {
    let mouth = connection.open_uni().await?;
    // It fails only on a stream that is closed, which the first write says better.
    let _ = mouth.set_priority(CONTROL_PRIORITY);
    Ok(mouth)
}

async fn say(mouth: &mut SendStream, say: Say) -> Result<(), GreetError> {
    let mut frame = bytes::BytesMut::new();
    write_frame(&mut frame, &say.into_payload())?;
    Ok(mouth.write_chunk(frame.freeze()).await?)
}

fn certificate(connection: &Connection) -> Option<CertificateDer<'static>> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

/// What the certificate is checked against where an authority signed it. A pinned one may bear any name.
fn server_name(node: &NodeId) -> &str {
    if ServerName::try_from(&*node.0).is_ok() {
        &node.0
    } else {
        "node"
    }
}
