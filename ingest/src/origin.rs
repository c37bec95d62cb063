//! Serves broadcasts from memory: playlists, segments, parts, and thumbnails from storage.
//!
//! | address | what |
//! |---|---|
//! | `/<stream>/index.m3u8` | the multivariant playlist |
//! | `/<stream>/source/index.m3u8` | the media playlist; blocks for `_HLS_msn` and `_HLS_part` |
//! | `/<stream>/source/init<N>.mp4`, `s<N>.m4s`, `p<N>.m4s` | initialisation segment, segment, part |
//! | `/<stream>/thumbnail.jpg` | the latest still picture, also after the stream |
//! | `/channels/<channel>/index.m3u8` | the channel's stable address: redirects to the stream while it is live |
//!
//! One handler reads the path itself: what players ask for hundreds of thousands of times should pass through as few
//! layers as can be, and every refusal, of a method or an address too, should be a problem document.

mod address;
mod problem;
mod reply;
mod wait;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::any,
};
use domain::ids::{ChannelId, StreamId};
use storage::Storage;

use self::{
    address::{Address, MediaFile, ReloadQuery},
    problem::Problem,
};
use crate::{
    packager::{Broadcast, View},
    thumbnails,
};

/// The broadcasts that this node serves. Cheap to clone: clones share them.
#[derive(Clone, Debug, Default)]
pub struct Broadcasts {
    tables: Arc<RwLock<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    streams: HashMap<StreamId, Arc<Broadcast>>,
    channels: HashMap<ChannelId, StreamId>,
}

impl Broadcasts {
    /// Serves a broadcast as its stream, and as what its channel shows now.
    pub fn publish(&self, channel_id: ChannelId, broadcast: Arc<Broadcast>) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.channels.insert(channel_id, broadcast.stream_id());
        tables.streams.insert(broadcast.stream_id(), broadcast);
    }

    /// Stops serving a stream. Requests under way are answered. Nothing happens when it was not served.
    pub fn remove(&self, stream_id: StreamId) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.streams.remove(&stream_id);
        tables.channels.retain(|_, shown| *shown != stream_id);
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

/// Playlists, segments, parts and thumbnails; to be nested under `/live`.
///
/// Answers are compressed where that helps and carry their own CORS headers: no layer needs to add either.
pub fn router(broadcasts: Broadcasts, storage: Storage) -> Router {
    let origin = Arc::new(Origin { broadcasts, storage });
    Router::new().route("/", any(answer)).route("/{*path}", any(answer)).with_state(origin)
}

#[derive(Debug)]
struct Origin {
    broadcasts: Broadcasts,
    storage: Storage,
}

async fn answer(State(origin): State<Arc<Origin>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    if request.method == Method::OPTIONS {
        return reply::preflight();
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Problem::METHOD_NOT_ALLOWED.into_response();
    }
    match origin.find(&request.uri, &request.headers).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

impl Origin {
    async fn find(&self, uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
        match Address::read(uri.path()).ok_or(Problem::NOT_FOUND)? {
            Address::Master(stream_id) => {
                let view = wait::for_playlist(&*self.broadcast(stream_id)?, None).await?;
                Ok(reply::playlist(&view, view.master_playlist(), None, headers))
            }
            Address::Media(stream_id) => {
                let reload = ReloadQuery::read(uri.query().unwrap_or_default())?;
                let view = wait::for_playlist(&*self.broadcast(stream_id)?, reload).await?;
                Ok(reply::playlist(&view, view.media_playlist(), reload, headers))
            }
            Address::File(stream_id, file) => self.media_file(stream_id, file, headers).await,
            Address::Thumbnail(stream_id) => self.thumbnail(stream_id, headers).await,
            Address::Channel(channel_id) => match self.broadcasts.live_of_channel(channel_id) {
                Some(broadcast) => Ok(reply::redirect(&format!("../../{}/index.m3u8", broadcast.stream_id()))),
                None => Err(Problem::CHANNEL_OFFLINE),
            },
        }
    }

    fn broadcast(&self, stream_id: StreamId) -> Result<Arc<Broadcast>, Problem> {
        self.broadcasts.get(stream_id).ok_or(Problem::STREAM_NOT_FOUND)
    }

    async fn media_file(&self, stream_id: StreamId, file: MediaFile, headers: &HeaderMap) -> Result<Response, Problem> {
        let broadcast = self.broadcast(stream_id)?;
        let view = match file {
            MediaFile::Part(number) => wait::for_part(&broadcast, number).await?,
            MediaFile::Init(_) | MediaFile::Segment(_) => {
                broadcast.subscribe().borrow().view.clone().ok_or(Problem::MEDIA_NOT_FOUND)?
            }
        };
        let bytes = bytes_of(&view, file).ok_or(Problem::MEDIA_NOT_FOUND)?;
        Ok(reply::media(bytes, file, headers))
    }

    async fn thumbnail(&self, stream_id: StreamId, headers: &HeaderMap) -> Result<Response, Problem> {
        let object = match thumbnails::key(stream_id) {
            Ok(key) => self.storage.get(&key).await,
            Err(_) => return Err(Problem::THUMBNAIL_NOT_FOUND),
        };
        match object {
            Ok(Some(object)) => Ok(reply::thumbnail(object, headers)),
            Ok(None) => Err(Problem::THUMBNAIL_NOT_FOUND),
            Err(error) => {
                tracing::error!(stream.id = %stream_id, error = &error as &dyn std::error::Error, "thumbnail not read");
                Err(Problem::INTERNAL)
            }
        }
    }
}

fn bytes_of(view: &View, file: MediaFile) -> Option<bytes::Bytes> {
    match file {
        MediaFile::Init(number) => view.init(number).map(|init| init.media.bytes.clone()),
        MediaFile::Segment(number) => view.segment(number).map(|segment| segment.bytes.clone()),
        MediaFile::Part(number) => view.part(number).map(|part| part.bytes.clone()),
    }
}
