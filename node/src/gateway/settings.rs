//! The section `gateway` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::address::Network;
use crate::config::settings;

settings! {
    /// The public listener and what faces the clients.
    pub struct Settings {
        /// Where clients reach this server from outside, such as `https://chat.example.org`: links in answers start with
        /// it. Empty: they start with `http://`, or with TLS `https://`, and the `Host` of the request.
        #[serde(with = "crate::config::optional")]
        public_url: Option<String> = None;
        /// The PEM file of the certificate that clients are shown, the authorities' between it and theirs after it. With it
        /// the public listener speaks TLS 1.2 and 1.3 and nothing else; without, a balancer may. A new one in its place is
        /// taken over within a minute.
        tls_certificate_file: PathBuf = PathBuf::new();
        /// The PEM file of the certificate's private key.
        tls_key_file: PathBuf = PathBuf::new();
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

impl Settings {
    /// Says what is wrong with them, naming the key.
    pub fn check(&self) -> Result<(), String> {
        let has = |file: &PathBuf| !file.as_os_str().is_empty();
        if has(&self.tls_certificate_file) != has(&self.tls_key_file) {
            return Err("gateway.tls_certificate_file and gateway.tls_key_file go together".into());
        }
        Ok(())
    }

    /// How the URLs of this listener begin.
    pub fn scheme(&self) -> &'static str {
        match self.tls_certificate_file.as_os_str().is_empty() {
            true => "http",
            false => "https",
        }
    }
}
