//! The gateway: the door through which clients come. It accepts, speaks HTTP, upgrades, and holds the sockets; it knows
//! no chat. A request becomes a [`http::Call`], a socket an [`rookery_actors::outlet::Outlet`].
//!
//! `listener` accepts and serves HTTP; [`router`] and [`routes`] answer it; `upgrade` turns a request into a socket if
//! [`admission`] has a place; [`socket`] is the hot path from there on.

pub mod address;
pub mod admission;
mod capacity;
pub mod cors;
pub mod door;
mod drain;
pub mod http;
mod listener;
pub mod router;
pub mod routes;
pub mod service;
mod settings;
pub mod socket;
mod stream;
pub mod tls;
mod upgrade;

pub use settings::Settings;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use admission::Admission;
use capacity::Capacity;
use listener::Listener;
use service::Service;
use socket::Hub;
use socket::hub::CLOSE_GRACE;
use tls::Tls;

/// The running gateway. Dropping it closes the listener and ends its tasks.
pub struct Gateway {
    address: SocketAddr,
    hub: Arc<Hub>,
    listener: Arc<Listener>,
    /// None where clients come without TLS.
    tls: Option<Arc<Tls>>,
    stopping: watch::Sender<bool>,
    drain_window: Duration,
    accepting: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Binds the public address and serves the app's routes and sockets on it.
    pub fn start(app: Arc<App>, settings: Settings, tls: Option<Tls>) -> io::Result<Self> {
        let accepting = listener::bind(&settings)?;
        let address = accepting.local_addr()?;
        let capacity = Capacity::raise();
        tracing::info!(%address, connections = capacity.connections, bound = %capacity.bound, "accepting clients");
        let admission = Arc::new(Admission::new(app.limits.clone()));
        let lanes = std::thread::available_parallelism().map_or(1, usize::from);
        let hub = Hub::new(lanes, app.limits.clone(), app.clone(), admission);
        let drain_window = Duration::from_secs(settings.drain_seconds.into());
        let service = Arc::new(Service::new(app, settings, routes::router()));
        let (stopping, stopped) = watch::channel(false);
        let tls = tls.map(Arc::new);
        let mut tasks = hub.start();
        tasks.extend(tls.clone().map(|tls| tokio::spawn(tls.follow())));
        let listener = Listener::new(service, hub.clone(), tls.clone(), stopped, capacity.connections);
        let listener = Arc::new(listener);
        Ok(Self {
            address,
            tasks,
            hub,
            tls,
            stopping,
            drain_window,
            accepting: tokio::spawn(listener.clone().run(accepting)),
            listener,
        })
    }

    /// The address clients connect to, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Reads the certificate again, now and not within a minute. Blocking.
    pub fn renew_certificate(&self) {
        if self.tls.as_ref().is_some_and(|tls| tls.renew()) {
            tracing::info!("the certificate was read again");
        }
    }

    /// WebSockets open now.
    pub fn connections(&self) -> u64 {
        self.hub.connections()
    }

    /// Asks those who are connected now to go elsewhere, and closes who of them does not go in time.
    pub async fn send_away(&self) {
        drain::away(&self.hub, self.drain_window).await;
    }

    /// Asks every client to go elsewhere, waits for them at most until the deadline, and closes the rest. Refuses new
    /// sockets from the first moment; HTTP requests are answered until the end.
    pub async fn drain(&self, deadline: Duration) {
        self.hub.admission.drain(self.hub.door.others_serve());
        // However short the deadline, most of it is for those who go by themselves.
        let farewell = CLOSE_GRACE.min(deadline / 3);
        drain::sockets(&self.hub, self.drain_window.min(deadline - farewell)).await;
        self.accepting.abort();
        self.stopping.send_replace(true);
        drain::farewell(&self.hub, || self.listener.connections(), farewell).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests;
