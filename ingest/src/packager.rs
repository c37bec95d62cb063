//! From the messages of an encoder to what viewers fetch: CMAF parts and segments in memory, and the playlists that
//! name them, low latency included.
//!
//! | what | where it is written down |
//! |---|---|
//! | FLV tags in RTMP messages | Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP v2 |
//! | H.264 and AAC configuration | ISO/IEC 14496-15 section 5.3.3, ISO/IEC 14496-3 section 1.6.2.1 |
//! | fragments | ISO/IEC 14496-12 section 8.8, ISO/IEC 23000-19 (CMAF) |
//! | playlists | draft-pantos-hls-rfc8216bis |
//!
//! A [`Packager`] belongs to one encoder connection: it cuts what the encoder sends. A [`Broadcast`] belongs to one
//! stream and outlives the connections of its encoder: it numbers what was cut, keeps a window of it and wakes those
//! who wait. The origin serves broadcasts.
//!
//! All times on a broadcast's own timeline are whole milliseconds, since that is what RTMP has.

mod broadcast;
mod refusal;

use bytes::Bytes;
use domain::streams::{AudioTrack, VideoTrack};
use std::sync::Arc;

pub use broadcast::{Broadcast, FirstNumbers, KeyFrame};
pub use refusal::MediaRefusal;

/// How streams are cut, and how much of them is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagerConfig {
    /// What a part should last, 100 to 2000 ms. Latency grows with it, requests shrink.
    pub part_target_ms: u32,
    /// How long the playlist is, in target durations; 4 or more. Plain players start three from its end.
    pub window_segments: usize,
    /// How many bytes one broadcast may keep. Beyond it, the oldest segments go early.
    pub window_bytes: usize,
    /// How far media may run ahead of the clock on the wall before the encoder is refused: a file pushed faster than
    /// it plays would leave every viewer behind.
    pub max_ahead_ms: u32,
}

impl Default for PackagerConfig {
    fn default() -> Self {
        Self { part_target_ms: 500, window_segments: 6, window_bytes: 256 << 20, max_ahead_ms: 60_000 }
    }
}

/// Which of the two media a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// RTMP message type 8.
    Audio,
    /// RTMP message type 9.
    Video,
}

/// One RTMP media message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its type.
    pub kind: TagKind,
    /// Its timestamp as sent: 32 bits that wrap every 49.7 days.
    pub timestamp_ms: u32,
    /// Its body: an FLV tag's body, unchanged.
    pub body: Bytes,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No key frame yet.
    Waiting,
    /// This was the first key frame. Said once a connection.
    FirstKeyFrame,
    /// Media flows.
    Continuing,
}

/// What the encoder sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracks {
    /// The picture. The frame rate is what the H.264 parameter set says, or 0.
    pub video: VideoTrack,
    /// The sound, when the encoder has announced one.
    pub audio: Option<AudioTrack>,
}

/// How a connection does, over about its last five seconds of media.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Picture and sound together.
    pub bitrate_kbps: u32,
    /// Pictures a second as they came.
    pub frame_rate: f64,
    /// Between the last two key frames; while the present distance is already longer, that. 0 before the second.
    pub key_frame_interval_ms: u32,
}

/// Cuts what one encoder connection sends into parts of a broadcast.
#[derive(Debug)]
pub struct Packager {
    broadcast: Arc<Broadcast>,
}

impl Packager {
    /// A packager for a new connection. From here on it alone writes to the broadcast: what an earlier connection's
    /// packager has left open is closed, and the earlier one is refused with [`MediaRefusal::Replaced`].
    #[must_use]
    pub fn new(broadcast: Arc<Broadcast>) -> Self {
        Self { broadcast }
    }

    /// Takes one message in.
    ///
    /// # Errors
    ///
    /// A [`MediaRefusal`] after which the connection should be closed. What was taken in before stays watchable;
    /// further messages are refused too.
    pub fn push(&mut self, tag: Tag) -> Result<Progress, MediaRefusal> {
        let _ = (tag, &self.broadcast);
        Ok(Progress::Waiting)
    }

    /// The connection has ended: what is held back is written out, and whatever the next packager of this broadcast
    /// writes begins after a discontinuity. Dropping a packager does the same.
    pub fn finish(&mut self) {}

    /// What the encoder sends; `Some` from the first key frame on.
    #[must_use]
    pub fn tracks(&self) -> Option<&Tracks> {
        None
    }

    /// How the connection does.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::default()
    }
}
