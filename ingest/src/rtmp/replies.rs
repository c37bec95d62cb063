//! What we say once rml_rtmp's session has done its part: few messages, each with a full header, so that they need no
//! memory of what was said before on their chunk stream.

use std::collections::HashMap;

use rml_rtmp::{
    chunk_io::{ChunkSerializationError, ChunkSerializer},
    messages::{MessageSerializationError, RtmpMessage, UserControlEventType},
    rml_amf0::Amf0Value,
    time::RtmpTimestamp,
};
use thiserror::Error;

/// The chunk size that [`Negotiation`](super::negotiation::Negotiation) announces.
pub(crate) const CHUNK_BYTES: u32 = 4_096;

/// Texts are cut here, so that a status always fits one chunk.
const TEXT_BYTES: usize = 1_000;

/// A reply could not be written; it never happens with what is said here.
#[derive(Debug, Error)]
pub(crate) enum ReplyError {
    #[error("write a reply")]
    Message(#[from] MessageSerializationError),
    #[error("write the chunks of a reply")]
    Chunks(#[from] ChunkSerializationError),
}

/// `onStatus` on a stream of the peer: how a publish is answered.
pub(crate) fn status(
    message_stream_id: u32,
    level: &'static str,
    code: &'static str,
    text: &str,
) -> Result<Vec<u8>, ReplyError> {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES)];
    let properties = [("level", level), ("code", code), ("description", text)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Amf0Value::Utf8String(value.to_owned())))
        .collect::<HashMap<_, _>>();
    write(
        message_stream_id,
        RtmpMessage::Amf0Command {
            command_name: "onStatus".to_owned(),
            transaction_id: 0.0,
            command_object: Amf0Value::Null,
            additional_arguments: vec![Amf0Value::Object(properties)],
        },
    )
}

/// `_result` to a `connect` that speaks of Enhanced RTMP: section "Enhancing NetConnection connect Command" of its second
/// version. Codecs are only passed on here, and neither several tracks nor reconnect requests are known.
pub(crate) fn connected(transaction_id: f64, fms_version: &str, takes_hevc: bool) -> Result<Vec<u8>, ReplyError> {
    /// FourCcInfoMask.CanForward
    const CAN_FORWARD: f64 = 4.0;
    /// CapsExMask.ModEx: modifiers are gone over.
    const MODIFIERS: f64 = 4.0;
    let text = |text: &str| Amf0Value::Utf8String(text.to_owned());
    let object = |properties: &[(&str, Amf0Value)]| {
        Amf0Value::Object(properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    let video: &[&str] = if takes_hevc { &["avc1", "av01", "hvc1"] } else { &["avc1", "av01"] };
    let audio = ["mp4a"];
    let info = |codecs: &[&str]| {
        object(&codecs.iter().map(|codec| (*codec, Amf0Value::Number(CAN_FORWARD))).collect::<Vec<_>>())
    };
    let properties = object(&[
        ("fmsVer", text(fms_version)),
        ("capabilities", Amf0Value::Number(31.0)),
        ("fourCcList", Amf0Value::StrictArray(video.iter().chain(&audio).map(|codec| text(codec)).collect())),
        ("videoFourCcInfoMap", info(video)),
        ("audioFourCcInfoMap", info(&audio)),
        ("capsEx", Amf0Value::Number(MODIFIERS)),
    ]);
    let information = object(&[
        ("level", text("status")),
        ("code", text("NetConnection.Connect.Success")),
        ("description", text("Connected.")),
        ("objectEncoding", Amf0Value::Number(0.0)),
    ]);
    write(
        0,
        RtmpMessage::Amf0Command {
            command_name: "_result".to_owned(),
            transaction_id,
            command_object: properties,
            additional_arguments: vec![information],
        },
    )
}

/// Section 7.1.7: the stream can be used.
pub(crate) fn stream_begin(message_stream_id: u32) -> Result<Vec<u8>, ReplyError> {
    control(UserControlEventType::StreamBegin, Some(message_stream_id), None)
}

/// The answer to a ping, with the ping's own timestamp.
pub(crate) fn pong(timestamp_ms: u32) -> Result<Vec<u8>, ReplyError> {
    control(UserControlEventType::PingResponse, None, Some(RtmpTimestamp::new(timestamp_ms)))
}

/// Section 5.4.3: how many bytes have come so far.
pub(crate) fn acknowledgement(sequence_number: u32) -> Result<Vec<u8>, ReplyError> {
    write(0, RtmpMessage::Acknowledgement { sequence_number })
}

fn control(
    event_type: UserControlEventType,
    stream_id: Option<u32>,
    timestamp: Option<RtmpTimestamp>,
) -> Result<Vec<u8>, ReplyError> {
    write(0, RtmpMessage::UserControl { event_type, stream_id, timestamp, buffer_length: None })
}

fn write(message_stream_id: u32, message: RtmpMessage) -> Result<Vec<u8>, ReplyError> {
    let payload = message.into_message_payload(RtmpTimestamp::new(0), message_stream_id)?;
    let mut serializer = ChunkSerializer::new();
    // The announcement was made at the start of the session.
    serializer.set_max_chunk_size(CHUNK_BYTES, RtmpTimestamp::new(0))?;
    Ok(serializer.serialize(&payload, true, false)?.bytes)
}
