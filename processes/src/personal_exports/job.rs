//! One personal export that is being written.

use std::{error::Error, time::Duration};

use commands::{
    Actor, CommandError, Commands, LoadError, Metadata,
    accounts::personal_exports::{self as exports, KEPT_FOR, jobs, jobs::PersonalExportJob},
    events,
};
use domain::{
    accounts::{PersonalExportFailure, PersonalExportRefusal},
    exports::ExportState,
    sealed::KeyringError,
};
use projections::{QueryError, ReadModels};
use sqlx::PgPool;
use storage::StorageError;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{interval, sleep},
};
use uuid::Uuid;

use super::{
    archive::{Archive, ArchiveError},
    contents, events as of_log, key,
};
use crate::ExportsOptions;

/// How often others are told that it goes on, and how far it is.
const BEATS_EVERY: Duration = Duration::from_secs(1);
/// How often it is begun before it counts as one that cannot be written.
const MAX_ATTEMPTS: i32 = 5;
/// How long it rests after a failure that may pass.
const RETRY: Duration = Duration::from_secs(2);
/// How long it waits for the read models to have what was there when it began. The log has everything, whatever they have.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Why an export is not written this time.
#[derive(Debug, Error)]
pub(super) enum JobError {
    #[error("the log does not answer")]
    Log(#[source] Box<dyn Error + Send + Sync>),
    #[error("it was deleted, or another node writes it")]
    Lost,
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the file could not be begun")]
    Storage(#[from] StorageError),
    #[error("something could not be put into JSON")]
    Json(#[from] serde_json::Error),
    #[error("what is sealed could not be opened")]
    Sealed(#[from] KeyringError),
    #[error("it was begun too often")]
    TooOften,
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

impl From<QueryError> for JobError {
    fn from(error: QueryError) -> Self {
        Self::Log(error.into())
    }
}

impl From<LoadError> for JobError {
    fn from(error: LoadError) -> Self {
        Self::Log(error.into())
    }
}

impl JobError {
    /// What whoever asked for it is told; `None` when it is to be tried again.
    fn failure(&self) -> Option<PersonalExportFailure> {
        match self {
            Self::Log(_) | Self::Lost | Self::Sealed(KeyringError::Unavailable(_)) => None,
            Self::Storage(error) | Self::Archive(ArchiveError::Storage(error)) if error.is_disk_full() => {
                Some(PersonalExportFailure::StorageFull)
            }
            Self::Archive(ArchiveError::Io(error))
                if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) =>
            {
                Some(PersonalExportFailure::StorageFull)
            }
            Self::TooOften => Some(PersonalExportFailure::Interrupted),
            Self::Storage(_) | Self::Archive(_) | Self::Json(_) | Self::Sealed(_) => {
                Some(PersonalExportFailure::Unwritable)
            }
        }
    }
}

/// How far a job is, from 0 to 1.
pub(super) struct Progress(watch::Sender<f64>);

impl Progress {
    pub(super) fn set(&self, fraction: f64) {
        self.0.send_replace(fraction.clamp(0.0, 1.0));
    }
}

/// Writes an export and records what became of it. What cannot be recorded is begun anew by whoever takes it on next.
pub(super) async fn run(commands: &Commands, options: &ExportsOptions, worker: Uuid, job: PersonalExportJob) {
    let PersonalExportJob { export_id, account_id, .. } = job;
    let ended = match written(commands, options, worker, job).await {
        Ok(()) => Ok(()),
        Err(error) => match error.failure() {
            Some(failure) => {
                tracing::error!(export.id = %export_id, error = &error as &dyn Error, "a personal export could not be written");
                let metadata = Metadata::new(Actor::System);
                match exports::fail(commands, (account_id, export_id), failure, metadata).await {
                    Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
                    Err(error) => Err(JobError::Log(error.into())),
                }
            }
            None => Err(error),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(export.id = %export_id, error = &error as &dyn Error, "a personal export is not written this time");
        sleep(RETRY).await;
        if let Err(error) = jobs::release(commands.pool(), export_id, worker).await {
            tracing::debug!(export.id = %export_id, error = &error as &dyn Error, "the list cannot be changed");
        }
    }
}

/// Writes the file and records that it is there.
async fn written(
    commands: &Commands,
    options: &ExportsOptions,
    worker: Uuid,
    job: PersonalExportJob,
) -> Result<(), JobError> {
    let PersonalExportJob { export_id, account_id, attempts } = job;
    let newest = exports::newest(commands, account_id).await?;
    let is_wanted =
        newest.is_some_and(|newest| newest.export_id == export_id && newest.state == ExportState::Requested);
    if !is_wanted {
        // It has ended; the process that follows the log takes it off the list when it comes to that.
        return Err(JobError::Lost);
    }
    if attempts > MAX_ATTEMPTS {
        return Err(JobError::TooOften);
    }
    let (sender, seen) = watch::channel(0.0);
    let progress = Progress(sender);
    let size_bytes = tokio::select! {
        written = write(commands, options, job, &progress) => written?,
        () = lost(commands.pool(), job, worker, &seen) => return Err(JobError::Lost),
    };
    let size_bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
    let expires_at = OffsetDateTime::now_utc() + KEPT_FOR;
    let metadata = Metadata::new(Actor::System);
    match exports::complete(commands, (account_id, export_id), size_bytes, expires_at, metadata).await {
        Ok(_) => Ok(()),
        Err(CommandError::Refused(PersonalExportRefusal::Unknown)) => {
            // It was deleted before there was a file to delete, or an answer from before was lost.
            let newest = exports::newest(commands, account_id).await?;
            let is_there =
                newest.is_some_and(|newest| newest.export_id == export_id && newest.state == ExportState::Completed);
            if !is_there {
                options.storage.delete(&key(export_id)).await?;
            }
            Ok(())
        }
        Err(error) => Err(JobError::Log(error.into())),
    }
}

async fn write(
    commands: &Commands,
    options: &ExportsOptions,
    job: PersonalExportJob,
    progress: &Progress,
) -> Result<u64, JobError> {
    let head = events::head(commands.pool()).await?;
    ReadModels::new(commands.pool().clone()).wait_for(head, READ_WITHIN).await;
    let mut archive = Archive::new(options.storage.create(&key(job.export_id)).await?);
    contents::write(commands, job.account_id, &options.public_url, &mut archive, progress).await?;
    of_log::write(commands, job.account_id, &mut archive, progress).await?;
    Ok(archive.finish().await?)
}

/// Returns when the export is no longer this worker's; says until then how far it is.
async fn lost(pool: &PgPool, job: PersonalExportJob, worker: Uuid, progress: &watch::Receiver<f64>) {
    let mut beats = interval(BEATS_EVERY);
    loop {
        beats.tick().await;
        let now = *progress.borrow();
        match jobs::beat(pool, job.export_id, worker, now).await {
            Ok(true) => {}
            Ok(false) => return,
            // Reading the log fails as well, or it is over soon.
            Err(error) => tracing::debug!(error = &error as &dyn Error, "a personal export's progress cannot be told"),
        }
    }
}
