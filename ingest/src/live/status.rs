//! What the dashboard is told, and the advice that goes with it.

use std::collections::VecDeque;

use domain::{ids::StreamId, streams::EncoderName};
use time::OffsetDateTime;
use tokio::time::{Duration, Instant};

use super::Channel;
use crate::ladder::{LadderReason, LadderStatus};
use crate::packager::{Health, Tracks};

/// Health is measured over so long.
const SPAN: Duration = Duration::from_secs(5);
/// A minute of reports, one a second.
const REMEMBERED: usize = 60;

/// How far a channel's publishing has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PublishState {
    /// No encoder.
    #[default]
    Waiting,
    /// An encoder is connected, and viewers see nothing yet.
    Receiving,
    /// Viewers see the stream.
    Live,
    /// The encoder of a live stream is gone, and the stream waits for it.
    Reconnecting,
}

impl PublishState {
    /// As sent, `reconnecting` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Receiving => "receiving",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
        }
    }
}

/// How a channel's ingest stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IngestStatus {
    /// How far it has come.
    pub state: PublishState,
    /// The stream that is live or waits for its encoder.
    pub stream_id: Option<StreamId>,
    /// Since when the encoder is connected.
    pub connected_since: Option<OffsetDateTime>,
    /// What it sends; from its first key frame on.
    pub tracks: Option<Tracks>,
    /// What it calls itself, if it says.
    pub encoder: Option<EncoderName>,
    /// How its connection does; from its first key frame on.
    pub health: Option<Health>,
    /// The same of each second of the last minute, the oldest first.
    pub history: Vec<Health>,
    /// How long nothing has come from a connected encoder, in milliseconds.
    pub silent_ms: u64,
    /// How much longer the stream waits for its encoder, in milliseconds; `None` while it need not.
    pub waits_ms: Option<u64>,
    /// What would make the stream better, the most important first.
    pub advice: Vec<Advice>,
    /// The last encoder that was sent away from this channel, until another has been let in and two minutes have passed;
    /// one that came beside a live encoder for two minutes only.
    pub last_refusal: Option<LastRefusal>,
    /// The smaller sizes that are made of its stream, and why there are no more.
    pub ladder: LadderStatus,
}

/// A way to make a stream better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Key frames are more than 4 s apart.
    KeyFramesFar,
    /// Fewer pictures come than the encoder announces.
    FramesMissing,
    /// There is no sound.
    NoAudio,
    /// There is no picture.
    SoundAlone,
    /// The picture is HEVC, and nothing else is made of it.
    HevcAlone,
    /// The picture is AV1, and nothing else is made of it.
    Av1Alone,
    /// The bit rate varies a lot.
    BitrateVaries,
    /// Nothing comes any more.
    Silent,
    /// What comes arrives in fits and starts.
    LineStutters,
    /// The encoder makes the stream more slowly than it plays.
    EncoderSlow,
    /// Sound and picture are far from each other.
    SoundApart,
}

