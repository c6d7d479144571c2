//! The limits of the contract: each is a key of the configuration's section `limits`, and all stand in `hello.limits`.

use serde::{Deserialize, Serialize};

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)*) => {
        /// Every limit a client or an operator needs to know. Those of a later release are skipped: `hello` crosses nodes. In a
        /// configuration they are refused by its schema.
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Key and documentation of each limit, in order: the configuration's manual is made from it.
            pub const DOCS: &'static [(&'static str, &'static str)] = &[$((stringify!($name), concat!($($doc),+)),)*];
        }
    };
}

limits! {
    /// Longest text of a message, in bytes of UTF-8.
    body_bytes: usize = 16 * 1024;
    /// Largest `data` of a message, in bytes of its compact JSON.
    data_bytes: usize = 16 * 1024;
    /// Largest WebSocket frame taken from a client; beyond it the socket is closed with 1009.
    frame_bytes: usize = 64 * 1024;
    /// Most attachments of one message.
    attachments_per_message: usize = 10;
    /// Largest file, in bytes.
    file_bytes: u64 = 5 * 1024 * 1024 * 1024;
    /// Longest name of a group, in Unicode scalar values.
    group_name_chars: usize = 100;
    /// Most members of a group.
    group_members: usize = 100_000;
    /// Most devices of a user; one more replaces the one seen longest ago.
    devices_per_user: usize = 10;
    /// Most missed messages replayed for one conversation at connect.
    sync_messages: u64 = 100;
    /// Most missed messages replayed in all at connect.
    sync_messages_total: u64 = 2_000;
    /// Largest group in which receipts and typing are pushed.
    receipt_push_members: usize = 100;
    /// Sends a user may make a second, sustained.
    messages_per_second: u32 = 20;
    /// Sends a user may make at once.
    messages_burst: u32 = 40;
    /// Sends of a user that may wait for their answer at once.
    unanswered_sends: u32 = 64;
    /// Frames other than `send` that a connection may send a second, sustained.
    frames_per_second: u32 = 100;
    /// Frames other than `send` that a connection may send at once.
    frames_burst: u32 = 200;
    /// Sign-ups taken from one address a minute.
    signups_per_minute: u32 = 10;
    /// Log-ins taken from one address a minute.
    logins_per_minute: u32 = 20;
    /// Sockets one address may hold on this node.
    connections_per_address: u32 = 1_000;
    /// Sockets this node admits a second.
    connects_per_second: u32 = 5_000;
    /// How often the server pings, in seconds.
    heartbeat_seconds: u32 = 30;
    /// A socket from which nothing came for so long is closed with 4010, in seconds.
    idle_seconds: u32 = 75;
    /// A socket that takes no byte for so long while bytes wait is closed with 4008, in seconds.
    write_deadline_seconds: u32 = 10;
    /// Bytes that may wait for one socket before its live frames stop.
    outbound_queue_bytes: usize = 256 * 1024;
    /// Most users one connection may watch.
    watch_users: usize = 200;
}
