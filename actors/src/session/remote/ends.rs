//! Sockets of other nodes whose sessions are here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::Epoch;

use super::post::{BAG_BYTES, Post, weight};
use super::window::{Offer, Window};
use crate::defaults;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConnectionId, UserId};
use crate::interchange::parcel::{Attach, Greeting, Parcel, Plug, Refusal};
use crate::outlet::{Outlet, Pushed, Urgency};
use crate::protocol::client::Request;
use crate::protocol::{ClientFrame, CloseCode, Codec, Problem, ServerFrame};
use crate::session::link::Link;
use crate::shard::life::Phase;
use crate::striped::Striped;
use crate::system::Arrival;

/// How long an answer may be under way after its session has gone to another node.
const DEPARTED: Duration = Duration::from_secs(30);

/// The sockets of other nodes by connection, and where those are whose sessions left.
#[derive(Default)]
pub struct Ends {
    table: Striped<ConnectionId, Arc<End>>,
    departed: Mutex<Vec<(ConnectionId, NodeId, Instant)>>,
}

/// What stands for a socket of another node.
pub struct End {
    plug: Plug,
    gateway: NodeId,
    user: UserId,
    outlet: Arc<FarOutlet>,
    link: OnceLock<Link>,
    gone: AtomicBool,
}

/// The outlet of a socket of another node.
pub struct FarOutlet {
    plug: Plug,
    gateway: NodeId,
    post: Arc<Post>,
    window: Mutex<Window>,
}

impl Outlet for FarOutlet {
    fn id(&self) -> ConnectionId {
        self.plug.connection
    }

    /// Frames travel as such; the socket's node encodes them.
    fn codec(&self) -> Codec {
        Codec::default()
    }

    fn push(&self, frames: &Frames, urgency: Urgency) -> Pushed {
        let weight = weight(frames);
        let mut window = self.window.lock();
        match window.offer(weight, urgency) {
            Offer::Taken => {
                // Under the lock, so that frames keep their order.
                self.mail(frames, urgency, weight);
                Pushed::Taken
            }
            Offer::Full => Pushed::Full,
            Offer::Closed => Pushed::Closed,
            Offer::Overflow => {
                drop(window);
                self.close(CloseCode::TooSlow);
                Pushed::Closed
            }
        }
    }

    fn close(&self, code: CloseCode) {
        if self.window.lock().close() {
            self.post.mail(Parcel::Close(self.plug, code));
        }
    }

    fn gateway(&self) -> Option<&NodeId> {
        Some(&self.gateway)
    }

    fn is_closed(&self) -> bool {
        self.window.lock().is_closed()
    }

    fn release(&self) {
        if self.window.lock().close() {
            self.post.mail(Parcel::Released(self.plug));
        }
    }
}

impl FarOutlet {
    /// What is too large for one bag goes frame by frame.
    fn mail(&self, frames: &Frames, urgency: Urgency, whole: usize) {
        if whole <= BAG_BYTES || frames.len() <= 1 {
            return self.post.push(self.plug, frames, urgency, whole);
        }
        for index in 0..frames.len() {
            let part = frames.part(index);
            self.post.push(self.plug, &part, urgency, weight(&part));
        }
    }
}

impl End {
    /// The socket is gone, or attached anew: the session forgets this attachment.
    fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        self.outlet.window.lock().close();
        if let Some(link) = self.link.get() {
            link.detach();
        }
    }
}

/// Spreads connections over the parts of a table.
fn key(connection: ConnectionId) -> [u8; 16] {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&connection.0.to_be_bytes());
    key
}

impl Ends {
    fn get(&self, plug: Plug) -> Option<Arc<End>> {
        let part = self.table.part(&key(plug.connection)).lock();
        part.get(&plug.connection).filter(|end| end.plug == plug).cloned()
    }

    fn insert(&self, end: Arc<End>) -> Option<Arc<End>> {
        let connection = end.plug.connection;
        self.table.part(&key(connection)).lock().insert(connection, end)
    }

    fn remove(&self, plug: Plug) -> Option<Arc<End>> {
        let mut part = self.table.part(&key(plug.connection)).lock();
        match part.get(&plug.connection) {
            Some(end) if end.plug == plug => part.remove(&plug.connection),
            _ => None,
        }
    }

    fn take(&self, picked: impl Fn(&End) -> bool) -> Vec<Arc<End>> {
        let mut taken = Vec::new();
        for part in self.table.parts() {
            taken.extend(part.lock().extract_if(|_, end| picked(end)).map(|(_, end)| end));
        }
        taken
    }

    /// The session of a connection left for another node: answers that come now are passed on to the socket's.
    pub fn depart(&self, connection: ConnectionId, gateway: NodeId) {
        let now = Instant::now();
        let mut departed = self.departed.lock();
        departed.retain(|(_, _, at)| now.duration_since(*at) < DEPARTED);
        departed.push((connection, gateway, now));
    }

    fn departed(&self, connection: ConnectionId) -> Option<NodeId> {
        let departed = self.departed.lock();
        let found = departed.iter().rev().find(|(known, ..)| *known == connection);
        found.map(|(_, gateway, _)| gateway.clone())
    }
}

