//! The guard, the session and the packager behind it, fed with whatever bytes: for the fuzz target and the property
//! tests. What comes back does not matter; that it comes back does.

use bytes::BytesMut;
use domain::ids::StreamId;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use uuid::Uuid;

use super::{
    amf0, chunks,
    chunks::ChunkReader,
    connection::UNKNOWN_PEER_BYTES,
    negotiation::{Negotiation, Turn},
};
use crate::packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag, TagKind};

/// What a peer got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was still talking.
    Talking,
    /// It had asked to publish, and was let.
    Publishing,
    /// It was left.
    Left,
}

/// Takes what a peer sends after the handshake, in reads of `read_bytes`. Any key is accepted.
pub fn conversation(bytes: &[u8], read_bytes: usize) -> Outcome {
    let Ok(mut negotiation) = Negotiation::new(true) else { return Outcome::Left };
    let broadcast = Broadcast::new(StreamId::from(Uuid::nil()), PackagerConfig::default(), FirstNumbers::default());
    let mut packager = Packager::new(broadcast);
    let mut reader = ChunkReader::new();
    let mut input = BytesMut::new();
    let mut is_publishing = false;
    let mut received = 0;
    for read in bytes.chunks(read_bytes.max(1)) {
        if !is_publishing && received > UNKNOWN_PEER_BYTES {
            return Outcome::Left;
        }
        received += read.len();
        input.extend_from_slice(read);
        loop {
            let message = match reader.next(&mut input) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) => return Outcome::Left,
            };
            if !is_publishing {
                match negotiation.receive(&message) {
                    Ok(Turn::Goes) => {}
                    Ok(Turn::Publish(_)) => {
                        is_publishing = true;
                        reader.take_media();
                    }
                    Ok(Turn::Refused(_)) | Err(_) => return Outcome::Left,
                }
                negotiation.take_output();
                continue;
            }
            let kind = match message.type_id {
                chunks::AUDIO => TagKind::Audio,
                chunks::VIDEO => TagKind::Video,
                chunks::AMF0_COMMAND if amf0::command_name(&message.body).is_err() => return Outcome::Left,
                _ => continue,
            };
            let tag = Tag { kind, timestamp_ms: message.timestamp_ms, body: message.body };
            if packager.push(tag).is_err() {
                return Outcome::Left;
            }
        }
    }
    packager.finish();
    if is_publishing { Outcome::Publishing } else { Outcome::Talking }
}

/// Takes what a peer sends as its handshake, in reads of `read_bytes`; what is left over goes on as a conversation.
pub fn connection(bytes: &[u8], read_bytes: usize) -> Outcome {
    let mut handshake = Handshake::new(PeerType::Server);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (read, unread) = rest.split_at(read_bytes.max(1).min(rest.len()));
        rest = unread;
        match handshake.process_bytes(read) {
            Ok(HandshakeProcessResult::InProgress { .. }) => {}
            Ok(HandshakeProcessResult::Completed { remaining_bytes, .. }) => {
                return conversation(&[&remaining_bytes, rest].concat(), read_bytes);
            }
            Err(_) => return Outcome::Left,
        }
    }
    Outcome::Talking
}
