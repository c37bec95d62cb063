//! Writing a part of the log in one of the forms, batch by batch, so that memory stays flat however long the log is.

use std::io::{self, Write};

use commands::{
    events::{self, Envelope, Filter, ReadError, StoredEvent},
    exports::jobs::JobProgress,
};
use domain::exports::ExportFormat;
use futures::StreamExt;
use sqlx::PgPool;
use thiserror::Error;
use tokio::{sync::watch, task::JoinError};

use super::{csv::Csv, ndjson::Ndjson, parquet::Parquet};

/// What is written, and as what.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Which events; `until` is a position that exists.
    pub filter: Filter,
    /// In which form.
    pub format: ExportFormat,
    /// How events look to outsiders.
    pub envelope: Envelope,
    /// The install, as the envelope names it.
    pub source: String,
}

/// Why a part of the log could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The log does not answer, or nothing could ever match.
    #[error("the log could not be read")]
    Read(#[from] ReadError),
    /// The file does not take more: the disk is full, or nobody reads on at the other end.
    #[error("the file could not be written")]
    Io(#[source] io::Error),
    /// An event does not fit the form. A bug.
    #[error("the events could not be put into this form")]
    Format(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the forms fail by.
#[derive(Debug, Error)]
pub(crate) enum FormatError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("an event is no JSON")]
    Json(#[from] serde_json::Error),
    #[error("Parquet refuses the events")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

impl From<FormatError> for WriteError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Io(error) => Self::Io(error),
            // It wraps what the file said.
            FormatError::Parquet(::parquet::errors::ParquetError::External(source)) => {
                match source.downcast::<io::Error>() {
                    Ok(error) => Self::Io(*error),
                    Err(source) => Self::Format(source),
                }
            }
            other => Self::Format(other.into()),
        }
    }
}

impl From<JoinError> for WriteError {
    fn from(error: JoinError) -> Self {
        Self::Format(error.into())
    }
}

/// Writes what is wanted to `out` and gives that back with the number of events; `progress` learns how far it is. The work
/// is done off the async threads. Dropping the future ends it after the batch at hand, and drops `out`.
///
/// # Errors
/// [`WriteError`]; `out` is dropped then.
pub async fn write<W: Write + Send + 'static>(
    pool: PgPool,
    wanted: Wanted,
    out: W,
    progress: &watch::Sender<JobProgress>,
) -> Result<(W, i64), WriteError> {
    let Wanted { filter, format, envelope, source } = wanted;
    let mut writer = Writer::new(format, out, envelope, &source)?;
    let mut batches = Box::pin(events::batches(pool, filter));
    let mut count = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        count += i64::try_from(batch.events.len()).unwrap_or(i64::MAX);
        if !batch.events.is_empty() {
            let written = tokio::task::spawn_blocking(move || {
                writer.write(&batch.events)?;
                Ok::<_, FormatError>(writer)
            });
            writer = written.await??;
        }
        progress.send_modify(|progress| {
            progress.events_done = count;
            progress.position = batch.reached;
        });
    }
    let out = tokio::task::spawn_blocking(move || writer.finish()).await??;
    Ok((out, count))
}

enum Writer<W: Write + Send> {
    Parquet(Box<Parquet<W>>),
    Csv(Csv<W>),
    Ndjson(Ndjson<W>),
}

impl<W: Write + Send> Writer<W> {
    fn new(format: ExportFormat, out: W, envelope: Envelope, source: &str) -> Result<Self, FormatError> {
        Ok(match format {
            ExportFormat::Parquet => Self::Parquet(Box::new(Parquet::new(out, envelope, source)?)),
            ExportFormat::Csv => Self::Csv(Csv::new(out, envelope)),
            ExportFormat::Ndjson => Self::Ndjson(Ndjson::new(out, envelope)),
        })
    }

    fn write(&mut self, events: &[StoredEvent]) -> Result<(), FormatError> {
        match self {
            Self::Parquet(writer) => writer.write(events),
            Self::Csv(writer) => Ok(writer.write(events)?),
            Self::Ndjson(writer) => Ok(writer.write(events)?),
        }
    }

    fn finish(self) -> Result<W, FormatError> {
        match self {
            Self::Parquet(writer) => writer.finish(),
            Self::Csv(writer) => Ok(writer.finish()?),
            Self::Ndjson(writer) => Ok(writer.finish()?),
        }
    }
}
