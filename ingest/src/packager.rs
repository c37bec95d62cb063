//! From the messages of an encoder to what viewers fetch: CMAF parts and segments in memory, and the playlists that
//! name them, low latency included.
//!
//! | what | where it is written down |
//! |---|---|
//! | FLV tags in RTMP messages | Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP v2 |
//! | H.264, HEVC and AAC configuration | ISO/IEC 14496-15 sections 5.3.3 and 8.3.3, ISO/IEC 14496-3 section 1.6.2.1 |
//! | AV1 | AV1 Bitstream & Decoding Process Specification, AV1 Codec ISO Media File Format Binding |
//! | fragments | ISO/IEC 14496-12 section 8.8, ISO/IEC 23000-19 (CMAF) |
//! | playlists | draft-pantos-hls-rfc8216bis |
//!
//! A [`Packager`] belongs to one encoder connection: it cuts what the encoder sends. A [`Broadcast`] belongs to one
//! stream and outlives the connections of its encoder. It has a [`Rendition`] of what the encoder sends, `source`, and
//! others that an encoder of ours makes of it: that one reads a [`Feed`], and a [`Follower`] cuts what it writes where
//! the source was cut. Each rendition numbers what was cut, keeps a window of it and wakes those who wait. The origin
//! serves broadcasts.
//!
//! All times on a broadcast's own timeline are whole milliseconds, since that is what RTMP has.

mod broadcast;
mod cutter;
mod epoch;
mod feed;
mod follower;
mod gops;
mod health;
mod holds;
mod lane;
mod lock;
mod playlist;
mod refusal;
mod rendition;
mod schedule;
mod sound;
mod view;
mod window;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use domain::streams::{AudioTrack, VideoTrack};

use self::{
    cutter::{Configs, Cutter, Picture},
    health::HealthMeter,
};
use crate::media::{
    aac::AacConfig,
    clock::{Clock, Jump},
    flv::{self, AudioTag, VideoTag},
    video::{VideoCodec, VideoConfig},
};

pub use broadcast::{Broadcast, FirstNumbers, KeyFrame};
pub(crate) use cutter::MAX_PICTURE_MS;
pub use feed::{Feed, FeedItem};
pub use follower::{Follower, Lag};
pub(crate) use holds::Need;
pub(crate) use playlist::{AUDIO, DateTime, Entry, Listing, Report, SOURCE, media as media_playlist};
pub use refusal::MediaRefusal;
pub(crate) use rendition::Shown;
pub use rendition::{Rendition, RenditionSpec};
pub(crate) use view::{Document, Reload, View};
#[cfg(test)]
pub(crate) use window::Timing;
pub(crate) use window::{Init, Part, Segment};

/// How streams are cut, and how much of them is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagerConfig {
    /// What a part should last, 100 to 2000 ms. Latency grows with it, requests shrink.
    pub part_target_ms: u32,
    /// How long the playlist is, in target durations; 4 or more. Plain players start three from its end.
    pub window_segments: usize,
    /// How many bytes one broadcast may keep. Beyond it, the oldest segments go early.
    pub window_bytes: usize,
    /// How far media may run ahead of the clock on the wall before the encoder is refused: a file pushed faster than
    /// it plays would leave every viewer behind.
    pub max_ahead_ms: u32,
    /// Whether HEVC is taken: few browsers play it, so that somebody must make something else of it.
    pub takes_hevc: bool,
}

impl Default for PackagerConfig {
    fn default() -> Self {
        Self {
            part_target_ms: 500,
            window_segments: 6,
            window_bytes: 256 << 20,
            max_ahead_ms: 60_000,
            takes_hevc: false,
        }
    }
}

/// Which of the two media a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// RTMP message type 8.
    Audio,
    /// RTMP message type 9.
    Video,
}

/// One RTMP media message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its type.
    pub kind: TagKind,
    /// Its timestamp as sent: 32 bits that wrap every 49.7 days.
    pub timestamp_ms: u32,
    /// Its body: an FLV tag's body, unchanged.
    pub body: Bytes,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No key frame yet.
    Waiting,
    /// This was the first key frame, or the first frame of a stream of sound alone. Said once a connection.
    Begun,
    /// Media flows.
    Continuing,
    /// Media flows, and [`Packager::tracks`] are others than before.
    TracksChanged,
}

/// What the encoder sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracks {
    /// The picture; `None` where sound comes alone. The frame rate is what the encoder's configuration says, or 0.
    pub video: Option<VideoTrack>,
    /// The sound, when the encoder has announced one.
    pub audio: Option<AudioTrack>,
}

