//! A recording as one MP4 file: the initialisation segment, an index, the segments as they are, and another index. Nothing is
//! written for it, its length is known before the first byte, and any part of it can be asked for.

use std::{error::Error, io, sync::Arc};

use bytes::Bytes;
use domain::ids::RecordingId;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use storage::{Key, Storage};
use tokio_util::io::ReaderStream;

use super::PIECE_BYTES;
use crate::recorder::{
    self,
    boxes::{self, Placed},
    index::Index,
};

/// One file of many.
pub(super) struct File {
    pieces: Vec<Piece>,
    size_bytes: u64,
}

struct Piece {
    /// Of its first byte.
    offset: u64,
    length: u64,
    content: Content,
}

enum Content {
    Here(Bytes),
    Stored(Key),
}

impl File {
    /// The file of a recording; `None` when its segments cannot follow each other in one file: they need different
    /// initialisation segments, or their times begin anew.
    pub(super) async fn of(
        recording_id: RecordingId,
        index: &Index,
        storage: &Storage,
    ) -> Result<Option<Self>, Box<dyn Error + Send + Sync>> {
        let mut inits = Vec::new();
        for init in &index.inits {
            let key = recorder::key(recording_id, &format!("source/init{}.mp4", init.number))?;
            inits.push(storage.get(&key).await?.ok_or("an initialisation segment is missing")?.bytes);
        }
        let Some(init) = inits.first().cloned() else { return Ok(None) };
        let placed: Vec<Placed> = index
            .segments
            .iter()
            .map(|segment| Placed {
                decode_time: segment.decode_time,
                duration_ms: segment.duration_ms,
                size_bytes: segment.size_bytes,
                is_key: segment.key_frame_bytes > 0,
            })
            .collect();
        let is_in_order = placed.windows(2).all(|two| two[0].decode_time < two[1].decode_time);
        if !is_in_order || inits.iter().any(|other| *other != init) {
            return Ok(None);
        }
        let front = boxes::sidx(&placed);
        let first_offset = init.len() as u64 + front.len() as u64;
        let back = boxes::mfra(&placed, first_offset);
        let mut file = Self { pieces: Vec::with_capacity(placed.len() + 3), size_bytes: 0 };
        file.push(init.len() as u64, Content::Here(init));
        file.push(front.len() as u64, Content::Here(front.into()));
        for segment in &index.segments {
            let key = recorder::key(recording_id, &format!("source/s{}.m4s", segment.number))?;
            file.push(segment.size_bytes, Content::Stored(key));
        }
        file.push(back.len() as u64, Content::Here(back.into()));
        Ok(Some(file))
    }

    fn push(&mut self, length: u64, content: Content) {
        self.pieces.push(Piece { offset: self.size_bytes, length, content });
        self.size_bytes += length;
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// `length` bytes from byte `start` on. An error breaks the answer off, so that nobody takes it for whole.
    pub(super) fn read(
        self: Arc<Self>,
        storage: Storage,
        start: u64,
        length: u64,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let first = self.pieces.partition_point(|piece| piece.offset + piece.length <= start);
        let end = start + length;
        let last = self.pieces.partition_point(|piece| piece.offset < end);
        stream::iter(first..last)
            .then(move |place| {
                let (file, storage) = (Arc::clone(&self), storage.clone());
                async move { file.pieces[place].read(&storage, start, end).await }
            })
            .try_flatten()
    }
}

impl Piece {
    async fn read(
        &self,
        storage: &Storage,
        start: u64,
        end: u64,
    ) -> io::Result<stream::BoxStream<'static, io::Result<Bytes>>> {
        let from = start.saturating_sub(self.offset);
        let until = (end - self.offset).min(self.length);
        match &self.content {
            Content::Here(bytes) => {
                let bytes = bytes.slice(from as usize..until as usize);
                Ok(stream::iter([Ok(bytes)]).boxed())
            }
            Content::Stored(key) => {
                let content = storage.read(key, from, until - from).await.map_err(io::Error::other)?;
                let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                Ok(ReaderStream::with_capacity(content, PIECE_BYTES).boxed())
            }
        }
    }
}
