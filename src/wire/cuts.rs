//! What ends streams of this node from outside: their account is suspended, their channel closed, their key rotated, they are taken
//! down, or they were ended because nothing was heard of this node.
//!
//! The node reads that from the log itself, as it reads who may watch what, and for the same reason: a message that nobody hears
//! would leave a stream live for ever. It begins after the start of the oldest stream that is open, so that what was decided while it
//! was away is done when it is back.

use std::{sync::Arc, time::Duration};

use commands::{
    Commands, LoadError,
    accounts::suspension::{self, Standing},
    channels,
    events::{self, Filter, StoredEvent},
    streams,
};
use domain::{
    DecodeError, DomainEvent,
    accounts::{AccountEvent, AccountSuspended},
    channels::ChannelEvent,
    ids::{AccountId, RecordingId},
    recordings::Recording,
    reports::{ReportAction, ReportEvent, ReportTarget},
    streams::{EndReason, StreamEvent},
};
use ingest::Ingest;
use time::OffsetDateTime;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::fields::Fields;

const TYPES: &[&str] =
    &["account.suspended", "channel.closed", "channel.stream_key_rotated", "report.decided", "stream.ended"];
const READ_LEN: i64 = 200;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// For so long at most the log is read on at a time: a server that vanished without a word would be waited for for ever.
const LOOK_WITHIN: Duration = Duration::from_secs(20);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is read of the log by a node that takes streams in.
pub struct Cuts {
    commands: Commands,
    /// Up to here everything is done.
    position: i64,
}

