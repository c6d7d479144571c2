//! What operators may see of a user: that sockets are there, not what passes through them.

use super::System;
use crate::id::{ConnectionId, DeviceId, LoginId, UserId};

/// One socket of a user on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attachment {
    pub connection: ConnectionId,
    pub device: DeviceId,
    pub login: LoginId,
}

impl System {
    /// The sockets of a user that are attached here now.
    pub fn attachments(&self, user: UserId) -> Vec<Attachment> {
        let Some(cell) = self.0.sessions.get(user) else {
            return Vec::new();
        };
        let state = cell.state();
        let attached = state.attached.iter().map(|attached| Attachment {
            connection: attached.outlet.id(),
            device: attached.device,
            login: attached.login,
        });
        attached.collect()
    }
}
