//! The ladder: smaller pictures made of each stream's source, for viewers on slower lines and smaller screens.
//!
//! ```text
//! Broadcast ── Feed ──> stdin of one ffmpeg a stream ──> a pipe of FLV for each rendition ──> Follower ──> Rendition
//! ```
//!
//! | file | job |
//! |---|---|
//! | `supervisor` | the ladder of one stream: from its first segment to its end, over crashes and changes of the source |
//! | `session` | one ffmpeg: feeds it, and packages what it writes |
//! | `watch` | whether it works and keeps up |
//! | `command` | the words that ffmpeg is started with; a new encoder gets its words here |
//! | `fallback` | the processor in place of an encoder that does not start |
//! | `backoff` | when what did not work is tried again |
//! | `flv` | reads what ffmpeg writes |
//! | `newest` | which pictures ffmpeg may have under way |
//! | `budget` | how many renditions may run |
//! | `cost`, `corrections` | what each is expected to cost, and what that is off by |
//! | `process` | what an ffmpeg does, and has taken of the processors |
//! | `report` | tells the write side which renditions there are |
//!
//! The source never waits for any of it: a feed reads from the window that viewers read from, and what ffmpeg does not
//! take in time is skipped.

mod backoff;
mod budget;
mod command;
mod corrections;
mod cost;
mod fallback;
mod flv;
mod newest;
mod process;
mod report;
mod session;
mod supervisor;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use domain::{ids::StreamId, streams::RenditionsReason};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio_util::sync::CancellationToken;

use self::{budget::Budget, cost::SourcePicture};
use crate::{packager::Broadcast, ports::Publishing};

/// Which renditions are made, and of how much of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LadderConfig {
    /// Whether any are made.
    pub is_enabled: bool,
    /// What is made of sources that are higher than it; in no particular order.
    pub rungs: Vec<Rung>,
    /// What encodes them.
    pub encoder: Encoder,
    /// How much of all processor cores they may take together, 0 to 100: with 0 nothing is made.
    pub cpu_percent: u32,
    /// The program; `None`: the `ffmpeg` of the search path.
    pub ffmpeg: Option<PathBuf>,
    /// When patience ends.
    pub pace: LadderPace,
}

/// One size of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Also a folder in the addresses: 1 to 16 lower-case letters and digits, neither `source` nor `audio`.
    pub name: String,
    /// In pixels, even; the width follows from the source's shape.
    pub height: u32,
    /// Frames a second beyond which some are left out.
    pub max_frame_rate: u32,
    /// Of the picture, on average; for moments it may be a fifth more.
    pub bitrate_kbps: u32,
    /// The encoder's preset; `None`: the usual one of the encoder.
    pub preset: Option<String>,
}

/// What encodes renditions. All make H.264.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoder {
    /// The processor.
    Libx264,
    /// NVIDIA's NVENC.
    H264Nvenc,
    /// VA-API, of Intel and AMD.
    H264Vaapi {
        /// The render node, `/dev/dri/renderD128` for example.
        device: PathBuf,
    },
    /// Intel's Quick Sync.
    H264Qsv,
    /// Whatever these arguments choose, which stand where `-c:v libx264 -preset …` would.
    Custom(Vec<String>),
}

/// How long ffmpeg may take, and how often it may fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LadderPace {
    /// A rendition further than this behind its source is late.
    pub max_lag: Duration,
    /// One that is late for this long is too slow: the most expensive one is dropped.
    pub late_for: Duration,
    /// Without a picture for this long, ffmpeg hangs: counted while it has more of them to write than it may hold back and
    /// the source goes on, or while it does not even read, or is stopped.
    pub silent_for: Duration,
    /// How long it may go on writing when there is nothing more to read.
    pub drain: Duration,
    /// Before it is started again for the first time; each further time within a minute takes twice as long.
    pub restart_after: Duration,
    /// More failures than this within a minute, and it is given up for a while.
    pub max_failures: usize,
    /// How long that is. So long it is also waited for a program that is missing.
    pub retry_after: Duration,
    /// Before what was too slow is tried again, and an encoder that did not start; each time that fails takes twice as long.
    pub again_after: Duration,
    /// The longest of these times. What has worked for so long and then fails is waited for like the first time.
    pub again_at_most: Duration,
}

