//! One run of ffmpeg: what it is fed, what comes out, and whether it keeps up.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rustix::io::ioctl_fionread;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::Receiver,
    process::{Child, ChildStderr, ChildStdin},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    Encoder, Ladders, Rung,
    budget::{Lease, Millicores},
    command::{self, Running},
    cost::SourcePicture,
    flv::{FlvError, FlvReader, FlvTag, unwrap_time},
    process::{self, Process},
    watch::{Done, Made, Watch},
};
use crate::packager::{Broadcast, Feed, FeedItem, Follower, MediaRefusal, RenditionSpec, Tag, TagKind};

/// How often it is seen whether ffmpeg keeps up.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Over how long its processor time is measured; the first such time is left out, as it catches up then.
const MEASURED_OVER: Duration = Duration::from_secs(10);
/// The sound of the source, which goes with each rendition: hardly any stream has more.
const SOUND_KBPS: u32 = 192;
const READ_BYTES: usize = 64 << 10;
/// How much of what ffmpeg complains of is logged.
const MAX_COMPLAINT_BYTES: u64 = 1_000;
/// How long it is waited for an ffmpeg that was killed. One that is stuck in a driver goes when the driver lets it.
const PATIENCE_WITH_THE_KILLED: Duration = Duration::from_secs(2);

/// What a run is about.
pub(super) struct Session<'a> {
    pub ladders: &'a Ladders,
    pub broadcast: &'a Arc<Broadcast>,
    pub source: SourcePicture,
    pub encoder: &'a Encoder,
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
    /// It made no picture before that.
    NeverStarted(SessionError),
    /// One more of those that were too slow may be tried.
    OneMore,
    /// The encoder of the settings works again, in whose place another encodes.
    EncoderWorks,
}

