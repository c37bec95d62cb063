//! One run of ffmpeg: what it is fed, what comes out, and whether it keeps up.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::Receiver,
    process::{Child, ChildStderr, ChildStdin},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    LadderPace, Ladders, Rung,
    budget::{Lease, Millicores},
    command::{self, Running},
    cost::SourcePicture,
    cpu,
    flv::{FlvError, FlvReader, FlvTag, unwrap_time},
};
use crate::packager::{Broadcast, Feed, FeedItem, Follower, MediaRefusal, RenditionSpec, Tag};

/// How often it is seen whether ffmpeg keeps up.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Over how long its processor time is measured; the first such time is left out, as it catches up then.
const MEASURED_OVER: Duration = Duration::from_secs(10);
/// A rendition is silent when it has nothing new although the source is this much further: more than comes at once.
const HELD_BACK_MS: u32 = 1_500;
/// So many pictures decoder and encoder may have under way, which are seconds where pictures are rare.
const HELD_BACK_PICTURES: f64 = 6.0;
/// The sound of the source, which goes with each rendition: hardly any stream has more.
const SOUND_KBPS: u32 = 192;
const READ_BYTES: usize = 64 << 10;
/// How much of what ffmpeg complains of is logged.
const MAX_COMPLAINT_BYTES: u64 = 1_000;

/// What a run is about.
pub(super) struct Session<'a> {
    pub ladders: &'a Ladders,
    pub broadcast: &'a Arc<Broadcast>,
    pub source: SourcePicture,
    /// The highest first.
    pub rungs: &'a [Rung],
    /// What they are expected to cost.
    pub estimate: Millicores,
}

/// Why a run is over.
#[derive(Debug)]
pub(super) enum End {
    /// The broadcast has ended.
    Ended,
    /// The source begins anew, with this initialisation segment; its fragments are next in the feed.
    NewSource(Bytes),
    /// The budget gives more or fewer renditions.
    Regranted,
    /// It does not keep up with the source.
    TooSlow,
    /// There is no such program.
    Missing,
    /// It does not work.
    Failed(SessionError),
}