impl Default for LadderConfig {
    fn default() -> Self {
        let rung = |name: &str, height, max_frame_rate, bitrate_kbps| Rung {
            name: name.to_owned(),
            height,
            max_frame_rate,
            bitrate_kbps,
            preset: None,
        };
        Self {
            is_enabled: true,
            rungs: vec![rung("1080p", 1_080, 60, 5_000), rung("720p", 720, 30, 2_500), rung("480p", 480, 30, 1_000)],
            encoder: Encoder::Libx264,
            cpu_percent: 30,
            ffmpeg: None,
            pace: LadderPace::default(),
        }
    }
}

impl Default for LadderPace {
    fn default() -> Self {
        Self {
            max_lag: Duration::from_secs(4),
            late_for: Duration::from_secs(6),
            silent_for: Duration::from_secs(10),
            drain: Duration::from_secs(2),
            restart_after: Duration::from_millis(250),
            max_failures: 5,
            retry_after: Duration::from_secs(60),
            // A moment of load costs two minutes of a quality; a machine that is too slow for good is bothered 14 times in
            // ten hours. Each try pauses the other renditions for a second, and again when it fails.
            again_after: Duration::from_secs(120),
            again_at_most: Duration::from_secs(3_600),
        }
    }
}

impl Encoder {
    /// As in the settings.
    fn name(&self) -> &'static str {
        match self {
            Self::Libx264 => "libx264",
            Self::H264Nvenc => "h264_nvenc",
            Self::H264Vaapi { .. } => "h264_vaapi",
            Self::H264Qsv => "h264_qsv",
            Self::Custom(_) => "custom",
        }
    }

    /// What is said when it does not start and the processor takes over; nothing of the processor.
    fn failure(&self) -> Option<LadderReason> {
        match self {
            Self::Libx264 => None,
            Self::H264Nvenc => Some(LadderReason::NvencFailed),
            Self::H264Vaapi { .. } => Some(LadderReason::VaapiFailed),
            Self::H264Qsv => Some(LadderReason::QsvFailed),
            Self::Custom(_) => Some(LadderReason::CustomFailed),
        }
    }
}

impl LadderConfig {
    /// What is made of this picture, the cheapest first. Of a codec that few players know it may have the same height, and
    /// where all are higher, the smallest is made as high as the source: without it most viewers would see nothing.
    fn rungs_below(&self, source: &SourcePicture) -> Vec<Rung> {
        let is_below = |rung: &&Rung| rung.height < source.height || (source.is_rare && rung.height == source.height);
        let mut rungs: Vec<_> = self.rungs.iter().filter(is_below).cloned().collect();
        rungs.sort_by_key(|rung| (rung.height, rung.bitrate_kbps));
        // Encoders of H.264 want even numbers.
        let height = source.height & !1;
        if source.is_rare && rungs.is_empty() && height > 0 {
            let smallest = self.rungs.iter().min_by_key(|rung| (rung.height, rung.bitrate_kbps));
            rungs.extend(smallest.map(|rung| Rung { name: format!("{height}p"), height, ..rung.clone() }));
        }
        rungs
    }

    /// In thousandths of a core.
    fn budget_of(&self, cores: usize) -> budget::Millicores {
        if self.is_enabled { cores as u64 * u64::from(self.cpu_percent.min(100)) * 10 } else { 0 }
    }
}

/// How a stream's ladder stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LadderStatus {
    /// The renditions that viewers can choose beside the source, the highest first.
    pub renditions: Vec<LadderRendition>,
    /// Why there are no more of them, or why they are made in another way than they are to be; `None` when all is well.
    pub reason: Option<LadderReason>,
}

/// A rendition that is being made.
#[derive(Debug, Clone, PartialEq)]
pub struct LadderRendition {
    /// As in its address, `720p` for example.
    pub name: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Frames a second, at most.
    pub frame_rate: f64,
    /// Of the picture, on average.
    pub bitrate_kbps: u32,
    /// How far it is behind what it should have by now, in milliseconds of media. Pictures that may be under way do not
    /// count, however rare they are.
    pub lag_ms: u32,
}

/// Why a stream has no more renditions than it has, or has them from another encoder than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LadderReason {
    /// The settings want none.
    Disabled,
    /// The picture is no larger than the smallest of them.
    SourceSmall,
    /// There is sound alone.
    NoPicture,
    /// They are about to come.
    Starting,
    /// Making more of them fell behind.
    TooSlow,
    /// There is no processor time for more.
    NoBudget,
    /// ffmpeg failed again and again.
    FfmpegFailed,
    /// There is no ffmpeg.
    FfmpegMissing,
    /// NVENC does not start, and the processor makes what it has time for.
    NvencFailed,
    /// VA-API does not, and the same.
    VaapiFailed,
    /// Quick Sync does not, and the same.
    QsvFailed,
    /// The encoder that an operator's own arguments choose does not, and the same.
    CustomFailed,
}

