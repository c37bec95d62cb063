//! What viewers see of one stream, across the connections of its encoder.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use domain::ids::StreamId;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{
    MediaRefusal, PackagerConfig,
    lock::Lock,
    view::View,
    window::{Timing, Window},
};
use crate::media::fragment::{self, Run, Sample};

/// Where numbering begins.
///
/// Numbers of one stream never go backwards and are never used twice, since addresses are made of them and caches
/// keep what they name. A stream that goes on after a crash therefore starts higher than it can have come before:
/// segments last about a second or more, so twice the seconds since the stream's start and 100 are enough. Its
/// discontinuity sequence must be higher too: the same number will do.
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
    /// The initialisation segment, of the picture alone.
    pub init: Bytes,
    /// One fragment with the picture alone.
    pub fragment: Bytes,
}

/// What viewers see of one stream: playlists, segments, parts, and a bell for those who wait for the next.
pub struct Broadcast {
    stream_id: StreamId,
    config: PackagerConfig,
    /// The packager that may write; [`ENDED`] once none may.
    writer: AtomicU64,
    window: Lock<Window>,
    key_frame: Lock<Option<StoredKeyFrame>>,
    shown: watch::Sender<Shown>,
}

/// What the bell rings for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// Present once the playlist is out.
    pub view: Option<Arc<View>>,
    pub is_ended: bool,
}

/// A key frame before anybody has asked for it: sharing its bytes with what the encoder sent costs nothing.
pub(super) struct StoredKeyFrame {
    pub init: Bytes,
    pub data: Bytes,
}

/// No packager has this number.
const ENDED: u64 = u64::MAX;

/// What a packager learns when it takes over.
pub(super) struct Claim {
    pub writer: u64,
    pub next_part: u64,
    pub timing: Option<Timing>,
    pub ends_at: Option<OffsetDateTime>,
    pub end_ms: Option<i64>,
}

impl Broadcast {
    /// A broadcast with nothing in it yet.
    #[must_use]
    pub fn new(stream_id: StreamId, config: PackagerConfig, first: FirstNumbers) -> Arc<Self> {
        Arc::new(Self {
            stream_id,
            window: Lock::new(Window::new(&config, first)),
            config,
            writer: AtomicU64::new(0),
            key_frame: Lock::new(None),
            shown: watch::Sender::new(Shown::default()),
        })
    }

    /// The stream that this is the broadcast of.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// Ends the broadcast: the playlist says so, who waits is woken, packagers are refused. What is kept stays
    /// watchable for as long as somebody holds the broadcast. Ending it again does nothing.
    ///
    /// Call [`Packager::finish`](super::Packager::finish) before, or what the packager holds back (up to a part) is
    /// lost.
    pub fn end(&self) {
        let mut window = self.window.lock();
        if window.is_ended {
            return;
        }
        self.writer.store(ENDED, Ordering::Release);
        window.end_segment();
        window.is_ended = true;
        self.show(&mut window);
    }

    /// Whether [`Broadcast::end`] was called.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.writer.load(Ordering::Acquire) == ENDED
    }

    /// Whether the playlist is out: it is when the first segment is complete, 4 s after the first key frame at the
    /// latest.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        self.shown.borrow().view.is_some()
    }

    /// Waits until the playlist can be played; false when the broadcast ended before. Cancel safe.
    pub async fn playable(&self) -> bool {
        let mut shown = self.shown.subscribe();
        shown.wait_for(|shown| shown.view.is_some() || shown.is_ended).await.is_ok_and(|shown| shown.view.is_some())
    }

    /// Waits until [`Broadcast::end`] is called. Cancel safe.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.shown.subscribe().wait_for(|shown| shown.is_ended).await;
    }

    /// The latest key frame, also before the playlist can be played.
    #[must_use]
    pub fn latest_key_frame(&self) -> Option<KeyFrame> {
        let (init, data) = {
            let stored = self.key_frame.lock();
            let stored = stored.as_ref()?;
            (stored.init.clone(), stored.data.clone())
        };
        let picture = Sample { duration: fragment::VIDEO_TIMESCALE / 30, composition: 0, is_sync: true, data };
        let video = Run { decode_time: 0, samples: std::slice::from_ref(&picture) };
        let fragment = fragment::write(1, video, Run { decode_time: 0, samples: &[] });
        Some(KeyFrame { init, fragment })
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    pub(super) fn config(&self) -> &PackagerConfig {
        &self.config
    }

    /// Makes the caller the one that writes, and closes what an earlier one left open.
    pub(super) fn claim(&self) -> Claim {
        let mut window = self.window.lock();
        let mut writer = self.writer.load(Ordering::Acquire);
        if writer != ENDED {
            writer += 1;
            self.writer.store(writer, Ordering::Release);
            window.discard_unpublished();
            window.end_segment();
            self.show(&mut window);
        }
        Claim {
            writer,
            next_part: window.next_part(),
            timing: window.timing,
            ends_at: window.ends_at(),
            end_ms: window.end_ms(),
        }
    }

    /// Whether a packager may still write.
    pub(super) fn check(&self, writer: u64) -> Result<(), MediaRefusal> {
        match self.writer.load(Ordering::Acquire) {
            ENDED => Err(MediaRefusal::Ended),
            current if current != writer => Err(MediaRefusal::Replaced),
            _ => Ok(()),
        }
    }

    /// Lets a packager change the window; then shows viewers what has become of it.
    pub(super) fn write(&self, writer: u64, change: impl FnOnce(&mut Window)) -> Result<(), MediaRefusal> {
        let mut window = self.window.lock();
        self.check(writer)?;
        change(&mut window);
        self.show(&mut window);
        Ok(())
    }

    pub(super) fn set_key_frame(&self, key_frame: StoredKeyFrame) {
        let is_first = self.key_frame.lock().replace(key_frame).is_none();
        if is_first {
            // Who waits for a first picture listens to the same bell.
            self.shown.send_modify(|_| {});
        }
    }

    fn show(&self, window: &mut Window) {
        let view = window.view().map(Arc::new);
        let is_ended = window.is_ended;
        if view.is_some() || is_ended {
            self.shown.send_replace(Shown { view, is_ended });
        }
    }
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Broadcast").field("stream_id", &self.stream_id).finish_non_exhaustive()
    }
}