/// How a connection does, over about its last five seconds of media.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Picture and sound together.
    pub bitrate_kbps: u32,
    /// Pictures a second as they came.
    pub frame_rate: f64,
    /// Between the last two key frames; while the present distance is already longer, that. 0 before the second.
    pub key_frame_interval_ms: u32,
    /// How unevenly messages arrive: the latest against the earliest, each measured by its own media time.
    pub jitter_ms: u32,
    /// Pictures that the cadence of the others wants and that did not come.
    pub missing_frames: u32,
    /// How far the newest sound is ahead of the newest picture, on average; negative when it is behind. `None` without
    /// sound.
    pub sound_ahead_ms: Option<i32>,
    /// How much media time fell behind the clock, where that is the encoder's doing: evenly, and with key frames that came
    /// hardly later than the small pictures. A full line lets through so many bytes a second, so that large pictures take
    /// longer. 0 where the line may be the reason, and where it cannot be told.
    pub encoder_behind_ms: u32,
}

/// Sound is broadcast alone when for so long no picture was announced, unless the encoder has said that there is none.
const SOUND_ALONE_AFTER_MS: i64 = 2_000;
/// A picture that was announced and does not come is refused after this, and sound that cannot be broadcast alone.
const MAX_WITHOUT_VIDEO_MS: i64 = 10_000;
/// Pictures without a key frame are refused after this; OBS's longest distance is 8.3 s.
const MAX_WITHOUT_KEY_FRAME_MS: i64 = 20_000;
/// Where everything stopped for so long at most, and goes on with a picture that leans on others, the hole was too long. What
/// is further away is another clock.
const MAX_HOLE_MS: i64 = 60_000;
/// The same three for an encoder whose clock stands still.
const MAX_WAITING_MESSAGES: u32 = 10_000;
/// So many messages in a row that cannot be read are no accident.
const MAX_UNREADABLE_MESSAGES: u32 = 50;
/// Longest composition time, far beyond any reordering.
const MAX_COMPOSITION_MS: i32 = 10_000;
/// An AAC frame has at most 768 bytes a channel: ISO/IEC 14496-3 section 4.5.1.
const MAX_AAC_FRAME_BYTES: usize = 768 * 8 + 1_024;

/// Cuts what one encoder connection sends into parts of a broadcast.
#[derive(Debug)]
pub struct Packager {
    cutter: Cutter,
    clock: Clock,
    video: Option<Arc<VideoConfig>>,
    takes_hevc: bool,
    audio: Option<Arc<AacConfig>>,
    alone: Alone,
    tracks: Option<Tracks>,
    /// How often the tracks have changed.
    described: u32,
    health: HealthMeter,
    waiting: Waiting,
    /// Nothing came for longer than a picture may stay, and the next one has not come yet.
    is_after_hole: bool,
    last_audio_ms: Option<i64>,
    unreadable_messages: u32,
    made_at: Instant,
    /// When the first key frame came.
    started_at: Option<Instant>,
    max_ahead_ms: i64,
    refusal: Option<MediaRefusal>,
}

/// Whether sound comes without a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Alone {
    /// There is a picture, or one may still come.
    #[default]
    No,
    /// The encoder has said that it sends none.
    Announced,
    /// It is broadcast without.
    Yes,
}

/// How long no picture could be broadcast.
#[derive(Debug, Default)]
struct Waiting {
    since_ms: Option<i64>,
    messages: u32,
    has_picture: bool,
    /// Pictures have come, and none that a decoder could begin with.
    lacks_key_frame: bool,
}

impl Packager {
    /// A packager for a new connection. From here on it alone writes to the broadcast: what an earlier connection's
    /// packager has left open is closed, and the earlier one is refused with [`MediaRefusal::Replaced`].
    #[must_use]
    pub fn new(broadcast: Arc<Broadcast>) -> Self {
        let (max_ahead_ms, takes_hevc) = (i64::from(broadcast.config().max_ahead_ms), broadcast.config().takes_hevc);
        Self {
            cutter: Cutter::new(broadcast),
            clock: Clock::default(),
            video: None,
            takes_hevc,
            audio: None,
            alone: Alone::No,
            tracks: None,
            described: 0,
            health: HealthMeter::default(),
            waiting: Waiting::default(),
            is_after_hole: false,
            last_audio_ms: None,
            unreadable_messages: 0,
            made_at: Instant::now(),
            started_at: None,
            max_ahead_ms,
            refusal: None,
        }
    }

