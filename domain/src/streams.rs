//! Streams: one broadcast of a channel, from `stream.started` to `stream.ended`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claim, Claimed, Event,
    ids::{ChannelId, NodeId, StreamId},
    timestamp,
};

/// The picture as the encoder sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VideoTrack {
    /// As in RFC 6381, `avc1.64001f` for example.
    pub codec: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Frames a second; 0 where the encoder does not say and it was not measured.
    pub frame_rate: f64,
}

/// The sound as the encoder sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AudioTrack {
    /// As in RFC 6381, `mp4a.40.2` for example.
    pub codec: String,
    /// In hertz.
    pub sample_rate: u32,
    /// 1 for mono, 2 for stereo.
    pub channels: u8,
}

/// What an encoder calls itself, `obs-output module (libobs version 30.2.3)` for example: 1 to 100 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EncoderName(String);

impl EncoderName {
    const MAX_LEN: usize = 100;

    /// A name from what an encoder sent: without control characters, trimmed and cut. `None` when nothing is left.
    #[must_use]
    pub fn from_sent(text: &str) -> Option<Self> {
        let printable: String =
            text.trim().chars().filter(|character| !character.is_control()).take(Self::MAX_LEN).collect();
        let name = printable.trim();
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The encoder stopped it.
    Unpublished,
    /// The encoder was lost and did not come back within the grace time.
    ConnectionLost,
    /// The node that took it in was shut down.
    Shutdown,
    /// The node that took it in crashed, and the encoder did not come back within the grace time; or nothing was heard of that
    /// node for too long.
    Crashed,
    /// The encoder was lost and came back to another node, which began a new stream.
    Moved,
    /// The stream key was rotated.
    KeyRotated,
    /// The channel was closed.
    ChannelClosed,
    /// The account of the channel's owner was suspended.
    AccountSuspended,
    /// An administrator took the stream down.
    TakenDown,
    /// What the encoder sent could no longer be packaged.
    Error,
}

impl EndReason {
    /// As stored and sent, `connection_lost` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unpublished => "unpublished",
            Self::ConnectionLost => "connection_lost",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::Moved => "moved",
            Self::KeyRotated => "key_rotated",
            Self::ChannelClosed => "channel_closed",
            Self::AccountSuspended => "account_suspended",
            Self::TakenDown => "taken_down",
            Self::Error => "error",
        }
    }
}

/// One of the smaller pictures that are made from a stream's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rendition {
    /// As in its address, `720p` for example.
    pub name: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Of the picture, on average.
    pub bitrate_kbps: u32,
}

/// Why a stream has the renditions that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RenditionsReason {
    /// They are made from now on.
    Started,
    /// Making more of them fell behind.
    TooSlow,
    /// The node's processor time does not suffice for more, beside its other streams.
    NoBudget,
    /// Another stream left processor time for more.
    BudgetFreed,
    /// What makes them failed again and again.
    FfmpegFailed,
    /// What makes them is not installed on the node.
    FfmpegMissing,
    /// They are made again, after it had failed or been too slow.
    Recovered,
    /// The encoder sends another picture than before.
    SourceChanged,
}

impl RenditionsReason {
    /// As stored and sent, `too_slow` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::TooSlow => "too_slow",
            Self::NoBudget => "no_budget",
            Self::BudgetFreed => "budget_freed",
            Self::FfmpegFailed => "ffmpeg_failed",
            Self::FfmpegMissing => "ffmpeg_missing",
            Self::Recovered => "recovered",
            Self::SourceChanged => "source_changed",
        }
    }
}

