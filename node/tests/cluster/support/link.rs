//! The link between two of the nodes, which can be cut.

use std::net::UdpSocket;

use rookery_cluster::testkit::proxy::{Proxy, Weather};

/// The way to a node, for the only one that dials it: of two nodes the one with the smaller name does.
pub struct Link {
    proxy: Proxy,
    settings: [(String, String); 2],
}

impl Link {
    /// A link to a node that has yet to start.
    pub async fn new() -> Self {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let proxy = Proxy::to(free, 1).await.unwrap();
        let settings = [
            ("CLUSTER__LISTEN".to_owned(), free.to_string()),
            ("CLUSTER__ADVERTISE".to_owned(), proxy.address().to_string()),
        ];
        Self { proxy, settings }
    }

    /// What the node at its end is started with.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    pub fn cut(&self) {
        self.proxy.set(Weather {
            cut: true,
            ..Weather::default()
        });
    }

    pub fn mend(&self) {
        self.proxy.set(Weather::default());
    }
}