/// Why ffmpeg does not work.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error("ffmpeg cannot be started")]
    Start(#[source] io::Error),
    #[error("ffmpeg ended: {0}")]
    Exited(String),
    #[error("ffmpeg has written nothing for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("what ffmpeg writes cannot be read")]
    Read(#[source] io::Error),
    #[error("what ffmpeg writes is not FLV")]
    Flv(#[from] FlvError),
    #[error("what ffmpeg writes cannot be packaged")]
    Refused(#[from] MediaRefusal),
}

/// What is seen of a run twice a second.
pub(super) struct Look {
    /// How far each rendition is behind the source, in the order of the rungs.
    pub lags_ms: Vec<u32>,
    /// Whether all of them have their first segment begun.
    pub are_all_there: bool,
}

/// A rendition that is being made.
struct Track {
    follower: Mutex<Follower>,
    last_output: Mutex<Option<Instant>>,
}

impl Track {
    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, tag: FlvTag, near_ms: i64) -> Result<(), MediaRefusal> {
        *self.last_output.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        // The upper bits are those of the source's times.
        let timestamp_ms = unwrap_time(tag.time_ms, near_ms) as u32;
        self.follower().push(Tag { kind: tag.kind, timestamp_ms, body: tag.body })
    }

    fn last_output(&self) -> Option<Instant> {
        *self.last_output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session<'_> {
    /// Runs ffmpeg on what begins with this initialisation segment, until there is a reason to stop.
    pub(super) async fn run(&self, init: Bytes, feed: &mut Feed, lease: &mut Lease, mut look: impl FnMut(Look)) -> End {
        let config = &self.ladders.0.config;
        let Running { mut child, outputs } = match command::start(config, &self.source, self.rungs) {
            Ok(running) => running,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                return End::Missing;
            }
            Err(error) => return End::Failed(SessionError::Start(error)),
        };
        let (Some(stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
            return End::Failed(SessionError::Start(io::ErrorKind::BrokenPipe.into()));
        };
        let mut complaint = tokio::spawn(listen(stderr));
        let (mut tracks, mut readers) = (Vec::new(), JoinSet::new());
        for (rung, output) in self.rungs.iter().zip(outputs) {
            let output = match Receiver::from_owned_fd(OwnedFd::from(output)) {
                Ok(output) => output,
                Err(error) => return End::Failed(SessionError::Start(error)),
            };
            let rendition = self.broadcast.add_rendition(spec(rung, &self.source));
            let follower = Mutex::new(Follower::new(self.broadcast, rendition));
            let track = Arc::new(Track { follower, last_output: Mutex::new(None) });
            tracks.push(Arc::clone(&track));
            readers.spawn(read(output, track, Arc::clone(self.broadcast)));
        }

        let mut watch = Watch::new(&config.pace, child.id(), &self.source);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = {
            let pump = pump(init, feed, stdin);
            tokio::pin!(pump);
            loop {
                tokio::select! {
                    pumped = &mut pump => break match pumped {
                        Pumped::Ended => End::Ended,
                        Pumped::NewSource(init) => End::NewSource(init),
                        Pumped::Lagged => End::TooSlow,
                        Pumped::Refused => exited(&mut child, &mut complaint).await,
                    },
                    Some(read) = readers.join_next() => break match read {
                        Ok(Ok(())) => exited(&mut child, &mut complaint).await,
                        Ok(Err(error)) => End::Failed(error),
                        Err(error) => End::Failed(SessionError::Read(io::Error::other(error))),
                    },
                    () = lease.changed() => if lease.granted() != self.rungs.len() {
                        break End::Regranted;
                    },
                    _ = ticks.tick() => {
                        watch.measure(self);
                        look(Look {
                            lags_ms: tracks.iter().map(|track| track.follower().lag().behind_ms).collect(),
                            are_all_there: tracks.iter().all(|track| track.follower().is_following()),
                        });
                        if let Some(end) = watch.judge(&tracks) {
                            break end;
                        }
                    }
                }
            }
        };
        watch.measure(self);
        if let End::NewSource(_) = end {
            // Its stdin is closed: it writes out what it holds back.
            let drained = async { while readers.join_next().await.is_some() {} };
            let _ = timeout(config.pace.drain, drained).await;
        }
        // It may be gone already.
        let _ = child.kill().await;
        complaint.abort();
        // Before another follower of the same renditions begins, these have ended.
        readers.shutdown().await;
        end
    }
}

fn spec(rung: &Rung, source: &SourcePicture) -> RenditionSpec {
    RenditionSpec {
        name: rung.name.clone(),
        max_width: Some(source.width_at(rung.height)),
        max_height: Some(rung.height),
        bitrate_kbps: Some(command::most_kbps(rung) + SOUND_KBPS),
    }
}

enum Pumped {
    Ended,
    NewSource(Bytes),
    Lagged,
    /// ffmpeg reads no more.
    Refused,
}

/// Feeds ffmpeg for as long as there is one source. What it does not take in time is gone from the feed, not kept here.
async fn pump(init: Bytes, feed: &mut Feed, mut stdin: ChildStdin) -> Pumped {
    let mut next = init;
    loop {
        if stdin.write_all(&next).await.is_err() {
            return Pumped::Refused;
        }
        next = match feed.next().await {
            Some(FeedItem::Fragment { bytes, .. }) => bytes,
            Some(FeedItem::Init(init)) => return Pumped::NewSource(init),
            Some(FeedItem::Lagged) => return Pumped::Lagged,
            None => return Pumped::Ended,
        };
    }
}

/// Packages what ffmpeg writes for one rendition, until it writes no more.
async fn read(mut output: Receiver, track: Arc<Track>, broadcast: Arc<Broadcast>) -> Result<(), SessionError> {
    let mut reader = FlvReader::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = output.read(&mut buffer).await.map_err(SessionError::Read)?;
        if count == 0 {
            return Ok(());
        }
        reader.extend(&buffer[..count]);
        let near_ms = broadcast.source().view().map_or(0, |view| view.facts.edge_ms);
        while let Some(tag) = reader.next()? {
            track.push(tag, near_ms)?;
        }
    }
}

/// An output has ended before its time: says with what words.
async fn exited(child: &mut Child, complaint: &mut JoinHandle<String>) -> End {
    const PATIENCE: Duration = Duration::from_secs(1);
    let status = match timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        _ => "it closed what it writes to".to_owned(),
    };
    let said = timeout(PATIENCE, complaint).await.ok().and_then(Result::ok).unwrap_or_default();
    End::Failed(SessionError::Exited(format!("{status} {said}").trim().to_owned()))
}

/// The first of what ffmpeg complains of; the rest is read so that it is not held up by it.
async fn listen(mut stderr: ChildStderr) -> String {
    let mut complaint = Vec::new();
    let read = (&mut stderr).take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await;
    if read.is_ok() && complaint.len() as u64 == MAX_COMPLAINT_BYTES {
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&complaint).trim().replace('\n', "; ")
}

/// Sees whether ffmpeg works and keeps up.
struct Watch<'a> {
    pace: &'a LadderPace,
    pid: Option<u32>,
    started: Instant,
    /// How far behind the pictures that are under way can be.
    under_way_ms: u32,
    late_since: Option<Instant>,
    counted: Duration,
    /// When the present measurement began, and with how much processor time.
    measuring: Option<(Instant, Duration)>,
}

