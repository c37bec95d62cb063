//! Keeps one child running: notices its end, says why, starts it again on the same address with the same credentials.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{EmbeddedError, error::IoContext, folder::Reach, journal::Journal};

/// A life longer than this was a good one: the next end is a first failure again.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// From this many failures in a row on a server counts as failed; it is still tried.
const FAILED_AFTER: u32 = 5;
const MAX_DELAY: Duration = Duration::from_secs(15);
/// Recovery after a crash of the machine may replay a gigabyte of write-ahead log.
const FIRST_START: Duration = Duration::from_secs(180);
const READY_POLL: Duration = Duration::from_millis(4);
const ROTATE_EVERY: Duration = Duration::from_secs(60);
/// How long servers left by an earlier life may take to stop.
pub(crate) const STRAY_PATIENCE: Duration = Duration::from_secs(10);

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Started for the first time and not ready yet.
    Starting,
    /// Ready.
    Running {
        /// The pid of its main process.
        pid: u32,
    },
    /// It ended unexpectedly and is being started again.
    Restarting {
        /// How often it failed in a row, from 1.
        failures: u32,
        /// How it last ended.
        reason: String,
    },
    /// As [`Status::Restarting`], but it has failed so often that somebody should look.
    Failed {
        /// How often it failed in a row.
        failures: u32,
        /// How it last ended.
        reason: String,
    },
    /// Stopped because it was told to.
    Stopped,
}

impl Status {
    /// Whether the server can be used now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }
}

/// A server that can be started again and again.
pub(crate) trait Program: Send + Sync + 'static {
    /// Its name in logs and errors.
    const NAME: &'static str;

    /// Clears away what an earlier life left, and says how to start the next one.
    fn prepare(&self) -> impl Future<Output = Result<(Command, Reach), EmbeddedError>> + Send;

    /// Whether the child with this pid answers by now.
    fn is_ready(&self, pid: u32) -> impl Future<Output = bool> + Send;

    /// After the last life.
    fn clean_up(&self) -> impl Future<Output = ()> + Send;

    /// How long it may take to stop before it is killed.
    fn stop_timeout(&self) -> Duration;
}

