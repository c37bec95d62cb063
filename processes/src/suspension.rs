//! Suspension: what follows from it once the event is there, whatever became of the node that stored it. Sessions end, personal
//! tokens are revoked, and encoders of the account's channels are sent away.
//!
//! An encoder whose key was accepted just before cannot start a stream after: whoever starts one looks at the account again.

use std::sync::Arc;

use commands::{
    Commands,
    accounts::suspension::{self, Standing},
    channels,
};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, AccountSuspended},
    streams::EndReason,
};

use crate::{
    Media,
    following::{Begin, BoxError, Followed, Following, Handler, Process},
    sending_away::send_away,
};

const PROCESS: Process = Process { name: "suspension", types: &["account.suspended"], begin: Begin::Start };

/// Follows suspensions, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following, media: &Arc<dyn Media>) {
    following.follow(PROCESS, &Suspensions { commands, media: &**media }).await;
}

struct Suspensions<'a> {
    commands: &'a Commands,
    media: &'a dyn Media,
}

impl Handler for Suspensions<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, .. })) = &followed.event else {
            return Ok(());
        };
        // It may be over by now, and its owner at work again.
        if suspension::standing(self.commands, *account_id).await? != Standing::Suspended {
            return Ok(());
        }
        suspension::finish(self.commands, *account_id).await?;
        let mut sent_away = Ok(true);
        for channel_id in channels::of_owner(self.commands, *account_id).await? {
            // One that cannot be reached keeps nobody else on the air.
            sent_away =
                send_away(self.commands, self.media, channel_id, EndReason::AccountSuspended).await.and(sent_away);
        }
        sent_away?;
        Ok(())
    }
}