impl<'a> Watch<'a> {
    fn new(pace: &'a LadderPace, pid: Option<u32>, source: &SourcePicture) -> Self {
        Self {
            pace,
            pid,
            started: Instant::now(),
            under_way_ms: (HELD_BACK_PICTURES * 1_000.0 / source.frame_rate()) as u32,
            late_since: None,
            counted: Duration::ZERO,
            measuring: None,
        }
    }

    /// Counts the processor time, and lets the budget learn from it.
    fn measure(&mut self, session: &Session<'_>) {
        let Some(taken) = self.pid.and_then(cpu::time_of) else { return };
        session.ladders.count_cpu(taken.saturating_sub(self.counted));
        self.counted = taken;
        let now = Instant::now();
        match self.measuring {
            None if now - self.started >= MEASURED_OVER => self.measuring = Some((now, taken)),
            Some((since, before)) if now - since >= MEASURED_OVER => {
                let millicores = taken.saturating_sub(before).as_secs_f64() / (now - since).as_secs_f64() * 1_000.0;
                session.ladders.0.budget.measured(session.estimate, millicores as Millicores);
                self.measuring = Some((now, taken));
            }
            _ => {}
        }
    }

    fn judge(&mut self, tracks: &[Arc<Track>]) -> Option<End> {
        let now = Instant::now();
        let max_lag_ms = u32::try_from(self.pace.max_lag.as_millis()).unwrap_or(u32::MAX);
        let mut is_late = false;
        for track in tracks {
            let behind_ms = track.follower().lag().behind_ms.saturating_sub(self.under_way_ms);
            let (silent_since, has_more_to_write) = match track.last_output() {
                // There is something to read from the start.
                None => (self.started, true),
                Some(last_output) => (last_output, behind_ms > HELD_BACK_MS),
            };
            if has_more_to_write && now - silent_since > self.pace.silent_for {
                return Some(End::Failed(SessionError::Silent(now - silent_since)));
            }
            is_late |= behind_ms > max_lag_ms;
        }
        if !is_late {
            self.late_since = None;
            return None;
        }
        let late_since = *self.late_since.get_or_insert(now);
        (now - late_since > self.pace.late_for).then_some(End::TooSlow)
    }
}
