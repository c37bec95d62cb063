//! One export that is being written.

use std::{error::Error, io::BufWriter, time::Duration};

use commands::{
    Actor, CommandError, Commands, Metadata,
    events::{self, Actors, Envelope, Filter, Subject},
    exports::{
        self, KEPT_FOR, WrittenExport,
        jobs::{self, Job, JobProgress},
    },
};
use domain::{
    Aggregate,
    exports::{Export, ExportRefusal, ExportRequest, ExportState},
    ids::ExportId,
};
use serde::Deserialize;
use sqlx::PgPool;
use storage::StorageError;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{interval, sleep},
};
use uuid::Uuid;

use super::{ExportsOptions, Wanted, WriteError, key, write::write};

/// How often others are told that it goes on, and how far it is.
const BEATS_EVERY: Duration = Duration::from_secs(1);
/// How often it is begun before it counts as one that cannot be written.
const MAX_ATTEMPTS: i32 = 5;
/// How long it rests after a failure that may pass.
const RETRY: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 256 * 1024;

/// Why an export is not written this time.
#[derive(Debug, Error)]
enum JobError {
    #[error("the log does not answer")]
    Log(#[source] Box<dyn Error + Send + Sync>),
    #[error("it was deleted, or another node writes it")]
    Lost,
    #[error("the file could not be stored")]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("it asks for something that can never be")]
    Filter(#[from] events::FilterError),
    #[error("it was begun too often")]
    TooOften,
}

impl JobError {
    /// What whoever asked for it is told; `None` when it is to be tried again.
    fn reason(&self) -> Option<&'static str> {
        const NO_ROOM: &str = "The server has no room left for the file. Ask for a smaller part of the log, or tell whoever \
                               runs the server.";
        const NOT_STORED: &str = "The server could not store the file. Its log says why; tell whoever runs it.";
        match self {
            Self::Log(_) | Self::Lost | Self::Write(WriteError::Read(events::ReadError::Log(_))) => None,
            Self::Storage(error) if error.is_disk_full() => Some(NO_ROOM),
            Self::Write(WriteError::Io(error)) if is_full(error) => Some(NO_ROOM),
            Self::Storage(_) | Self::Write(WriteError::Io(_)) => Some(NOT_STORED),
            Self::Write(WriteError::Format(_)) => {
                Some("The server could not put the events into this form. Its log says why; try another format.")
            }
            Self::Filter(_) | Self::Write(WriteError::Read(events::ReadError::Filter(_))) => {
                Some("No event could ever match what was asked for.")
            }
            Self::TooOften => Some(
                "The server was interrupted five times while it wrote the file. Ask for a smaller part of the log.",
            ),
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Writes an export and records what became of it. What cannot be recorded is begun anew by whoever takes it on next.
pub(super) async fn run(commands: &Commands, options: &ExportsOptions, worker: Uuid, job: Job) {
    let export_id = job.export_id;
    let ended = match written(commands, options, worker, job).await {
        Ok(ended) => Ok(ended),
        Err(error) => {
            let reason = error.reason();
            if reason.is_some() && !matches!(error, JobError::TooOften) {
                tracing::error!(export.id = %export_id, error = &error as &dyn Error, "an export could not be written");
            } else {
                tracing::debug!(export.id = %export_id, error = &error as &dyn Error, "an export is not written this time");
            }
            match reason {
                Some(reason) => record_failure(commands, export_id, reason).await,
                None => Err(error),
            }
        }
    };
    let settled = match ended {
        Ok(()) => jobs::remove(commands.pool(), export_id).await,
        Err(_) => {
            sleep(RETRY).await;
            jobs::release(commands.pool(), export_id, worker).await
        }
    };
    if let Err(error) = settled {
        tracing::debug!(export.id = %export_id, error = &error as &dyn Error, "the list of exports cannot be changed");
    }
}

/// Writes the file and records that it is there.
async fn written(commands: &Commands, options: &ExportsOptions, worker: Uuid, job: Job) -> Result<(), JobError> {
    let Job { export_id, attempts } = job;
    let loaded = commands.load::<Export>(&export_id.to_string()).await.map_err(|error| JobError::Log(error.into()))?;
    let Some((export, _)) = loaded else { return Ok(()) };
    let (Some(request), Some(ExportState::Requested)) = (export.request(), export.state()) else { return Ok(()) };
    if attempts > MAX_ATTEMPTS {
        return Err(JobError::TooOften);
    }
    let pool = commands.pool();
    let metadata = caused_by(pool, export_id).await?;
    let (wanted, total) = wanted(commands, options, request).await?;
    let key = key(export_id);
    let out = BufWriter::with_capacity(BUFFER_BYTES, options.storage.create(&key).await?);
    let (progress, seen) = watch::channel(JobProgress { events_total: total, ..JobProgress::default() });
    let (out, event_count) = tokio::select! {
        written = write(pool.clone(), wanted, out, &progress) => written?,
        () = lost(pool, export_id, worker, &seen) => return Err(JobError::Lost),
    };
    let finished = tokio::task::spawn_blocking(move || {
        let writer = out.into_inner().map_err(|error| WriteError::Io(error.into_error()))?;
        writer.finish().map_err(JobError::from)
    });
    let size_bytes = finished.await.map_err(WriteError::from)??;
    let written = WrittenExport {
        event_count,
        size_bytes: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        expires_at: Some(OffsetDateTime::now_utc() + KEPT_FOR),
    };
    match exports::complete(commands, export_id, written, metadata).await {
        Ok(_) | Err(CommandError::Refused(ExportRefusal::AlreadyEnded | ExportRefusal::AlreadyExists)) => Ok(()),
        Err(CommandError::Refused(ExportRefusal::Deleted | ExportRefusal::Unknown)) => {
            // It was deleted before there was a file to delete.
            options.storage.delete(&key).await?;
            Ok(())
        }
        Err(error) => Err(JobError::Log(error.into())),
    }
}

/// Returns when the export is no longer this worker's; says until then how far it is.
async fn lost(pool: &PgPool, export_id: ExportId, worker: Uuid, progress: &watch::Receiver<JobProgress>) {
    let mut beats = interval(BEATS_EVERY);
    loop {
        beats.tick().await;
        let now = *progress.borrow();
        match jobs::beat(pool, export_id, worker, now).await {
            Ok(true) => {}
            Ok(false) => return,
            // Reading the log fails as well, or it is over soon.
            Err(error) => tracing::debug!(error = &error as &dyn Error, "an export's progress cannot be told"),
        }
    }
}

/// What the log is asked for, and how many events that is if it can be said without looking.
async fn wanted(
    commands: &Commands,
    options: &ExportsOptions,
    request: &ExportRequest,
) -> Result<(Wanted, Option<i64>), JobError> {
    let filter = exports::filter(&request.filter)?;
    let is_whole = filter.types.is_empty() && filter.subject.is_none() && filter.channel.is_none();
    let total = if is_whole { Some(count(commands.pool(), &filter).await?) } else { None };
    let wanted = Wanted {
        filter,
        format: request.format,
        envelope: Envelope::new(&options.public_url, Actors::Pseudonymous(commands.pseudonyms())),
        source: options.public_url.clone(),
    };
    Ok((wanted, total))
}

/// How many events a range of positions and times holds: there are no gaps.
async fn count(pool: &PgPool, filter: &Filter) -> Result<i64, JobError> {
    let before = async |time: Option<OffsetDateTime>| match time {
        Some(time) => {
            let position = events::position_at(pool, time - time::Duration::MICROSECOND).await;
            position.map(Some).map_err(|error| JobError::Log(error.into()))
        }
        None => Ok(None),
    };
    let begin = filter.after.max(before(filter.from).await?.unwrap_or(0));
    let end = filter.until.unwrap_or(i64::MAX).min(before(filter.to).await?.unwrap_or(i64::MAX));
    Ok((end - begin).max(0))
}

async fn record_failure(commands: &Commands, export_id: ExportId, reason: &str) -> Result<(), JobError> {
    let metadata = caused_by(commands.pool(), export_id).await?;
    match exports::fail(commands, export_id, reason.to_owned(), metadata).await {
        Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
        Err(error) => Err(JobError::Log(error.into())),
    }
}

/// What follows from the request for an export belongs to it.
async fn caused_by(pool: &PgPool, export_id: ExportId) -> Result<Metadata, JobError> {
    #[derive(Deserialize)]
    struct Recorded {
        command_id: Uuid,
        correlation_id: Uuid,
    }
    let subject = Subject { aggregate_type: Export::TYPE.to_owned(), aggregate_id: export_id.to_string() };
    let filter = Filter { subject: Some(subject), ..Filter::default() };
    let requested = events::page(pool, &filter, 1).await.map_err(|error| JobError::Log(error.into()))?;
    let mut metadata = Metadata::new(Actor::System);
    let recorded = requested.first().and_then(|event| serde_json::from_str::<Recorded>(event.metadata.get()).ok());
    if let Some(recorded) = recorded {
        metadata.correlation_id = recorded.correlation_id;
        metadata.causation_id = Some(recorded.command_id);
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_the_rest_says_what_to_do() {
        let log = || sqlx::Error::PoolTimedOut;
        assert_eq!(JobError::Log(log().into()).reason(), None);
        assert_eq!(JobError::Write(WriteError::Read(log().into())).reason(), None);
        assert_eq!(JobError::Lost.reason(), None);
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let reason = JobError::Write(WriteError::Io(kind.into())).reason().unwrap();
            assert!(reason.contains("no room"), "{reason}");
        }
        let reason = JobError::Write(WriteError::Io(io::ErrorKind::PermissionDenied.into())).reason().unwrap();
        assert!(reason.contains("could not store"), "{reason}");
    }
}
