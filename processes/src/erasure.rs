//! Erasure: whatever an erased person leaves behind goes.
//!
//! The write side forgets the person as soon as it has stored `account.erased`. What that leaves is done here, and so is what
//! a crash has left undone: the account's channels are closed, its roles in others are taken, and the exports that it asked for are
//! deleted. The encoder of a channel that was closed is sent away by its node, which follows the log itself; the pictures go by
//! [`crate::pictures`].
//!
//! A channel, a role or an export of an account may come into the log just after its erasure, by a request that was under way. So
//! what is new is looked at, too: of the two events the later one finds the other.

use commands::{
    CommandError, Commands, Metadata, accounts,
    channels::{self, team},
    exports,
};
use domain::{
    DomainEvent,
    accounts::AccountEvent,
    channels::{ChannelClosedReason, ChannelEvent},
    exports::{ExportDeletedReason, ExportEvent, ExportRefusal},
    ids::{AccountId, ChannelId, ExportId},
};

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process, caused_by};

const PROCESS: Process = Process {
    name: "erasure",
    types: &["account.erased", "channel.created", "channel.role_given", "channel.closed", "export.requested"],
    begin: Begin::Start,
};

/// Follows erasures and closed channels, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following) {
    following.follow(PROCESS, &Erasure { commands }).await;
}

struct Erasure<'a> {
    commands: &'a Commands,
}

impl Handler for Erasure<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let metadata = || caused_by(followed);
        match &followed.event {
            DomainEvent::Account(AccountEvent::Erased { account_id, .. }) => {
                self.account_erased(*account_id, metadata).await
            }
            DomainEvent::Channel(ChannelEvent::Created { channel_id, owner_id, .. }) => {
                if accounts::is_erased(self.commands, *owner_id).await? {
                    self.close(*channel_id, metadata()).await?;
                }
                Ok(())
            }
            DomainEvent::Channel(ChannelEvent::RoleGiven { channel_id, account_id, .. }) => {
                if accounts::is_erased(self.commands, *account_id).await? {
                    team::take_role(self.commands, *channel_id, None, *account_id, metadata()).await?;
                }
                Ok(())
            }
            DomainEvent::Channel(ChannelEvent::Closed { channel_id, .. }) => {
                channels::finish_closing(self.commands, *channel_id).await?;
                Ok(())
            }
            DomainEvent::Export(ExportEvent::Requested { export_id, by: Some(by), .. }) => {
                if accounts::is_erased(self.commands, *by).await? {
                    self.delete(*export_id, metadata()).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Erasure<'_> {
    async fn account_erased(&self, account_id: AccountId, metadata: impl Fn() -> Metadata) -> Result<(), BoxError> {
        accounts::finish_erasure(self.commands, account_id).await?;
        projections::accounts::forget_in_the_past(self.commands.pool(), account_id).await?;
        for channel_id in channels::of_owner(self.commands, account_id).await? {
            self.close(channel_id, metadata()).await?;
        }
        for channel_id in team::of_member(self.commands, account_id).await? {
            team::take_role(self.commands, channel_id, None, account_id, metadata()).await?;
        }
        for export_id in accounts::exports_of(self.commands, account_id).await? {
            self.delete(export_id, metadata()).await?;
        }
        projections::rebuild::discard_leftovers(self.commands.pool()).await?;
        Ok(())
    }

    /// What follows is done when the event comes.
    async fn close(&self, channel_id: ChannelId, metadata: Metadata) -> Result<(), BoxError> {
        channels::close(self.commands, channel_id, None, ChannelClosedReason::OwnerErased, metadata).await?;
        Ok(())
    }

    async fn delete(&self, export_id: ExportId, metadata: Metadata) -> Result<(), BoxError> {
        match exports::delete(self.commands, export_id, ExportDeletedReason::AccountErased, metadata).await {
            Ok(_) | Err(CommandError::Refused(ExportRefusal::Deleted)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
