//! The node's place among the others: its links, its lease, and the tables that follow.
//!
//! [`join`] binds the links and enters the cluster as `Joining`: known, and owning nothing as long as another node is up.
//! [`Place::enter`] then follows: each new view goes to the links, each new table to the actors, and once the first table
//! has taken effect here the node says that it is up. A node whose lease ran out asks its clients to go elsewhere, and is in
//! the cluster again by itself; when the table that gave its shards away has taken effect, it says again that it is up.

mod settings;

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use rookery_actors::ports::PortError;
use rookery_actors::system::{Peer, System};
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::lease::{Standing, Timing};
use rookery_cluster::membership::service::{self, CannotJoin, Identity as Bearer, Lease};
use rookery_cluster::membership::{Cluster, Epoch, NodeState};
use rookery_cluster::router::Router;
use rookery_cluster::transport::quic::{self, QuicTransport, identity};
use rookery_cluster::transport::{Observer, Transport};
use rookery_cluster::wire::Versions;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::settings::Settings;
use super::patience::{Patience, together};
use crate::cli::{Failure, Status};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::process::cannot_listen;
use crate::shutdown::Lifecycle;

/// How long one try to join may take.
const TRY: Duration = Duration::from_secs(10);
/// How long what was sent to others may take to reach them when the node goes.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a node that joins may take until it owns what is its share.
const ENTER: Duration = Duration::from_secs(30);

/// A node that has joined, and serves nothing yet.
pub struct Joined {
    pub router: Router<Peer>,
    lease: Lease,
    links: Arc<QuicTransport>,
}

/// A node's place in the cluster.
pub struct Place {
    own: NodeId,
    lease: Lease,
    links: Arc<QuicTransport>,
    effective: watch::Receiver<Effective>,
    /// End with the node.
    _tasks: JoinSet<()>,
}

/// The table that has taken effect here: what it took away is stored and closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Effective {
    epoch: Epoch,
    /// Shards of this node.
    own: usize,
}

/// Enters the cluster.
pub async fn join(config: &Config, own: &NodeId) -> Result<Joined, Failure> {
    let settings = &config.cluster;
    let wrong = |error: String| Failure::new(Status::Configuration, error);
    let identity = identity(settings, own.clone()).map_err(|error| wrong(error.to_string()))?;
    let links = QuicTransport::bind(quic::Settings::new(settings.listen), identity).map_err(|error| match error {
        quic::BindError::Listen { error, .. } => cannot_listen(settings.listen, "cluster.listen", &error),
        error => wrong(error.to_string()),
    })?;
    let bound = links
        .local_addr()
        .map_err(|error| Failure::internal(error.to_string()))?;
    let bearer = Bearer {
        node: own.clone(),
        weight: NonZeroU8::MIN,
        address: advertised(settings, bound).await?,
        fingerprint: links.fingerprint(),
        public_url: settings.public_url.clone(),
        versions: Versions::OWN,
    };
    let membership = service::Settings {
        redis: config.redis.target().map_err(wrong)?,
        prefix: config.redis.prefix.clone(),
        timing: Timing::default(),
        shards: settings.shards,
        wait: TRY,
    };
    let attempt = async || {
        let joined = service::join(membership.clone(), bearer.clone()).await;
        joined.map_err(|error| match error {
            CannotJoin::Redis { .. } => {
                PortError::Unavailable(format!("{error}; see section [redis] of the configuration"))
            }
            CannotJoin::Shards { .. } => PortError::Broken(format!("{error}; correct `cluster.shards`")),
            CannotJoin::Versions { .. } => {
                PortError::Broken(format!("{error}; upgrade release by release, or stop all nodes first"))
            }
        })
    };
    let lease = Patience::of(settings.wait()).open(attempt).await;
    let lease = lease.map_err(|error| together(vec![error]))?;
    let cluster = lease.cluster().borrow().clone();
    let router = Router::new(own.clone(), cluster.table.as_ref().clone(), links.clone());
    Ok(Joined { router, lease, links })
}

fn identity(settings: &Settings, own: NodeId) -> Result<identity::Identity, identity::IdentityError> {
    if !settings.has_certificate() {
        return identity::Identity::make(own);
    }
    identity::Identity::from_files(own, &settings.ca_file, &settings.certificate_file, &settings.key_file)
}

/// Where the others reach this node.
async fn advertised(settings: &Settings, bound: SocketAddr) -> Result<SocketAddr, Failure> {
    let named = settings.advertise.as_str();
    if named.is_empty() {
        return Ok(bound);
    }
    let has_port = named.parse::<SocketAddr>().is_ok()
        || named
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
    let named = match has_port {
        true => named.to_owned(),
        false => format!("{named}:{}", bound.port()),
    };
    let unknown = |why: String| Failure::new(Status::Configuration, format!("`cluster.advertise` {named}: {why}"));
    let mut found = tokio::net::lookup_host(&named)
        .await
        .map_err(|error| unknown(error.to_string()))?;
    let same_family = |address: &SocketAddr| address.is_ipv4() == bound.is_ipv4();
    let address = found.find(same_family);
    address.ok_or_else(|| unknown("has no address of the kind that `cluster.listen` is".into()))
}