/// The same words for each encoder, with its name in them.
macro_rules! does_not_start {
    ($encoder:literal) => {
        concat!(
            "The server's video encoder (",
            $encoder,
            ") does not start. Until it does, the server's processor makes as many smaller sizes as it has time for. The \
             server's log says more."
        )
    };
}

impl LadderReason {
    /// A stable name for programs and translations.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::SourceSmall => "source_small",
            Self::NoPicture => "no_picture",
            Self::Starting => "starting",
            Self::TooSlow => "too_slow",
            Self::NoBudget => "no_budget",
            Self::FfmpegFailed => "ffmpeg_failed",
            Self::FfmpegMissing => "ffmpeg_missing",
            Self::NvencFailed => "h264_nvenc_failed",
            Self::VaapiFailed => "h264_vaapi_failed",
            Self::QsvFailed => "h264_qsv_failed",
            Self::CustomFailed => "custom_encoder_failed",
        }
    }

    /// For the streamer.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Disabled => "This server does not make smaller sizes of streams.",
            Self::NoPicture => "Your stream is sound alone: there is no picture to make other sizes of.",
            Self::SourceSmall => "Your picture is as small as the smallest size that this server makes.",
            Self::Starting => "Smaller sizes are about to come.",
            Self::TooSlow => {
                "The server could not keep up with your stream, so that it makes fewer sizes of it. It tries again from \
                 time to time; a lower resolution or frame rate needs less."
            }
            Self::NoBudget => {
                "The server's processors are busy with other streams, so that it makes fewer sizes of yours. They come \
                 as soon as there is room."
            }
            Self::FfmpegFailed => {
                "Smaller sizes cannot be made at the moment; it is tried again. Viewers see your stream as you send it."
            }
            Self::FfmpegMissing => {
                "Smaller sizes cannot be made because ffmpeg is not installed on the server. Viewers see your stream as \
                 you send it."
            }
            Self::NvencFailed => does_not_start!("h264_nvenc"),
            Self::VaapiFailed => does_not_start!("h264_vaapi"),
            Self::QsvFailed => does_not_start!("h264_qsv"),
            Self::CustomFailed => does_not_start!("ladder.encoder_args"),
        }
    }

    /// As the log of events calls it, where it says something at all.
    fn reported(self) -> Option<RenditionsReason> {
        match self {
            Self::Disabled | Self::SourceSmall | Self::NoPicture | Self::Starting => None,
            // There the renditions count, not what makes them.
            Self::NvencFailed | Self::VaapiFailed | Self::QsvFailed | Self::CustomFailed => None,
            Self::TooSlow => Some(RenditionsReason::TooSlow),
            Self::NoBudget => Some(RenditionsReason::NoBudget),
            Self::FfmpegFailed => Some(RenditionsReason::FfmpegFailed),
            Self::FfmpegMissing => Some(RenditionsReason::FfmpegMissing),
        }
    }
}

/// The ladders of a process's streams. Cheap to clone: clones share them.
#[derive(Clone)]
pub(crate) struct Ladders(Arc<Shared>);

struct Shared {
    config: LadderConfig,
    budget: Budget,
    publishing: Arc<dyn Publishing>,
    stopping: CancellationToken,
    statuses: Mutex<HashMap<StreamId, LadderStatus>>,
    /// Processor time that is not counted yet, since counters count whole seconds.
    uncounted_cpu: Mutex<Duration>,
}

impl Ladders {
    pub(crate) fn new(config: LadderConfig, publishing: Arc<dyn Publishing>, stopping: CancellationToken) -> Self {
        describe_metrics(&config.encoder);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let budget = Budget::new(config.budget_of(cores));
        Self(Arc::new(Shared {
            config,
            budget,
            publishing,
            stopping,
            statuses: Mutex::default(),
            uncounted_cpu: Mutex::default(),
        }))
    }

