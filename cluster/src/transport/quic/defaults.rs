//! The numbers of a link, each with its reason.

use std::time::Duration;

/// Ordered streams each way. Four carry as much as sixteen, and let a large frame delay a quarter of the others only.
pub(super) const LANES: usize = 4;

/// Streams a peer may open: its control lane and as many lanes as a later release may want.
pub(super) const MOST_STREAMS: u32 = 9;

/// What may wait for one lane of one peer, in bytes: 20 ms of a 10 Gbit/s network.
pub const QUEUE_BYTES: usize = 8 << 20;

/// What may wait on a control lane: a ping is a dozen bytes.
pub(super) const CONTROL_BYTES: usize = 16 << 10;

/// The largest frame of a control lane, whatever its first bytes claim.
pub(super) const CONTROL_FRAME: usize = 4 << 10;

/// Small frames are gathered in pieces of this size. An idle lane that was ever used keeps one.
pub(super) const PIECE: usize = 32 << 10;

/// From this size on a payload is queued as it is instead of being copied behind others.
pub(super) const COPY_BELOW: usize = 8 << 10;

/// What a lane hands to the connection in one go. Fewer and larger is cheaper: quinn walks its unacknowledged pieces for
/// every packet, and 64 frames a write cost a quarter of what one frame a write costs.
pub(super) const TURN: usize = 256 << 10;

/// What the connection keeps until it is acknowledged: a small one is faster (6.6 million messages a second at 1 MiB, 4.6 at
/// 64 MiB), and 2 MiB are what a 10 Gbit/s network has on its way in 1.6 ms.
pub(super) const SEND_WINDOW: u64 = 2 << 20;

/// What a lane may send ahead of its reader: the credit of a receiver that does not consume.
pub(super) const LANE_WINDOW: u32 = 4 << 20;

/// The kernel's default of 208 KiB overflows in a burst.
pub(super) const SOCKET_BUFFER: usize = 4 << 20;

/// Packets that the peer may leave unacknowledged, until its delay runs out or it has something to say anyway: a packet that
/// only acknowledges costs both ends as much as one that carries messages. Well below the first congestion window of ten.
pub(super) const ACK_EVERY: u32 = 5;
/// Nodes of a cluster are near: quinn's own guess of 333 ms would make the first lost packet cost a second.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(10);

pub(super) const PING_EVERY: Duration = Duration::from_millis(500);

/// A peer that was silent for this long is lost. With the ping's rhythm that is noticed within 1.75 s.
pub(super) const SILENT_AFTER: Duration = Duration::from_millis(1500);

/// Keeps the path open through what forgets idle ones; pings do it as long as the application runs.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The back stop behind the pings.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(6);

/// From the first packet to the last frame of the handshake. It takes 2 ms where all is well.
pub(super) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(2);

/// Handshakes that peers may have open at once: enough for a cluster of hundreds that starts together.
pub(super) const MOST_HANDSHAKES: usize = 256;

/// The pauses between attempts to reach a peer.
pub(super) const REDIAL_FIRST: Duration = Duration::from_millis(50);
pub(super) const REDIAL_LAST: Duration = Duration::from_secs(1);

/// How long the tasks of a closed link may take to hand over what had arrived.
pub(super) const WIND_UP: Duration = Duration::from_secs(1);

/// How long a link that is no longer wanted may flush what is queued for a node that left.
pub(super) const PART_WITHIN: Duration = Duration::from_millis(500);
