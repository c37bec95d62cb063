//! Chunks in, whole messages out: RTMP 1.0, section 5.3.
//!
//! Every length is checked before anything is allocated for it, and messages of several chunk streams may interleave.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// What a message may weigh before its sender has shown a stream key, and any message that is no media afterwards.
const CONTROL_BYTES: usize = 64 * 1024;
/// What a message of sound or picture may weigh: a key frame of 8K video at its most wasteful.
const MEDIA_BYTES: usize = 8 * 1024 * 1024;
/// What the messages that are still in pieces may weigh together.
const PARTIAL_BYTES: usize = 2 * MEDIA_BYTES;
/// Encoders use four to eight.
const CHUNK_STREAMS: usize = 32;
/// Section 5.4.1: until the peer says otherwise.
const FIRST_CHUNK_BYTES: usize = 128;
/// A timestamp field of this value is followed by four bytes with the real one.
const EXTENDED: u32 = 0xff_ffff;

pub(crate) const SET_CHUNK_SIZE: u8 = 1;
pub(crate) const ABORT: u8 = 2;
pub(crate) const USER_CONTROL: u8 = 4;
pub(crate) const WINDOW_ACKNOWLEDGEMENT: u8 = 5;
pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const AMF3_DATA: u8 = 15;
pub(crate) const AMF3_COMMAND: u8 = 17;
pub(crate) const AMF0_DATA: u8 = 18;
pub(crate) const AMF0_COMMAND: u8 = 20;

/// One whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Section 5.4 and 7.1: what it is.
    pub(crate) type_id: u8,
    /// In milliseconds from the peer's own zero; wraps.
    pub(crate) timestamp_ms: u32,
    /// Which of the peer's streams it is for; 0 is the connection itself.
    pub(crate) message_stream_id: u32,
    /// The payload.
    pub(crate) body: Bytes,
}

/// What is wrong with the chunks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ChunkError {
    #[error("a message of {length} bytes is above the limit of {limit}")]
    MessageTooLong { length: usize, limit: usize },
    #[error("unfinished messages of {0} bytes together")]
    PartialsTooLong(usize),
    #[error("more than {CHUNK_STREAMS} chunk streams")]
    TooManyChunkStreams,
    #[error("a chunk stream that opens with a shortened header")]
    NoHeader,
    #[error("a new message in the middle of another on the same chunk stream")]
    Unfinished,
    #[error("a chunk size of {0}")]
    ChunkSize(u32),
    #[error("a control message of {0} bytes")]
    ControlLength(usize),
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    timestamp_ms: u32,
    /// The last header's timestamp field, which a type 3 chunk that opens a message adds once more.
    step_ms: u32,
    /// Whether that field was extended: then type 3 chunks may repeat it.
    is_extended: bool,
    length: usize,
    type_id: u8,
    message_stream_id: u32,
    /// Whether a message is in pieces, of which `body` has the first.
    is_open: bool,
    body: BytesMut,
}

/// Reads the chunks of one peer.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    streams: Vec<ChunkStream>,
    chunk_bytes: usize,
    /// The chunk whose payload is being read: index into `streams`, bytes that are left.
    payload: Option<(usize, usize)>,
    /// The declared lengths of all open messages.
    partial_bytes: usize,
    takes_media: bool,
}

impl ChunkReader {
    pub(crate) fn new() -> Self {
        Self {
            streams: Vec::with_capacity(8),
            chunk_bytes: FIRST_CHUNK_BYTES,
            payload: None,
            partial_bytes: 0,
            takes_media: false,
        }
    }

    /// The peer has shown a stream key: from here on messages of sound and picture may be large.
    pub(crate) fn take_media(&mut self) {
        self.takes_media = true;
    }

