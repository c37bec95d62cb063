//! Serves broadcasts from memory: playlists, segments, parts, and thumbnails from storage.
//!
//! | address | what |
//! |---|---|
//! | `/<stream>/index.m3u8` | the multivariant playlist |
//! | `/<stream>/<rendition>/index.m3u8` | a media playlist; blocks for `_HLS_msn` and `_HLS_part`, shorter with `_HLS_skip` |
//! | `/<stream>/<rendition>/init<N>.mp4`, `s<N>.m4s`, `p<N>.m4s` | initialisation segment, segment, part |
//! | `/<stream>/rewind.m3u8`, `/<stream>/<rendition>/rewind.m3u8` | the same as far back as it is kept on the disk |
//! | `/<stream>/index.mpd` | the manifest for DASH |
//! | `/<stream>/<rendition>/v/init<N>.mp4`, `v/s<N>.m4s`, `a/…` | the picture or the sound of a segment, sent as it grows |
//! | `/time` | what time it is, in ISO 8601 |
//! | `/<stream>/thumbnail.jpg`, `thumbnail.webp`, `thumbnail-small.jpg`, `thumbnail-small.webp` | the latest still picture, also after the stream |
//! | `/channels/<channel>/index.m3u8`, `index.mpd` | the channel's stable address: redirects to the stream while it is live |
//!
//! A rendition is `source`, as the encoder sends it, `audio`, which is its sound alone, or one that is made of it.
//!
//! One handler reads the path itself: what players ask for hundreds of thousands of times should pass through as few
//! layers as can be, and every refusal, of a method or an address too, should be a problem document.

pub(crate) mod address;
pub(crate) mod cutting;
mod dash;
mod kinds;
pub(crate) mod problem;
pub mod recordings;
pub(crate) mod reply;
mod rewind;
pub(crate) mod rights;
mod service;
pub(crate) mod wait;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    http::{HeaderMap, Method, Uri, request::Parts},
    response::Response,
};
use domain::ids::{ChannelId, StreamId};
use storage::Storage;

pub(crate) use self::dash::time;
pub use self::kinds::{Audience, Kind};
pub use self::service::LiveService;
use self::{
    address::{Address, MediaFile, ReloadQuery},
    problem::Problem,
    rights::Guarded,
};
use crate::{
    packager::{AUDIO, Broadcast, Rendition, SOURCE, View},
    rewind::Rewind,
    rights::Rights,
    thumbnails::Picture,
};

/// The broadcasts that this node serves. Cheap to clone: clones share them.
#[derive(Clone, Debug, Default)]
pub struct Broadcasts {
    tables: Arc<RwLock<Tables>>,
    rights: Rights,
    rewind: Rewind,
}

#[derive(Debug, Default)]
struct Tables {
    streams: HashMap<StreamId, Arc<Broadcast>>,
    channels: HashMap<ChannelId, StreamId>,
}

impl Broadcasts {
    /// None yet; to those that come only those get who have a right.
    #[must_use]
    pub fn new(rights: Rights) -> Self {
        Self { tables: Arc::default(), rights, rewind: Rewind::default() }
    }

    /// Keeps those that come for viewers to go back in.
    #[must_use]
    pub fn with_rewind(self, rewind: Rewind) -> Self {
        Self { rewind, ..self }
    }

    /// The number of the last segment that a crash has left of a stream on the disk; `None` where it has left none.
    pub(crate) fn left_of(&self, stream_id: StreamId) -> Option<u64> {
        self.rewind.left_of(stream_id)
    }

