//! Sockets of this node whose sessions are, or were, on another: what clients say goes out, what their sessions say comes in,
//! and when a session moves the socket is attached to its next owner from where it was.

mod before;
mod requests;
mod table;
mod watch;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::before::Before;
use self::requests::Requests;
pub use self::table::Berths;
use super::track::Track;
use super::window::STEP;
use crate::defaults;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConnectionId, ConversationId, DeviceId, LoginId, UserId};
use crate::interchange::parcel::{Attach, Parcel, Plug, Refusal};
use crate::outlet::{Outlet, Pushed, Urgency};
use crate::protocol::client::Request;
use crate::protocol::{CloseCode, Problem, ServerFrame};
use crate::time::Timestamp;

/// One socket.
pub struct Berth {
    pub user: UserId,
    login: LoginId,
    device_name: String,
    connection: ConnectionId,
    since: Timestamp,
    /// Weak, because the socket keeps its berth.
    outlet: Weak<dyn Outlet>,
    /// What it said before its session went from this node.
    before: Option<Before>,
    inner: Mutex<Inner>,
}

type Waiter = oneshot::Sender<Result<DeviceId, Problem>>;

struct Inner {
    stage: Stage,
    /// Whom it is attached to, or about to be.
    at: Option<NodeId>,
    attempt: u32,
    /// Since when it is on this stage.
    entered: Instant,
    /// Since when it has no session.
    away: Instant,
    device: Option<DeviceId>,
    track: Track,
    requests: Requests,
    /// Frames that the socket did not take yet.
    held: Vec<(Frames, u32)>,
    /// Credit not given back yet.
    owed: usize,
    waiter: Option<Waiter>,
}

/// Where a socket is on its way to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It looks for an owner.
    Away,
    /// It has asked one.
    Attaching,
    Attached,
    /// It is closed, or about to be.
    Done,
}

/// What a berth is made of.
pub struct Parts {
    pub user: UserId,
    pub login: LoginId,
    pub device: Option<DeviceId>,
    pub device_name: String,
    pub since: Timestamp,
    pub outlet: Arc<dyn Outlet>,
    pub track: Track,
    /// Whose presence it watches.
    pub watching: Vec<UserId>,
    pub waiter: Option<Waiter>,
    /// What was said before, to which answers are on their way.
    pub before: Option<Before>,
}

