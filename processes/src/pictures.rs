//! Pictures of streams that nobody may see any more: of those that were taken down, themselves or their recordings, of those that
//! a suspension ended, and of channels that were closed.
//!
//! A stream that is live makes more of them until its node has ended it. So they go when that is decided, and once more when
//! the stream has ended.

use std::sync::Arc;

use commands::{
    Commands,
    events::{self, Filter, StoredEvent, Subject},
    recordings, streams,
};
use domain::{
    Aggregate, DomainEvent,
    channels::ChannelEvent,
    ids::StreamId,
    recordings::{Recording, RecordingDeletedReason, RecordingEvent},
    reports::{ReportAction, ReportEvent, ReportTarget},
    streams::{EndReason, StreamEvent},
};
use futures::future::BoxFuture;

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process};

const DELETED: &str = "recording.deleted";
const PROCESS: Process = Process {
    name: "pictures",
    types: &["report.decided", "channel.closed", "stream.ended", DELETED],
    begin: Begin::Start,
};

/// Where nodes keep the pictures of streams.
pub trait Pictures: Send + Sync {
    /// Deletes the pictures of streams, wherever they are. What is not there is fine.
    fn delete(&self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// Follows what takes pictures away, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following, pictures: &Arc<dyn Pictures>) {
    following.follow(PROCESS, &Withdrawn { commands, pictures: &**pictures }).await;
}

struct Withdrawn<'a> {
    commands: &'a Commands,
    pictures: &'a dyn Pictures,
}

impl Handler for Withdrawn<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let streams = match &followed.event {
            DomainEvent::Report(ReportEvent::Decided { action: ReportAction::TakeDown, target, .. }) => {
                self.taken_down(*target).await?
            }
            DomainEvent::Channel(ChannelEvent::Closed { channel_id, .. }) => {
                streams::of_channel(self.commands, *channel_id).await?
            }
            DomainEvent::Stream(StreamEvent::Ended {
                stream_id,
                reason: EndReason::TakenDown | EndReason::ChannelClosed | EndReason::AccountSuspended,
                ..
            }) => vec![*stream_id],
            // One whose recording was taken down while it was live went on without it.
            DomainEvent::Stream(StreamEvent::Ended { stream_id, .. })
                if self.is_taken_down(*stream_id, followed.stored.position).await? =>
            {
                vec![*stream_id]
            }
            // The stream may have ended between the decision and this.
            DomainEvent::Recording(RecordingEvent::Deleted {
                stream_id,
                reason: RecordingDeletedReason::TakenDown,
                ..
            }) => vec![*stream_id],
            _ => Vec::new(),
        };
        if streams.is_empty() { Ok(()) } else { self.pictures.delete(streams).await }
    }
}

impl Withdrawn<'_> {
    /// Whether the stream's recording was, at this position of the log.
    async fn is_taken_down(&self, stream_id: StreamId, at: i64) -> Result<bool, BoxError> {
        let Some(id) = recordings::of_stream(self.commands, stream_id).await? else { return Ok(false) };
        let subject = Subject { aggregate_type: Recording::TYPE.to_owned(), aggregate_id: id.to_string() };
        let types = vec![DELETED.to_owned()];
        let filter = Filter { subject: Some(subject), until: Some(at), types, ..Filter::default() };
        let deleted = events::page(self.commands.pool(), &filter, 1).await?;
        let Some(StoredEvent { aggregate_type, event_type, event_version, payload, .. }) = deleted.first() else {
            return Ok(false);
        };
        let deleted = DomainEvent::decode(aggregate_type, event_type, event_version, payload.get())?;
        let taken_down = RecordingDeletedReason::TakenDown;
        Ok(matches!(deleted, DomainEvent::Recording(RecordingEvent::Deleted { reason, .. }) if reason == taken_down))
    }

    async fn taken_down(&self, target: ReportTarget) -> Result<Vec<StreamId>, BoxError> {
        Ok(match target {
            ReportTarget::Stream { id } => vec![id],
            ReportTarget::Recording { id } => {
                let recording = self.commands.load::<Recording>(&id.to_string()).await?;
                recording.and_then(|(recording, _)| Some(recording.origin()?.stream_id)).into_iter().collect()
            }
            // The command refuses to take these down.
            ReportTarget::Channel { .. } | ReportTarget::Account { .. } => Vec::new(),
        })
    }
}