    /// Serves a broadcast as its stream, and as what its channel shows now.
    pub fn publish(&self, channel_id: ChannelId, broadcast: Arc<Broadcast>) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        self.rights.belongs(broadcast.stream_id().uuid(), channel_id);
        tables.channels.insert(channel_id, broadcast.stream_id());
        self.rewind.keep(&broadcast);
        tables.streams.insert(broadcast.stream_id(), broadcast);
    }

    /// Stops serving a stream. Requests under way are answered. Nothing happens when it was not served.
    pub fn remove(&self, stream_id: StreamId) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        self.rights.forget_public(stream_id.uuid());
        tables.streams.remove(&stream_id);
        self.rewind.forget(stream_id);
        tables.channels.retain(|_, shown| *shown != stream_id);
    }

    /// Stops serving all streams of a channel but one, as [`Broadcasts::remove`] does.
    pub(crate) fn remove_of_channel(&self, channel_id: ChannelId, but: Option<StreamId>) {
        let of_channel: Vec<StreamId> = {
            let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
            let is_of = |id: &&StreamId| self.rights.channel_of(id.uuid()) == Some(channel_id) && Some(**id) != but;
            tables.streams.keys().filter(is_of).copied().collect()
        };
        for stream_id in of_channel {
            self.remove(stream_id);
        }
    }

    /// Who may watch them.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The broadcast of a stream, ended or not, while it is served.
    #[must_use]
    pub fn get(&self, stream_id: StreamId) -> Option<Arc<Broadcast>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.streams.get(&stream_id).cloned()
    }

    /// What a channel shows now: its last published broadcast, unless that has ended.
    #[must_use]
    pub fn live_of_channel(&self, channel_id: ChannelId) -> Option<Arc<Broadcast>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let stream_id = tables.channels.get(&channel_id)?;
        tables.streams.get(stream_id).filter(|broadcast| !broadcast.is_ended()).cloned()
    }
}

/// Playlists, segments, parts and thumbnails: what is under `/live`.
///
/// Answers are compressed where that helps and carry their own CORS headers: no layer needs to add either.
#[must_use]
pub fn service(broadcasts: Broadcasts, storage: Storage) -> LiveService {
    let rights = broadcasts.rights.clone();
    rights::guarded(rights, None, Origin { broadcasts, storage })
}

#[derive(Debug)]
struct Origin {
    broadcasts: Broadcasts,
    storage: Storage,
}

impl Guarded for Origin {
    async fn answer(&self, request: &Parts) -> Response {
        if request.method == Method::OPTIONS {
            return reply::preflight();
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Problem::METHOD_NOT_ALLOWED.into_response();
        }
        match self.find(&request.uri, &request.headers).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }
}

impl Origin {
    /// What is held by thousands is in the future itself; the rest is in boxes, not to make it larger.
    async fn find(&self, uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
        match Address::read(uri.path()).ok_or(Problem::NOT_FOUND)? {
            Address::Master(stream_id) => {
                let broadcast = self.broadcast(stream_id)?;
                let view = wait::for_playlist(broadcast.source(), None).await?;
                let document = broadcast.master_playlist().ok_or(Problem::NOTHING_TO_PLAY)?;
                Ok(reply::playlist(&document, view.facts.timing.target_duration_s / 2, headers))
            }
            Address::Media(stream_id, name) => {
                let reload = ReloadQuery::read(uri.query().unwrap_or_default())?;
                self.media_playlist(stream_id, name, reload, headers).await
            }
            Address::File(stream_id, name, file) => self.media_file(stream_id, name, file, headers).await,
            Address::Manifest(stream_id) => Box::pin(self.manifest(stream_id, headers)).await,
            Address::Track(stream_id, name, track, file) => {
                Box::pin(self.track(stream_id, name, track, file, headers)).await
            }
            Address::Time => Ok(dash::time()),
            Address::RewindMaster(stream_id) => Box::pin(self.rewind_master(stream_id, headers)).await,
            Address::Rewind(stream_id, name) => {
                let reload = ReloadQuery::read(uri.query().unwrap_or_default())?;
                Box::pin(self.rewind_playlist(stream_id, name, reload, headers)).await
            }
            Address::Thumbnail(stream_id, picture) => Box::pin(self.thumbnail(stream_id, picture, headers)).await,
            Address::Channel(channel_id) => match self.broadcasts.live_of_channel(channel_id) {
                Some(broadcast) => Ok(reply::redirect(&format!("../../{}/index.m3u8", broadcast.stream_id()))),
                None => Err(Problem::CHANNEL_OFFLINE),
            },
            Address::ChannelManifest(channel_id) => match self.broadcasts.live_of_channel(channel_id) {
                Some(broadcast) => Ok(reply::redirect(&format!("../../{}/index.mpd", broadcast.stream_id()))),
                None => Err(Problem::CHANNEL_OFFLINE),
            },
        }
    }

    fn broadcast(&self, stream_id: StreamId) -> Result<Arc<Broadcast>, Problem> {
        self.broadcasts.get(stream_id).ok_or(Problem::STREAM_NOT_FOUND)
    }