impl Hub {
    /// A socket of another node asks for its session.
    pub(super) fn attach_end(self: &Arc<Self>, from: &NodeId, attach: Attach) {
        let post = self.post(from);
        let outlet = Arc::new(FarOutlet {
            plug: attach.plug,
            gateway: from.clone(),
            post: Arc::clone(&post),
            window: Mutex::default(),
        });
        let end = Arc::new(End {
            plug: attach.plug,
            gateway: from.clone(),
            user: attach.user,
            outlet,
            link: OnceLock::new(),
            gone: AtomicBool::new(false),
        });
        if let Some(before) = self.ends.insert(Arc::clone(&end)) {
            before.leave();
        }
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            let plug = attach.plug;
            if let Err(refusal) = core.settle_end(&end, attach).await {
                core.ends.remove(plug);
                end.leave();
                post.mail(Parcel::Refused(plug, refusal));
            }
        });
    }

    async fn settle_end(self: &Arc<Self>, end: &Arc<End>, attach: Attach) -> Result<(), Refusal> {
        let shard = self.shard(attach.user.as_bytes());
        if !self.ready(attach.user, attach.epoch).await {
            return Err(Refusal::NotOwner);
        }
        let link = self.take_socket(end, &attach).await;
        let link = match link {
            Ok(link) => link,
            Err(_) if !shard.life.is_open() || end.outlet.is_closed() => return Err(Refusal::NotOwner),
            Err(refusal) => return Err(refusal),
        };
        let device = link.device;
        end.link.set(link).ok();
        if end.gone.load(Ordering::Acquire) {
            // It went while it was being attached; or the session did and came back, and took it for one of those it had.
            return Err(Refusal::NotOwner);
        }
        // Only now: what the client says next finds its way in.
        end.outlet.post.mail(Parcel::Attached(end.plug, device));
        Ok(())
    }

    async fn take_socket(self: &Arc<Self>, end: &Arc<End>, attach: &Attach) -> Result<Link, Refusal> {
        let outlet: Arc<dyn Outlet> = end.outlet.clone();
        let arrival = Arrival {
            user: attach.user,
            login: attach.login,
            device: attach.device,
            device_name: attach.device_name.clone(),
        };
        let link = match &attach.greeting {
            Greeting::Resume(passed) => self.resume(&arrival, outlet, attach, passed).await?,
            greeting => {
                let greet = *greeting == Greeting::Hello;
                crate::system::attach_here(self, &arrival, outlet, greet).await?
            }
        };
        Ok(link)
    }

    /// Waits until the shard of a user is served here; false when it is another node's, by the table of `epoch` or a later
    /// one.
    pub(crate) async fn ready(&self, user: UserId, epoch: Epoch) -> bool {
        let shard = self.shard(user.as_bytes());
        let deadline = Instant::now() + defaults::ATTACH_WAIT;
        while !shard.life.is_open() {
            let is_ours = self.router.is_local(shard.id) || epoch > self.router.table().epoch;
            if !is_ours || Instant::now() > deadline {
                return false;
            }
            let open = shard.life.until(|phase| phase == Phase::Open);
            tokio::time::timeout(defaults::OUTSTANDING_INTERVAL, open).await.ok();
        }
        true
    }

    pub(super) fn end_frame(self: &Arc<Self>, from: &NodeId, plug: Plug, request: Request) {
        let end = self.ends.get(plug);
        match end.as_ref().and_then(|end| end.link.get()) {
            Some(link) if !link.is_gone() => link.frame(request),
            _ => {
                let back = match &request.frame {
                    // Whatever is answered the socket's node asks again by itself.
                    ClientFrame::Ack { .. } | ClientFrame::Read { .. } | ClientFrame::Typing { .. } => {
                        Parcel::Returned(plug, Box::new(request))
                    }
                    _ => Parcel::Refused(plug, Refusal::NotOwner),
                };
                self.mail(from, back);
            }
        }
    }

    pub(super) fn end_credit(&self, _from: &NodeId, plug: Plug, bytes: u32) {
        let Some(end) = self.ends.get(plug) else { return };
        let room = end.outlet.window.lock().credit(bytes as usize);
        if room && let Some(link) = end.link.get() {
            link.drained();
        }
    }

    pub(super) fn end_detach(&self, plug: Plug) {
        if let Some(end) = self.ends.remove(plug) {
            end.leave();
        }
    }

    /// A node cannot be heard any more, or something it said is lost: its sockets are off, and it is told so where it may
    /// not know.
    pub(super) fn drop_ends(self: &Arc<Self>, gateway: &NodeId, tell: bool) {
        for end in self.ends.take(|end| end.gateway == *gateway) {
            end.leave();
            if tell {
                self.mail(gateway, Parcel::Refused(end.plug, Refusal::NotOwner));
            }
        }
    }

    /// Sessions of these users go to another node: their ends go with them, told by their outlets.
    pub(crate) fn release_ends(&self, whose: impl Fn(&UserId) -> bool) {
        for end in self.ends.take(|end| whose(&end.user)) {
            end.gone.store(true, Ordering::Release);
            if end.link.get().is_none() {
                // It is on its way still. Come to the session of a next time, it would take the place of its socket's next
                // attempt, which finds nothing here to put an end to.
                end.outlet.window.lock().close();
            }
            self.ends.depart(end.plug.connection, end.gateway.clone());
        }
    }

    /// An answer for a socket whose session is not here any more.
    pub(crate) fn answer_departed(self: &Arc<Self>, connection: ConnectionId, frame: ServerFrame) {
        let frames = Frames::one(frame);
        if let Some(berth) = self.berths.get(connection) {
            return berth.answer(self, &frames);
        }
        if let Some(gateway) = self.ends.departed(connection) {
            let late = Plug {
                connection,
                attempt: u32::MAX,
            };
            self.post(&gateway).push(late, &frames, Urgency::Answer, 0);
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
