//! What every handler of the gateway may use.

use std::sync::Arc;

use rookery_actors::protocol::Limits;
use rookery_actors::system::System;

use crate::accounts::Accounts;
use crate::adapters::blobs::DirBlobs;
use crate::addresses::Addresses;
use crate::files::Files;

/// The running server, as routes and sockets see it.
#[derive(Clone)]
pub struct App {
    pub system: System,
    pub accounts: Accounts,
    pub files: Files,
    /// Contents that this node serves itself; none where an object store holds them.
    pub blobs: Option<DirBlobs>,
    pub limits: Arc<Limits>,
    /// Where clients reach this server from outside; without it links begin with the host a request names.
    pub public_url: Option<Arc<str>>,
    /// How those begin: `http`, or with TLS `https`.
    pub scheme: &'static str,
    /// Where clients reach each node by itself.
    pub addresses: Addresses,
    /// This node's name, as `hello.node` carries it.
    pub node: Arc<str>,
}
