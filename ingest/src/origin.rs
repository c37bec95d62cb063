//! Serves broadcasts from memory.

use std::sync::Arc;

use axum::Router;
use domain::ids::{ChannelId, StreamId};
use storage::Storage;

use crate::packager::Broadcast;

/// The broadcasts that this node serves. Cheap to clone: clones share them.
#[derive(Clone, Debug, Default)]
pub struct Broadcasts {}

impl Broadcasts {
    /// Serves a broadcast as its stream, and as what its channel shows now.
    pub fn publish(&self, channel_id: ChannelId, broadcast: Arc<Broadcast>) {
        let _ = (channel_id, broadcast);
    }

    /// Stops serving a stream. Requests under way are answered. Nothing happens when it was not served.
    pub fn remove(&self, stream_id: StreamId) {
        let _ = stream_id;
    }

    /// The broadcast of a stream, ended or not, while it is served.
    #[must_use]
    pub fn get(&self, stream_id: StreamId) -> Option<Arc<Broadcast>> {
        let _ = stream_id;
        None
    }

    /// What a channel shows now: its last published broadcast, unless that has ended.
    #[must_use]
    pub fn live_of_channel(&self, channel_id: ChannelId) -> Option<Arc<Broadcast>> {
        let _ = channel_id;
        None
    }
}

/// Playlists, segments, parts and thumbnails; to be nested under `/live`.
///
/// Answers are compressed where that helps and carry their own CORS headers: no layer needs to add either.
pub fn router(broadcasts: Broadcasts, storage: Storage) -> Router {
    let _ = (broadcasts, storage);
    Router::new()
}
