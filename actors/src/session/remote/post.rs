//! The bags of parcels between this node and others: what is due for a node together leaves together, in order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_cluster::id::NodeId;
use rookery_cluster::transport::SendError;
use rookery_cluster::wire::Wire;

use super::window::weigh;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::interchange::Peer;
use crate::interchange::parcel::{Bag, Parcel, Plug};
use crate::outlet::Urgency;

/// About how many bytes go in one bag.
pub const BAG_BYTES: usize = 1 << 20;
/// Bytes that may wait for one node; beyond it the link counts as broken.
const LINK_BYTES: usize = 64 << 20;
/// What a parcel takes beside its frames.
const PARCEL_BYTES: usize = 128;
/// How long a full link is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(2);
/// The lane of all bags.
const LANE: u64 = u64::MAX;

/// The bags to and from each node.
#[derive(Default)]
pub struct Posts {
    posts: Mutex<HashMap<NodeId, Arc<Post>>>,
    /// The stream and the number of the next bag from each node.
    expected: Mutex<HashMap<NodeId, (u64, u64)>>,
}

/// What waits for one node.
pub struct Post {
    node: NodeId,
    core: Weak<Hub>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    parcels: VecDeque<(Parcel, usize)>,
    bytes: usize,
    stream: u64,
    number: u64,
    /// A task is emptying it, or about to.
    scheduled: bool,
    broken: bool,
}

impl Queue {
    fn take(&mut self, node_stream: u64) -> Bag {
        let mut parcels = Vec::new();
        let mut bytes = 0;
        while bytes < BAG_BYTES
            && let Some((parcel, weight)) = self.parcels.pop_front()
        {
            bytes += weight;
            parcels.push(parcel);
        }
        self.bytes -= bytes;
        let number = self.number;
        self.number += 1;
        Bag {
            stream: node_stream,
            number,
            parcels,
        }
    }

    /// Starts anew: what waited and what was sent is given up.
    fn reset(&mut self) {
        self.parcels.clear();
        self.bytes = 0;
        self.stream = fresh_stream();
        self.number = 0;
        self.broken = false;
    }
}

fn fresh_stream() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

impl Post {
    /// Queues a parcel.
    pub fn mail(&self, parcel: Parcel) {
        self.queue(parcel, PARCEL_BYTES);
    }

    /// Queues frames for a socket, together with the same frames for others.
    pub fn push(&self, plug: Plug, frames: &Frames, urgency: Urgency, weight: usize) {
        {
            let mut queue = self.queue.lock();
            if let Some((
                Parcel::Push {
                    plugs,
                    frames: known,
                    urgency: known_urgency,
                    ..
                },
                _,
            )) = queue.parcels.back_mut()
                && *known_urgency == urgency
                && known.is_same(frames)
            {
                plugs.push(plug);
                return;
            }
        }
        let parcel = Parcel::Push {
            plugs: vec![plug],
            frames: frames.clone(),
            urgency,
            weight: weight as u32,
        };
        self.queue(parcel, PARCEL_BYTES + weight);
    }

    fn queue(&self, parcel: Parcel, bytes: usize) {
        let mut queue = self.queue.lock();
        queue.parcels.push_back((parcel, bytes));
        queue.bytes += bytes;
        queue.broken |= queue.bytes > LINK_BYTES;
        if !std::mem::replace(&mut queue.scheduled, true) {
            self.schedule();
        }
    }

    fn schedule(&self) {
        if let Some(core) = self.core.upgrade() {
            let post = core.post(&self.node);
            core.runtime.clone().spawn(async move { post.empty().await });
        }
    }

    /// Sends what waits, bag by bag.
    async fn empty(&self) {
        while let Some(core) = self.core.upgrade() {
            let (bag, broken) = {
                let mut queue = self.queue.lock();
                if queue.parcels.is_empty() {
                    queue.scheduled = false;
                    return;
                }
                let stream = queue.stream;
                (queue.take(stream), queue.broken)
            };
            if broken || !self.send(&core, bag).await {
                core.link_broken(&self.node);
            }
        }
    }

    /// Sends a bag; false when it is lost.
    async fn send(&self, core: &Arc<Hub>, bag: Bag) -> bool {
        if self.node == core.node {
            core.unpack(&self.node, bag);
            return true;
        }
        let stream = bag.stream;
        let bytes = Peer::Bag(bag).encode();
        loop {
            match core.router.send_encoded(&self.node, LANE, bytes.clone()) {
                Ok(()) => return true,
                Err(SendError::Full(_)) => tokio::time::sleep(FULL_PAUSE).await,
                Err(_) => return false,
            }
            if self.queue.lock().stream != stream {
                return true;
            }
        }
    }

    fn reset(&self) {
        self.queue.lock().reset();
    }

