//! What the recorder and the origin of recordings need of the rest: facts go to the write side, and who may watch is read from
//! the read models.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use commands::{CommandError, Commands, recordings};
use domain::{
    ids::{ChannelId, NodeId, RecordingId, StreamId},
    recordings::{FinishedRecording, RecordingFailure, RecordingLimits, RecordingRefusal, RecordingState},
};
use futures::{FutureExt, future::BoxFuture};
use ingest::{
    OpenRecording, RecordError, RecordingAccess, RecordingRights, RecordingUse, Recordings,
    rights::{KnownRecording, RecordingDecision, RecordingTerms, Rights},
};
use projections::{ReadModels, recordings::RecordingRow};
use time::{OffsetDateTime, macros::format_description};
use tracing::{debug, error};

/// How far back pictures are looked for that a crash has kept from being made.
const LATELY: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// How long what was read of a recording is believed: a player asks for something every few seconds.
const BELIEVED_FOR: Duration = Duration::from_secs(2);
/// How many recordings are remembered.
const REMEMBERED: usize = 1_000;

/// The write side, told by the recorder of one node.
pub struct RecordingsSide {
    pub commands: Commands,
    pub node_id: NodeId,
    /// What the server allows a channel; its owner may want less.
    pub limits: RecordingLimits,
}

impl Recordings for RecordingsSide {
    fn begin(
        &self,
        stream_id: StreamId,
        channel_id: ChannelId,
    ) -> BoxFuture<'_, Result<Option<OpenRecording>, RecordError>> {
        let begun = recordings::start(&self.commands, stream_id, channel_id, self.node_id);
        async move { Ok(begun.await.map_err(not_taken)?.map(open)) }.boxed()
    }

    fn size_limit(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<Option<u64>, RecordError>> {
        async move {
            let policy = recordings::policy(&self.commands, channel_id).await;
            let policy = policy.map_err(|error| not_taken(CommandError::from(error)))?;
            let limits = policy.map_or(self.limits, |(_, policy)| policy.within(self.limits));
            Ok(limits.max_size_bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)))
        }
        .boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        let asked = recordings::open_recordings(&self.commands, self.node_id);
        async move {
            let found = asked.await.map_err(|error| not_taken(CommandError::from(error)))?;
            Ok(found.into_iter().map(open).collect())
        }
        .boxed()
    }

    fn lately_published(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        async move {
            let since = OffsetDateTime::now_utc() - LATELY;
            let found = recordings::published_by(&self.commands, self.node_id, since).await;
            let found = found.map_err(|error| not_taken(CommandError::from(error)))?;
            Ok(found.into_iter().map(open).collect())
        }
        .boxed()
    }

    fn published(
        &self,
        recording_id: RecordingId,
        finished: FinishedRecording,
    ) -> BoxFuture<'_, Result<(), RecordError>> {
        let told = recordings::publish(&self.commands, recording_id, self.node_id, finished);
        async move { told.await.map(drop).map_err(not_taken) }.boxed()
    }

    fn is_deleted(&self, recording_id: RecordingId) -> BoxFuture<'_, Result<bool, RecordError>> {
        async move {
            let kept = recordings::kept_by(&self.commands, recording_id).await;
            let kept = kept.map_err(|error| not_taken(CommandError::from(error)))?;
            Ok(kept.is_some_and(|(_, state)| state == RecordingState::Deleted))
        }
        .boxed()
    }

    fn is_over(&self, recording_id: RecordingId) -> BoxFuture<'_, Result<bool, RecordError>> {
        async move {
            let kept = recordings::kept_by(&self.commands, recording_id).await;
            let kept = kept.map_err(|error| not_taken(CommandError::from(error)))?;
            Ok(kept.is_some_and(|(_, state)| state != RecordingState::Recording))
        }
        .boxed()
    }

    fn failed(&self, recording_id: RecordingId, reason: RecordingFailure) -> BoxFuture<'_, Result<(), RecordError>> {
        let told = recordings::fail(&self.commands, recording_id, self.node_id, reason);
        async move { told.await.map(drop).map_err(not_taken) }.boxed()
    }
}

fn open(open: recordings::OpenRecording) -> OpenRecording {
    let recordings::OpenRecording { recording_id, stream_id, channel_id } = open;
    OpenRecording { recording_id, stream_id, channel_id }
}

