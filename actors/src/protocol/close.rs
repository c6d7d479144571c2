//! Why a server ends a WebSocket.

use serde::{Deserialize, Serialize};

/// Close codes of the contract. Each says whether the client should come back, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u16)]
pub enum CloseCode {
    /// The client said goodbye.
    Bye = 1000,
    /// The node is stopping: reconnect, with jitter.
    NodeStopping = 1001,
    /// A frame of a kind the subprotocol does not have (binary under JSON, text under MessagePack).
    UnsupportedData = 1003,
    /// Text that is not UTF-8.
    InvalidPayload = 1007,
    /// A frame larger than `limits.frame_bytes`, or a fragmented one.
    TooBig = 1009,
    /// A violation of RFC 6455 or of the contract: do not reconnect before the client is mended.
    Protocol = 4000,
    /// The login was revoked: log in again.
    LoggedOut = 4001,
    /// The access token expired: refresh, then reconnect.
    TokenExpired = 4002,
    /// Not allowed (any more): do not reconnect.
    Forbidden = 4003,
    /// The client did not read within the write deadline: reconnect, nothing is lost.
    TooSlow = 4008,
    /// Another connection took this device's place, or the device was removed.
    Replaced = 4009,
    /// Nothing came from the client for `limits.idle_seconds`: reconnect.
    Idle = 4010,
    /// Frames kept coming far beyond the budget: reconnect after a while.
    RateLimited = 4029,
    /// The node is overloaded: reconnect with jitter.
    Overloaded = 4503,
}

impl CloseCode {
    /// The code as RFC 6455 carries it.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// A short reason for the close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::NodeStopping => "node stopping",
            Self::UnsupportedData => "unsupported data",
            Self::InvalidPayload => "invalid payload",
            Self::TooBig => "too big",
            Self::Protocol => "protocol error",
            Self::LoggedOut => "logged out",
            Self::TokenExpired => "token expired",
            Self::Forbidden => "forbidden",
            Self::TooSlow => "too slow",
            Self::Replaced => "replaced",
            Self::Idle => "idle",
            Self::RateLimited => "rate limited",
            Self::Overloaded => "overloaded",
        }
    }
}
