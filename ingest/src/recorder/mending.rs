//! What a crash has left: recordings that were not finished, and pictures that were not made.

use std::{error::Error, sync::Arc};

use domain::{ids::RecordingId, recordings::CutShort};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{
    KeepError, STORE_WITHIN, Shared, TRY_AGAIN, finishing::Outcome, index::Index, keeping::Keeping, key, sheets,
    shelf::Shelf, tell,
};
use crate::ports::OpenRecording;

impl Shared {
    pub(super) async fn finish_left(
        &self,
        begun: OpenRecording,
        shelf: &Arc<dyn Shelf>,
    ) -> Option<(RecordingId, Index)> {
        let recording_id = begun.recording_id;
        let index = kept_before(recording_id, &**shelf).await;
        let mut keeping = Keeping::new(recording_id, Arc::clone(shelf), index);
        self.keep_left(&mut keeping).await;
        let index = keeping.into_index();
        let is_published = self.finish(&begun, &index, Outcome::Short(CutShort::Crashed), &**shelf).await;
        is_published.then_some((recording_id, index))
    }

    /// Keeps what the killed process has left beside the storage.
    pub(super) async fn keep_left(&self, keeping: &mut Keeping) {
        let Some(tails) = &self.tails else { return };
        let recording_id = keeping.recording_id();
        let left = tails.left(recording_id, keeping.last_number()).await;
        if !left.is_empty() {
            let until = left.last().map(|last| last.number);
            info!(recording.id = %recording_id, segments = left.len(), until, "kept from beside the storage");
        }
        if let Err(error) = keeping.keep_all(&left).await {
            warn!(recording.id = %recording_id, error = &error as &dyn Error, "the end of a recording is lost");
        }
        tails.drop(recording_id).await;
    }

    pub(super) async fn mend(&self, published: &OpenRecording, shelf: &Arc<dyn Shelf>) -> Result<(), KeepError> {
        let recording_id = published.recording_id;
        if shelf.beginning(&key(recording_id, "thumbnail.jpg")?, 1).await?.is_none() {
            self.copy_picture(published, &**shelf).await;
            self.leave_nothing(recording_id, &**shelf).await;
        }
        // It is stored after the sheets that it names.
        if shelf.beginning(&key(recording_id, sheets::TIMES)?, 1).await?.is_none() {
            let index = Index::load(recording_id, &**shelf).await?;
            if !index.segments.is_empty() {
                info!(recording.id = %recording_id, "pictures for seeking are made again");
                self.make_sheets(recording_id, &index, shelf).await;
            }
        }
        Ok(())
    }
}

/// What is there of a recording of before a crash, asked for until the storage answers. It is worth the wait: to go on without
/// it would write over what says what there is.
pub(super) async fn kept_before(recording_id: RecordingId, shelf: &dyn Shelf) -> Index {
    let mut trouble = None;
    loop {
        match timeout(STORE_WITHIN, Index::load(recording_id, shelf)).await {
            Ok(Ok(index)) => return index,
            Ok(Err(error)) => tell(&mut trouble, recording_id, &error),
            Err(_) => tell(&mut trouble, recording_id, &KeepError::TimedOut),
        }
        sleep(TRY_AGAIN).await;
    }
}