impl Berth {
    pub fn new(parts: Parts, hub: &Hub) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            user: parts.user,
            login: parts.login,
            device_name: parts.device_name,
            connection: parts.outlet.id(),
            since: parts.since,
            outlet: Arc::downgrade(&parts.outlet),
            inner: Mutex::new(Inner {
                stage: Stage::Away,
                at: None,
                attempt: 0,
                entered: now,
                away: now,
                device: parts.device,
                track: parts.track,
                requests: Requests::new(&hub.limits, parts.before.is_some(), parts.watching),
                held: Vec::new(),
                owed: 0,
                waiter: parts.waiter,
            }),
            before: parts.before,
        })
    }

    /// Hands frames to the socket, if it is still there.
    fn pass_on(&self, frames: &Frames, urgency: Urgency) -> Pushed {
        let outlet = self.outlet.upgrade();
        outlet.map_or(Pushed::Closed, |it| it.push(frames, urgency))
    }

    fn plug(&self, inner: &Inner) -> Plug {
        Plug {
            connection: self.connection,
            attempt: inner.attempt,
        }
    }

    /// Asks the session's owner of now.
    fn attach(&self, hub: &Arc<Hub>, inner: &mut Inner) {
        let Some(greeting) = inner.track.greeting() else {
            // What the client has is not known for sure: it comes back and says so itself.
            return self.end(inner, CloseCode::NodeStopping);
        };
        let owner = hub.node_of(self.user);
        inner.attempt += 1;
        inner.stage = Stage::Attaching;
        inner.entered = Instant::now();
        inner.at = Some(owner.clone());
        inner.held.clear();
        inner.owed = 0;
        let attach = Attach {
            plug: self.plug(inner),
            epoch: hub.router.table().epoch,
            gateway: hub.node.clone(),
            user: self.user,
            login: self.login,
            device: inner.device,
            device_name: self.device_name.clone(),
            since: self.since,
            greeting,
        };
        hub.mail(&owner, Parcel::Attach(Box::new(attach)));
    }

    fn go_away(&self, inner: &mut Inner) {
        if inner.stage == Stage::Done {
            return;
        }
        let now = Instant::now();
        if inner.stage == Stage::Attached {
            inner.away = now;
        }
        inner.stage = Stage::Away;
        inner.entered = now;
    }

    /// The session's owner is another now. Who has the socket releases it; who was only asked to take it may be dead, and is
    /// not waited for: the next owner is asked at once.
    fn moved(&self) {
        let mut inner = self.inner.lock();
        match inner.stage {
            Stage::Attaching => self.go_away(&mut inner),
            Stage::Away | Stage::Attached | Stage::Done => inner.entered = Instant::now(),
        }
    }

    fn end(&self, inner: &mut Inner, code: CloseCode) {
        if inner.stage == Stage::Done {
            return;
        }
        inner.stage = Stage::Done;
        inner.held.clear();
        match inner.waiter.take() {
            Some(waiter) => drop(waiter.send(Err(Problem::unavailable("the session could not be reached")))),
            None => self.outlet.upgrade().into_iter().for_each(|it| it.close(code)),
        }
    }

    /// What the client says.
    pub fn frame(&self, hub: &Arc<Hub>, request: Request) {
        let mut inner = self.inner.lock();
        if let Err((id, problem)) = inner.requests.admit(self.user, &request, &hub.limits, Timestamp::now()) {
            let refusal = Frames::one(ServerFrame::error(id, problem));
            self.pass_on(&refusal, Urgency::Answer);
            return;
        }
        self.pass_in(hub, &mut inner, request);
    }

    fn pass_in(&self, hub: &Arc<Hub>, inner: &mut Inner, request: Request) {
        let held_back = self.before.as_ref().is_some_and(|before| before.holds_back(&request));
        match (inner.stage, &inner.at) {
            // It is among the unanswered, and goes on with those.
            (Stage::Attached, _) if held_back => {}
            (Stage::Attached, Some(owner)) => {
                let frame = Parcel::Frame(self.plug(inner), Box::new(request));
                hub.mail(owner, frame);
            }
            (Stage::Done, _) => {}
            _ => self.wait(inner, request),
        }
    }

    /// Keeps what the client says for the session's next owner.
    fn wait(&self, inner: &mut Inner, request: Request) {
        if let Some((id, problem)) = inner.requests.wait(request) {
            self.pass_on(&Frames::one(ServerFrame::error(id, problem)), Urgency::Answer);
        }
    }

    /// The session's owner has taken the socket: what is unanswered is asked again, then what waited goes on.
    pub(super) fn attached(&self, hub: &Arc<Hub>, plug: Plug, device: DeviceId) {
        let mut inner = self.inner.lock();
        if plug != self.plug(&inner) || inner.stage != Stage::Attaching {
            return;
        }
        inner.stage = Stage::Attached;
        inner.entered = Instant::now();
        inner.device = Some(device);
        if let Some(waiter) = inner.waiter.take() {
            waiter.send(Ok(device)).ok();
        }
        for request in inner.requests.due() {
            self.pass_in(hub, &mut inner, request);
        }
    }

    /// The one who was asked does not have the session, or not any more, or will not have the socket.
    pub(super) fn refused(self: &Arc<Self>, hub: &Arc<Hub>, _from: &NodeId, plug: Plug, refusal: Refusal) {
        let mut inner = self.inner.lock();
        if plug != self.plug(&inner) || !matches!(inner.stage, Stage::Attaching | Stage::Attached) {
            return;
        }
        match refusal {
            Refusal::NotOwner => {
                self.go_away(&mut inner);
                drop(inner);
                hub.berths.unsettle(Arc::clone(self));
            }
            Refusal::Replaced => self.end(&mut inner, CloseCode::Replaced),
            Refusal::Problem(problem) => {
                if let Some(waiter) = inner.waiter.take() {
                    inner.stage = Stage::Done;
                    waiter.send(Err(problem)).ok();
                } else {
                    self.end(&mut inner, CloseCode::Overloaded);
                }
            }
        }
    }

    /// The session goes to another node, having said all it had to say.
    pub(super) fn released(self: &Arc<Self>, hub: &Arc<Hub>, plug: Plug) {
        let mut inner = self.inner.lock();
        if plug != self.plug(&inner) {
            return;
        }
        self.go_away(&mut inner);
        if inner.stage == Stage::Away && inner.at.as_ref() != Some(&hub.node_of(self.user)) {
            self.attach(hub, &mut inner);
        }
        drop(inner);
        hub.berths.unsettle(Arc::clone(self));
    }

    /// What came to the session after it had gone. Whoever returns it is about to release the socket: sent there again it
    /// would come back at once, again and again.
    pub(super) fn returned(&self, hub: &Arc<Hub>, plug: Plug, request: Request) {
        let mut inner = self.inner.lock();
        if plug == self.plug(&inner) && inner.stage == Stage::Attached {
            self.wait(&mut inner, request);
        } else {
            self.pass_in(hub, &mut inner, request);
        }
    }

    pub(super) fn close(&self, plug: Plug, code: CloseCode) {
        let mut inner = self.inner.lock();
        if plug == self.plug(&inner) {
            self.end(&mut inner, code);
        }
    }

    /// Frames from the session.
    pub(super) fn push(&self, hub: &Arc<Hub>, plug: Plug, frames: &Frames, urgency: Urgency, weight: u32) {
        let mut inner = self.inner.lock();
        if inner.stage == Stage::Done {
            return;
        }
        let current = plug == self.plug(&inner) && matches!(inner.stage, Stage::Attaching | Stage::Attached);
        match urgency {
            Urgency::Answer if current || !is_greeting(frames) => self.give_answer(hub, &mut inner, frames),
            Urgency::Sequenced if current => return self.give(hub, &mut inner, frames.clone(), weight),
            Urgency::Ephemeral if current => drop(self.pass_on(frames, urgency)),
            _ => return,
        }
        if current {
            self.credit(hub, &mut inner, weight);
        }
    }

    /// An answer to something that was asked before the session went.
    pub fn answer(&self, hub: &Arc<Hub>, frames: &Frames) {
        let mut inner = self.inner.lock();
        if inner.stage != Stage::Done {
            self.give_answer(hub, &mut inner, frames);
        }
    }

    fn give_answer(&self, hub: &Arc<Hub>, inner: &mut Inner, frames: &Frames) {
        for (index, frame) in frames.frames().iter().enumerate() {
            if inner.requests.answered(frame) {
                self.pass_on(&frames.part(index), Urgency::Answer);
                inner.track.note(frame);
            }
            if let Some(conversation) = self.before.as_ref().and_then(|before| before.answered(frame)) {
                self.go_on(hub, inner, conversation);
            }
        }
    }

    /// Nothing of before is waited for in a conversation any more: what was held back goes on.
    fn go_on(&self, hub: &Arc<Hub>, inner: &mut Inner, conversation: ConversationId) {
        if inner.stage == Stage::Attached {
            for request in inner.requests.sends_to(self.user, conversation) {
                self.pass_in(hub, inner, request);
            }
        }
    }

    fn give(&self, hub: &Arc<Hub>, inner: &mut Inner, frames: Frames, weight: u32) {
        if !inner.held.is_empty() || !self.hand_over(inner, &frames) {
            inner.held.push((frames, weight));
            return;
        }
        self.credit(hub, inner, weight);
    }

    /// Hands frames to the socket; false when it is full.
    fn hand_over(&self, inner: &mut Inner, frames: &Frames) -> bool {
        if !inner.track.may_know() {
            let taken = self.pass_on(frames, Urgency::Sequenced) != Pushed::Full;
            if taken {
                frames.frames().iter().for_each(|frame| inner.track.note(frame));
            }
            return taken;
        }
        // What the client knows already is left out. A socket that is full takes none of the rest twice: what it has is noted.
        let unknown: Vec<_> = frames
            .frames()
            .iter()
            .filter(|frame| !inner.track.knows(frame))
            .cloned()
            .collect();
        let taken = unknown.is_empty() || self.pass_on(&Frames::new(unknown), Urgency::Sequenced) != Pushed::Full;
        if taken {
            frames.frames().iter().for_each(|frame| inner.track.note(frame));
        }
        taken
    }

    fn credit(&self, hub: &Arc<Hub>, inner: &mut Inner, weight: u32) {
        inner.owed += weight as usize;
        if inner.owed >= STEP
            && let Some(owner) = &inner.at
        {
            hub.mail(owner, Parcel::Credit(self.plug(inner), inner.owed as u32));
            inner.owed = 0;
        }
    }

    /// The socket has room again.
    pub fn drained(&self, hub: &Arc<Hub>) {
        let mut inner = self.inner.lock();
        let mut held = std::mem::take(&mut inner.held).into_iter();
        while let Some((frames, weight)) = held.next() {
            if !self.hand_over(&mut inner, &frames) {
                inner.held.push((frames, weight));
                inner.held.extend(held);
                return;
            }
            self.credit(hub, &mut inner, weight);
        }
    }

    /// The socket is gone.
    pub fn detach(&self, hub: &Arc<Hub>) {
        hub.berths.remove(self.connection);
        let mut inner = self.inner.lock();
        inner.stage = Stage::Done;
        if let Some(owner) = &inner.at {
            hub.mail(owner, Parcel::Detach(self.plug(&inner)));
        }
    }

    /// Looks after what is held back; false when nothing is.
    fn tend_before(&self, hub: &Arc<Hub>, inner: &mut Inner, now: Instant) -> bool {
        let Some(before) = &self.before else { return false };
        for conversation in before.overdue(now) {
            self.go_on(hub, inner, conversation);
        }
        before.is_waited_for()
    }

    /// Looks after a socket that waits; false when there is nothing to look after any more.
    fn tend(&self, hub: &Arc<Hub>, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        let waited = now.duration_since(inner.entered);
        match inner.stage {
            Stage::Done => return false,
            Stage::Attached => {
                if inner.at.as_ref() == Some(&hub.node_of(self.user)) {
                    return self.tend_before(hub, &mut inner, now);
                }
                // The old owner does not say that it has released it.
                if waited > defaults::BERTH_PATIENCE {
                    self.go_away(&mut inner);
                    self.attach(hub, &mut inner);
                }
            }
            Stage::Attaching if waited > defaults::BERTH_PATIENCE => self.attach(hub, &mut inner),
            Stage::Attaching => {}
            Stage::Away => self.attach(hub, &mut inner),
        }
        let lonely = !matches!(inner.stage, Stage::Attached | Stage::Done);
        if lonely && now.duration_since(inner.away) > defaults::ATTACH_WAIT {
            self.end(&mut inner, CloseCode::Overloaded);
            return false;
        }
        true
    }
}

/// Frames that only the attachment they were made for may send.
fn is_greeting(frames: &Frames) -> bool {
    let first = frames.frames().first();
    matches!(first, Some(ServerFrame::Hello(_) | ServerFrame::Sync { .. }))
}
