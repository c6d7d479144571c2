//! Changing a password, and leaving for good.

use std::net::IpAddr;

use rookery_actors::ports::accounts::Handle;
use rookery_actors::ports::directory::Throttled;
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;

use super::super::passwords::Verdict;
use super::super::validate::{self, Fields};
use super::super::{Caller, PasswordRequest, refused};
use super::Accounts;

impl Accounts {
    /// Changes the password, if `old` is right, and ends every other login.
    pub async fn change_password(
        &self,
        caller: Caller,
        request: PasswordRequest,
        address: IpAddr,
    ) -> Result<(), Problem> {
        self.throttle(Throttled::PasswordChange, address).await?;
        let mut fields = Fields::default();
        let old = fields.required("old", request.old, validate::anything);
        let new = fields.required("new", request.new, validate::password);
        fields.done()?;
        let wrong = || Problem::new(ErrorCode::BadCredentials, "the old password is wrong");
        let known = self
            .0
            .store
            .credentials(&Handle::Id(caller.user))
            .await
            .map_err(refused)?;
        let Some(known) = known else {
            return Err(Problem::new(ErrorCode::Unauthorized, "this account is gone"));
        };
        let hash = known.password_hash;
        if self.0.passwords.verify(old, Some(hash.clone())).await? == Verdict::Wrong {
            return Err(wrong());
        }
        let new = self.0.passwords.hash(new).await?;
        // Somebody who changed it meanwhile made `old` wrong.
        if !self
            .0
            .store
            .replace_password(caller.user, &hash, &new)
            .await
            .map_err(refused)?
        {
            return Err(wrong());
        }
        let directory = &self.0.directory;
        let revoked = directory
            .revoke_all(caller.user, Some(caller.login), directory.now())
            .await;
        revoked.map(drop).map_err(refused)
    }

    /// Erases the account. It is gone, and its logins with it, when this returns; should its memberships and files not be by then,
    /// a task sees to it.
    pub async fn delete_account(&self, caller: Caller) -> Result<(), Problem> {
        let directory = &self.0.directory;
        let erased = self.0.store.erase(caller.user, Timestamp::now()).await;
        erased.map_err(refused)?;
        let revoked = directory.revoke_all(caller.user, None, directory.now()).await;
        revoked.map_err(refused)?;
        metrics::counter!("node_accounts_deleted_total").increment(1);
        self.0.leaving.forget(caller.user).await;
        Ok(())
    }
}