    /// Makes renditions of a broadcast until it ends or the process stops.
    pub(crate) async fn follow(self, broadcast: Arc<Broadcast>) {
        let stream_id = broadcast.stream_id();
        let stopping = self.0.stopping.clone();
        if self.0.config.is_enabled {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = supervisor::run(&self, &broadcast) => {}
            }
        } else {
            self.set_status(stream_id, LadderStatus { reason: Some(LadderReason::Disabled), ..Default::default() });
            tokio::select! {
                () = stopping.cancelled() => {}
                () = broadcast.ended() => {}
            }
        }
        self.statuses().remove(&stream_id);
        self.show_lag();
    }

    /// How a stream's ladder stands; nothing for a stream without one.
    pub(crate) fn status(&self, stream_id: StreamId) -> LadderStatus {
        self.statuses().get(&stream_id).cloned().unwrap_or_default()
    }

    fn set_status(&self, stream_id: StreamId, status: LadderStatus) {
        self.statuses().insert(stream_id, status);
        self.show_lag();
    }

    fn show_lag(&self) {
        let statuses = self.statuses();
        let renditions = statuses.values().flat_map(|status| &status.renditions);
        let (count, lag_ms) =
            renditions.fold((0_u32, 0), |(count, lag_ms), rendition| (count + 1, lag_ms.max(rendition.lag_ms)));
        gauge!("weir_ladder_renditions").set(count);
        gauge!("weir_ladder_lag_seconds").set(f64::from(lag_ms) / 1_000.0);
    }

    fn count_cpu(&self, time: Duration) {
        let mut uncounted = self.0.uncounted_cpu.lock().unwrap_or_else(PoisonError::into_inner);
        *uncounted += time;
        counter!("weir_ladder_ffmpeg_cpu_seconds_total").increment(uncounted.as_secs());
        *uncounted = Duration::from_nanos(u64::from(uncounted.subsec_nanos()));
    }

    fn statuses(&self) -> MutexGuard<'_, HashMap<StreamId, LadderStatus>> {
        self.0.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe_metrics(encoder: &Encoder) {
    describe_gauge!("weir_ladder_renditions", "Renditions that are being made.");
    describe_gauge!("weir_ladder_lag_seconds", "How far the latest of them is behind what it should have by now.");
    describe_gauge!("weir_ladder_budget_cores", "Processor cores that renditions may take.");
    describe_gauge!("weir_ladder_reserved_cores", "Processor cores that the running ones are expected to take.");
    describe_counter!("weir_ladder_ffmpeg_cpu_seconds_total", "Processor time that ffmpeg took for renditions.");
    describe_counter!("weir_ladder_restarts_total", "How often ffmpeg was started again after it had failed.");
    describe_counter!("weir_ladder_dropped_total", "Renditions that were not made or no longer, by reason.");
    describe_counter!("weir_ladder_retried_total", "Renditions that were tried again after they had been too slow.");
    describe_counter!("weir_ladder_fallbacks_total", "How often the processor took over for an encoder, by encoder.");
    gauge!("weir_ladder_renditions").set(0.0);
    gauge!("weir_ladder_lag_seconds").set(0.0);
    counter!("weir_ladder_ffmpeg_cpu_seconds_total").increment(0);
    counter!("weir_ladder_restarts_total").increment(0);
    counter!("weir_ladder_retried_total").increment(0);
    counter!("weir_ladder_fallbacks_total", "encoder" => encoder.name()).increment(0);
    for reason in
        [LadderReason::TooSlow, LadderReason::NoBudget, LadderReason::FfmpegFailed, LadderReason::FfmpegMissing]
    {
        counter!("weir_ladder_dropped_total", "reason" => reason.code()).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(height: u32, is_rare: bool) -> Vec<String> {
        let source = SourcePicture { width: height * 16 / 9, height, frame_rate: 30.0, is_rare };
        LadderConfig::default().rungs_below(&source).into_iter().map(|rung| rung.name).collect()
    }

    #[test]
    fn renditions_are_smaller_than_what_players_know_already() {
        assert_eq!(names(1_080, false), ["480p", "720p"]);
        assert_eq!(names(480, false), [""; 0]);
        assert_eq!(names(360, false), [""; 0]);
    }

    #[test]
    fn a_picture_that_few_players_know_is_made_anew_however_small_it_is() {
        assert_eq!(names(1_080, true), ["480p", "720p", "1080p"]);
        assert_eq!(names(480, true), ["480p"]);
        assert_eq!(names(361, true), ["360p"]);
        assert_eq!(names(0, true), [""; 0], "sound alone has no picture");
    }
}