/// What a stream can be told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamCommand {
    /// The first key frame is in, or the first sound of a stream without a picture.
    Start {
        /// The new stream.
        stream_id: StreamId,
        /// Whose broadcast it is.
        channel_id: ChannelId,
        /// The node that takes it in.
        node_id: NodeId,
        /// The channel's title at this moment.
        title: String,
        /// The picture, if there is any.
        video: Option<VideoTrack>,
        /// The sound, if there is any.
        audio: Option<AudioTrack>,
        /// What the encoder calls itself, if it says.
        encoder: Option<EncoderName>,
    },
    /// Other renditions than before are made from its picture.
    ChangeRenditions {
        /// The node that says so; only the one that takes the stream in may.
        node_id: NodeId,
        /// All that are made now, without the source itself; the highest first.
        renditions: Vec<Rendition>,
        /// Why these.
        reason: RenditionsReason,
    },
    /// The encoder sends something else than before: another codec or size, or a picture where there was sound alone.
    ChangeTracks {
        /// The node that says so; only the one that takes the stream in may.
        node_id: NodeId,
        /// The picture, if there is any.
        video: Option<VideoTrack>,
        /// The sound, if there is any.
        audio: Option<AudioTrack>,
    },
    /// It is over.
    End {
        /// The node that says so; only the one that takes the stream in may.
        node_id: NodeId,
        /// Why.
        reason: EndReason,
    },
    /// It is over, whatever its node says: nothing is heard of that any more, or an operator wants it so. A node that still has
    /// it reads that in the log.
    GiveUp {
        /// Why.
        reason: EndReason,
    },
}

/// What can have happened to a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum StreamEvent {
    /// A channel went live.
    Started {
        /// The stream.
        stream_id: StreamId,
        /// Whose broadcast it is.
        channel_id: ChannelId,
        /// The node that takes it in.
        node_id: NodeId,
        /// The channel's title at the time.
        title: String,
        /// The picture, if there is any.
        video: Option<VideoTrack>,
        /// The sound, if there is any.
        audio: Option<AudioTrack>,
        /// What the encoder calls itself, if it says.
        encoder: Option<EncoderName>,
        /// When the first key frame was in, or the first sound of a stream without a picture.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        started_at: OffsetDateTime,
    },
    /// Viewers have other sizes of the picture to choose from than before.
    RenditionsChanged {
        /// The stream.
        stream_id: StreamId,
        /// Whose broadcast it is.
        channel_id: ChannelId,
        /// All that there are now, without the source itself; the highest first.
        renditions: Vec<Rendition>,
        /// Why these.
        reason: RenditionsReason,
        /// When it was so.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// The encoder sends something else than before.
    TracksChanged {
        /// The stream.
        stream_id: StreamId,
        /// Whose broadcast it is.
        channel_id: ChannelId,
        /// The picture from now on, if there is any.
        video: Option<VideoTrack>,
        /// The sound from now on, if there is any.
        audio: Option<AudioTrack>,
        /// When it was so.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// The broadcast is over.
    Ended {
        /// The stream.
        stream_id: StreamId,
        /// Whose broadcast it was.
        channel_id: ChannelId,
        /// Why it ended.
        reason: EndReason,
        /// When it ended.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        ended_at: OffsetDateTime,
        /// From start to end, in milliseconds.
        duration_ms: i64,
    },
}

impl StreamEvent {
    /// The stored names of all events of a stream.
    pub const TYPES: &[&'static str] =
        &["stream.started", "stream.renditions_changed", "stream.tracks_changed", "stream.ended"];
}

impl Event for StreamEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Started { .. } => "stream.started",
            Self::RenditionsChanged { .. } => "stream.renditions_changed",
            Self::TracksChanged { .. } => "stream.tracks_changed",
            Self::Ended { .. } => "stream.ended",
        }
    }

    fn event_version(&self) -> &'static str {
        match self {
            // 2 has the encoder, 3 may be without a picture.
            Self::Started { .. } => "3",
            Self::RenditionsChanged { .. } | Self::TracksChanged { .. } | Self::Ended { .. } => "1",
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Started { channel_id, .. } => {
                vec![Claim::Take { kind: Claimed::LiveStream, name: channel_id.to_string() }]
            }
            Self::RenditionsChanged { .. } | Self::TracksChanged { .. } => Vec::new(),
            Self::Ended { channel_id, .. } => {
                vec![Claim::Release { kind: Claimed::LiveStream, name: channel_id.to_string() }]
            }
        }
    }
}

/// Why a stream says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamRefusal {
    /// The channel has a live stream.
    #[error("the channel is already live; stop the other encoder first")]
    ChannelLive,
    /// This stream was started before.
    #[error("the stream was already started")]
    AlreadyStarted,
    /// There is no such stream.
    #[error("there is no such stream")]
    Unknown,
    /// It is over.
    #[error("the stream has already ended")]
    AlreadyEnded,
    /// Another node takes it in.
    #[error("the stream lives on another node")]
    OtherNode,
}

