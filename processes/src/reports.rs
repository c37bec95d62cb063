//! Reports: what was decided to be taken down is taken down. A stream is ended, and its recording deleted; a recording is
//! deleted.

use std::sync::Arc;

use commands::{CommandError, Commands, Metadata, recordings};
use domain::{
    DomainEvent,
    ids::{RecordingId, StreamId},
    recordings::{RecordingDeletedReason, RecordingRefusal},
    reports::{ReportAction, ReportEvent, ReportTarget},
    streams::{EndReason, Stream},
};

use crate::{
    Media,
    following::{Begin, BoxError, Followed, Following, Handler, Process, caused_by},
    sending_away::send_away,
};

const PROCESS: Process = Process { name: "reports", types: &["report.decided"], begin: Begin::Start };

/// Follows decisions, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following, media: &Arc<dyn Media>) {
    following.follow(PROCESS, &Decisions { commands, media: &**media }).await;
}

struct Decisions<'a> {
    commands: &'a Commands,
    media: &'a dyn Media,
}

impl Handler for Decisions<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let DomainEvent::Report(ReportEvent::Decided { action: ReportAction::TakeDown, target, .. }) = &followed.event
        else {
            return Ok(());
        };
        match *target {
            ReportTarget::Stream { id } => {
                self.end(id).await?;
                self.media.delete_pictures(vec![id]).await?;
                match recordings::of_stream(self.commands, id).await? {
                    Some(recording_id) => self.delete(recording_id, caused_by(followed)).await,
                    None => Ok(()),
                }
            }
            ReportTarget::Recording { id } => self.delete(id, caused_by(followed)).await,
            // The command refuses to take these down.
            ReportTarget::Channel { .. } | ReportTarget::Account { .. } => Ok(()),
        }
    }
}

impl Decisions<'_> {
    async fn end(&self, stream_id: StreamId) -> Result<(), BoxError> {
        let stream = self.commands.load::<Stream>(&stream_id.to_string()).await?;
        let live = stream.filter(|(stream, _)| stream.is_live()).and_then(|(stream, _)| stream.channel_id());
        if let Some(channel_id) = live {
            send_away(self.commands, self.media, channel_id, EndReason::TakenDown).await?;
        }
        Ok(())
    }

    async fn delete(&self, recording_id: RecordingId, metadata: Metadata) -> Result<(), BoxError> {
        let reason = RecordingDeletedReason::TakenDown;
        match recordings::delete(self.commands, recording_id, None, reason, metadata).await {
            Ok(_) => {
                tracing::info!(recording.id = %recording_id, "a recording was taken down");
                Ok(())
            }
            Err(CommandError::Refused(RecordingRefusal::Deleted | RecordingRefusal::Unknown)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
