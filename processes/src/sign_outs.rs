//! Signing out: what follows from a lost password that was replaced, from one that was changed where its owner wanted so, and from the
//! wish to be erased, and from ceasing to be an administrator, once the event is there, whatever became of the request that stored it. Sessions end; but for the
//! wish to be erased, personal tokens are revoked as well.
//!
//! Only what was there before the event: whoever signs in after it means it.

use commands::{
    Commands,
    accounts::{self, administrators, due_erasures, password_reset},
};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, AdministratorRevoked, PasswordChangedReason},
};

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process};

const PROCESS: Process = Process {
    name: "sign_outs",
    types: &["account.password_changed", "account.erasure_requested", "account.administrator_revoked"],
    begin: Begin::Start,
};

/// Follows passwords that are replaced and requests for erasure, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following) {
    following.follow(PROCESS, &SignOuts { commands }).await;
}

struct SignOuts<'a> {
    commands: &'a Commands,
}

impl Handler for SignOuts<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let position = followed.stored.position;
        match &followed.event {
            DomainEvent::Account(AccountEvent::PasswordChanged {
                account_id,
                reason: PasswordChangedReason::Reset,
                ..
            }) => password_reset::finish(self.commands, *account_id, position).await?,
            DomainEvent::Account(AccountEvent::PasswordChanged { account_id, ends_all_but: Some(kept), .. }) => {
                accounts::finish_password_change(self.commands, *account_id, position, *kept).await?;
            }
            DomainEvent::Account(AccountEvent::ErasureRequested { account_id, .. }) => {
                due_erasures::finish_request(self.commands, *account_id, position).await?;
            }
            DomainEvent::Account(AccountEvent::AdministratorRevoked(AdministratorRevoked { account_id, .. })) => {
                administrators::finish(self.commands, *account_id, position).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
