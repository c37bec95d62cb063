//! What viewers see of one stream, across the connections of its encoder.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use domain::ids::StreamId;
use tokio::sync::watch;

use super::{
    Feed, PackagerConfig,
    lock::Lock,
    playlist::{self, AUDIO, Report, SOURCE, Variant},
    rendition::{Rendition, RenditionSpec, Shown},
    view::{Document, View},
};
use crate::media::fragment::{self, Run, Sample};

/// Where numbering begins.
///
/// Numbers of one stream never go backwards and are never used twice, since addresses are made of them and caches
/// keep what they name. A stream that goes on after a crash therefore starts higher than it can have come before: see
/// `live/numbers.rs`. Its discontinuity sequence must be higher too: the same number will do.
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

/// What viewers see of one stream: its source as the encoder sends it, and renditions made of that.
pub struct Broadcast {
    stream_id: StreamId,
    config: PackagerConfig,
    first: FirstNumbers,
    source: Arc<Rendition>,
    /// By falling height.
    others: Lock<Vec<Arc<Rendition>>>,
    key_frame: Lock<Option<StoredKeyFrame>>,
    /// The multivariant playlist, and what it was written from.
    master: Lock<Option<(Revisions, Arc<Document>)>>,
}

/// Name, next segment and initialisation segment of each rendition.
type Revisions = Vec<(String, u64, u64)>;

/// A key frame before anybody has asked for it: sharing its bytes with what the encoder sent costs nothing.
pub(super) struct StoredKeyFrame {
    pub init: Bytes,
    pub data: Bytes,
}

impl Broadcast {
    /// A broadcast with nothing in it yet.
    #[must_use]
    pub fn new(stream_id: StreamId, config: PackagerConfig, first: FirstNumbers) -> Arc<Self> {
        let spec = RenditionSpec { name: SOURCE.to_owned(), ..RenditionSpec::default() };
        Arc::new(Self {
            stream_id,
            source: Rendition::new(spec, &config, first),
            config,
            first,
            others: Lock::new(Vec::new()),
            key_frame: Lock::new(None),
            master: Lock::new(None),
        })
    }

