//! Downloads straight from the bucket, where objects are in one.
//!
//! A file to download is put together of segments while it is sent, so there is none in the bucket at first. The first
//! download comes through the origin and has a copy made beside it; later ones are sent to the copy, by an address of the
//! bucket that is good for a few minutes. Who plays, and who asks for a part of a file, is always answered by the origin.

use std::{sync::Arc, time::Duration};

use domain::ids::RecordingId;
use futures::{TryStreamExt, pin_mut};
use storage::{Key, Storage};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::file::File;
use crate::{
    ports::{RecordingRights, RecordingUse},
    recorder,
};

/// How long an address of the bucket is good: to begin the download, which then may last. It cannot be taken back.
const ADDRESS_FOR: Duration = Duration::from_secs(5 * 60);
/// By then it is known on every node that a recording was deleted, and more.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// The copies of one node.
pub(super) struct Copies {
    storage: Storage,
    rights: Arc<dyn RecordingRights>,
    /// One at a time: it reads all of a recording, and writes it.
    copying: Arc<Semaphore>,
}

impl Copies {
    pub(super) fn new(storage: Storage, rights: Arc<dyn RecordingRights>) -> Self {
        Self { storage, rights, copying: Arc::new(Semaphore::new(1)) }
    }

    /// Where the bucket has the file; `None` while it has none, and then one may be made.
    pub(super) async fn address(
        &self,
        recording_id: RecordingId,
        number: u64,
        file: &Arc<File>,
        file_name: &str,
        token: Option<&str>,
    ) -> Option<String> {
        if !self.storage.is_remote() {
            return None;
        }
        let key = recorder::key(recording_id, &format!("files/{number}.mp4")).ok()?;
        match self.storage.stat(&key).await {
            Ok(Some(info)) if info.size_bytes == file.size_bytes() => {
                self.storage.presign_get(&key, file_name, ADDRESS_FOR).await.unwrap_or_else(|error| {
                    tracing::debug!(%key, %error, "no address of the bucket; the origin sends the file");
                    None
                })
            }
            Ok(_) => {
                self.copy(recording_id, key, file, token);
                None
            }
            // The segments may be on the disk all the same.
            Err(_) => None,
        }
    }

    fn copy(&self, recording_id: RecordingId, key: Key, file: &Arc<File>, token: Option<&str>) {
        let Ok(permit) = Arc::clone(&self.copying).try_acquire_owned() else { return };
        let (storage, file) = (self.storage.clone(), Arc::clone(file));
        let lost = {
            let (rights, token) = (Arc::clone(&self.rights), token.map(str::to_owned));
            move || rights.lost(recording_id, RecordingUse::Download, token.clone())
        };
        tokio::spawn(async move {
            let result = tokio::select! {
                result = write(&storage, &key, &file) => result.map(|()| true),
                () = lost() => Ok(false),
            };
            // Whoever deletes the recording may have been here before the copy was. That a right is lost is known here some time
            // after it is.
            let stays = match &result {
                Ok(true) => timeout(KNOWN_WITHIN, lost()).await.is_err(),
                Ok(false) | Err(_) => false,
            };
            match result {
                Ok(_) if stays => tracing::info!(%key, "a recording can be downloaded from the bucket"),
                Ok(_) => delete(&storage, &key).await,
                Err(error) => tracing::debug!(%key, error = &*error, "no copy of a recording for downloads"),
            }
            drop(permit);
        });
    }
}

/// It would be paid for and never be found again, so it is worth a few tries.
async fn delete(storage: &Storage, key: &Key) {
    const TRIES: u32 = 5;
    for attempt in 1..=TRIES {
        match storage.delete(key).await {
            Ok(_) => return,
            Err(error) if attempt == TRIES => {
                tracing::warn!(%key, error = &error as &dyn std::error::Error, "the copy of a recording stays in the bucket");
            }
            Err(_) => sleep(KNOWN_WITHIN).await,
        }
    }
}

async fn write(storage: &Storage, key: &Key, file: &Arc<File>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut writer = storage.direct().writer(key).await?;
    let content = Arc::clone(file).read(storage.clone(), 0, file.size_bytes());
    pin_mut!(content);
    while let Some(piece) = content.try_next().await? {
        writer.write(piece).await?;
    }
    writer.finish().await?;
    Ok(())
}