impl Advice {
    /// A stable name for programs and translations.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::KeyFramesFar => "key_frames_far",
            Self::FramesMissing => "frames_missing",
            Self::NoAudio => "no_audio",
            Self::SoundAlone => "sound_alone",
            Self::HevcAlone => "hevc_alone",
            Self::Av1Alone => "av1_alone",
            Self::BitrateVaries => "bitrate_varies",
            Self::Silent => "silent",
            Self::LineStutters => "line_stutters",
            Self::EncoderSlow => "encoder_slow",
            Self::SoundApart => "sound_apart",
        }
    }

    /// For the streamer.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::KeyFramesFar => {
                "Key frames are more than 4 s apart, so that viewers wait long for the first picture. Set the \
                 key-frame interval to 2 s; OBS's 0 (auto) is 8 s."
            }
            Self::FramesMissing => {
                "Frames are missing although the line keeps up: the encoder leaves some out, or sends fewer than it \
                 announces. Choose a faster preset, lower the resolution or the frame rate, or close other programs."
            }
            Self::NoAudio => "There is no sound. Check the audio sources if there should be any.",
            Self::SoundAlone => {
                "There is no picture: viewers hear the stream only. If there should be one, check the video source and \
                 the video encoder, then start the stream again."
            }
            Self::HevcAlone => {
                "Most browsers cannot play HEVC, and the server makes no other quality of your stream at the moment: most \
                 viewers see nothing. Choose H.264 as the video encoder."
            }
            Self::Av1Alone => {
                "Some players, older iPhones among them, cannot play AV1, and the server makes no other quality of your \
                 stream at the moment. Choose H.264 as the video encoder to reach everybody."
            }
            Self::BitrateVaries => {
                "The bit rate varies a lot, which makes viewers on slow lines stall. Choose CBR as rate control."
            }
            Self::Silent => {
                "Nothing has arrived for some seconds. Check the line; the encoder comes back by itself if it can."
            }
            Self::LineStutters => {
                "The stream arrives in fits and starts: the line is at its limit. Lower the bit rate, or use a cable \
                 instead of Wi-Fi."
            }
            Self::EncoderSlow => {
                "Your encoder is too slow: it makes the stream more slowly than it plays, and viewers stall. The line is not \
                 the reason. Choose a faster preset or a hardware encoder, lower the resolution or the frame rate, or close \
                 other programs."
            }
            Self::SoundApart => {
                "Sound and picture are more than half a second apart. Look for an offset in the audio settings, then \
                 start the stream again."
            }
        }
    }
}

/// An encoder that was sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRefusal {
    /// A stable name for programs and translations.
    pub code: &'static str,
    /// For the streamer.
    pub message: String,
    /// When.
    pub at: OffsetDateTime,
}

/// What a connection has reported of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) encoder: Option<EncoderName>,
    tracks: Option<Tracks>,
    health: Option<Health>,
    since: Option<Instant>,
    /// One every five seconds, the last minute.
    bitrates_kbps: VecDeque<u32>,
    /// One a second, the last minute.
    history: VecDeque<Health>,
    reported_at: Option<Instant>,
}

impl View {
    pub(super) fn update(&mut self, tracks: Option<&Tracks>, health: Health, now: Instant) {
        let Some(tracks) = tracks else { return };
        if self.tracks.as_ref() != Some(tracks) {
            self.tracks = Some(tracks.clone());
        }
        // Reports come with what is received: nothing came in the seconds without one.
        let before = self.reported_at.replace(now);
        self.fall_silent(before.map_or(0, |before| (now - before).as_secs().saturating_sub(1)));
        self.health = Some(health);
        self.remember(health);
        let since = self.since.get_or_insert(now);
        if now - *since >= SPAN {
            *since = now;
            if self.bitrates_kbps.len() == 12 {
                self.bitrates_kbps.pop_front();
            }
            self.bitrates_kbps.push_back(health.bitrate_kbps);
        }
    }

    /// So many seconds have passed since the last report.
    fn fall_silent(&mut self, seconds: u64) {
        let Some(last) = self.health else { return };
        // What is older than the last minute is not remembered.
        let seconds = seconds.min(REMEMBERED as u64);
        for second in 1..=seconds {
            self.remember(silent(last, second * 1_000));
        }
        self.health = Some(silent(last, seconds * 1_000));
    }

    fn remember(&mut self, health: Health) {
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(health);
    }