fn not_taken(error: CommandError<RecordingRefusal>) -> RecordError {
    match error {
        CommandError::Refused(refusal) => {
            debug!(%refusal, "a fact about a recording was refused");
            RecordError::Gone
        }
        CommandError::Unexpected(source) => {
            error!(error = &*source as &(dyn std::error::Error + 'static), "the log cannot be read or written");
            RecordError::Unavailable
        }
        error => {
            debug!(error = error.to_string(), "the write side does not take a fact about a recording");
            RecordError::Unavailable
        }
    }
}

/// Who may have which recording: as the read models say, and the log since.
pub struct RecordingDoor {
    read: ReadModels,
    rights: Rights,
    seen: Mutex<HashMap<RecordingId, (Instant, Option<RecordingRow>)>>,
}

impl RecordingDoor {
    /// As the read models have it, and `rights` for channels that are not public.
    pub fn new(read: ReadModels, rights: Rights) -> Self {
        Self { read, rights, seen: Mutex::default() }
    }

    async fn row(&self, recording_id: RecordingId) -> Result<Option<RecordingRow>, RecordError> {
        let seen = |door: &Self| {
            let seen = door.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.get(&recording_id).filter(|(at, _)| at.elapsed() < BELIEVED_FOR).map(|(_, row)| row.clone())
        };
        if let Some(row) = seen(self) {
            return Ok(row);
        }
        let row = self.read.recordings().by_id(recording_id).await.map_err(|error| {
            debug!(%error, "the recordings cannot be read");
            RecordError::Unavailable
        })?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(recording_id, (Instant::now(), row.clone()));
        Ok(row)
    }

    /// A recording that is ready, and its terms; `None` when there is none.
    async fn ready(&self, recording_id: RecordingId) -> Result<Option<(RecordingRow, RecordingTerms)>, RecordError> {
        if !self.rights.is_complete() {
            // Its channel may be one that only some may see.
            return Err(RecordError::Unavailable);
        }
        let row = self.row(recording_id).await?.filter(|row| row.state == RecordingState::Published);
        Ok(row.map(|row| {
            let terms = self.rights.newest(terms_of(&row));
            (row, terms)
        }))
    }

    async fn look(
        &self,
        recording_id: RecordingId,
        wanted: RecordingUse,
        token: Option<&str>,
    ) -> Result<RecordingAccess, RecordError> {
        let Some((row, terms)) = self.ready(recording_id).await? else { return Ok(RecordingAccess::Unknown) };
        Ok(match self.rights.decide_recording(terms, wanted, token) {
            RecordingDecision::Unknown => RecordingAccess::Unknown,
            RecordingDecision::Refused => RecordingAccess::Refused,
            RecordingDecision::Granted { is_public } => {
                RecordingAccess::Granted { is_public, file_name: file_name(&row) }
            }
        })
    }
}

impl RecordingRights for RecordingDoor {
    fn allows<'a>(
        &'a self,
        recording_id: RecordingId,
        wanted: RecordingUse,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<RecordingAccess, RecordError>> {
        self.look(recording_id, wanted, token).boxed()
    }

    fn lost(&self, recording_id: RecordingId, wanted: RecordingUse, token: Option<String>) -> BoxFuture<'static, ()> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let row = seen.get(&recording_id).and_then(|(_, row)| row.clone());
        drop(seen);
        let (read, rights) = (self.read.clone(), self.rights.clone());
        async move {
            // It was looked at to let them in; what was seen may have been forgotten since.
            let row = match row {
                Some(row) => row,
                None => match looked_up(&read, recording_id).await {
                    Some(row) => row,
                    None => return,
                },
            };
            let terms = terms_of(&row);
            rights.recording_lost(terms, wanted, token.as_deref()).await;
        }
        .boxed()
    }

    fn known<'a>(
        &'a self,
        recording_id: RecordingId,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<KnownRecording>, RecordError>> {
        async move {
            if !self.rights.is_edge(token) {
                return Ok(None);
            }
            let ready = self.ready(recording_id).await?.filter(|(_, terms)| !terms.is_deleted);
            Ok(ready.map(|(_, terms)| KnownRecording { terms, channel: self.rights.of_channel(terms.channel_id) }))
        }
        .boxed()
    }
}

/// A recording as the read models have it, asked for until they answer; `None` when it is gone.
async fn looked_up(read: &ReadModels, recording_id: RecordingId) -> Option<RecordingRow> {
    const AGAIN: Duration = Duration::from_secs(1);
    loop {
        match read.recordings().by_id(recording_id).await {
            Ok(row) => return row.filter(|row| row.state == RecordingState::Published),
            // Nobody loses a right by it: while the log cannot be read, nothing can be taken back either.
            Err(error) => debug!(%error, "the recordings cannot be read"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// As the read models have them.
fn terms_of(row: &RecordingRow) -> RecordingTerms {
    RecordingTerms {
        recording_id: row.id,
        channel_id: row.channel_id,
        visibility: row.visibility,
        is_download_allowed: row.is_download_allowed,
        is_deleted: false,
        version: row.version,
    }
}

/// Handle and day: what a person looks for in a folder of downloads.
fn file_name(row: &RecordingRow) -> String {
    let day = row.started_at.format(format_description!("[year]-[month]-[day]")).unwrap_or_default();
    format!("{}-{day}", row.channel_handle)
}
