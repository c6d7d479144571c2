//! The devices of a user.

use rookery_actors::id::DeviceId;
use rookery_actors::ports::accounts;
use rookery_actors::protocol::Problem;
use rookery_actors::protocol::view::Device;
use rookery_actors::time::Timestamp;

use super::super::{Caller, refused};
use super::Accounts;

impl Accounts {
    /// The caller's devices, in order of their making.
    pub async fn devices(&self, caller: Caller) -> Result<Vec<Device>, Problem> {
        let devices = self.0.store.devices(caller.user).await.map_err(refused)?;
        let view = |device: accounts::Device| Device {
            id: device.id,
            current: device.login == caller.login,
            name: device.name,
            created_at: device.created_at,
            last_seen_at: device.last_seen_at,
        };
        Ok(devices.into_iter().map(view).collect())
    }

    /// Deletes a device of the caller and ends the login it belongs to.
    pub async fn delete_device(&self, caller: Caller, device: DeviceId) -> Result<(), Problem> {
        let devices = self.0.store.devices(caller.user).await.map_err(refused)?;
        let Some(found) = devices.into_iter().find(|known| known.id == device) else {
            return Err(Problem::not_found("device"));
        };
        // The login first: should the rest fail, the device is still there to be deleted again.
        let now = Timestamp::now();
        self.0
            .directory
            .revoke(caller.user, found.login, now)
            .await
            .map_err(refused)?;
        let last = self.0.store.delete_device(caller.user, device).await.map_err(refused)?;
        // A log-in may have bound it in between.
        if let Some(login) = last.filter(|login| *login != found.login) {
            self.0
                .directory
                .revoke(caller.user, login, now)
                .await
                .map_err(refused)?;
        }
        self.0.chats.forget_device(caller.user, device);
        Ok(())
    }
}
