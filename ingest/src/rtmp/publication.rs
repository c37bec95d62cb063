//! A connection that publishes: media to the packager, and the little that is said beside it.

use std::time::Duration;

use bytes::BytesMut;
use domain::streams::EncoderName;
use tracing::{debug, info};

use super::{
    Chain,
    amf0::{self, Amf0Error},
    beat::Paced,
    chunks::{self, ChunkError, ChunkReader, Message},
    connection::Departure,
    negotiation,
    replies::{self, ReplyError},
};
use crate::{
    live::{Kick, Leaving, Refused, Seat},
    packager::{MediaRefusal, Packager, Progress, Tag, TagKind},
};

/// How often the dashboard's figures are renewed.
const REPORT_MS: u64 = 1_000;

/// What was agreed on.
pub(crate) struct Accepted {
    /// The peer's stream, on which answers go.
    pub(crate) message_stream_id: u32,
    /// After how many bytes the peer gets an acknowledgement.
    pub(crate) window_bytes: u32,
}

/// Why a publication is over.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the encoder stopped")]
    Unpublished,
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    #[error("neither sound nor picture came for {0:?}")]
    WithoutMedia(Duration),
    #[error(transparent)]
    Line(#[from] Departure),
    #[error("malformed chunks")]
    Chunks(#[from] ChunkError),
    #[error("a malformed command")]
    Command(#[from] Amf0Error),
    #[error("media refused")]
    Media(#[from] MediaRefusal),
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error("sent away")]
    Kicked(Kick),
}

/// Publishes until the encoder stops, is lost or is sent away, and gives the seat back accordingly.
pub(crate) async fn run(mut line: Paced<'_>, input: BytesMut, reader: ChunkReader, request: Accepted, seat: Seat) {
    let Accepted { message_stream_id, window_bytes } = request;
    let packager = seat.packager();
    let mut publication = Publication {
        media_at_ms: seat.heard_ms(),
        seat,
        packager,
        reader,
        input,
        received_bytes: 0,
        acknowledged_bytes: 0,
        window_bytes,
        report_at_ms: 0,
        reply: Vec::new(),
    };
    let mut end = publication.until_end(&mut line).await;
    if let End::Media(MediaRefusal::Ended | MediaRefusal::Replaced) = end
        && let Some(kick) = publication.seat.kick()
    {
        // A message came in just before the reason for it.
        end = End::Kicked(kick);
    }
    // The last pictures belong to the stream before it ends.
    publication.packager.finish();
    let seat = publication.seat;
    let peer = seat.peer();
    debug!(channel.handle = seat.handle(), %peer, reason = %Chain(&end), "publisher leaves");
    let (leaving, refused) = match end {
        End::Unpublished => (Leaving::Unpublished, None),
        End::Media(MediaRefusal::Replaced) | End::Kicked(Kick::TakenOver) => {
            info!(channel.handle = seat.handle(), %peer, "publisher replaced by another connection");
            (Leaving::Lost, Some(Refused::taken_over()))
        }
        End::Media(refusal) => {
            let refused = seat.remember(refusal.into());
            refused.log(peer);
            (Leaving::Refused, Some(refused))
        }
        End::Kicked(Kick::Refused(refused)) => {
            let refused = seat.remember(refused);
            refused.log(peer);
            (Leaving::Refused, Some(refused))
        }
        End::Kicked(Kick::Ended(reason)) => (Leaving::Ended(reason), Some(Refused::ended(reason))),
        // A peer that no longer speaks RTMP is a lost encoder: it may come back and do better.
        End::Silent(_) | End::WithoutMedia(_) | End::Line(_) | End::Chunks(_) | End::Command(_) | End::Reply(_) => {
            (Leaving::Lost, None)
        }
    };
    seat.leave(leaving);
    if let Some(refused) = refused
        && let Ok(status) = replies::status(message_stream_id, "error", refused.status_code(), refused.text())
        && line.write(&status).await.is_ok()
        && let Ok(mut line) = line.into_line()
    {
        line.hang_up().await;
    }
}

struct Publication {
    seat: Seat,
    packager: Packager,
    reader: ChunkReader,
    input: BytesMut,
    received_bytes: u32,
    acknowledged_bytes: u32,
    window_bytes: u32,
    report_at_ms: u64,
    /// When the last sound or picture was whole, on the registry's clock.
    media_at_ms: u64,
    /// What is to be said after the messages at hand.
    reply: Vec<u8>,
}

impl Publication {
    async fn until_end(&mut self, line: &mut Paced<'_>) -> End {
        let idle = line.server().timeouts.idle;
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let silence = tokio::time::sleep(idle);
        let kicked = self.seat.kicked().cancelled_owned();
        tokio::pin!(silence, kicked);
        loop {
            if let Err(end) = self.take_messages() {
                return end;
            }
            let reply = std::mem::take(&mut self.reply);
            if let Err(end) = line.write(&reply).await {
                return end.into();
            }
            let read = tokio::select! {
                biased;
                () = &mut kicked => return End::Kicked(self.seat.kick().unwrap_or(Kick::TakenOver)),
                read = line.read(&mut self.input) => read,
                () = &mut silence => {
                    // One timer for all reads: it is set anew when it goes off, not with every read.
                    let silent_ms = self.seat.silence_ms();
                    if silent_ms >= idle_ms {
                        return End::Silent(idle);
                    }
                    // Whoever talks of other things keeps the seat, and a stream live that shows nothing. A large
                    // picture on a bad line takes a while, though.
                    let without_media = Duration::from_millis(self.seat.heard_ms() - self.media_at_ms + silent_ms);
                    if without_media >= 2 * idle {
                        return End::WithoutMedia(without_media);
                    }
                    let rest = Duration::from_millis(idle_ms - silent_ms).min(2 * idle - without_media);
                    silence.as_mut().reset(tokio::time::Instant::now() + rest);
                    continue;
                }
            };
            match read {
                Ok(count) => self.account(count),
                Err(departure) => return departure.into(),
            }
        }
    }

    fn account(&mut self, count: usize) {
        self.seat.heard(count);
        // Section 5.4.3: the count wraps.
        self.received_bytes = self.received_bytes.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Takes all whole messages that have come.
    fn take_messages(&mut self) -> Result<(), End> {
        while let Some(message) = self.reader.next(&mut self.input)? {
            self.take(message)?;
        }
        if self.received_bytes.wrapping_sub(self.acknowledged_bytes) >= self.window_bytes {
            self.acknowledged_bytes = self.received_bytes;
            self.reply.extend(replies::acknowledgement(self.received_bytes)?);
        }
        let heard_ms = self.seat.heard_ms();
        if heard_ms >= self.report_at_ms {
            self.report_at_ms = heard_ms + REPORT_MS;
            self.seat.report(self.packager.tracks(), self.packager.health());
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), End> {
        match message.type_id {
            chunks::AUDIO => self.push(TagKind::Audio, message),
            chunks::VIDEO => self.push(TagKind::Video, message),
            chunks::AMF0_COMMAND => Self::command(&message.body),
            chunks::AMF3_COMMAND => Self::command(message.body.strip_prefix(&[0]).unwrap_or(&message.body)),
            chunks::USER_CONTROL => {
                if let Some(timestamp_ms) = negotiation::ping(&message.body) {
                    self.reply.extend(replies::pong(timestamp_ms)?);
                }
                Ok(())
            }
            chunks::WINDOW_ACKNOWLEDGEMENT => {
                self.window_bytes = negotiation::window_bytes(&message.body)?;
                Ok(())
            }
            chunks::AMF0_DATA => {
                self.data(&message.body);
                Ok(())
            }
            chunks::AMF3_DATA => {
                self.data(message.body.strip_prefix(&[0]).unwrap_or(&message.body));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Of what data messages say, the encoder's name, and whether it sends sound alone: all else of the media is read from
    /// the media.
    fn data(&mut self, body: &[u8]) {
        let says = |name| amf0::has_property(body, name);
        // Who says neither may send anything.
        if says("audiocodecid") && !says("videocodecid") && !says("width") {
            self.packager.announce_sound_alone();
        }
        if let Some(encoder) = amf0::property(body, "encoder").and_then(EncoderName::from_sent) {
            self.seat.introduced(encoder);
        }
    }

    fn push(&mut self, kind: TagKind, message: Message) -> Result<(), End> {
        if message.body.is_empty() {
            // Some encoders mark the end of a track so.
            return Ok(());
        }
        self.media_at_ms = self.seat.heard_ms();
        let tag = Tag { kind, timestamp_ms: message.timestamp_ms, body: message.body };
        match self.packager.push(tag)? {
            Progress::Begun => {
                if let Some(tracks) = self.packager.tracks() {
                    self.seat.begin(tracks);
                }
                self.report_at_ms = 0;
            }
            // An encoder that falls silent after it has changed its picture is shown with the new one.
            Progress::TracksChanged => {
                if let Some(tracks) = self.packager.tracks() {
                    self.seat.tracks_changed(tracks);
                }
                self.report_at_ms = 0;
            }
            Progress::Waiting | Progress::Continuing => {}
        }
        Ok(())
    }

    fn command(body: &[u8]) -> Result<(), End> {
        match amf0::command_name(body)? {
            "deleteStream" | "closeStream" | "FCUnpublish" => Err(End::Unpublished),
            _ => Ok(()),
        }
    }
}