    fn advice(&self, silent_ms: u64) -> Vec<Advice> {
        /// Beyond this, viewers without low latency wait as long for the first picture.
        const KEY_FRAMES_FAR_MS: u32 = 4_200;
        /// No encoder pauses for so long.
        const SILENT_MS: u64 = 3_000;
        /// A line that is held up for longer than players keep in hand.
        const STUTTER_MS: u32 = 1_500;
        /// OBS leaves pictures out when so much waits for the line: 700 ms of those that others do not lean on.
        const CONGESTED_MS: u32 = 600;
        /// Of five seconds; clocks differ by much less.
        const ENCODER_BEHIND_MS: u32 = 250;
        /// People notice a tenth of it; encoders send sound and picture so far apart only when something is wrong.
        const APART_MS: i32 = 500;
        let (Some(tracks), Some(health)) = (&self.tracks, &self.health) else { return Vec::new() };
        let mut advice = Vec::new();
        // Known after a span of measuring. One in twenty is a picture that stutters.
        let announced = tracks.video.as_ref().map_or(0.0, |video| video.frame_rate);
        let is_slow = !self.bitrates_kbps.is_empty() && health.frame_rate < 0.8 * announced;
        let comes_in_a_span = health.frame_rate * SPAN.as_secs_f64();
        let are_missing = is_slow || f64::from(health.missing_frames) > (0.05 * comes_in_a_span).max(2.0);
        let stutters = health.jitter_ms > STUTTER_MS || (are_missing && health.jitter_ms > CONGESTED_MS);
        let why_late = match health.encoder_behind_ms > ENCODER_BEHIND_MS {
            true => Some(Advice::EncoderSlow),
            false => stutters.then_some(Advice::LineStutters),
        };
        if silent_ms > SILENT_MS {
            advice.push(Advice::Silent);
        } else {
            advice.extend(why_late);
        }
        if health.key_frame_interval_ms > KEY_FRAMES_FAR_MS {
            advice.push(Advice::KeyFramesFar);
        }
        // Where what comes is late, pictures are left out for the same reason.
        if are_missing && why_late.is_none() {
            advice.push(Advice::FramesMissing);
        }
        if tracks.audio.is_none() {
            advice.push(Advice::NoAudio);
        }
        if tracks.video.is_none() {
            advice.push(Advice::SoundAlone);
        }
        let lowest = self.bitrates_kbps.iter().copied().min().unwrap_or(0);
        let highest = self.bitrates_kbps.iter().copied().max().unwrap_or(0);
        if highest - lowest > 1_000 && highest > 2 * lowest {
            advice.push(Advice::BitrateVaries);
        }
        if health.sound_ahead_ms.is_some_and(|ahead_ms| ahead_ms.saturating_abs() > APART_MS) {
            advice.push(Advice::SoundApart);
        }
        advice
    }
}

/// Health when nothing has come for so long: what came in the span before has less and less of it.
fn silent(health: Health, silent_ms: u64) -> Health {
    let span_ms = u64::try_from(SPAN.as_millis()).unwrap_or(u64::MAX);
    let left_ms = span_ms.saturating_sub(silent_ms);
    Health {
        bitrate_kbps: u32::try_from(u64::from(health.bitrate_kbps) * left_ms / span_ms).unwrap_or(u32::MAX),
        frame_rate: health.frame_rate * left_ms as f64 / span_ms as f64,
        ..health
    }
}

impl IngestStatus {
    /// The status with what its ladder does, and the advice that follows from it.
    pub(super) fn with_ladder(mut self, ladder: LadderStatus) -> Self {
        let codec = self.tracks.as_ref().and_then(|tracks| tracks.video.as_ref()).map(|video| video.codec.as_str());
        let alone = match codec.and_then(|codec| codec.get(..4)) {
            Some("hvc1" | "hev1") => Some(Advice::HevcAlone),
            Some("av01") => Some(Advice::Av1Alone),
            _ => None,
        };
        // While the first rendition is on its way, nobody need do anything.
        let has_none = ladder.renditions.is_empty() && ladder.reason != Some(LadderReason::Starting);
        if let Some(alone) = alone.filter(|_| has_none && self.state == PublishState::Live) {
            self.advice.insert(0, alone);
        }
        self.ladder = ladder;
        self
    }
}

