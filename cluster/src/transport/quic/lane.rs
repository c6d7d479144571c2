//! One ordered stream: its writer, which empties an outbox, and its reader, which fills the sink.
//!
//! Neither is ever cancelled between two awaits of one frame: a writer that was dropped might have written half of it. They
//! end when their stream or the connection does.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::task::coop::consume_budget;

use super::outbox::{Outbox, Turn};
use crate::id::NodeId;
use crate::metrics::LinkMeters;
use crate::transport::Sink;
use crate::wire::{FrameError, HEADER, read_frame};

/// Packets taken from the connection at once: some 40 KiB.
const PACKETS: usize = 32;

/// A lane that cannot be read on.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("read a lane: {0}")]
    Stream(#[from] ReadError),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Writes what the outbox gives, one write a turn, until it is finished and the peer has it all.
pub(super) async fn write(
    mut stream: SendStream,
    outbox: impl AsRef<Outbox>,
    meters: Arc<LinkMeters>,
) -> Result<(), WriteError> {
    let mut turn = Turn::default();
    while outbox.as_ref().next(&mut turn).await {
        stream.write_all_chunks(&mut turn.pieces).await?;
        meters.bytes_sent.increment(turn.bytes as u64);
        meters.frames_sent.increment(turn.frames);
    }
    if stream.finish().is_ok() {
        // It says whether the peer took all or stopped reading, and there is nothing left to do about either.
        let _ = stream.stopped().await;
    }
    Ok(())
}

/// Hands what arrives to the sink, until the peer ends the lane.
pub(super) async fn read(
    mut stream: RecvStream,
    from: NodeId,
    sink: Arc<dyn Sink>,
    meters: Arc<LinkMeters>,
) -> Result<(), Unreadable> {
    let mut packets: [Bytes; PACKETS] = Default::default();
    let mut read = BytesMut::new();
    while let Some(count) = stream.read_chunks(&mut packets).await? {
        for packet in packets.iter_mut().take(count) {
            read.extend_from_slice(&std::mem::take(packet));
        }
        let (mut bytes, mut frames) = (0, 0);
        while let Some(payload) = read_frame(&mut read)? {
            bytes += (HEADER + payload.len()) as u64;
            frames += 1;
            sink.receive(&from, payload);
        }
        meters.bytes_received.increment(bytes);
        meters.frames_received.increment(frames);
        consume_budget().await;
    }
    Ok(())
}
