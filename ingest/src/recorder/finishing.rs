//! What comes of a recording: it is published or has failed, and what belongs to it is made.

use std::{error::Error, sync::Arc};

use domain::{
    ids::RecordingId,
    recordings::{CutShort, FinishedRecording, RecordedRendition, RecordingFailure},
};
use metrics::counter;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{KeepError, STORE_WITHIN, Shared, TRY_AGAIN, ask, folder, index::Index, key, sheets, shelf::Shelf};
use crate::{ports::OpenRecording, thumbnails};

/// How the keeping of a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// To the stream's end.
    Whole,
    /// To the stream's end, and something is missing in between or at the beginning.
    WithGaps,
    Short(CutShort),
}

impl Outcome {
    /// As it must be called where this is what was kept.
    pub(super) fn with(self, index: &Index) -> Self {
        let has_gaps = index.segments.iter().any(|segment| segment.is_gap);
        if self == Self::Whole && has_gaps { Self::WithGaps } else { self }
    }

    /// As metrics have it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::WithGaps => "gaps",
            // Nothing is wrong there.
            Self::Short(CutShort::Quota) => "quota",
            Self::Short(_) => "short",
        }
    }
}

impl Shared {
    pub(super) async fn make_sheets(&self, recording_id: RecordingId, index: &Index, shelf: &Arc<dyn Shelf>) {
        sheets::make(recording_id, index, shelf).await;
        self.leave_nothing(recording_id, &**shelf).await;
    }

    /// Deletes what was stored of a recording that has been deleted meanwhile: whoever deletes such things may have been here
    /// before it was.
    pub(super) async fn leave_nothing(&self, recording_id: RecordingId, shelf: &dyn Shelf) {
        if ask("whether a recording is gone", || self.recordings.is_deleted(recording_id)).await == Ok(true) {
            info!(recording.id = %recording_id, "the recording was deleted meanwhile; its pictures go, too");
            delete(recording_id, shelf).await;
        }
    }

    /// Tells the write side what has come of a recording; whether it can be watched.
    pub(super) async fn finish(
        &self,
        begun: &OpenRecording,
        index: &Index,
        outcome: Outcome,
        shelf: &dyn Shelf,
    ) -> bool {
        let recording_id = begun.recording_id;
        let told = match finished(index, outcome) {
            Ok(finished) => {
                let (duration_ms, size_bytes) = (finished.duration_ms, finished.size_bytes);
                self.copy_picture(begun, shelf).await;
                let told = ask("a finished recording", || self.recordings.published(recording_id, finished.clone()));
                let told = told.await;
                let gaps = finished.gap_count;
                info!(recording.id = %recording_id, duration_ms, size_bytes, gaps, ?outcome, "recorded");
                told.map(|()| true)
            }
            Err(reason) => {
                warn!(recording.id = %recording_id, reason = reason.as_str(), "nothing could be recorded");
                ask("a failed recording", || self.recordings.failed(recording_id, reason)).await.map(|()| false)
            }
        };
        let label = match told {
            Ok(true) => outcome.label(),
            Ok(false) => "failed",
            Err(_) => "deleted",
        };
        if told.is_err() {
            // It was deleted while it was made; whoever deletes such things may have been here before the last segment.
            delete(recording_id, shelf).await;
        }
        counter!("weir_recordings_total", "outcome" => label).increment(1);
        told.unwrap_or_else(|error| {
            debug!(recording.id = %recording_id, %error, "a recording is gone before it was finished");
            false
        })
    }

    /// The stream's last picture becomes the recording's.
    pub(super) async fn copy_picture(&self, begun: &OpenRecording, shelf: &dyn Shelf) {
        let copied = async {
            let Some(picture) = shelf.get(&thumbnails::key(begun.stream_id)?).await? else { return Ok(()) };
            shelf.put(&key(begun.recording_id, "thumbnail.jpg")?, picture).await?;
            Ok::<_, KeepError>(())
        };
        match timeout(STORE_WITHIN, copied).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(error = &error as &dyn Error, "a recording has no picture"),
            Err(_) => debug!("a recording has no picture: the storage takes too long"),
        }
    }
}

/// What has come of a recording, or why nothing has.
pub(super) fn finished(index: &Index, outcome: Outcome) -> Result<FinishedRecording, RecordingFailure> {
    let duration_ms: u64 = index.segments.iter().map(|segment| u64::from(segment.duration_ms)).sum();
    let media_bytes: u64 = index.segments.iter().map(|segment| segment.size_bytes).sum();
    if index.segments.is_empty() {
        return Err(match outcome {
            Outcome::Short(CutShort::StorageFull) => RecordingFailure::StorageFull,
            Outcome::Short(CutShort::StorageUnavailable) => RecordingFailure::StorageUnavailable,
            Outcome::Short(CutShort::Crashed | CutShort::Quota) | Outcome::Whole | Outcome::WithGaps => {
                RecordingFailure::Empty
            }
        });
    }
    let bitrate_bps = (media_bytes * 8_000).checked_div(duration_ms).unwrap_or(0);
    let renditions = index.inits.last().map(|init| RecordedRendition {
        name: "source".to_owned(),
        width: init.width,
        height: init.height,
        codecs: init.codecs.clone(),
        bitrate_bps: signed(bitrate_bps),
    });
    Ok(FinishedRecording {
        duration_ms: signed(duration_ms),
        size_bytes: signed(index.size_bytes()),
        renditions: renditions.into_iter().collect(),
        gap_count: index.segments.iter().filter(|segment| segment.is_gap).count() as i64,
        cut_short: match outcome {
            Outcome::Whole | Outcome::WithGaps => None,
            Outcome::Short(cut_short) => Some(cut_short),
        },
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Deletes all that is stored of a recording, with a few tries: whoever follows the log has deleted most of it already.
async fn delete(recording_id: RecordingId, shelf: &dyn Shelf) {
    for _ in 0..5 {
        let deleted = async {
            shelf.delete_below(&folder(recording_id)?).await?;
            Ok::<_, KeepError>(())
        };
        match deleted.await {
            Ok(()) => return,
            Err(error) => warn!(recording.id = %recording_id, error = &error as &dyn Error, "not deleted yet"),
        }
        sleep(TRY_AGAIN).await;
    }
}
