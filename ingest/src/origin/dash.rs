//! Answers for DASH (ISO/IEC 23009-1): the same cuts as for HLS, picture and sound apart, made when they are asked for.

mod manifest;
mod timeline;

use std::{
    io,
    sync::{Arc, PoisonError},
};

use axum::{body::Body, http::HeaderMap, response::Response};
use bytes::Bytes;
use domain::ids::StreamId;
use futures::{StreamExt, stream};
use time::OffsetDateTime;

use super::{Origin, address::MediaFile, problem::Problem, reply, wait};
use crate::{
    packager::{Broadcast, DateTime, Document, Init, Part, Rendition, Segment, Shown, View},
    rewind::Track,
};

/// An empty box, for a segment without anything of the track: its number must lead to something.
const NOTHING: Bytes = Bytes::from_static(b"\0\0\0\x08free");

/// What time it is.
pub(crate) fn time() -> Response {
    reply::time(&DateTime(OffsetDateTime::now_utc()).to_string())
}

impl Origin {
    pub(super) async fn manifest(&self, stream_id: StreamId, headers: &HeaderMap) -> Result<Response, Problem> {
        let broadcast = self.broadcast(stream_id)?;
        let view = wait::for_playlist(broadcast.source(), None).await?;
        Ok(reply::manifest(&written(&broadcast, &view), headers))
    }

    /// One track of a segment or an initialisation segment. A segment that grows is sent part by part.
    pub(super) async fn track(
        &self,
        stream_id: StreamId,
        name: &str,
        track: Track,
        file: MediaFile,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let broadcast = self.broadcast(stream_id)?;
        let rendition = broadcast.rendition(name).ok_or(Problem::RENDITION_NOT_FOUND)?;
        let bytes = match file {
            MediaFile::Init(number) => match rendition.view().as_deref().and_then(|view| view.init(number)) {
                Some(init) => of_init(init, track),
                None => self.shelf(stream_id, name).and_then(|shelf| of_init(&*shelf.init(number)?, track)),
            },
            MediaFile::Segment(number) => {
                let view = wait::for_segment(&rendition, number).await?;
                match view.segment(number) {
                    Some(segment) => Some(of_segment(segment, track).unwrap_or(NOTHING)),
                    None if view.facts.open.as_ref().is_some_and(|open| open.number == number) => {
                        return Ok(reply::growing(grow(&rendition, number, track), file));
                    }
                    None => {
                        let shelf = self.shelf(stream_id, name).ok_or(Problem::MEDIA_NOT_FOUND)?;
                        self.broadcasts.rewind.segment(&shelf, number, track).await
                    }
                }
            }
            MediaFile::Part(_) => None,
        };
        Ok(reply::media(bytes.ok_or(Problem::MEDIA_NOT_FOUND)?, file, headers))
    }
}

/// The manifest of a moment; those who ask for the same share one writing.
fn written(broadcast: &Broadcast, source: &View) -> Arc<Document> {
    let renditions: Vec<_> = broadcast
        .renditions()
        .into_iter()
        .skip(1)
        .filter_map(|rendition| Some((rendition.view()?, rendition)))
        .collect();
    let revisions: Vec<u64> = renditions.iter().map(|(view, _)| view.facts.revision).collect();
    // Nothing panics while it is held.
    let mut place = source.manifest.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, document)) = place.as_ref().filter(|(known, _)| *known == revisions) {
        return Arc::clone(document);
    }
    let variants = std::iter::once((broadcast.source().as_ref(), source))
        .chain(renditions.iter().map(|(view, rendition)| (rendition.as_ref(), view.as_ref())));
    let document = Arc::new(Document::of_content(manifest::write(variants)));
    *place = Some((revisions, Arc::clone(&document)));
    document
}

fn of_init(init: &Init, track: Track) -> Option<Bytes> {
    match track {
        Track::All => Some(init.media.bytes.clone()),
        Track::Video => init.video(),
        Track::Audio => init.audio(),
    }
}

fn of_segment(segment: &Segment, track: Track) -> Option<Bytes> {
    match track {
        Track::All => Some(segment.bytes.clone()),
        Track::Video => segment.video(),
        Track::Audio => segment.audio(),
    }
}

fn of_part(part: &Part, track: Track) -> Option<Bytes> {
    match track {
        Track::All => Some(part.bytes.clone()),
        Track::Video => part.video(),
        Track::Audio => part.audio(),
    }
}

/// A segment's parts as they come, until it is complete. It breaks off where the segment is gone before that, so that
/// nobody takes the torso for the whole.
fn grow(rendition: &Rendition, number: u64, track: Track) -> Body {
    struct Growth {
        bell: tokio::sync::watch::Receiver<Shown>,
        next_part: usize,
        has_sent: bool,
        is_over: bool,
    }
    let growth = Growth { bell: rendition.subscribe(), next_part: 0, has_sent: false, is_over: false };
    let parts = stream::unfold(growth, move |mut growth| async move {
        if growth.is_over {
            return None;
        }
        loop {
            let shown = growth.bell.borrow_and_update().clone();
            let found = shown.view.as_deref().and_then(|view| {
                let open = view.facts.open.as_ref().filter(|open| open.number == number);
                view.segment(number).or(open)
            });
            let Some(segment) = found else {
                growth.is_over = true;
                return Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), growth));
            };
            while let Some(part) = segment.parts.get(growth.next_part) {
                growth.next_part += 1;
                if let Some(bytes) = of_part(part, track) {
                    growth.has_sent = true;
                    return Some((Ok(bytes), growth));
                }
            }
            if !segment.bytes.is_empty() {
                growth.is_over = true;
                return if growth.has_sent { None } else { Some((Ok(NOTHING), growth)) };
            }
            drop(shown);
            if growth.bell.changed().await.is_err() {
                growth.is_over = true;
                return Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), growth));
            }
        }
    });
    Body::from_stream(parts.fuse())
}

#[cfg(test)]
mod tests;