/// Why ffmpeg does not work.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error("ffmpeg cannot be started")]
    Start(#[source] io::Error),
    #[error("ffmpeg ended: {0}")]
    Exited(String),
    #[error("ffmpeg has made nothing for {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("ffmpeg has been stopped for {} s, by a signal or by who debugs it", .0.as_secs_f32())]
    Stopped(Duration),
    #[error("what ffmpeg writes cannot be read")]
    Read(#[source] io::Error),
    #[error("what ffmpeg writes is not FLV")]
    Flv(#[from] FlvError),
    #[error("what ffmpeg writes cannot be packaged")]
    Refused(#[from] MediaRefusal),
}

/// What is seen of a run twice a second.
pub(super) struct Look {
    /// How far each rendition is behind what it should have by now, in the order of the rungs.
    pub lags_ms: Vec<u32>,
    /// Whether all of them have their first segment begun.
    pub are_all_there: bool,
}

/// A rendition that is being made.
struct Track {
    follower: Mutex<Follower>,
    /// How many messages with its picture have come.
    messages: AtomicU64,
}

impl Track {
    fn follower(&self) -> MutexGuard<'_, Follower> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, tag: FlvTag, near_ms: i64) -> Result<(), MediaRefusal> {
        if tag.kind == TagKind::Video {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
        // The upper bits are those of the source's times.
        let timestamp_ms = unwrap_time(tag.time_ms, near_ms) as u32;
        self.follower().push(Tag { kind: tag.kind, timestamp_ms, body: tag.body })
    }

    fn made(&self) -> Made {
        Made { messages: self.messages.load(Ordering::Relaxed), latest_ms: self.follower().latest_ms() }
    }
}

/// The pipe that ffmpeg is fed through.
struct Input {
    /// Another handle of it; `None` where there is none to be had.
    pipe: Option<OwnedFd>,
    /// What was written to it.
    bytes: AtomicU64,
}

impl Input {
    fn new(stdin: &ChildStdin) -> Self {
        Self { pipe: stdin.as_fd().try_clone_to_owned().ok(), bytes: AtomicU64::new(0) }
    }

    /// How much of that was read, and how much was not.
    fn read_and_unread(&self) -> (u64, u64) {
        let unread = self.pipe.as_ref().and_then(|pipe| ioctl_fionread(pipe).ok()).unwrap_or(0);
        (self.bytes.load(Ordering::Relaxed).saturating_sub(unread), unread)
    }
}

impl Session<'_> {
    /// Runs ffmpeg on what begins with this initialisation segment, until there is a reason to stop: one of its own, or
    /// something better than this.
    pub(super) async fn run(
        &self,
        init: Bytes,
        feed: &mut Feed,
        lease: &mut Lease,
        mut look: impl FnMut(Look),
        better: impl Future<Output = End>,
    ) -> End {
        let config = &self.ladders.0.config;
        let Running { mut child, outputs } = match command::start(config, self.encoder, &self.source, self.rungs) {
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
            let track = Arc::new(Track { follower, messages: AtomicU64::new(0) });
            tracks.push(Arc::clone(&track));
            readers.spawn(read(output, track, Arc::clone(self.broadcast)));
        }

        let pid = child.id();
        let begins_at = Instant::now();
        let mut meter = Meter::new(begins_at);
        let mut watch = Watch::new(&config.pace, tracks.len(), begins_at);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = {
            // It goes with the pump: who is to write out what it holds back has to hear of the end.
            let input = Input::new(&stdin);
            let pump = pump(init, feed, stdin, &input.bytes);
            tokio::pin!(pump, better);
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
                    end = &mut better => break end,
                    _ = ticks.tick() => {
                        let process = pid.and_then(process::look);
                        meter.measure(self, process);
                        let made = tracks.iter().map(|track| track.made()).collect();
                        let (read_bytes, unread_bytes) = input.read_and_unread();
                        let state = process.map(|process| process.state).unwrap_or_default();
                        let done = Done { made, read_bytes, unread_bytes, state };
                        let end = watch.look(Instant::now(), self.broadcast.source().view().as_deref(), &done);
                        look(Look {
                            lags_ms: watch.lags_ms(),
                            are_all_there: tracks.iter().all(|track| track.follower().is_following()),
                        });
                        if let Some(end) = end {
                            break end;
                        }
                    }
                }
            }
        };
        meter.measure(self, pid.and_then(process::look));
        if let End::NewSource(_) = end {
            // Its stdin is closed: it writes out what it holds back.
            let drained = async { while readers.join_next().await.is_some() {} };
            let _ = timeout(config.pace.drain, drained).await;
        }
        // It may be gone already.
        let _ = timeout(PATIENCE_WITH_THE_KILLED, child.kill()).await;
        complaint.abort();
        // Before another follower of the same renditions begins, these have ended.
        readers.shutdown().await;
        match end {
            // Whoever stopped it, that says nothing about the encoder.
            end @ End::Failed(SessionError::Stopped(_)) => end,
            End::Failed(error) if tracks.iter().all(|track| track.made().latest_ms.is_none()) => {
                End::NeverStarted(error)
            }
            end => end,
        }
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
async fn pump(init: Bytes, feed: &mut Feed, mut stdin: ChildStdin, written: &AtomicU64) -> Pumped {
    let mut next = init;
    loop {
        while !next.is_empty() {
            match stdin.write_buf(&mut next).await {
                Ok(count) if count > 0 => written.fetch_add(count as u64, Ordering::Relaxed),
                _ => return Pumped::Refused,
            };
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
pub(super) async fn listen(mut stderr: ChildStderr) -> String {
    let mut complaint = Vec::new();
    let read = (&mut stderr).take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await;
    if read.is_ok() && complaint.len() as u64 == MAX_COMPLAINT_BYTES {
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&complaint).trim().replace('\n', "; ")
}

/// What ffmpeg takes of the processors.
struct Meter {
    started: Instant,
    counted: Duration,
    /// When the present measurement began, and with how much processor time.
    measuring: Option<(Instant, Duration)>,
}

impl Meter {
    fn new(started: Instant) -> Self {
        Self { started, counted: Duration::ZERO, measuring: None }
    }

    /// Counts the processor time, and lets the budget learn from it.
    fn measure(&mut self, session: &Session<'_>, process: Option<Process>) {
        let Some(Process { time: taken, .. }) = process else { return };
        session.ladders.count_cpu(taken.saturating_sub(self.counted));
        self.counted = taken;
        let now = Instant::now();
        match self.measuring {
            None if now - self.started >= MEASURED_OVER => self.measuring = Some((now, taken)),
            Some((since, before)) if now - since >= MEASURED_OVER => {
                let millicores = taken.saturating_sub(before).as_secs_f64() / (now - since).as_secs_f64() * 1_000.0;
                session.ladders.0.budget.measured(session.encoder.into(), session.estimate, millicores as Millicores);
                self.measuring = Some((now, taken));
            }
            _ => {}
        }
    }
}