/// A stream as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    started: Option<Started>,
    /// What the encoder sends.
    tracks: (Option<VideoTrack>, Option<AudioTrack>),
    renditions: Option<(Vec<Rendition>, RenditionsReason)>,
    has_ended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Started {
    stream_id: StreamId,
    channel_id: ChannelId,
    node_id: NodeId,
    started_at: OffsetDateTime,
}

impl Stream {
    /// Whose broadcast it is; `None` before it started.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        self.started.as_ref().map(|started| started.channel_id)
    }

    /// Whether it has started and not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.started.is_some() && !self.has_ended
    }
}

impl Aggregate for Stream {
    const TYPE: &'static str = "stream";
    type Command = StreamCommand;
    type Event = StreamEvent;
    type Refusal = StreamRefusal;

    fn decide(&self, command: StreamCommand, now: OffsetDateTime) -> Result<Vec<StreamEvent>, StreamRefusal> {
        match (command, &self.started) {
            (StreamCommand::Start { .. }, Some(_)) => Err(StreamRefusal::AlreadyStarted),
            (StreamCommand::Start { stream_id, channel_id, node_id, title, video, audio, encoder }, None) => {
                Ok(vec![StreamEvent::Started {
                    stream_id,
                    channel_id,
                    node_id,
                    title,
                    video,
                    audio,
                    encoder,
                    started_at: now,
                }])
            }
            (_, None) => Err(StreamRefusal::Unknown),
            (_, Some(_)) if self.has_ended => Err(StreamRefusal::AlreadyEnded),
            (
                StreamCommand::ChangeRenditions { node_id, .. }
                | StreamCommand::ChangeTracks { node_id, .. }
                | StreamCommand::End { node_id, .. },
                Some(started),
            ) if node_id != started.node_id => Err(StreamRefusal::OtherNode),
            (StreamCommand::ChangeTracks { video, audio, .. }, Some(started)) => {
                let is_news = (&self.tracks.0, &self.tracks.1) != (&video, &audio);
                let changed = StreamEvent::TracksChanged {
                    stream_id: started.stream_id,
                    channel_id: started.channel_id,
                    video,
                    audio,
                    changed_at: now,
                };
                Ok(if is_news { vec![changed] } else { Vec::new() })
            }
            (StreamCommand::ChangeRenditions { renditions, reason, .. }, Some(started)) => {
                let is_news = self.renditions.as_ref() != Some(&(renditions.clone(), reason));
                let changed = StreamEvent::RenditionsChanged {
                    stream_id: started.stream_id,
                    channel_id: started.channel_id,
                    renditions,
                    reason,
                    changed_at: now,
                };
                Ok(if is_news { vec![changed] } else { Vec::new() })
            }
            (StreamCommand::End { reason, .. } | StreamCommand::GiveUp { reason }, Some(started)) => {
                // A clock that was set back must not give a stream a negative length.
                let ended_at = now.max(started.started_at);
                let duration_ms = i64::try_from((ended_at - started.started_at).whole_milliseconds())
                    .expect("a stream does not last 292 million years");
                Ok(vec![StreamEvent::Ended {
                    stream_id: started.stream_id,
                    channel_id: started.channel_id,
                    reason,
                    ended_at,
                    duration_ms,
                }])
            }
        }
    }

    fn apply(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Started { stream_id, channel_id, node_id, video, audio, started_at, .. } => {
                self.started = Some(Started {
                    stream_id: *stream_id,
                    channel_id: *channel_id,
                    node_id: *node_id,
                    started_at: *started_at,
                });
                self.tracks = (video.clone(), audio.clone());
            }
            StreamEvent::TracksChanged { video, audio, .. } => self.tracks = (video.clone(), audio.clone()),
            StreamEvent::RenditionsChanged { renditions, reason, .. } => {
                self.renditions = Some((renditions.clone(), *reason));
            }
            StreamEvent::Ended { .. } => self.has_ended = true,
        }
    }

    fn claimed(_: Claimed) -> StreamRefusal {
        StreamRefusal::ChannelLive
    }
}
