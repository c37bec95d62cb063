//! Channels as they were.

use domain::{
    Aggregate, DomainEvent,
    channels::{Channel, ChannelEvent},
    ids::ChannelId,
};
use time::OffsetDateTime;

use crate::{
    AsOf, Commands, LoadError,
    events::{self, Filter, StoredEvent, Subject},
};

/// A channel as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelAsOf {
    /// The channel, perhaps closed.
    pub channel: Channel,
    /// How many events it had.
    pub version: i64,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it had last changed.
    pub updated_at: OffsetDateTime,
}

/// A point of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The last position that counts; 0 before the first event.
    pub position: i64,
    /// The time that was asked for, or when the log took the event at the position; `None` before the first event.
    pub time: Option<OffsetDateTime>,
}

/// Where in the log `as_of` is.
///
/// # Errors
/// [`LoadError::PositionBeyondHead`], or when the log does not answer.
pub async fn point(commands: &Commands, as_of: AsOf) -> Result<Point, LoadError> {
    match as_of {
        AsOf::Time(time) => Ok(Point { position: events::position_at(commands.pool(), time).await?, time: Some(time) }),
        AsOf::Position(position) => {
            let head = events::head(commands.pool()).await?;
            if position > head {
                return Err(LoadError::PositionBeyondHead { position, head });
            }
            let filter = Filter { after: (position - 1).max(0), until: Some(position), ..Filter::default() };
            let event = events::page(commands.pool(), &filter, 1).await?.into_iter().next();
            Ok(Point { position, time: event.map(|event| event.recorded_at) })
        }
    }
}

/// The channel as it was at `position`; `None` when it did not exist yet.
///
/// # Errors
/// [`LoadError`].
pub async fn at(commands: &Commands, channel_id: ChannelId, position: i64) -> Result<Option<ChannelAsOf>, LoadError> {
    let id = channel_id.to_string();
    let Some((channel, version)) = commands.load_at::<Channel>(&id, AsOf::Position(position)).await? else {
        return Ok(None);
    };
    // What the rules do not need, the aggregate does not know.
    let subject = Subject { aggregate_type: Channel::TYPE.to_owned(), aggregate_id: id };
    let filter = Filter { until: Some(position), subject: Some(subject), ..Filter::default() };
    let stored = events::page(commands.pool(), &filter, i64::MAX).await?;
    let (Some(first), Some(last)) = (stored.first(), stored.last()) else { return Ok(None) };
    let (created_at, updated_at) = (time(first)?, time(last)?);
    Ok(Some(ChannelAsOf { channel, version, created_at, updated_at }))
}

/// When an event of a channel happened.
fn time(stored: &StoredEvent) -> Result<OffsetDateTime, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        aggregate_type: Channel::TYPE,
        aggregate_id: stored.aggregate_id.clone(),
        sequence: stored.sequence,
        source,
    };
    let StoredEvent { aggregate_type, event_type, event_version, payload, .. } = stored;
    match DomainEvent::decode(aggregate_type, event_type, event_version, payload.get()) {
        Ok(DomainEvent::Channel(event)) => Ok(match event {
            ChannelEvent::Created { created_at: at, .. }
            | ChannelEvent::DetailsChanged { changed_at: at, .. }
            | ChannelEvent::VisibilityChanged { changed_at: at, .. }
            | ChannelEvent::StreamKeyRotated { rotated_at: at, .. }
            | ChannelEvent::RecordingChanged { changed_at: at, .. }
            | ChannelEvent::RoleGiven { given_at: at, .. }
            | ChannelEvent::RoleTaken { taken_at: at, .. }
            | ChannelEvent::Closed { closed_at: at, .. } => at,
        }),
        Ok(_) => Err(unreadable("it is no event of a channel".into())),
        Err(error) => Err(unreadable(error.into())),
    }
}
