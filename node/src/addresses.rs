//! Where clients find each node, for those that are to open their socket at the node which has their session.

use std::sync::Arc;

use rookery_actors::id::UserId;
use rookery_actors::system::System;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::{Cluster, Member, NodeState};
use tokio::sync::watch;

/// The public addresses of the cluster's nodes, as the membership has them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Addresses(Option<watch::Receiver<Arc<Cluster>>>);

impl Addresses {
    pub fn of(cluster: watch::Receiver<Arc<Cluster>>) -> Self {
        Self(Some(cluster))
    }

    /// Where the sockets of this user are best opened: the node that has the session, if clients can reach it by itself.
    pub fn socket_of(&self, system: &System, user: UserId) -> Option<(NodeId, String)> {
        let cluster = self.0.as_ref()?.borrow().clone();
        let home = system.home(user);
        let url = cluster.view.member(&home)?.public_url.as_deref().map(socket_url)?;
        Some((home, url))
    }

    /// Where the sockets of this user find any other node than this one, as long as nobody says which will have the session.
    pub fn of_another(&self, own: &str, user: UserId) -> Option<String> {
        let cluster = self.0.as_ref()?.borrow().clone();
        let urls: Vec<_> = others(&cluster, own)
            .filter_map(|member| member.public_url.as_deref())
            .collect();
        let turn = user.as_bytes().iter().map(|byte| usize::from(*byte)).sum::<usize>();
        let url = urls.get(turn.checked_rem(urls.len())?)?;
        Some(socket_url(url))
    }

    /// Whether any other node serves.
    pub fn others_serve(&self, own: &str) -> bool {
        let cluster = self.0.as_ref().map(|cluster| cluster.borrow().clone());
        cluster.is_some_and(|cluster| others(&cluster, own).next().is_some())
    }
}

/// The other nodes that serve.
fn others<'c>(cluster: &'c Cluster, own: &'c str) -> impl Iterator<Item = &'c Member> {
    let members = cluster.view.members().iter();
    members.filter(move |member| *member.node.0 != *own && member.state == NodeState::Up)
}

/// The URL of the WebSocket of a server whose URL this is.
pub fn socket_url(base: &str) -> String {
    let base = base.trim_end_matches('/');
    match base.strip_prefix("http") {
        Some(rest) => format!("ws{rest}/ws"),
        None => format!("{base}/ws"),
    }
}

#[cfg(test)]
mod tests {
    use super::socket_url;

    #[test]
    fn a_socket_is_as_safe_as_the_server_it_belongs_to() {
        assert_eq!(socket_url("http://a:1"), "ws://a:1/ws");
        assert_eq!(socket_url("https://chat.example.org/"), "wss://chat.example.org/ws");
    }
}
