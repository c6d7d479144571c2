//! What sockets need of the rest of the server: who is it, and where is their session? Behind a trait so that sockets can be
//! tested and measured without the actors.

use std::sync::Arc;

use async_trait::async_trait;
use rookery_actors::id::UserId;
use rookery_actors::outlet::Outlet;
use rookery_actors::protocol::Problem;
use rookery_actors::protocol::client::Request;
use rookery_actors::system::{Arrival, Link};

use crate::accounts::Caller;
use crate::app::App;

/// The server behind the sockets.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    /// Who holds this token; `unauthorized` or `token_expired` when nobody does (any more).
    /// Quick: a signature and a look into memory.
    fn authenticate(&self, token: &str) -> Result<Caller, Problem>;

    /// The caller, unless the login was revoked since.
    fn still(&self, caller: Caller) -> Result<Caller, Problem>;

    /// Attaches a socket to its user's session.
    async fn attach(&self, arrival: Arrival, outlet: Arc<dyn Outlet>) -> Result<Box<dyn Session>, Problem>;

    /// Where this user's next socket had best be opened when this node goes; `None` where any place is as good.
    fn elsewhere(&self, _user: UserId) -> Option<String> {
        None
    }

    /// Whether other nodes take sockets.
    fn others_serve(&self) -> bool {
        false
    }
}

/// A socket's hold on its session; see [`Link`].
pub trait Session: Send + Sync + 'static {
    fn frame(&self, request: Request);
    fn drained(&self);
    fn detach(&self);
}

impl Session for Link {
    fn frame(&self, request: Request) {
        Self::frame(self, request);
    }

    fn drained(&self) {
        Self::drained(self);
    }

    fn detach(&self) {
        Self::detach(self);
    }
}

#[async_trait]
impl Door for App {
    fn authenticate(&self, token: &str) -> Result<Caller, Problem> {
        self.accounts.authenticate(token)
    }

    fn still(&self, caller: Caller) -> Result<Caller, Problem> {
        self.accounts.still(caller)
    }

    async fn attach(&self, arrival: Arrival, outlet: Arc<dyn Outlet>) -> Result<Box<dyn Session>, Problem> {
        let link = self.system.attach(arrival, outlet).await?;
        Ok(Box::new(link))
    }

    fn elsewhere(&self, user: UserId) -> Option<String> {
        match self.addresses.socket_of(&self.system, user) {
            Some((node, url)) if *node.0 != *self.node => Some(url),
            _ => self.addresses.of_another(&self.node, user),
        }
    }

    fn others_serve(&self) -> bool {
        self.addresses.others_serve(&self.node)
    }
}
