//! What accounts ask of the actors.

use async_trait::async_trait;
use rookery_actors::id::{DeviceId, LoginId, UserId};
use rookery_actors::protocol::{CloseCode, Problem};
use rookery_actors::system::System;

/// The sessions and conversations of users. The running [`System`] is one; tests have another.
#[async_trait]
pub trait Chats: Send + Sync + 'static {
    /// Closes the sockets of a login that was revoked.
    fn close_login(&self, user: UserId, login: LoginId);

    /// Closes the sockets of a device that was deleted, and forgets how far it had got.
    fn forget_device(&self, user: UserId, device: DeviceId);

    /// Gives a device to a new login; the old socket is closed.
    fn rebind_device(&self, user: UserId, device: DeviceId, login: LoginId);

    /// Ends every membership of an erased user. Doing it again is harmless.
    async fn forget_user(&self, user: UserId) -> Result<(), Problem>;

    /// Says that a user is called otherwise now.
    fn renamed(&self, user: UserId);
}

#[async_trait]
impl Chats for System {
    fn close_login(&self, user: UserId, login: LoginId) {
        self.close_logins(user, Some(login), None, CloseCode::LoggedOut);
    }

    fn forget_device(&self, user: UserId, device: DeviceId) {
        System::forget_device(self, user, device, CloseCode::LoggedOut);
    }

    fn rebind_device(&self, user: UserId, device: DeviceId, login: LoginId) {
        System::rebind_device(self, user, device, login);
    }

    async fn forget_user(&self, user: UserId) -> Result<(), Problem> {
        System::forget_user(self, user).await
    }

    fn renamed(&self, user: UserId) {
        System::renamed(self, user);
    }
}
