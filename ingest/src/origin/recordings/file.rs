//! A recording as one MP4 file: the initialisation segment, an index, the segments one after the other, and another index.
//! Nothing is written for it, its length is known before the first byte, and any part of it can be asked for.
//!
//! Where picture or sound changed in between, what comes after needs another initialisation segment: then there is a file for
//! each stretch.

use std::{collections::HashMap, error::Error, io, sync::Arc};

use bytes::Bytes;
use domain::ids::RecordingId;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use storage::{InvalidKey, Key, Storage};

use crate::{
    media::{
        fragment::{AUDIO_TRACK, VIDEO_TIMESCALE, VIDEO_TRACK},
        times,
    },
    recorder::{
        self,
        boxes::{self, Placed},
        index::{Index, KeptSegment},
    },
};

/// One file of many.
pub(super) struct File {
    pieces: Vec<Piece>,
    size_bytes: u64,
    /// Where in the recording it begins, in milliseconds.
    pub(super) starts_at_ms: u64,
    pub(super) duration_ms: u64,
}

struct Piece {
    /// Of its first byte.
    offset: u64,
    length: u64,
    content: Content,
}

enum Content {
    Here(Bytes),
    /// A segment, whose times are moved by so many ticks of the picture's track.
    Stored {
        key: Key,
        shift: i64,
        sound_timescale: Option<u32>,
    },
}

/// Where each segment is in the file, one after the other, and by how much its times are to be moved for that.
fn place(segments: &[KeptSegment]) -> (Vec<Placed>, Vec<i64>) {
    const TICKS_PER_MS: u64 = VIDEO_TIMESCALE as u64 / 1_000;
    /// What durations in whole milliseconds may be off.
    const SLACK: u64 = 5 * TICKS_PER_MS;
    let (mut placed, mut shifts) = (Vec::new(), Vec::new());
    let mut expected = None;
    let mut shift = 0;
    let mut at = 0_u64;
    for segment in segments {
        if expected.is_none_or(|expected: u64| expected.abs_diff(segment.decode_time) > SLACK) {
            shift = i64::try_from(at).unwrap_or(i64::MAX) - i64::try_from(segment.decode_time).unwrap_or(i64::MAX);
        }
        let duration = u64::from(segment.duration_ms) * TICKS_PER_MS;
        let decode_time = segment.decode_time.saturating_add_signed(shift);
        placed.push(Placed {
            decode_time,
            duration_ms: segment.duration_ms,
            size_bytes: segment.size_bytes,
            is_key: segment.key_frame_bytes > 0,
        });
        shifts.push(shift);
        expected = Some(segment.decode_time + duration);
        at = decode_time + duration;
    }
    (placed, shifts)
}

impl File {
    /// The files of a recording, in order: one, unless picture or sound changed in between. Never none for an index with
    /// segments.
    pub(super) async fn all_of(
        recording_id: RecordingId,
        index: &Index,
        storage: &Storage,
    ) -> Result<Vec<Arc<Self>>, Box<dyn Error + Send + Sync>> {
        let mut inits = HashMap::new();
        for init in &index.inits {
            let key = recorder::key(recording_id, &format!("source/init{}.mp4", init.number))?;
            let bytes = storage.get(&key).await?.ok_or("an initialisation segment is missing")?.bytes;
            inits.insert(init.number, bytes);
        }
        let (mut files, mut starts_at_ms) = (Vec::new(), 0);
        // After a reconnect there is a new initialisation segment, which mostly is the same.
        for stretch in index.segments.chunk_by(|one, next| inits.get(&one.init) == inits.get(&next.init)) {
            let init = stretch.first().and_then(|segment| inits.get(&segment.init));
            let init = init.ok_or("a segment needs an initialisation segment that is not there")?;
            let file = Self::of(recording_id, init.clone(), stretch, starts_at_ms)?;
            starts_at_ms += file.duration_ms;
            files.push(Arc::new(file));
        }
        Ok(files)
    }

    /// Of segments that need the same initialisation segment.
    fn of(
        recording_id: RecordingId,
        init: Bytes,
        segments: &[KeptSegment],
        starts_at_ms: u64,
    ) -> Result<Self, InvalidKey> {
        let sound_timescale = boxes::sound_timescale(&init);
        let (placed, shifts) = place(segments);
        // The index is of the picture, or of the sound where that is alone.
        let (track, timescale) = match (times::timescale(&init, VIDEO_TRACK), sound_timescale) {
            (None, Some(timescale)) => (AUDIO_TRACK, timescale),
            _ => (VIDEO_TRACK, VIDEO_TIMESCALE),
        };
        let front = boxes::sidx(&placed, (track, timescale));
        let first_offset = init.len() as u64 + front.len() as u64;
        let back = boxes::mfra(&placed, first_offset, (track, timescale));
        let duration_ms = segments.iter().map(|segment| u64::from(segment.duration_ms)).sum();
        let pieces = Vec::with_capacity(placed.len() + 3);
        let mut file = Self { pieces, size_bytes: 0, starts_at_ms, duration_ms };
        file.push(init.len() as u64, Content::Here(init));
        file.push(front.len() as u64, Content::Here(front.into()));
        for (segment, shift) in segments.iter().zip(shifts) {
            let key = recorder::key(recording_id, &format!("source/s{}.m4s", segment.number))?;
            file.push(segment.size_bytes, Content::Stored { key, shift, sound_timescale });
        }
        file.push(back.len() as u64, Content::Here(back.into()));
        Ok(file)
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
            Content::Stored { key, shift, sound_timescale } => {
                // Whole, since its times are moved.
                let segment = storage.get_range(key, 0, self.length).await.map_err(io::Error::other)?;
                let segment = segment.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                if segment.len() as u64 != self.length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mut segment = segment.to_vec();
                boxes::shift(&mut segment, *shift, *sound_timescale);
                let part = Bytes::from(segment).slice(from as usize..until as usize);
                Ok(stream::iter([Ok(part)]).boxed())
            }
        }
    }
}

#[cfg(test)]
mod tests;
