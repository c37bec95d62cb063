//! What viewers see of one stream, across the connections of its encoder.

use std::sync::Arc;

use bytes::Bytes;
use domain::ids::StreamId;

use super::PackagerConfig;

/// Where numbering begins.
///
/// Numbers of one stream never go backwards and are never used twice, since addresses are made of them and caches
/// keep what they name. A stream that goes on after a crash therefore starts higher than it can have come before:
/// segments last about a second or more, so twice the seconds since the stream's start and 100 are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstNumbers {
    /// The number of the first segment.
    pub media_sequence: u64,
    /// The discontinuity sequence number of the first segment.
    pub discontinuity_sequence: u64,
}

/// A picture that can be decoded by itself.
#[derive(Clone, Debug)]
pub struct KeyFrame {
    /// The initialisation segment.
    pub init: Bytes,
    /// One fragment with the picture alone.
    pub fragment: Bytes,
}

/// What viewers see of one stream: playlists, segments, parts, and a bell for those who wait for the next.
#[derive(Debug)]
pub struct Broadcast {
    stream_id: StreamId,
}

impl Broadcast {
    /// A broadcast with nothing in it yet.
    #[must_use]
    pub fn new(stream_id: StreamId, config: PackagerConfig, first: FirstNumbers) -> Arc<Self> {
        let _ = (config, first);
        Arc::new(Self { stream_id })
    }

    /// The stream that this is the broadcast of.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// Ends the broadcast: the playlist says so, who waits is woken, packagers are refused. What is kept stays
    /// watchable for as long as somebody holds the broadcast.
    pub fn end(&self) {}

    /// Whether [`Broadcast::end`] was called.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        false
    }

    /// Waits until the playlist can be played; false when the broadcast ended before. Cancel safe.
    pub async fn playable(&self) -> bool {
        false
    }

    /// The latest key frame, also before the playlist can be played.
    #[must_use]
    pub fn latest_key_frame(&self) -> Option<KeyFrame> {
        None
    }
}
