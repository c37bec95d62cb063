//! The ladder: smaller pictures made of each stream's source, for viewers on slower lines and smaller screens.
//!
//! ```text
//! Broadcast ── Feed ──> stdin of one ffmpeg a stream ──> a pipe of FLV for each rendition ──> Follower ──> Rendition
//! ```
//!
//! | file | job |
//! |---|---|
//! | `supervisor` | the ladder of one stream: from its first segment to its end, over crashes and changes of the source |
//! | `session` | one ffmpeg: feeds it, packages what it writes, and sees whether it keeps up |
//! | `command` | the words that ffmpeg is started with; a new encoder gets its words here |
//! | `flv` | reads what ffmpeg writes |
//! | `budget`, `cost`, `cpu` | how many renditions may run, what each is expected to cost, and what they really take |
//! | `report` | tells the write side which renditions there are |
//!
//! The source never waits for any of it: a feed reads from the window that viewers read from, and what ffmpeg does not
//! take in time is skipped.

mod budget;
mod command;
mod cost;
mod cpu;
mod flv;
mod report;
mod session;
mod supervisor;

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
    /// Without any output for this long, ffmpeg hangs; counted from its start, too.
    pub silent_for: Duration,
    /// How long it may go on writing when there is nothing more to read.
    pub drain: Duration,
    /// Before it is started again for the first time; each further time within a minute takes twice as long.
    pub restart_after: Duration,
    /// More failures than this within a minute, and it is given up for a while.
    pub max_failures: usize,
    /// How long that is. So long it is also waited for a program that is missing.
    pub retry_after: Duration,
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
        }
    }
}

impl LadderConfig {
    /// What is made of this picture, the cheapest first. Of a codec that few players know it may have the same height.
    fn rungs_below(&self, source: &SourcePicture) -> Vec<Rung> {
        let is_below = |rung: &&Rung| rung.height < source.height || (source.is_rare && rung.height == source.height);
        let mut rungs: Vec<_> = self.rungs.iter().filter(is_below).cloned().collect();
        rungs.sort_by_key(|rung| (rung.height, rung.bitrate_kbps));
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
    /// Why there are no more of them; `None` when there are as many as there are to be.
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
    /// How far it is behind the source.
    pub lag_ms: u32,
}

/// Why a stream has no more renditions than it has.
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
                "The server could not keep up with your stream, so that it makes fewer sizes of it. A lower resolution \
                 or frame rate needs less."
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
        }
    }

    /// As the log of events calls it, where it says something at all.
    fn reported(self) -> Option<RenditionsReason> {
        match self {
            Self::Disabled | Self::SourceSmall | Self::NoPicture | Self::Starting => None,
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
        describe_metrics();
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

fn describe_metrics() {
    describe_gauge!("weir_ladder_renditions", "Renditions that are being made.");
    describe_gauge!("weir_ladder_lag_seconds", "How far the latest of them is behind its source.");
    describe_gauge!("weir_ladder_budget_cores", "Processor cores that renditions may take.");
    describe_gauge!("weir_ladder_reserved_cores", "Processor cores that the running ones are expected to take.");
    describe_counter!("weir_ladder_ffmpeg_cpu_seconds_total", "Processor time that ffmpeg took for renditions.");
    describe_counter!("weir_ladder_restarts_total", "How often ffmpeg was started again after it had failed.");
    describe_counter!("weir_ladder_dropped_total", "Renditions that were not made or no longer, by reason.");
    gauge!("weir_ladder_renditions").set(0.0);
    gauge!("weir_ladder_lag_seconds").set(0.0);
    counter!("weir_ladder_ffmpeg_cpu_seconds_total").increment(0);
    counter!("weir_ladder_restarts_total").increment(0);
    for reason in
        [LadderReason::TooSlow, LadderReason::NoBudget, LadderReason::FfmpegFailed, LadderReason::FfmpegMissing]
    {
        counter!("weir_ladder_dropped_total", "reason" => reason.code()).increment(0);
    }
}
