//! What tests of several nodes stand on: the contract that every transport keeps, ears for what it delivers, and a network
//! that can be broken.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::id::NodeId;
use crate::transport::{Observer, Sink, Transport};

pub mod contract;
pub mod deadline;
pub mod lot;
pub mod proxy;
pub mod recorded;
pub mod simulated;

/// How long a test waits for what must happen.
pub const LONG: Duration = Duration::from_secs(30);

/// A change of a link, as an observer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Up(NodeId),
    Lost(NodeId),
}

struct Ear(Mutex<Sender<(NodeId, Bytes)>>);

impl Sink for Ear {
    fn receive(&self, from: &NodeId, payload: Bytes) {
        let _ = self.0.lock().send((from.clone(), payload));
    }
}

struct Eye(Mutex<Sender<Change>>);

impl Observer for Eye {
    fn on_up(&self, node: &NodeId) {
        let _ = self.0.lock().send(Change::Up(node.clone()));
    }

    fn on_lost(&self, node: &NodeId) {
        let _ = self.0.lock().send(Change::Lost(node.clone()));
    }
}

/// What a transport delivers from now on.
pub fn listen(transport: &dyn Transport) -> Receiver<(NodeId, Bytes)> {
    let (arrived, arrivals) = channel();
    transport.deliver_to(Arc::new(Ear(Mutex::new(arrived))));
    arrivals
}

/// The links of a transport as they come and go.
pub fn observe(transport: &dyn Transport) -> Receiver<Change> {
    let (changed, changes) = channel();
    transport.observe(Arc::new(Eye(Mutex::new(changed))));
    changes
}

/// Waits for something that must come to be.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "did not come to be: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