/// A program under supervision; stopped in order when dropped, if the runtime still runs.
#[derive(Debug)]
pub(crate) struct Supervised {
    status: watch::Receiver<Status>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts the program and waits until it is ready. A first start that fails is not tried again.
    pub(crate) async fn start<P: Program>(program: P, journal: Journal) -> Result<Self, EmbeddedError> {
        let stop = CancellationToken::new();
        let (status_sender, status) = watch::channel(Status::Starting);
        let (ready_sender, ready) = oneshot::channel();
        let since = journal.length();
        let supervisor = Supervisor { program, journal: journal.clone(), status: status_sender, stop: stop.clone() };
        let task = tokio::spawn(supervisor.run(ready_sender));
        let supervised = Self { status, stop: stop.drop_guard(), task };
        match tokio::time::timeout(FIRST_START, ready).await {
            Ok(Ok(Ok(()))) => Ok(supervised),
            Ok(Ok(Err(error))) => {
                // Only now is the folder free for another try.
                supervised.shutdown().await;
                Err(error)
            }
            // A task that ends without an answer was aborted with its runtime.
            Ok(Err(_)) | Err(_) => {
                supervised.shutdown().await;
                Err(EmbeddedError::NotReady {
                    program: P::NAME,
                    seconds: FIRST_START.as_secs(),
                    log: journal.tail(since),
                })
            }
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Stops the program and waits for its end.
    pub(crate) async fn shutdown(self) {
        drop(self.stop);
        // An error is a panic of the task, which has been reported.
        let _ = self.task.await;
    }
}

struct Supervisor<P> {
    program: P,
    journal: Journal,
    status: watch::Sender<Status>,
    stop: CancellationToken,
}

/// How a life of the child ended.
enum End {
    Asked,
    Failed { was_ready: bool, error: EmbeddedError },
}

type Ready = oneshot::Sender<Result<(), EmbeddedError>>;

impl<P: Program> Supervisor<P> {
    async fn run(self, ready: Ready) {
        let mut first = Some(ready);
        let mut failures = 0;
        loop {
            let since = self.journal.length();
            let born = Instant::now();
            let end = self.live(&mut first).await;
            let (was_ready, error) = match end {
                End::Asked => break,
                End::Failed { was_ready, error } => (was_ready, error),
            };
            if let Some(first) = first.take() {
                let _ = first.send(Err(error));
                break;
            }
            if was_ready && born.elapsed() > STABLE_AFTER {
                failures = 0;
            }
            failures += 1;
            if !self.report(failures, &error, since) {
                break;
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(delay(failures))).await.is_none() {
                break;
            }
        }
        self.program.clean_up().await;
        self.status.send_replace(Status::Stopped);
    }

    /// One life of the child, from its start to its end.
    async fn live(&self, first: &mut Option<Ready>) -> End {
        let since = self.journal.length();
        let spawned = async {
            let (mut command, reach) = self.program.prepare().await?;
            let log = self.journal.open().context("open", self.journal.path())?;
            let errors = log.try_clone().context("open", self.journal.path())?;
            let child = command.stdout(log).stderr(errors).spawn().context("start", command.as_std().get_program())?;
            drop(reach);
            Ok::<_, EmbeddedError>(child)
        };
        let mut child = match self.stop.run_until_cancelled(spawned).await {
            None => return End::Asked,
            Some(Err(error)) => return End::Failed { was_ready: false, error },
            Some(Ok(child)) => Leash(child),
        };
        let pid = child.0.id().unwrap_or_default();
        let becomes_ready = async {
            while !self.program.is_ready(pid).await {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        tokio::pin!(becomes_ready);
        let mut is_ready = false;
        let mut rotate = tokio::time::interval(ROTATE_EVERY);
        rotate.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.end(&mut child.0).await;
                    return End::Asked;
                }
                exit = child.0.wait() => {
                    let reason = exit.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let error = EmbeddedError::NotStarted { program: P::NAME, reason, log: self.journal.tail(since) };
                    return End::Failed { was_ready: is_ready, error };
                }
                () = &mut becomes_ready, if !is_ready => {
                    is_ready = true;
                    self.status.send_replace(Status::Running { pid });
                    match first.take() {
                        Some(first) => _ = first.send(Ok(())),
                        None => tracing::info!(program = P::NAME, pid, "running again"),
                    }
                }
                _ = rotate.tick() => {
                    if let Err(error) = self.journal.rotate_if_large() {
                        tracing::warn!(program = P::NAME, %error, "log file not rotated");
                    }
                }
            }
        }
    }

    async fn end(&self, child: &mut Child) {
        signal(child, Signal::INT);
        let patience = self.program.stop_timeout();
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            tracing::error!(program = P::NAME, seconds = patience.as_secs(), "does not stop, killed");
            signal(child, Signal::KILL);
            let _ = child.wait().await;
        }
    }

    /// Tells the world; false when it was told to stop in the meantime.
    fn report(&self, failures: u32, error: &EmbeddedError, since: u64) -> bool {
        if self.stop.is_cancelled() {
            return false;
        }
        let reason = match error {
            EmbeddedError::NotStarted { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        let log = self.journal.tail(since);
        let log_file = self.journal.path().display();
        if failures < FAILED_AFTER {
            tracing::warn!(program = P::NAME, failures, reason, log, %log_file, "ended unexpectedly, starting it again");
            self.status.send_replace(Status::Restarting { failures, reason });
        } else {
            tracing::error!(
                program = P::NAME, failures, reason, log, %log_file,
                "fails again and again, still trying; look at its log",
            );
            self.status.send_replace(Status::Failed { failures, reason });
        }
        true
    }
}

/// None before the first new try, then 100 ms doubled up to a bound.
fn delay(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => MAX_DELAY.min(Duration::from_millis(100) * 2u32.pow((more - 2).min(16))),
    }
}

/// A child that is told to stop when its supervisor is dropped in mid-life, which is when a runtime ends.
struct Leash(Child);

impl Drop for Leash {
    fn drop(&mut self) {
        signal(&self.0, Signal::INT);
    }
}

// The child has not been waited for, so its pid is still its own; else it has none.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MAX_DELAY, delay};

    #[test]
    fn restarts_at_once_then_ever_slower_up_to_a_bound() {
        assert_eq!(delay(1), Duration::ZERO);
        assert_eq!(delay(2), Duration::from_millis(100));
        assert_eq!(delay(4), Duration::from_millis(400));
        assert_eq!(delay(u32::MAX), MAX_DELAY);
    }
}