    /// Says that this node lives, so that the other sees whether it has got everything.
    fn beat(&self, core: &Arc<Hub>) {
        let bag = {
            let mut queue = self.queue.lock();
            if queue.scheduled || self.node == core.node {
                return;
            }
            let stream = queue.stream;
            queue.take(stream)
        };
        let number = bag.number;
        if core
            .router
            .send_encoded(&self.node, LANE, Peer::Bag(bag).encode())
            .is_err()
        {
            let mut queue = self.queue.lock();
            if queue.number == number + 1 {
                queue.number = number;
            }
        }
    }
}

/// How a bag stands to the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// The next, or the first ever.
    Next,
    /// Bags before it are lost, or the sender has given up what it sent before.
    Hole,
}

impl Posts {
    fn order(&self, from: &NodeId, bag: &Bag) -> Order {
        let mut expected = self.expected.lock();
        let known = expected.insert(from.clone(), (bag.stream, bag.number + 1));
        match known {
            Some(known) if known != (bag.stream, bag.number) => Order::Hole,
            None if bag.number > 0 => Order::Hole,
            _ => Order::Next,
        }
    }
}

impl Hub {
    /// The way to a node.
    pub(crate) fn post(self: &Arc<Self>, node: &NodeId) -> Arc<Post> {
        let mut posts = self.posts.posts.lock();
        if let Some(post) = posts.get(node) {
            return Arc::clone(post);
        }
        let post = Arc::new(Post {
            node: node.clone(),
            core: Arc::downgrade(self),
            queue: Mutex::new(Queue {
                stream: fresh_stream(),
                ..Queue::default()
            }),
        });
        posts.insert(node.clone(), Arc::clone(&post));
        post
    }

    pub(crate) fn mail(self: &Arc<Self>, node: &NodeId, parcel: Parcel) {
        self.post(node).mail(parcel);
    }

    /// Takes a bag.
    pub(crate) fn unpack(self: &Arc<Self>, from: &NodeId, bag: Bag) {
        if *from != self.node && self.posts.order(from, &bag) == Order::Hole {
            tracing::debug!(%from, "a bag was lost; the sockets concerned are attached anew");
            self.bags_lost(from);
        }
        for parcel in bag.parcels {
            self.take_parcel(from, parcel);
        }
    }

    fn take_parcel(self: &Arc<Self>, from: &NodeId, parcel: Parcel) {
        match parcel {
            Parcel::Attach(attach) => self.attach_end(from, *attach),
            Parcel::Frame(plug, request) => self.end_frame(from, plug, *request),
            Parcel::Credit(plug, bytes) => self.end_credit(from, plug, bytes),
            Parcel::Detach(plug) => self.end_detach(plug),
            Parcel::Attached(plug, device) => self.berth(plug.connection, |berth| berth.attached(self, plug, device)),
            Parcel::Refused(plug, refusal) => {
                self.berth(plug.connection, |berth| berth.refused(self, from, plug, refusal));
            }
            Parcel::Push {
                plugs,
                frames,
                urgency,
                weight,
            } => {
                for plug in plugs {
                    self.berth(plug.connection, |berth| {
                        berth.push(self, plug, &frames, urgency, weight)
                    });
                }
            }
            Parcel::Close(plug, code) => self.berth(plug.connection, |berth| berth.close(plug, code)),
            Parcel::Released(plug) => self.berth(plug.connection, |berth| berth.released(self, plug)),
            Parcel::Returned(plug, request) => {
                self.berth(plug.connection, |berth| berth.returned(self, plug, *request));
            }
        }
    }

    /// The way to a node is broken: what was said is given up, and sockets and sessions on either side start anew.
    pub(crate) fn link_broken(self: &Arc<Self>, node: &NodeId) {
        self.post(node).reset();
        self.drop_ends(node, false);
        self.unsettle_berths(node);
    }

    /// Something that a node said is lost.
    fn bags_lost(self: &Arc<Self>, from: &NodeId) {
        self.drop_ends(from, true);
        self.unsettle_berths(from);
    }

    /// Says to every node that is spoken to that this one lives.
    pub(crate) fn beat(self: &Arc<Self>) {
        let posts: Vec<_> = self.posts.posts.lock().values().cloned().collect();
        for post in posts {
            post.beat(self);
        }
    }
}

/// About how many bytes frames take.
pub fn weight(frames: &Frames) -> usize {
    weigh(frames.frames())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(stream: u64, number: u64) -> Bag {
        Bag {
            stream,
            number,
            parcels: Vec::new(),
        }
    }

    #[test]
    fn a_lost_bag_is_noticed_at_the_next_one() {
        let posts = Posts::default();
        let order = |stream, number| posts.order(&"a".into(), &bag(stream, number));
        assert_eq!([order(1, 0), order(1, 1)], [Order::Next; 2]);
        assert_eq!([order(1, 3), order(1, 4)], [Order::Hole, Order::Next]);
        assert_eq!(
            [order(2, 0), order(2, 1)],
            [Order::Hole, Order::Next],
            "the sender starts anew"
        );
        assert_eq!(posts.order(&"b".into(), &bag(7, 5)), Order::Hole, "the first was lost");
    }
}
