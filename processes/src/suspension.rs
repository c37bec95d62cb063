//! Suspension: what follows from it once the event is there, whatever became of the node that stored it. Sessions end, and personal
//! tokens are revoked. Encoders are sent away by the nodes that have them, which follow the log themselves.

use commands::{Commands, accounts::suspension};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, AccountSuspended},
};

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process};

const PROCESS: Process = Process { name: "suspension", types: &["account.suspended"], begin: Begin::Start };

/// Follows suspensions, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following) {
    following.follow(PROCESS, &Suspensions { commands }).await;
}

struct Suspensions<'a> {
    commands: &'a Commands,
}

impl Handler for Suspensions<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, .. })) = &followed.event else {
            return Ok(());
        };
        // It may be over by now, and its owner at work again: then nothing happens.
        suspension::finish(self.commands, *account_id).await?;
        Ok(())
    }
}
