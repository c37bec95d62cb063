//! What of a stream is kept: a JSON object a line, initialisation segments and segments in the order in which they came.
//!
//! An object of a storage cannot be appended to, so the lines are in files of [`LINES`]; only the last one changes, and it is
//! replaced whole. What an index names is stored, always.

use bytes::Bytes;
use domain::ids::RecordingId;
use serde::{Deserialize, Serialize};
use storage::{InvalidKey, Key, StorageError};
use time::OffsetDateTime;

use super::{key, shelf::Shelf};
use crate::packager::Init;

/// How many lines a file has: 40 kB, which is written again for each segment.
pub(crate) const LINES: usize = 256;

/// An initialisation segment that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptInit {
    /// Of `init<N>.mp4`.
    pub number: u64,
    pub size_bytes: u64,
    /// As the `CODECS` attribute lists them.
    pub codecs: String,
    /// 0 where there is sound alone, as the two that follow.
    pub width: u32,
    pub height: u32,
    pub frame_rate: f64,
}

impl KeptInit {
    pub(super) fn of(init: &Init) -> Self {
        Self {
            number: init.number,
            size_bytes: init.media.bytes.len() as u64,
            codecs: init.media.codecs.clone(),
            width: init.media.width,
            height: init.media.height,
            frame_rate: init.media.frame_rate,
        }
    }

    /// Whether there is a picture, and not sound alone.
    pub(crate) fn has_picture(&self) -> bool {
        self.width > 0
    }
}

/// A segment that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptSegment {
    /// Of `s<N>.m4s`.
    pub number: u64,
    pub duration_ms: u32,
    pub size_bytes: u64,
    /// The number of the initialisation segment that it needs.
    pub init: u64,
    /// Times, tracks or both begin anew, or something is missing before it.
    pub is_after_discontinuity: bool,
    /// Something of the stream is missing before it.
    pub is_gap: bool,
    /// When its first picture was taken in.
    #[serde(with = "time::serde::rfc3339")]
    pub starts_at: OffsetDateTime,
    /// How long the fragment is that it begins with, if a key frame is in that; 0 otherwise.
    pub key_frame_bytes: u64,
    /// When it begins, by decode time, in ticks of
    /// [`VIDEO_TIMESCALE`](crate::media::fragment::VIDEO_TIMESCALE).
    pub decode_time: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Init(KeptInit),
    Segment(KeptSegment),
}

/// Why there is no index.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("the index cannot be read or written")]
    Storage(#[from] StorageError),
    #[error("the index has no place")]
    Key(#[from] InvalidKey),
    #[error("a line of the index cannot be written")]
    Line(#[source] serde_json::Error),
}

/// The index of one recording.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    recording_id: RecordingId,
    /// In the order in which they came.
    pub inits: Vec<KeptInit>,
    /// In the order in which they came.
    pub segments: Vec<KeptSegment>,
    /// The last file, as far as it is.
    open: String,
    open_lines: usize,
    /// The number of the last file.
    file: u64,
    /// Files that are full and not stored yet.
    full: Vec<(u64, String)>,
}

impl Index {
    pub(crate) fn new(recording_id: RecordingId) -> Self {
        Self {
            recording_id,
            inits: Vec::new(),
            segments: Vec::new(),
            open: String::new(),
            open_lines: 0,
            file: 0,
            full: Vec::new(),
        }
    }

    /// What is stored; an empty one when nothing is. What cannot be read, and all after it, is left out.
    pub(crate) async fn load(recording_id: RecordingId, shelf: &dyn Shelf) -> Result<Self, IndexError> {
        let mut index = Self::new(recording_id);
        'files: loop {
            let key = file_key(recording_id, index.file)?;
            let Some(bytes) = shelf.get(&key).await? else { break };
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line) {
                    Ok(line) => index.push(line)?,
                    Err(error) => {
                        tracing::error!(%key, %error, "the index of a recording is damaged; what comes after is lost");
                        break 'files;
                    }
                }
            }
            if index.open_lines > 0 {
                // It was the last one.
                break;
            }
        }
        index.full.clear();
        Ok(index)
    }

    pub(crate) fn last_init(&self) -> Option<u64> {
        self.inits.last().map(|init| init.number)
    }

    /// All that it names, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        let inits = self.inits.iter().map(|init| init.size_bytes);
        inits.chain(self.segments.iter().map(|segment| segment.size_bytes)).sum()
    }

    pub(crate) fn push_init(&mut self, init: KeptInit) {
        // Numbers, texts and a time always have a JSON form; a rate that is none is not one that was measured.
        let _ = self.push(Line::Init(init));
    }

    pub(crate) fn push_segment(&mut self, segment: KeptSegment) {
        let _ = self.push(Line::Segment(segment));
    }

    fn push(&mut self, line: Line) -> Result<(), IndexError> {
        self.open.push_str(&serde_json::to_string(&line).map_err(IndexError::Line)?);
        self.open.push('\n');
        self.open_lines += 1;
        match line {
            Line::Init(init) => self.inits.push(init),
            Line::Segment(segment) => self.segments.push(segment),
        }
        if self.open_lines == LINES {
            self.full.push((self.file, std::mem::take(&mut self.open)));
            self.file += 1;
            self.open_lines = 0;
        }
        Ok(())
    }

    /// Stores what is new, oldest first, so that what is stored is whole up to some line at every moment.
    pub(crate) async fn store(&mut self, shelf: &dyn Shelf) -> Result<(), IndexError> {
        while let Some((file, text)) = self.full.first() {
            shelf.put(&file_key(self.recording_id, *file)?, Bytes::from(text.clone())).await?;
            self.full.remove(0);
        }
        if self.open_lines > 0 {
            shelf.put(&file_key(self.recording_id, self.file)?, Bytes::from(self.open.clone())).await?;
        }
        Ok(())
    }
}

fn file_key(recording_id: RecordingId, file: u64) -> Result<Key, InvalidKey> {
    key(recording_id, &format!("source/index/{file:06}.jsonl"))
}
