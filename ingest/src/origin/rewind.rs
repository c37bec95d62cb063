//! Answers from what is kept on the disk: see [`crate::rewind`].

use std::sync::Arc;

use axum::{http::HeaderMap, response::Response};
use bytes::Bytes;
use domain::ids::StreamId;

use super::{
    Origin,
    address::{MediaFile, ReloadQuery},
    fresh_s,
    problem::Problem,
    reply, wait,
};
use crate::{
    packager::{AUDIO, Document, SOURCE},
    rewind::{Shelf, Track},
};

impl Origin {
    /// The same variants as live: their playlists have another name.
    pub(super) async fn rewind_master(&self, stream_id: StreamId, headers: &HeaderMap) -> Result<Response, Problem> {
        if !self.broadcasts.rewind.is_on() {
            return Err(Problem::REWIND_OFF);
        }
        let broadcast = self.broadcast(stream_id)?;
        let view = wait::for_playlist(broadcast.source(), None).await?;
        let live = broadcast.master_playlist().ok_or(Problem::NOTHING_TO_PLAY)?;
        let text = String::from_utf8_lossy(&live.plain).replace("/index.m3u8\n", "/rewind.m3u8\n");
        Ok(reply::playlist(&Document::of_content(text), view.facts.timing.target_duration_s / 2, headers))
    }

    pub(super) async fn rewind_playlist(
        &self,
        stream_id: StreamId,
        name: &str,
        reload: ReloadQuery,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        if !self.broadcasts.rewind.is_on() {
            return Err(Problem::REWIND_OFF);
        }
        let broadcast = self.broadcast(stream_id)?;
        let view = self.awaited(&broadcast, name, reload).await?;
        let shelf = self.shelf(stream_id, name).ok_or(Problem::RENDITION_NOT_FOUND)?;
        let (is_audio, of) = (name == AUDIO, name.to_owned());
        let document = shelf.playlist(&view, is_audio, reload.is_delta, move || broadcast.reports(&of)).await;
        Ok(reply::playlist(&document, fresh_s(&view, reload), headers))
    }

    /// What is no longer in memory.
    pub(super) async fn rewound(&self, stream_id: StreamId, name: &str, file: MediaFile) -> Option<Bytes> {
        let shelf = self.shelf(stream_id, name)?;
        let is_audio = name == AUDIO;
        match file {
            MediaFile::Init(number) => {
                let init = shelf.init(number)?;
                if is_audio { init.audio() } else { Some(init.media.bytes.clone()) }
            }
            MediaFile::Segment(number) => {
                let track = if is_audio { Track::Audio } else { Track::All };
                self.broadcasts.rewind.segment(&shelf, number, track).await
            }
            MediaFile::Part(_) => None,
        }
    }

    pub(super) fn shelf(&self, stream_id: StreamId, name: &str) -> Option<Arc<Shelf>> {
        let name = if name == AUDIO { SOURCE } else { name };
        self.broadcasts.rewind.shelf(stream_id, name)
    }
}
