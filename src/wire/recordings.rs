//! What the recorder and the origin of recordings need of the rest: facts go to the write side, and who may watch is read from
//! the read models.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use commands::{
    CommandError, Commands,
    recordings::{
        self,
        tokens::{self, Purpose},
    },
};
use domain::{
    channels::Visibility,
    ids::{ChannelId, NodeId, RecordingId, StreamId},
    recordings::{FinishedRecording, RecordingFailure, RecordingRefusal, RecordingState, RecordingVisibility},
};
use futures::{FutureExt, future::BoxFuture};
use ingest::{OpenRecording, RecordError, RecordingAccess, RecordingRights, RecordingUse, Recordings, rights::Rights};
use projections::{ReadModels, recordings::RecordingRow};
use time::{OffsetDateTime, macros::format_description};
use tracing::{debug, error};

/// How long what was read of a recording is believed: a player asks for something every few seconds.
const BELIEVED_FOR: Duration = Duration::from_secs(2);
/// How many recordings are remembered.
const REMEMBERED: usize = 1_000;

/// The write side, told by the recorder of one node.
pub struct RecordingsSide {
    pub commands: Commands,
    pub node_id: NodeId,
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

    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        let asked = recordings::open_recordings(&self.commands, self.node_id);
        async move {
            let found = asked.await.map_err(|error| not_taken(CommandError::from(error)))?;
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

/// Who may have which recording.
pub struct RecordingDoor {
    commands: Commands,
    read: ReadModels,
    rights: Rights,
    seen: Mutex<HashMap<RecordingId, (Instant, Option<RecordingRow>)>>,
}

impl RecordingDoor {
    /// As the read models have it, and `rights` for channels that are not public.
    pub fn new(commands: Commands, read: ReadModels, rights: Rights) -> Self {
        Self { commands, read, rights, seen: Mutex::default() }
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

    async fn look(
        &self,
        recording_id: RecordingId,
        wanted: RecordingUse,
        token: Option<&str>,
    ) -> Result<RecordingAccess, RecordError> {
        let row = self.row(recording_id).await?.filter(|row| row.state == RecordingState::Published);
        let Some(row) = row else { return Ok(RecordingAccess::Unknown) };
        let is_listed = row.visibility == RecordingVisibility::Published;
        let is_public = is_listed && row.channel_visibility == Visibility::Public;
        let purpose = match wanted {
            RecordingUse::Play => Purpose::Play,
            RecordingUse::Download => Purpose::Download,
        };
        let is_given = match wanted {
            RecordingUse::Play => true,
            RecordingUse::Download => row.is_download_allowed,
        };
        let granted = |is_public| RecordingAccess::Granted { is_public, file_name: file_name(&row) };
        if is_public && is_given {
            return Ok(granted(true));
        }
        let Some(token) = token else {
            // Whoever may have it is given an address with a token; to everybody else it is none.
            return Ok(if is_public { RecordingAccess::Refused } else { RecordingAccess::Unknown });
        };
        let is_good =
            tokens::is_good(&self.commands, recording_id, purpose, &row.terms(), token, OffsetDateTime::now_utc());
        // What a channel shows goes by the channel's own tokens, too.
        let is_channels =
            is_listed && is_given && matches!(self.rights.decide(row.channel_id, Some(token)), Ok(Some(_)));
        Ok(if is_good || is_channels { granted(false) } else { RecordingAccess::Refused })
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
}

/// Handle and day: what a person looks for in a folder of downloads.
fn file_name(row: &RecordingRow) -> String {
    let day = row.started_at.format(format_description!("[year]-[month]-[day]")).unwrap_or_default();
    format!("{}-{day}", row.channel_handle)
}
