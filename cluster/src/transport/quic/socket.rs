//! The endpoint under the links: its socket, and what QUIC is told of the network between nodes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::defaults::{
    ACK_EVERY, IDLE_TIMEOUT, INITIAL_RTT, KEEP_ALIVE, LANE_WINDOW, MOST_STREAMS, SEND_WINDOW, SOCKET_BUFFER,
};

/// A socket with room for bursts.
pub(super) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel grants what its limits allow, and what it does not grant costs speed alone.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// The connection as a whole has no window of its own: it would let a lane that is not read stop the others. What a peer
/// can make this node keep is the sum of its lanes' windows.
pub(super) fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("a few seconds are a valid timeout");
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY - 1));
    config
        .ack_frequency_config(Some(acks))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(MOST_STREAMS))
        .stream_receive_window(VarInt::from_u32(LANE_WINDOW))
        .send_window(SEND_WINDOW)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(idle))
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}