    async fn media_playlist(
        &self,
        stream_id: StreamId,
        name: &str,
        reload: ReloadQuery,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let broadcast = self.broadcast(stream_id)?;
        let view = self.awaited(&broadcast, name, reload).await?;
        let document = broadcast.media_playlist(name, &view, reload.is_delta);
        Ok(reply::playlist(document, fresh_s(&view, reload), headers))
    }

    /// The view of a rendition that has what is asked for.
    async fn awaited(&self, broadcast: &Broadcast, name: &str, reload: ReloadQuery) -> Result<Arc<View>, Problem> {
        let view = wait::for_playlist(&*rendition(broadcast, name)?, reload.position).await.map_err(|problem| {
            // It was removed while somebody waited.
            let is_gone = problem == Problem::NOTHING_TO_PLAY && rendition(broadcast, name).is_err();
            if is_gone { Problem::RENDITION_NOT_FOUND } else { problem }
        })?;
        if name == AUDIO && !view.has_audio() { Err(Problem::RENDITION_NOT_FOUND) } else { Ok(view) }
    }

    async fn media_file(
        &self,
        stream_id: StreamId,
        name: &str,
        file: MediaFile,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let broadcast = self.broadcast(stream_id)?;
        let rendition = rendition(&broadcast, name)?;
        let view = match file {
            MediaFile::Part(number) => wait::for_part(&rendition, number).await?,
            MediaFile::Init(_) | MediaFile::Segment(_) => rendition.view().ok_or(Problem::MEDIA_NOT_FOUND)?,
        };
        let bytes = if name == AUDIO { audio_of(&view, file) } else { bytes_of(&view, file) };
        let bytes = match bytes {
            None => Box::pin(self.rewound(stream_id, name, file)).await,
            there => there,
        };
        Ok(reply::media(bytes.ok_or(Problem::MEDIA_NOT_FOUND)?, file, headers))
    }

    async fn thumbnail(&self, stream_id: StreamId, picture: Picture, headers: &HeaderMap) -> Result<Response, Problem> {
        // Old streams, and those of an ffmpeg without WebP, have fewer.
        for picture in [picture, Picture::Jpeg] {
            let Ok(key) = picture.key(stream_id) else { break };
            match self.storage.get(&key).await {
                Ok(Some(object)) => return Ok(reply::thumbnail(object, picture, headers)),
                Ok(None) => {}
                Err(error) if error.is_retryable() => {
                    tracing::debug!(stream.id = %stream_id, error = &error as &dyn std::error::Error, "thumbnail not read");
                    return Err(Problem::PICTURE_UNAVAILABLE);
                }
                Err(error) => {
                    tracing::error!(stream.id = %stream_id, error = &error as &dyn std::error::Error, "thumbnail not read");
                    return Err(Problem::INTERNAL);
                }
            }
        }
        Err(Problem::THUMBNAIL_NOT_FOUND)
    }
}

/// How long caches may keep a playlist, in seconds: see [`reply::playlist`].
fn fresh_s(view: &View, reload: ReloadQuery) -> u32 {
    let target_s = view.facts.timing.target_duration_s;
    if reload.position.is_some() { 6 * target_s } else { target_s / 2 }
}

/// The rendition that has what is asked for: the sound alone is made of the source.
fn rendition(broadcast: &Broadcast, name: &str) -> Result<Arc<Rendition>, Problem> {
    let name = if name == AUDIO { SOURCE } else { name };
    broadcast.rendition(name).ok_or(Problem::RENDITION_NOT_FOUND)
}

/// The sound alone.
fn audio_of(view: &View, file: MediaFile) -> Option<bytes::Bytes> {
    match file {
        MediaFile::Init(number) => view.init(number)?.audio(),
        MediaFile::Segment(number) => view.audio_of_segment(number),
        MediaFile::Part(number) => view.audio_of_part(number),
    }
}

fn bytes_of(view: &View, file: MediaFile) -> Option<bytes::Bytes> {
    match file {
        MediaFile::Init(number) => view.init(number).map(|init| init.media.bytes.clone()),
        MediaFile::Segment(number) => view.segment(number).map(|segment| segment.bytes.clone()),
        MediaFile::Part(number) => view.part(number).map(|part| part.bytes.clone()),
    }
}
