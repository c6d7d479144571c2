//! The sockets that are held here, by connection.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Berth;
use crate::id::ConnectionId;
use crate::striped::Striped;

/// The sockets that are held for sessions elsewhere.
#[derive(Default)]
pub struct Berths {
    table: Striped<ConnectionId, Arc<Berth>>,
    /// Those that wait for something.
    pub(super) unsettled: Mutex<Vec<Arc<Berth>>>,
}

fn key(connection: ConnectionId) -> [u8; 16] {
    let mut key = [0; 16];
    key[8..].copy_from_slice(&connection.0.to_be_bytes());
    key
}

impl Berths {
    pub fn get(&self, connection: ConnectionId) -> Option<Arc<Berth>> {
        self.table.part(&key(connection)).lock().get(&connection).cloned()
    }

    pub fn insert(&self, berth: Arc<Berth>) {
        let connection = berth.connection;
        self.table.part(&key(connection)).lock().insert(connection, berth);
    }

    pub(super) fn remove(&self, connection: ConnectionId) {
        self.table.part(&key(connection)).lock().remove(&connection);
    }

    pub(super) fn unsettle(&self, berth: Arc<Berth>) {
        self.unsettled.lock().push(berth);
    }

    /// Whether a socket waits for its session.
    pub fn is_unsettled(&self) -> bool {
        !self.unsettled.lock().is_empty()
    }

    pub(super) fn pick(&self, picked: impl Fn(&Berth) -> bool) -> Vec<Arc<Berth>> {
        let of = |part: &Mutex<std::collections::HashMap<_, Arc<Berth>>>| {
            let part = part.lock();
            part.values().filter(|berth| picked(berth)).cloned().collect::<Vec<_>>()
        };
        self.table.parts().flat_map(of).collect()
    }
}