impl Channel {
    pub(super) fn status(&self, now_ms: u64) -> IngestStatus {
        let state = match (&self.stream, &self.publisher) {
            (Some(stream), _) if stream.is_started && stream.grace_until.is_some() => PublishState::Reconnecting,
            (Some(stream), _) if stream.is_started => PublishState::Live,
            (_, Some(_)) => PublishState::Receiving,
            (_, None) => PublishState::Waiting,
        };
        let mut view = self.publisher.as_ref().map(|publisher| publisher.view()).unwrap_or_default();
        let silent_ms = self.publisher.as_ref().map_or(0, |publisher| now_ms.saturating_sub(publisher.last_heard_ms()));
        let advice = view.advice(silent_ms);
        view.fall_silent(silent_ms / 1_000);
        let grace_until = self.stream.as_ref().filter(|stream| stream.is_started).and_then(|stream| stream.grace_until);
        // Where one is connected again, the stream waits for its key frame, and for as long as that takes.
        let waits = grace_until.filter(|_| self.publisher.is_none()).map(|until| until - Instant::now());
        let now = OffsetDateTime::now_utc();
        IngestStatus {
            state,
            stream_id: self.stream.as_ref().filter(|stream| stream.is_started).map(|stream| stream.id),
            connected_since: self.publisher.as_ref().map(|publisher| publisher.since),
            advice,
            tracks: view.tracks,
            encoder: view.encoder,
            health: view.health,
            history: view.history.into(),
            silent_ms,
            waits_ms: waits.map(|waits| u64::try_from(waits.as_millis()).unwrap_or(u64::MAX)),
            last_refusal: self.last_refusal.clone().filter(|refusal| refusal.is_news(self.let_in_at, now)),
            // Known to the ladders.
            ladder: LadderStatus::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::streams::{AudioTrack, VideoTrack};

    use super::*;

    fn tracks(audio: bool) -> Tracks {
        Tracks {
            video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }),
            audio: audio.then(|| AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }),
        }
    }

    fn health(bitrate_kbps: u32, frame_rate: f64, key_frame_interval_ms: u32) -> Health {
        Health { bitrate_kbps, frame_rate, key_frame_interval_ms, sound_ahead_ms: Some(-40), ..Health::default() }
    }

    #[test]
    fn a_good_stream_needs_no_advice() {
        let (mut view, start) = (View::default(), Instant::now());
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            view.update(Some(&tracks(true)), health(2_500, 29.9, 2_000), now);
        }
        assert_eq!(view.advice(100), []);
        assert_eq!(view.history.len(), 60);
    }

    #[test]
    fn each_second_has_its_figures_also_when_nothing_comes() {
        let (mut view, start) = (View::default(), Instant::now());
        let mut report = |at_ms| {
            view.update(Some(&tracks(true)), health(2_500, 30.0, 2_000), start + Duration::from_millis(at_ms));
            view.history.iter().map(|health| health.bitrate_kbps).collect::<Vec<_>>()
        };
        assert_eq!(report(0), [2_500]);
        // Reports come with the first message after a second.
        assert_eq!(report(1_040), [2_500; 2]);
        assert_eq!(report(8_050), [2_500, 2_500, 2_000, 1_500, 1_000, 500, 0, 0, 2_500]);
        assert_eq!(report(4_000_000).len(), 60);
        view.fall_silent(3);
        let health = view.health.unwrap();
        assert_eq!((health.bitrate_kbps, health.frame_rate, health.key_frame_interval_ms), (1_000, 12.0, 2_000));
        assert_eq!(view.history.len(), 60);
        assert_eq!(view.history.back(), Some(&health));
    }

    #[test]
    fn says_what_would_be_better() {
        let (mut view, start) = (View::default(), Instant::now());
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            let bitrate_kbps = if second % 20 < 10 { 1_000 } else { 4_000 };
            view.update(Some(&tracks(false)), health(bitrate_kbps, 15.0, 8_333), now);
        }
        assert_eq!(
            view.advice(0),
            [Advice::KeyFramesFar, Advice::FramesMissing, Advice::NoAudio, Advice::BitrateVaries]
        );
        assert!(view.bitrates_kbps.len() <= 12);
    }

    #[test]
    fn says_that_few_can_play_a_codec_of_which_nothing_else_is_made() {
        let advice = |codec: &str, ladder| {
            let mut tracks = tracks(true);
            tracks.video.as_mut().unwrap().codec = codec.to_owned();
            let status = IngestStatus { state: PublishState::Live, tracks: Some(tracks), ..IngestStatus::default() };
            status.with_ladder(ladder).advice
        };
        let without = |reason| LadderStatus { renditions: Vec::new(), reason: Some(reason) };
        assert_eq!(advice("hvc1.1.6.L93.B0", without(LadderReason::NoBudget)), [Advice::HevcAlone]);
        assert_eq!(advice("av01.0.08M.08", without(LadderReason::FfmpegMissing)), [Advice::Av1Alone]);
        assert_eq!(advice("avc1.64001f", without(LadderReason::NoBudget)), []);
        assert_eq!(advice("hvc1.1.6.L93.B0", without(LadderReason::Starting)), []);
        let rendition = crate::ladder::LadderRendition {
            name: "480p".to_owned(),
            width: 854,
            height: 480,
            frame_rate: 30.0,
            bitrate_kbps: 1_000,
            lag_ms: 0,
        };
        let some = LadderStatus { renditions: vec![rendition], reason: Some(LadderReason::NoBudget) };
        assert_eq!(advice("hvc1.1.6.L93.B0", some), []);
    }

    #[test]
    fn says_that_there_is_sound_alone() {
        let mut view = View::default();
        let tracks = Tracks { video: None, ..tracks(true) };
        view.update(Some(&tracks), Health { bitrate_kbps: 96, ..Health::default() }, Instant::now());
        assert_eq!(view.advice(0), [Advice::SoundAlone]);
    }

    #[test]
    fn says_what_is_wrong_with_the_line() {
        let mut view = View::default();
        let mut advice = |change: &dyn Fn(&mut Health), silent_ms| {
            let mut health = health(2_500, 30.0, 2_000);
            change(&mut health);
            view.update(Some(&tracks(true)), health, Instant::now());
            view.advice(silent_ms)
        };
        assert_eq!(advice(&|health| health.jitter_ms = 400, 0), []);
        assert_eq!(advice(&|health| health.jitter_ms = 2_000, 0), [Advice::LineStutters]);
        // Then everything else follows from it.
        assert_eq!(advice(&|health| health.jitter_ms = 2_000, 4_000), [Advice::Silent]);
        assert_eq!(advice(&|health| health.missing_frames = 7, 0), []);
        assert_eq!(advice(&|health| health.missing_frames = 8, 0), [Advice::FramesMissing]);
        // Encoders leave pictures out when the line is full: then it is not theirs to do better.
        let congested = |health: &mut Health| (health.missing_frames, health.jitter_ms) = (40, 900);
        assert_eq!(advice(&congested, 0), [Advice::LineStutters]);
        let slow = |health: &mut Health| {
            (health.missing_frames, health.jitter_ms, health.encoder_behind_ms) = (40, 1_800, 1_700);
        };
        assert_eq!(advice(&slow, 0), [Advice::EncoderSlow]);
        assert_eq!(advice(&slow, 4_000), [Advice::Silent]);
        assert_eq!(advice(&|health| health.encoder_behind_ms = 200, 0), []);
        assert_eq!(advice(&|health| health.sound_ahead_ms = Some(-501), 0), [Advice::SoundApart]);
        assert_eq!(advice(&|health| health.sound_ahead_ms = None, 0), []);
    }
}