impl Joined {
    /// What is known of the cluster.
    pub fn cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.lease.cluster()
    }

    /// Takes the share that is this node's, and answers when it has it.
    pub async fn enter(self, system: &System, gateway: &Arc<Gateway>, lifecycle: &Lifecycle) -> Result<Place, Failure> {
        let Self { router, lease, links } = self;
        let own = router.own().clone();
        links.observe(Arc::new(Losses(system.clone())));
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_links(lease.cluster(), links.clone()));
        let first = Effective {
            epoch: Epoch::default(),
            own: 0,
        };
        let (placed, mut effective) = watch::channel(first);
        tasks.spawn(keep_placed(lease.cluster(), system.clone(), own.clone(), placed));
        let entered = tokio::time::timeout(ENTER, up(&own, &lease, &mut effective)).await;
        let outside = |why: &str| Err(Failure::internal(why.to_owned()));
        match entered {
            Ok(true) => {}
            Ok(false) => return outside("another process joined by this node's name"),
            Err(_) => return outside("the cluster gave this node no share in time"),
        }
        tasks.spawn(keep_up(
            own.clone(),
            lease.clone(),
            effective.clone(),
            Arc::clone(gateway),
            lifecycle.clone(),
        ));
        Ok(Place {
            own,
            lease,
            links,
            effective,
            _tasks: tasks,
        })
    }
}

impl Place {
    /// Gives everything that is this node's to the others, if there are any; answers when they have it, or when time is up.
    pub async fn hand_over(&self, within: Duration) {
        self.lease.set_state(NodeState::Draining);
        let mut effective = self.effective.clone();
        let cluster = self.lease.cluster();
        let others = cluster
            .borrow()
            .view
            .members()
            .iter()
            .any(|member| member.node != self.own && member.state == NodeState::Up);
        if others
            && tokio::time::timeout(within, effective.wait_for(|table| table.own == 0))
                .await
                .is_err()
        {
            tracing::warn!("the shards could not be handed over in time; the others take them");
        }
    }

    /// Says good-bye: the others need not find out by themselves.
    pub async fn leave(&self) {
        self.lease.leave().await;
        self.links.shutdown(FAREWELL).await;
    }

    pub fn cluster(&self) -> watch::Receiver<Arc<Cluster>> {
        self.lease.cluster()
    }

    pub fn links(&self) -> &Arc<QuicTransport> {
        &self.links
    }
}

/// Tells the actors of links that are lost.
struct Losses(System);

impl Observer for Losses {
    fn on_up(&self, _node: &NodeId) {}

    fn on_lost(&self, node: &NodeId) {
        self.0.peer_lost(node);
    }
}

async fn keep_links(mut cluster: watch::Receiver<Arc<Cluster>>, links: Arc<QuicTransport>) {
    loop {
        let view = cluster.borrow_and_update().view.clone();
        let peers: Vec<quic::Peer> = view.members().iter().map(quic::Peer::from).collect();
        links.set_peers(&peers);
        if cluster.changed().await.is_err() {
            return;
        }
    }
}

/// Makes each table take effect, the latest where several came meanwhile.
async fn keep_placed(
    mut cluster: watch::Receiver<Arc<Cluster>>,
    system: System,
    own: NodeId,
    placed: watch::Sender<Effective>,
) {
    loop {
        let table = cluster.borrow_and_update().table.clone();
        let effective = Effective {
            epoch: table.epoch,
            own: table.placement.shards_of(&own).count(),
        };
        system.place(table.as_ref().clone()).await;
        placed.send_replace(effective);
        if cluster.changed().await.is_err() {
            return;
        }
    }
}

/// [`rise`], begun anew whenever the lease runs out meanwhile: the node is known as joining again then.
async fn up(own: &NodeId, lease: &Lease, effective: &mut watch::Receiver<Effective>) -> bool {
    loop {
        tokio::select! {
            risen = rise(own, lease, effective) => return risen,
            () = lease.lapsed() => {}
        }
    }
}

/// Waits until the node is in the cluster, lets the latest table take effect, says that the node is up, and waits until the
/// table that knows it has taken effect. False when another process bears the node's name, or the node leaves.
async fn rise(own: &NodeId, lease: &Lease, effective: &mut watch::Receiver<Effective>) -> bool {
    let mut status = lease.status();
    let known = |status: &service::Status| status.standing.is_ready() || status.standing == Standing::Superseded;
    let in_it = status.wait_for(known).await.map(|status| status.standing.is_ready());
    if !in_it.unwrap_or(false) {
        return false;
    }
    let mut cluster = lease.cluster();
    let now = cluster.borrow().table.epoch;
    effective.wait_for(|table| table.epoch >= now).await.ok();
    lease.set_state(NodeState::Up);
    let is_up = |cluster: &Arc<Cluster>| {
        let member = cluster.view.member(own);
        let settled = cluster.table.epoch >= cluster.view.epoch();
        settled && member.is_some_and(|member| member.state == NodeState::Up)
    };
    let Ok(epoch) = cluster.wait_for(is_up).await.map(|cluster| cluster.table.epoch) else {
        return false;
    };
    effective.wait_for(|table| table.epoch >= epoch).await.is_ok()
}

/// After each lapse: sends the clients away and is not ready until the node is up again. One whose name another process
/// bears stops.
async fn keep_up(
    own: NodeId,
    lease: Lease,
    mut effective: watch::Receiver<Effective>,
    gateway: Arc<Gateway>,
    lifecycle: Lifecycle,
) {
    let mut partings = JoinSet::new();
    loop {
        lease.lapsed().await;
        lifecycle.apart();
        while partings.try_join_next().is_some() {}
        let gateway = Arc::clone(&gateway);
        partings.spawn(async move { gateway.send_away().await });
        if !up(&own, &lease, &mut effective).await {
            lifecycle.drain();
            return;
        }
        lifecycle.ready();
        tracing::info!("in the cluster again");
    }
}
