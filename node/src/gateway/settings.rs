//! The section `gateway` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};

use super::address::Network;
use crate::config::settings;

settings! {
    /// The public listener and what faces the clients.
    pub struct Settings {
        /// Where clients reach this server from outside, such as `https://chat.example.org`: links in answers start with
        /// it. Empty: they start with `http://` and the `Host` of the request.
        #[serde(with = "crate::config::optional")]
        public_url: Option<String> = None;
        /// Origins whose browser pages may call this server, such as `https://app.example.org`; `*` allows every origin.
        /// Pages from this server's own host are always allowed, and so is what isn't a browser.
        cors_origins: Vec<String> = Vec::new();
        /// Addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<Network> = Vec::new();
        /// Kernel send buffer of a socket, in bytes. 0: the kernel's own choice.
        #[serde(with = "crate::config::optional")]
        socket_send_buffer_bytes: Option<usize> = None;
        /// Kernel receive buffer of a socket, in bytes. 0: the kernel's own choice.
        #[serde(with = "crate::config::optional")]
        socket_receive_buffer_bytes: Option<usize> = None;
        /// Connections the kernel keeps waiting until they are accepted.
        backlog: u32 = 8192;
    }
    derived {
        /// The top-level key `listen`. Port 0 takes any free one.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        /// The top-level key: the most that clients get to go elsewhere when the server stops, in seconds.
        drain_seconds: u32 = 10;
    }
}
