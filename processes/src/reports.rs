//! Reports: the recordings of what was decided to be taken down are deleted, and an account is suspended where whoever decided so was
//! cut off before. Streams are ended by the nodes that have them, which follow the log themselves; their pictures go by
//! [`crate::pictures`].

use commands::{CommandError, Commands, Metadata, recordings, reports};
use domain::{
    DomainEvent,
    ids::{RecordingId, ReportId},
    recordings::{RecordingDeletedReason, RecordingRefusal},
    reports::{ReportAction, ReportEvent, ReportTarget},
};

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process, caused_by};

const PROCESS: Process = Process { name: "reports", types: &["report.decided"], begin: Begin::Start };

/// Follows decisions, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, following: &Following) {
    following.follow(PROCESS, &Decisions { commands }).await;
}

struct Decisions<'a> {
    commands: &'a Commands,
}

impl Handler for Decisions<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let DomainEvent::Report(ReportEvent::Decided { report_id, action, target, .. }) = &followed.event else {
            return Ok(());
        };
        match action {
            ReportAction::TakeDown => {}
            ReportAction::SuspendAccount => return self.suspend(*report_id).await,
            ReportAction::None => return Ok(()),
        }
        match *target {
            ReportTarget::Stream { id } => match recordings::of_stream(self.commands, id).await? {
                Some(recording_id) => self.delete(recording_id, caused_by(followed)).await,
                None => Ok(()),
            },
            ReportTarget::Recording { id } => self.delete(id, caused_by(followed)).await,
            // The command refuses to take these down.
            ReportTarget::Channel { .. } | ReportTarget::Account { .. } => Ok(()),
        }
    }
}

impl Decisions<'_> {
    async fn suspend(&self, report_id: ReportId) -> Result<(), BoxError> {
        match reports::carry_out_suspension(self.commands, report_id).await {
            Ok(_) => Ok(()),
            // Erased since, the last administrator by now, or over before it could begin.
            Err(CommandError::Refused(refusal)) => {
                tracing::warn!(
                    report.id = %report_id, %refusal,
                    "an account was to be suspended by a decision, and cannot be any more"
                );
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
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