    /// Takes one message in.
    ///
    /// # Errors
    ///
    /// A [`MediaRefusal`] after which the connection should be closed. What was taken in before stays watchable;
    /// further messages are refused too.
    pub fn push(&mut self, tag: Tag) -> Result<Progress, MediaRefusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let was_started = self.started_at.is_some();
        let described = self.described;
        if let Err(refusal) = self.take(&tag) {
            self.finish();
            self.refusal = Some(refusal.clone());
            return Err(refusal);
        }
        Ok(match (was_started, self.started_at.is_some()) {
            (false, true) => Progress::Begun,
            (true, _) if self.described != described => Progress::TracksChanged,
            (true, _) => Progress::Continuing,
            (false, false) => Progress::Waiting,
        })
    }

    /// The encoder has said that it sends sound and no picture. A picture that comes all the same is broadcast.
    pub fn announce_sound_alone(&mut self) {
        if self.alone == Alone::No && self.video.is_none() {
            self.alone = Alone::Announced;
        }
    }

    /// The connection has ended: what is held back is written out, and whatever the next packager of this broadcast
    /// writes begins after a discontinuity. Dropping a packager does the same.
    pub fn finish(&mut self) {
        // A refusal here means that somebody else writes by now: then there is nothing to write out.
        let _ = self.cutter.end_epoch();
        self.refusal.get_or_insert(MediaRefusal::Ended);
    }

    /// What the encoder sends; `Some` once something of it is broadcast.
    #[must_use]
    pub fn tracks(&self) -> Option<&Tracks> {
        self.tracks.as_ref()
    }

    /// How the connection does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.health()
    }

    fn take(&mut self, tag: &Tag) -> Result<(), MediaRefusal> {
        self.cutter.check()?;
        match tag.kind {
            TagKind::Video => match flv::read_video(&tag.body)? {
                VideoTag::Config { codec, record } => self.configure_video(codec, record),
                VideoTag::Frame { codec, is_key, composition_ms, data } => {
                    let time_ms = self.time(tag)?;
                    if self.video.as_ref().is_some_and(|video| video.video_codec() != codec) {
                        return self.skip_unreadable("pictures of a codec that was not announced");
                    }
                    self.take_picture(time_ms, composition_ms, is_key, data)
                }
                VideoTag::Nothing => Ok(()),
            },
            TagKind::Audio => match flv::read_audio(&tag.body)? {
                AudioTag::Config(record) => self.configure_audio(record),
                AudioTag::Frame(data) => {
                    let time_ms = self.time(tag)?;
                    self.take_sound(time_ms, data)
                }
                AudioTag::Nothing => Ok(()),
            },
        }
    }

    /// The time of a message with media; messages with configuration often carry none.
    fn time(&mut self, tag: &Tag) -> Result<i64, MediaRefusal> {
        let time_ms = match self.clock.unwrap(tag.timestamp_ms) {
            Ok(time_ms) => time_ms,
            Err(Jump { step_ms }) => {
                self.is_after_hole = self.cutter.shows_pictures() && (0..=MAX_HOLE_MS).contains(&step_ms);
                self.cutter.break_off()?;
                self.health.restart();
                self.waiting = Waiting::default();
                self.last_audio_ms = None;
                self.clock.unwrap(tag.timestamp_ms).unwrap_or_default()
            }
        };
        let arrived_ms = i64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        self.health.count(time_ms, tag.body.len(), arrived_ms);
        Ok(time_ms)
    }

    fn configure_video(&mut self, codec: VideoCodec, record: Bytes) -> Result<(), MediaRefusal> {
        if codec == VideoCodec::Hevc && !self.takes_hevc {
            return Err(MediaRefusal::HevcNotTranscoded);
        }
        let config = VideoConfig::read(codec, record)?;
        // Encoders repeat it.
        if self.video.as_deref() != Some(&config) {
            self.video = Some(Arc::new(config));
        }
        Ok(())
    }

    fn configure_audio(&mut self, record: Bytes) -> Result<(), MediaRefusal> {
        let config = AacConfig::read(record)?;
        if self.audio.as_deref() != Some(&config) {
            self.audio = Some(Arc::new(config));
            if self.alone == Alone::Yes {
                self.describe_tracks();
            }
        }
        Ok(())
    }

    fn take_picture(
        &mut self,
        time_ms: i64,
        composition_ms: i32,
        is_flagged_key: bool,
        data: Bytes,
    ) -> Result<(), MediaRefusal> {
        let Some(video) = &self.video else { return self.wait(time_ms, false) };
        if data.is_empty() {
            return Ok(());
        }
        let Some((picture, data)) = video.inspect(&data, is_flagged_key) else {
            return self.skip_unreadable("broken pictures");
        };
        self.unreadable_messages = 0;
        if !(-MAX_COMPOSITION_MS..=MAX_COMPOSITION_MS).contains(&composition_ms) {
            return Err(MediaRefusal::ErraticTimestamps);
        }
        if !picture.has_slice {
            return Ok(());
        }
        let is_key = picture.is_key;
        if is_key {
            self.alone = Alone::No;
        }
        self.health.count_picture(time_ms, is_key);
        let configs = Configs {
            video,
            audio: self.audio.as_ref(),
            is_audio_coming: self.last_audio_ms.is_some_and(|last_ms| time_ms - last_ms < 1_000),
        };
        let composition_ms = i64::from(composition_ms);
        self.cutter.push_picture(Picture { time_ms, composition_ms, is_key, data }, configs)?;
        let is_after_hole = std::mem::take(&mut self.is_after_hole);
        if !self.cutter.is_running() {
            // It cannot be decoded after the break, and nobody should find out by what is missing.
            return if is_after_hole { Err(MediaRefusal::VideoStopped) } else { self.wait(time_ms, true) };
        }
        self.waiting = Waiting { since_ms: Some(time_ms), has_picture: true, ..Waiting::default() };
        if is_key {
            self.describe_tracks();
        }
        self.go_on()
    }

    /// Something is broadcast: it may not run ahead.
    fn go_on(&mut self) -> Result<(), MediaRefusal> {
        let started_at = *self.started_at.get_or_insert_with(Instant::now);
        // Clocks differ: two per cent are forgiven.
        let passed_ms = i64::try_from(started_at.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        if self.cutter.media_ms() - passed_ms - passed_ms / 50 > self.max_ahead_ms {
            return Err(MediaRefusal::FasterThanRealTime);
        }
        Ok(())
    }

    fn take_sound(&mut self, time_ms: i64, data: Bytes) -> Result<(), MediaRefusal> {
        if self.alone != Alone::Yes {
            self.wait(time_ms, false)?;
        }
        let Some(audio) = &self.audio else { return Ok(()) };
        if data.is_empty() {
            return Ok(());
        }
        if data.len() > MAX_AAC_FRAME_BYTES {
            return self.skip_unreadable("AAC frames that are too long");
        }
        self.last_audio_ms = Some(time_ms);
        self.health.count_sound(time_ms);
        if self.alone != Alone::Yes && !self.is_alone(time_ms) {
            return self.cutter.push_sound(time_ms, audio, data);
        }
        self.unreadable_messages = 0;
        self.cutter.push_sound_alone(time_ms, audio, data)?;
        if std::mem::replace(&mut self.alone, Alone::Yes) != Alone::Yes {
            self.describe_tracks();
        }
        self.go_on()
    }

    /// Whether the sound is to be broadcast without a picture from here on.
    fn is_alone(&self, time_ms: i64) -> bool {
        let Waiting { since_ms, has_picture, .. } = self.waiting;
        let waited_ms = since_ms.map_or(0, |since_ms| time_ms - since_ms);
        let is_due = self.alone == Alone::Announced || waited_ms >= SOUND_ALONE_AFTER_MS;
        // While a picture is broadcast, or announced, it is waited for.
        is_due && self.video.is_none() && !has_picture && !self.cutter.is_running()
    }

    /// Counts a message that brought no picture to broadcast.
    fn wait(&mut self, time_ms: i64, is_picture: bool) -> Result<(), MediaRefusal> {
        let waiting = &mut self.waiting;
        waiting.messages += 1;
        waiting.has_picture |= is_picture;
        waiting.lacks_key_frame |= is_picture;
        let waited_ms = time_ms - *waiting.since_ms.get_or_insert(time_ms);
        let (limit_ms, refusal) = if waiting.lacks_key_frame {
            (MAX_WITHOUT_KEY_FRAME_MS, MediaRefusal::NoKeyFrame)
        } else if self.started_at.is_some() {
            (MAX_PICTURE_MS, MediaRefusal::VideoStopped)
        } else {
            (MAX_WITHOUT_VIDEO_MS, MediaRefusal::NoVideo)
        };
        let is_too_long = waited_ms > limit_ms || waiting.messages > MAX_WAITING_MESSAGES;
        if is_too_long { Err(refusal) } else { Ok(()) }
    }

    /// Drops a message that would make players give up.
    fn skip_unreadable(&mut self, reason: &'static str) -> Result<(), MediaRefusal> {
        self.unreadable_messages += 1;
        if self.unreadable_messages > MAX_UNREADABLE_MESSAGES {
            return Err(MediaRefusal::MalformedMedia { reason });
        }
        Ok(())
    }

    fn describe_tracks(&mut self) {
        let video = self.video.as_ref().filter(|_| self.alone != Alone::Yes).map(|video| VideoTrack {
            codec: video.codec(),
            width: video.width(),
            height: video.height(),
            frame_rate: video.frame_rate().unwrap_or(0.0),
        });
        let audio = self.audio.as_ref().map(|audio| AudioTrack {
            codec: audio.codec(),
            sample_rate: audio.played_sample_rate,
            channels: audio.channels,
        });
        let tracks = Tracks { video, audio };
        if self.tracks.as_ref() != Some(&tracks) {
            self.tracks = Some(tracks);
            self.described += 1;
        }
    }
}

impl Drop for Packager {
    fn drop(&mut self) {
        self.finish();
    }
}