    /// The next whole message, or `None` when `input` has no more; what was read is taken off `input`.
    ///
    /// Set Chunk Size and Abort concern the reading itself: they are obeyed and not returned.
    ///
    /// # Errors
    /// On the first violation. The reader is of no use afterwards.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.payload.is_none() && !self.read_header(input)? {
                return Ok(None);
            }
            let Some(message) = self.read_payload(input) else {
                if input.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            match message.type_id {
                SET_CHUNK_SIZE => self.set_chunk_size(&message.body)?,
                ABORT => self.abort(&message.body)?,
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Reads one chunk header; `false` when `input` does not have all of it yet.
    fn read_header(&mut self, input: &mut BytesMut) -> Result<bool, ChunkError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(false) };
        let (basic_length, id) = match (first & 0x3f, rest) {
            (0, [low, ..]) => (2, 64 + u32::from(*low)),
            (1, [low, high, ..]) => (3, 64 + u32::from(*low) + 256 * u32::from(*high)),
            (0 | 1, _) => return Ok(false),
            (id, _) => (1, u32::from(id)),
        };
        let format = first >> 6;
        let header_length = match format {
            0 => 11,
            1 => 7,
            2 => 3,
            _ => 0,
        };
        let Some(header) = input.get(basic_length..basic_length + header_length) else { return Ok(false) };
        let mut consumed = basic_length + header_length;
        let index = self.streams.iter().position(|stream| stream.id == id);

        // What the header says, where it does, and what the chunk stream said last, where it does not.
        let known = index.map(|index| &self.streams[index]);
        if known.is_some_and(|stream| stream.is_open) && format != 3 {
            return Err(ChunkError::Unfinished);
        }
        let field = if header_length >= 3 { u24(&header[0..3]) } else { 0 };
        let (length, type_id) = match (format, known) {
            // OBS opens the chunk stream of its control messages with type 1.
            (0 | 1, _) => (u24(&header[3..6]) as usize, header[6]),
            (_, Some(stream)) => (stream.length, stream.type_id),
            (_, None) => return Err(ChunkError::NoHeader),
        };
        let message_stream_id = match (format, known) {
            (0, _) => u32::from_le_bytes([header[7], header[8], header[9], header[10]]),
            (_, Some(stream)) => stream.message_stream_id,
            (_, None) => 0,
        };
        let is_extended = if format == 3 { known.is_some_and(|stream| stream.is_extended) } else { field == EXTENDED };
        let mut step_ms = if format == 3 { known.map_or(0, |stream| stream.step_ms) } else { field };
        if is_extended {
            let Some(extension) = input.get(consumed..consumed + 4) else { return Ok(false) };
            let extension = u32::from_be_bytes([extension[0], extension[1], extension[2], extension[3]]);
            // Some encoders repeat the extension in type 3 chunks, as the specification wants, and some do not.
            if format != 3 || extension == step_ms {
                consumed += 4;
                step_ms = extension;
            }
        }

        let is_new = known.is_none_or(|stream| !stream.is_open);
        if is_new {
            let limit = if self.takes_media && matches!(type_id, AUDIO | VIDEO) { MEDIA_BYTES } else { CONTROL_BYTES };
            if length > limit {
                return Err(ChunkError::MessageTooLong { length, limit });
            }
            if self.partial_bytes + length > PARTIAL_BYTES {
                return Err(ChunkError::PartialsTooLong(self.partial_bytes + length));
            }
        }
        let index = match index {
            Some(index) => index,
            None if self.streams.len() == CHUNK_STREAMS => return Err(ChunkError::TooManyChunkStreams),
            None => {
                self.streams.push(ChunkStream {
                    id,
                    timestamp_ms: 0,
                    step_ms: 0,
                    is_extended: false,
                    length: 0,
                    type_id: 0,
                    message_stream_id: 0,
                    is_open: false,
                    body: BytesMut::new(),
                });
                self.streams.len() - 1
            }
        };
        input.advance(consumed);

        let stream = &mut self.streams[index];
        if is_new {
            stream.timestamp_ms = if format == 0 { step_ms } else { stream.timestamp_ms.wrapping_add(step_ms) };
            stream.step_ms = step_ms;
            stream.is_extended = is_extended;
            stream.length = length;
            stream.type_id = type_id;
            stream.message_stream_id = message_stream_id;
            stream.is_open = true;
            stream.body = BytesMut::with_capacity(length);
            self.partial_bytes += length;
        }
        self.payload = Some((index, (stream.length - stream.body.len()).min(self.chunk_bytes)));
        Ok(true)
    }

    /// Moves what `input` has of the current chunk's payload; the message if that completes it.
    fn read_payload(&mut self, input: &mut BytesMut) -> Option<Message> {
        let (index, left) = self.payload?;
        let stream = &mut self.streams[index];
        let taken = left.min(input.len());
        stream.body.extend_from_slice(&input[..taken]);
        input.advance(taken);
        if taken < left {
            self.payload = Some((index, left - taken));
            return None;
        }
        self.payload = None;
        if stream.body.len() < stream.length {
            return None;
        }
        stream.is_open = false;
        self.partial_bytes -= stream.length;
        Some(Message {
            type_id: stream.type_id,
            timestamp_ms: stream.timestamp_ms,
            message_stream_id: stream.message_stream_id,
            body: std::mem::take(&mut stream.body).freeze(),
        })
    }

    fn set_chunk_size(&mut self, body: &[u8]) -> Result<(), ChunkError> {
        let size = control_value(body)?;
        // The top bit must be zero. Above the longest message a size means "one chunk", and costs nothing: payloads
        // are read as they come.
        if size == 0 || size > 0x7fff_ffff {
            return Err(ChunkError::ChunkSize(size));
        }
        self.chunk_bytes = size as usize;
        Ok(())
    }

    fn abort(&mut self, body: &[u8]) -> Result<(), ChunkError> {
        let id = control_value(body)?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id && stream.is_open) {
            stream.is_open = false;
            stream.body = BytesMut::new();
            self.partial_bytes -= stream.length;
        }
        Ok(())
    }
}

fn u24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// The one number of a protocol control message.
pub(crate) fn control_value(body: &[u8]) -> Result<u32, ChunkError> {
    match body {
        [a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(ChunkError::ControlLength(body.len())),
    }
}

#[cfg(test)]
mod tests;
