//! Which streams nobody may watch any more after an event, whatever nodes and relays still have of them.

use std::time::Duration;

use commands::{
    Commands, LoadError,
    accounts::suspension::{self, Standing},
    channels, streams,
};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, AccountSuspended},
    ids::{AccountId, RecordingId, StreamId},
    recordings::Recording,
    reports::{ReportAction, ReportEvent, ReportTarget},
    streams::Stream,
};

/// How long that must be known. Nodes show a stream for a minute after its end, relays for another, and both for as long again to
/// who has just asked.
pub const KNOWN_FOR: Duration = Duration::from_secs(15 * 60);
/// How many streams of a channel can be so new that something of them is shown.
const LAST_OF_A_CHANNEL: usize = 3;

/// The streams that `event` withdraws; none of most events. Of an account that is not suspended any more none either.
///
/// # Errors
/// When the log does not answer or cannot be read.
pub async fn by(commands: &Commands, event: &DomainEvent) -> Result<Vec<StreamId>, LoadError> {
    match event {
        DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, .. })) => {
            if suspension::standing(commands, *account_id).await? == Standing::Suspended {
                Ok(last_of(commands, *account_id).await?)
            } else {
                Ok(Vec::new())
            }
        }
        DomainEvent::Report(ReportEvent::Decided { action: ReportAction::TakeDown, target, .. }) => match *target {
            ReportTarget::Stream { id } => Ok(vec![id]),
            ReportTarget::Recording { id } => Ok(over(commands, id).await?.into_iter().collect()),
            // The command refuses to take these down.
            ReportTarget::Channel { .. } | ReportTarget::Account { .. } => Ok(Vec::new()),
        },
        _ => Ok(Vec::new()),
    }
}

/// The streams of an account's channels that are so new that something of them may be shown.
///
/// # Errors
/// When the log does not answer.
pub async fn last_of(commands: &Commands, account_id: AccountId) -> Result<Vec<StreamId>, sqlx::Error> {
    let mut last = Vec::new();
    for channel_id in channels::of_owner(commands, account_id).await? {
        let streams = streams::of_channel(commands, channel_id).await?;
        last.extend(streams.into_iter().rev().take(LAST_OF_A_CHANNEL));
    }
    Ok(last)
}

/// The stream that a recording is of, when it is over: one that is live goes on without being recorded.
///
/// # Errors
/// When the log does not answer or cannot be read.
pub async fn over(commands: &Commands, recording_id: RecordingId) -> Result<Option<StreamId>, LoadError> {
    let recording = commands.load::<Recording>(&recording_id.to_string()).await?;
    let Some(origin) = recording.and_then(|(recording, _)| recording.origin()) else { return Ok(None) };
    let stream = commands.load::<Stream>(&origin.stream_id.to_string()).await?;
    Ok(stream.filter(|(stream, _)| !stream.is_live()).map(|_| origin.stream_id))
}
