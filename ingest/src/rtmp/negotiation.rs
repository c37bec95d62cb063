//! From the end of the handshake to the publish request: rml_rtmp's session, fed with what the guard has looked over.
//!
//! The session is trusted with commands of known names and checked AMF0 only. It panics on a lone `@setDataFrame`, on
//! a command of fewer than three values and on interleaved chunks, and nested AMF0 overflows its stack; none of these
//! gets here. Data messages do not get here either: what they say of the media is read from the media itself.

use bytes::{BufMut, Bytes};
use domain::streams::EncoderName;
use rml_rtmp::sessions::{
    ServerSession, ServerSessionConfig, ServerSessionError, ServerSessionEvent, ServerSessionResult,
};
use thiserror::Error;

use super::{
    amf0::{self, Amf0Error},
    chunks::{self, ChunkError, Message},
    replies::{self, ReplyError},
};

/// The application name, the path of the address that streamers are shown.
pub(crate) const APP: &str = "live";

/// What we call ourselves, as servers always have.
const FMS_VERSION: &str = "FMS/3,0,1,123";

/// After how many bytes the peer is to send an acknowledgement, and gets one where it does not say.
const WINDOW_BYTES: u32 = 2_500_000;

/// Larger than any message that is taken before a publish, so that the session sees each as one chunk.
const SESSION_CHUNK_BYTES: u32 = 128 * 1024;