    /// The stream that this is the broadcast of.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.stream_id
    }

    /// What the encoder sends, untouched. It decides where segments of all renditions begin.
    #[must_use]
    pub fn source(&self) -> &Arc<Rendition> {
        &self.source
    }

    /// All renditions: the source, then the others by falling height, with or without a segment yet.
    #[must_use]
    pub fn renditions(&self) -> Vec<Arc<Rendition>> {
        let others = self.others.lock();
        std::iter::once(&self.source).chain(others.iter()).cloned().collect()
    }

    /// The rendition of this name, `source` among them; `None` when there is none.
    #[must_use]
    pub fn rendition(&self, name: &str) -> Option<Arc<Rendition>> {
        if name == SOURCE {
            return Some(Arc::clone(&self.source));
        }
        self.others.lock().iter().find(|rendition| rendition.name() == name).cloned()
    }

    /// Adds a rendition without anything in it; a [`Follower`](super::Follower) fills it. Returns the present one where
    /// the name is taken. The names `source` and `audio` are taken always: the latter is never asked for here.
    pub fn add_rendition(&self, spec: RenditionSpec) -> Arc<Rendition> {
        if spec.name == SOURCE {
            return Arc::clone(&self.source);
        }
        let mut others = self.others.lock();
        if let Some(present) = others.iter().find(|rendition| rendition.name() == spec.name) {
            return Arc::clone(present);
        }
        let added = Rendition::new(spec, &self.config, self.first);
        others.push(Arc::clone(&added));
        others.sort_by_key(|rendition| std::cmp::Reverse(rendition.spec().max_height));
        if self.is_ended() {
            added.end();
        }
        added
    }

    /// Takes a rendition away: it is no longer listed, its addresses are not found, and who waits for it is told. Nothing
    /// happens when there is none of this name; the source stays.
    pub fn remove_rendition(&self, name: &str) {
        let mut others = self.others.lock();
        if let Some(at) = others.iter().position(|rendition| rendition.name() == name) {
            others.remove(at).close();
        }
    }

    /// Reads the source as fragmented MP4, for an encoder of renditions: from the latest key frame on that begins a
    /// segment.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed::new(&self.source)
    }

    /// Ends the broadcast: the playlists say so, who waits is woken, packagers are refused. What is kept stays
    /// watchable for as long as somebody holds the broadcast. Ending it again does nothing.
    ///
    /// Call [`Packager::finish`](super::Packager::finish) and [`Follower::finish`](super::Follower::finish) before, or
    /// what they hold back (up to a part) is lost.
    pub fn end(&self) {
        self.source.end();
        let others = self.others.lock();
        for rendition in others.iter() {
            rendition.end();
        }
    }

    /// Whether [`Broadcast::end`] was called.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.source.is_ended()
    }

    /// Whether the playlist is out: it is when the first segment is complete, 4 s after the first key frame at the
    /// latest.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        self.source.view().is_some()
    }

    /// Waits until the playlist can be played; false when the broadcast ended before. Cancel safe.
    pub async fn playable(&self) -> bool {
        let mut shown = self.subscribe();
        shown.wait_for(|shown| shown.view.is_some() || shown.is_ended).await.is_ok_and(|shown| shown.view.is_some())
    }

    /// Waits until [`Broadcast::end`] is called. Cancel safe.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.subscribe().wait_for(|shown| shown.is_ended).await;
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

    /// The source: what is shown of it now and from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Shown> {
        self.source.subscribe()
    }

    /// The multivariant playlist of this moment: the source, all renditions with a complete segment, and the source's
    /// sound alone. `None` before the source can be played.
    pub(crate) fn master_playlist(&self) -> Option<Arc<Document>> {
        let mut variants = Vec::new();
        let mut revisions = Vec::new();
        for rendition in self.renditions() {
            let Some(view) = rendition.view() else { continue };
            let facts = &view.facts;
            if facts.segments.is_empty() && !Arc::ptr_eq(&rendition, &self.source) {
                continue;
            }
            // It changes with complete segments and new tracks alone.
            revisions.push((rendition.name().to_owned(), facts.next_segment, facts.init.number));
            variants.push(Variant {
                name: rendition.name().to_owned(),
                rate: facts.rate,
                declared_bits_per_second: u64::from(rendition.spec().bitrate_kbps.unwrap_or(0)) * 1_000,
                init: Arc::clone(&facts.init),
                sound_rate: facts.sound_rate,
            });
        }
        if variants.first().is_none_or(|first| first.name != SOURCE) {
            return None;
        }
        let mut master = self.master.lock();
        if let Some((_, document)) = master.as_ref().filter(|(known, _)| *known == revisions) {
            return Some(Arc::clone(document));
        }
        let document = Arc::new(Document::of_content(playlist::master(&variants)));
        *master = Some((revisions, Arc::clone(&document)));
        Some(document)
    }

    /// Where the other renditions are, for the playlist of this one.
    pub(crate) fn reports(&self, of: &str) -> Vec<Report> {
        let mut reports = Vec::new();
        for rendition in self.renditions() {
            let Some(view) = rendition.view().filter(|view| !view.facts.segments.is_empty()) else { continue };
            if rendition.name() != of {
                reports.extend(view.report(rendition.name()));
            }
            // The sound alone goes with the source, unless that is nothing else.
            let is_listed = view.has_audio() && view.facts.init.media.has_picture();
            if rendition.name() == SOURCE && of != AUDIO && is_listed {
                reports.extend(view.report(AUDIO));
            }
        }
        reports
    }

    /// The media playlist of a view of one of the renditions; see [`View::playlist`].
    pub(crate) fn media_playlist<'a>(&self, name: &str, view: &'a View, is_delta: bool) -> &'a Document {
        view.playlist(name == AUDIO, is_delta, || self.reports(name))
    }

    pub(super) fn config(&self) -> &PackagerConfig {
        &self.config
    }

    pub(super) fn set_key_frame(&self, key_frame: StoredKeyFrame) {
        let is_first = self.key_frame.lock().replace(key_frame).is_none();
        if is_first {
            // Who waits for a first picture listens to the same bell.
            self.source.ring_again();
        }
    }
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Broadcast").field("stream_id", &self.stream_id).finish_non_exhaustive()
    }
}
