//! Recordings of nodes that are gone: finished by another, from what of them is to be found.

use std::{error::Error, sync::Arc};

use domain::recordings::{CutShort, RecordingFailure};
use metrics::counter;
use storage::Storage;
use tracing::warn;

use super::{Recorder, ask, finishing::Outcome, index::Index, shelf::Shelf};
use crate::ports::OpenRecording;

impl Recorder {
    /// Finishes a recording of a node that is gone, from what of it is in `storage`: as the node itself would if it came back. Where
    /// there is nothing, it fails as [`RecordingFailure::NodeLost`]: the node may still have it on a disk of its own. Cancel safe: what
    /// was under way is done again.
    ///
    /// # Errors
    /// When the storage does not say what there is.
    pub async fn finish_lost(
        &self,
        begun: OpenRecording,
        storage: Storage,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let shelf: Arc<dyn Shelf> = Arc::new(storage);
        let recording_id = begun.recording_id;
        let index = Index::load(recording_id, &*shelf).await?;
        if !index.segments.is_empty() {
            if shared.finish(&begun, &index, Outcome::Short(CutShort::Crashed), &*shelf).await {
                shared.make_sheets(recording_id, &index, &shelf).await;
            }
            return Ok(());
        }
        let reason = RecordingFailure::NodeLost;
        warn!(recording.id = %recording_id, reason = reason.as_str(), "nothing of a recording is to be found");
        // That it was deleted meanwhile is no trouble.
        let told = ask("a recording that is lost", || shared.recordings.failed(recording_id, reason)).await;
        counter!("weir_recordings_total", "outcome" => if told.is_ok() { "failed" } else { "deleted" }).increment(1);
        Ok(())
    }
}
