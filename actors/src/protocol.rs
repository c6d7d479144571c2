//! The public contract as types: frames of the WebSocket, shapes of HTTP, errors, close codes, limits.
//!
//! Nothing here knows a runtime, a clock or a service, so that clients (the load harness) can use it alone.

pub mod client;
pub mod close;
pub mod codec;
pub mod error;
pub mod json;
pub mod limits;
pub mod server;
pub mod view;
pub mod websocket;

pub use client::{ClientFrame, Send, Target};
pub use close::CloseCode;
pub use codec::Codec;
pub use error::{ErrorCode, Problem};
pub use json::Json;
pub use limits::Limits;
pub use server::ServerFrame;
