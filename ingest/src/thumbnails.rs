//! A still picture of each live stream, made by a one-shot ffmpeg from its latest key frame.
//!
//! One key frame through a process of its own costs a tenth of a second of one core every now and then; a decoder that
//! runs along with the stream would cost that all the time.

use std::{ffi::OsString, io, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::ids::StreamId;
use ffmpeg_sidecar::command::FfmpegCommand;
use storage::{InvalidKey, Key, Storage, StorageError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::packager::{Broadcast, KeyFrame};

/// How long one picture may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Far above a picture of this size.
const MAX_PICTURE_BYTES: u64 = 4 << 20;
/// How much of what ffmpeg complains of is logged.
const MAX_COMPLAINT_BYTES: u64 = 2_000;

/// So many at once, whatever the number of streams: pictures may wait, streams may not.
static SLOTS: Semaphore = Semaphore::const_new(2);

/// Why there is no new picture.
#[derive(Debug, thiserror::Error)]
enum ThumbnailError {
    #[error("ffmpeg cannot be run")]
    Run(#[source] io::Error),
    #[error("ffmpeg took longer than {} s and was ended", .0.as_secs())]
    TimedOut(Duration),
    #[error("ffmpeg failed: {complaint}")]
    Failed { complaint: String },
    #[error("the picture cannot be stored")]
    Store(#[from] StorageError),
    #[error("the picture has no place")]
    Key(#[from] InvalidKey),
}

/// Where a stream's thumbnail is stored.
///
/// # Errors
///
/// Never in practice: an id is a valid name.
pub fn key(stream_id: StreamId) -> Result<Key, InvalidKey> {
    Key::new(format!("thumbnails/{stream_id}.jpg"))
}

/// Makes a thumbnail as soon as there is a key frame and then every `interval`, until the broadcast ends or `cancel`
/// is called. Failures are logged and the next picture is tried.
pub async fn run(broadcast: Arc<Broadcast>, storage: Storage, interval: Duration, cancel: CancellationToken) {
    let tool = Tool::found();
    let work = repeat(&broadcast, &storage, interval, &tool);
    tokio::select! {
        () = cancel.cancelled() => {}
        () = broadcast.ended() => {}
        () = work => {}
    }
}

async fn repeat(broadcast: &Broadcast, storage: &Storage, interval: Duration, tool: &Tool) {
    let mut bell = broadcast.subscribe();
    let mut last_fragment = Bytes::new();
    loop {
        let Some(key_frame) = broadcast.latest_key_frame() else {
            if bell.changed().await.is_err() {
                return;
            }
            continue;
        };
        let next = Instant::now() + interval;
        // While the encoder is away there is nothing new to show.
        if key_frame.fragment != last_fragment {
            let fragment = key_frame.fragment.clone();
            match update(broadcast.stream_id(), storage, key_frame, tool).await {
                Ok(()) => last_fragment = fragment,
                Err(error) => tracing::warn!(
                    stream.id = %broadcast.stream_id(),
                    error = &error as &dyn std::error::Error,
                    "no thumbnail"
                ),
            }
        }
        sleep_until(next).await;
    }
}

async fn update(
    stream_id: StreamId,
    storage: &Storage,
    key_frame: KeyFrame,
    tool: &Tool,
) -> Result<(), ThumbnailError> {
    let picture = {
        // Never closed, so this cannot fail; without a slot it would only be one picture too many at once.
        let _slot = SLOTS.acquire().await.ok();
        tool.picture(key_frame).await?
    };
    storage.put(&key(stream_id)?, picture).await?;
    Ok(())
}

/// The ffmpeg to run.
struct Tool {
    program: OsString,
    timeout: Duration,
}

impl Tool {
    fn found() -> Self {
        Self { program: ffmpeg_sidecar::paths::ffmpeg_path().into_os_string(), timeout: TIMEOUT }
    }

    /// A JPEG 640 pixels wide. Dropping the future ends ffmpeg.
    async fn picture(&self, key_frame: KeyFrame) -> Result<Bytes, ThumbnailError> {
        timeout(self.timeout, self.run(key_frame)).await.unwrap_or(Err(ThumbnailError::TimedOut(self.timeout)))
    }

    async fn run(&self, key_frame: KeyFrame) -> Result<Bytes, ThumbnailError> {
        let mut child = self.command().spawn().map_err(ThumbnailError::Run)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // An ffmpeg that does not want it says why, or has what it needs.
                let _ = stdin.write_all(&key_frame.init).await;
                let _ = stdin.write_all(&key_frame.fragment).await;
            }
        };
        let mut picture = Vec::new();
        let mut complaint = Vec::new();
        let collect = async {
            if let Some(stdout) = stdout {
                stdout.take(MAX_PICTURE_BYTES).read_to_end(&mut picture).await?;
            }
            Ok(())
        };
        let listen = async {
            if let Some(mut stderr) = stderr {
                (&mut stderr).take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await?;
                // What goes on must not block it.
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
            }
            Ok(())
        };
        let ((), collected, listened) = tokio::join!(feed, collect, listen);
        let status = child.wait().await.map_err(ThumbnailError::Run)?;
        collected.and(listened).map_err(ThumbnailError::Run)?;
        let is_jpeg = picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]);
        if !status.success() || !is_jpeg {
            let said = String::from_utf8_lossy(&complaint);
            return Err(ThumbnailError::Failed { complaint: format!("{status}: {}", said.trim()) });
        }
        Ok(picture.into())
    }

    fn command(&self) -> Command {
        let mut ffmpeg = FfmpegCommand::new_with_path(&self.program);
        ffmpeg
            .hide_banner()
            .args(["-loglevel", "error", "-threads", "1"])
            .format("mp4")
            .input("pipe:0")
            .frames(1)
            .args(["-vf", "scale=640:-2", "-pix_fmt", "yuvj420p", "-q:v", "4"])
            .format("mjpeg")
            .pipe_stdout();
        // The other two streams are piped as it is.
        let mut command = Command::from(std::process::Command::from(ffmpeg));
        command.kill_on_drop(true);
        command
    }
}

#[cfg(test)]
#[path = "thumbnails/tests.rs"]
mod tests;