/// What the peer did that ends the connection.
#[derive(Debug, Error)]
pub(crate) enum NegotiationError {
    #[error("malformed chunks")]
    Chunks(#[from] ChunkError),
    #[error("a malformed command")]
    Command(#[from] Amf0Error),
    #[error("a command that the session refuses")]
    Session(#[from] ServerSessionError),
    #[error("connect sent twice")]
    Connected,
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

/// Where the conversation stands after a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It goes on.
    Goes,
    /// The peer asks to publish.
    Publish(PublishRequest),
    /// The peer wants what is not to be had here; it has been told (see the bytes to send) and is to be left.
    Refused(&'static str),
}

/// A request to publish.
#[derive(PartialEq, Eq)]
pub(crate) struct PublishRequest {
    /// The stream name without its query, which is the stream key.
    pub(crate) stream_key: String,
    /// The peer's stream, on which the answer goes.
    pub(crate) message_stream_id: u32,
    /// After how many bytes the peer wants an acknowledgement.
    pub(crate) window_bytes: u32,
    /// What the encoder called itself when it connected.
    pub(crate) encoder: Option<EncoderName>,
}

impl std::fmt::Debug for PublishRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PublishRequest")
            .field("message_stream_id", &self.message_stream_id)
            .finish_non_exhaustive()
    }
}

/// The conversation with one peer.
pub(crate) struct Negotiation {
    session: ServerSession,
    is_connected: bool,
    window_bytes: u32,
    encoder: Option<EncoderName>,
    /// The transaction of a `connect` that speaks of Enhanced RTMP.
    enhanced: Option<f64>,
    takes_hevc: bool,
    output: Vec<u8>,
}

impl Negotiation {
    /// `takes_hevc` is said to encoders that ask.
    pub(crate) fn new(takes_hevc: bool) -> Result<Self, NegotiationError> {
        let config = ServerSessionConfig {
            fms_version: FMS_VERSION.to_owned(),
            chunk_size: replies::CHUNK_BYTES,
            peer_bandwidth: WINDOW_BYTES,
            window_ack_size: WINDOW_BYTES,
            send_on_bw_done_message_on_start: false,
        };
        let (session, greeting) = ServerSession::new(config)?;
        let mut negotiation = Self {
            session,
            is_connected: false,
            window_bytes: WINDOW_BYTES / 2,
            encoder: None,
            enhanced: None,
            takes_hevc,
            output: Vec::new(),
        };
        for result in greeting {
            negotiation.keep_output(result);
        }
        negotiation.feed(chunks::SET_CHUNK_SIZE, 0, &SESSION_CHUNK_BYTES.to_be_bytes())?;
        Ok(negotiation)
    }

    /// What is to be sent to the peer, in order.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes one message.
    ///
    /// # Errors
    /// When the connection is to be closed without a word.
    pub(crate) fn receive(&mut self, message: &Message) -> Result<Turn, NegotiationError> {
        match message.type_id {
            chunks::AMF0_COMMAND => self.command(message, &message.body),
            // What calls itself AMF3 is AMF0 behind a zero byte.
            chunks::AMF3_COMMAND => self.command(message, message.body.strip_prefix(&[0]).unwrap_or(&message.body)),
            chunks::USER_CONTROL => {
                if let Some(timestamp_ms) = ping(&message.body) {
                    self.output.extend(replies::pong(timestamp_ms)?);
                }
                Ok(Turn::Goes)
            }
            chunks::WINDOW_ACKNOWLEDGEMENT => {
                self.window_bytes = window_bytes(&message.body)?;
                Ok(Turn::Goes)
            }
            _ => Ok(Turn::Goes),
        }
    }

    fn command(&mut self, message: &Message, body: &[u8]) -> Result<Turn, NegotiationError> {
        match amf0::command_name(body)? {
            "connect" if self.is_connected => Err(NegotiationError::Connected),
            name @ ("connect" | "createStream" | "deleteStream" | "closeStream" | "publish" | "play") => {
                if name == "connect" {
                    self.encoder = amf0::property(body, "flashVer").and_then(EncoderName::from_sent);
                    let is_enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];
                    let is_enhanced = is_enhanced.into_iter().any(|name| amf0::has_property(body, name));
                    self.enhanced = is_enhanced.then(|| amf0::transaction(body));
                }
                let results = self.feed(chunks::AMF0_COMMAND, message.message_stream_id, body)?;
                self.results(results, message.message_stream_id)
            }
            // releaseStream and FCPublish wait for no answer, and the rest is nothing that we know.
            _ => Ok(Turn::Goes),
        }
    }

    fn results(&mut self, results: Vec<ServerSessionResult>, stream_id: u32) -> Result<Turn, NegotiationError> {
        let mut turn = Turn::Goes;
        for result in results {
            let event = match result {
                ServerSessionResult::RaisedEvent(event) => event,
                other => {
                    self.keep_output(other);
                    continue;
                }
            };
            match event {
                ServerSessionEvent::ConnectionRequested { request_id, app_name } => {
                    let answers = if without_query(&app_name).trim_end_matches('/') == APP {
                        self.is_connected = true;
                        let answers = self.session.accept_request(request_id)?;
                        match self.enhanced {
                            // The session has no words for it.
                            Some(transaction) => {
                                self.output.extend(replies::connected(transaction, FMS_VERSION, self.takes_hevc)?);
                                Vec::new()
                            }
                            None => answers,
                        }
                    } else {
                        const TEXT: &str = "There is nothing at this address. Use the server address and the stream \
                                            key as the dashboard shows them.";
                        turn = Turn::Refused("another application than live");
                        self.session.reject_request(request_id, "NetConnection.Connect.InvalidApp", TEXT)?
                    };
                    answers.into_iter().for_each(|answer| self.keep_output(answer));
                }
                ServerSessionEvent::PublishStreamRequested { stream_key, .. } => {
                    turn = Turn::Publish(PublishRequest {
                        stream_key: without_query(&stream_key).to_owned(),
                        message_stream_id: stream_id,
                        window_bytes: self.window_bytes,
                        encoder: self.encoder.take(),
                    });
                }
                ServerSessionEvent::PlayStreamRequested { .. } => {
                    const TEXT: &str = "Streams are watched in the web page, not over RTMP.";
                    self.output.extend(replies::status(stream_id, "error", "NetStream.Play.Failed", TEXT)?);
                    turn = Turn::Refused("play");
                }
                _ => {}
            }
        }
        Ok(turn)
    }

    /// Hands one message to the session, as one chunk with a full header.
    fn feed(
        &mut self,
        type_id: u8,
        message_stream_id: u32,
        body: &[u8],
    ) -> Result<Vec<ServerSessionResult>, ServerSessionError> {
        let mut chunk = Vec::with_capacity(12 + body.len());
        chunk.put_u8(3);
        chunk.put_uint(0, 3);
        chunk.put_uint(body.len() as u64, 3);
        chunk.put_u8(type_id);
        chunk.put_u32_le(message_stream_id);
        chunk.put_slice(body);
        self.session.handle_input(&chunk)
    }

    fn keep_output(&mut self, result: ServerSessionResult) {
        if let ServerSessionResult::OutboundResponse(packet) = result {
            self.output.extend(packet.bytes);
        }
    }
}

/// The timestamp of a ping request: section 7.1.7.
pub(crate) fn ping(body: &Bytes) -> Option<u32> {
    match body[..] {
        [0, 6, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// After how many bytes to acknowledge: half the window that the peer announces, so that it never waits, and not for
/// every few bytes.
pub(crate) fn window_bytes(body: &Bytes) -> Result<u32, ChunkError> {
    Ok((chunks::control_value(body)? / 2).max(64 * 1024))
}

fn without_query(name: &str) -> &str {
    name.split_once('?').map_or(name, |(name, _)| name)
}