impl Cuts {
    /// Finds where to begin. To be called before the node admits encoders: whoever is admitted later is looked up in a log that
    /// has what is not read here.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn open(commands: &Commands) -> Result<Self, sqlx::Error> {
        let head = events::head(commands.pool()).await?;
        // Of whichever node: what is read twice does no harm, and an event that cannot be read keeps no node from starting.
        let oldest = streams::oldest_open(commands).await?;
        let position = oldest.map_or(head, |oldest| oldest.min(head));
        Ok(Self { commands: commands.clone(), position })
    }

    /// Ends what is to be ended, until `cancel`. Nothing is passed over: what fails is tried again.
    pub async fn follow(mut self, ingest: Arc<Ingest>, cancel: CancellationToken) {
        let following = async {
            // What a crash left open can be ended from then on.
            ingest.recovered().await;
            let mut growth = self.commands.growth();
            let mut retry = FIRST_RETRY;
            loop {
                let advanced = timeout(LOOK_WITHIN, self.advance(&ingest)).await;
                match advanced.unwrap_or_else(|_| Err("Postgres does not answer".into())) {
                    Ok(()) => {
                        retry = FIRST_RETRY;
                        growth.wait().await;
                    }
                    Err(error) => {
                        if retry == FIRST_RETRY {
                            let error = &*error as &(dyn std::error::Error + 'static);
                            warn!(error, "streams that are to end wait for the log");
                        }
                        tokio::time::sleep(retry).await;
                        retry = LAST_RETRY.min(retry * 2);
                    }
                }
            }
        };
        cancel.run_until_cancelled(following).await;
    }

    /// Goes on to the head of the log. Cancel safe: it goes on where it was.
    async fn advance(&mut self, ingest: &Ingest) -> Result<(), BoxError> {
        // Positions commit in order, so all that is at or before the head can be seen.
        let head = events::head(self.commands.pool()).await?;
        while self.position < head {
            let types = TYPES.iter().map(|name| (*name).to_owned()).collect();
            let filter = Filter { after: self.position, until: Some(head), types, ..Filter::default() };
            let found = events::page(self.commands.pool(), &filter, READ_LEN).await?;
            for stored in &found {
                match self.carry_out(stored, ingest).await {
                    Err(error) if is_unreadable(&error) => {
                        tell_of(stored, &*error);
                        self.carry_out_unread(stored, ingest).await?;
                    }
                    carried_out => carried_out?,
                }
                self.position = stored.position;
            }
            if (found.len() as i64) < READ_LEN {
                self.position = head;
            }
        }
        Ok(())
    }

    async fn carry_out(&self, stored: &StoredEvent, ingest: &Ingest) -> Result<(), BoxError> {
        let StoredEvent { aggregate_type, event_type, event_version, payload, .. } = stored;
        match DomainEvent::decode(aggregate_type, event_type, event_version, payload.get())? {
            DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, until, .. })) => {
                self.suspended(account_id, until, ingest).await?;
            }
            DomainEvent::Channel(ChannelEvent::Closed { channel_id, .. }) => {
                ingest.cut(channel_id, EndReason::ChannelClosed);
            }
            DomainEvent::Channel(ChannelEvent::StreamKeyRotated { channel_id, .. }) => {
                ingest.key_rotated(channel_id, stored.sequence);
            }
            DomainEvent::Report(ReportEvent::Decided {
                action: ReportAction::TakeDown,
                target: ReportTarget::Stream { id },
                ..
            }) => {
                info!(stream.id = %id, "a stream was taken down");
                ingest.take_down(id);
            }
            DomainEvent::Report(ReportEvent::Decided {
                action: ReportAction::TakeDown,
                target: ReportTarget::Recording { id },
                ..
            }) => self.withdraw_recorded(id, ingest).await?,
            // Not by this node, if it still has it.
            DomainEvent::Stream(StreamEvent::Ended { stream_id, reason, .. }) => {
                ingest.ended_elsewhere(stream_id, reason);
            }
            _ => {}
        }
        Ok(())
    }

    /// What an event of this type can ask for, as far as what it happened to says. Others must not wait for a newer Weir.
    async fn carry_out_unread(&self, stored: &StoredEvent, ingest: &Ingest) -> Result<(), BoxError> {
        match stored.event_type.as_str() {
            "account.suspended" => self.cut_all_of(stored.aggregate_id.parse()?, ingest).await?,
            "channel.closed" => ingest.cut(stored.aggregate_id.parse()?, EndReason::ChannelClosed),
            "stream.ended" => ingest.ended_elsewhere(stored.aggregate_id.parse()?, EndReason::Crashed),
            "channel.stream_key_rotated" => ingest.key_rotated(stored.aggregate_id.parse()?, stored.sequence),
            // What is taken down stands in the payload, as far as that can be read.
            "report.decided" => match Fields::of(stored).taken_down() {
                Some(ReportTarget::Stream { id }) => ingest.take_down(id),
                Some(ReportTarget::Recording { id }) => match self.withdraw_recorded(id, ingest).await {
                    // Which stream it is of cannot be read either.
                    Err(LoadError::Unreadable { .. } | LoadError::Gap { .. }) => {}
                    withdrawn => withdrawn?,
                },
                Some(ReportTarget::Channel { .. } | ReportTarget::Account { .. }) | None => {}
            },
            _ => {}
        }
        Ok(())
    }

    async fn suspended(
        &self,
        account_id: AccountId,
        until: Option<OffsetDateTime>,
        ingest: &Ingest,
    ) -> Result<(), BoxError> {
        // It may be over by now, and its owner at work again; where that cannot be read, it is over when it said.
        let is_suspended = match suspension::standing(&self.commands, account_id).await {
            Err(LoadError::Unreadable { .. } | LoadError::Gap { .. }) => {
                until.is_none_or(|until| OffsetDateTime::now_utc() < until)
            }
            standing => standing? == Standing::Suspended,
        };
        if is_suspended {
            self.cut_all_of(account_id, ingest).await?;
        }
        Ok(())
    }

    async fn withdraw_recorded(&self, recording_id: RecordingId, ingest: &Ingest) -> Result<(), LoadError> {
        let recording = self.commands.load::<Recording>(&recording_id.to_string()).await?;
        if let Some(origin) = recording.and_then(|(recording, _)| recording.origin()) {
            ingest.withdraw(origin.stream_id);
        }
        Ok(())
    }

    async fn cut_all_of(&self, account_id: AccountId, ingest: &Ingest) -> Result<(), sqlx::Error> {
        for channel_id in channels::of_owner(&self.commands, account_id).await? {
            ingest.cut(channel_id, EndReason::AccountSuspended);
        }
        Ok(())
    }
}

fn tell_of(stored: &StoredEvent, error: &(dyn std::error::Error + 'static)) {
    let StoredEvent { position, event_type, .. } = stored;
    error!(
        event.position = position,
        event.r#type = event_type,
        error,
        "an event that ends streams cannot be read; what it may have ended is ended"
    );
}

/// Whether it is the log's content that cannot be read, and not the log: then it will be no better the next time.
fn is_unreadable(error: &BoxError) -> bool {
    error.is::<DecodeError>()
        || matches!(error.downcast_ref(), Some(LoadError::Unreadable { .. } | LoadError::Gap { .. }))
}

#[cfg(test)]
mod tests;
