//! Still pictures of each live stream, made by a one-shot ffmpeg from its latest key frame: two sizes, each as JPEG and as
//! WebP.
//!
//! One key frame through a process of its own costs a tenth of a second of one core every now and then; a decoder that
//! runs along with the stream would cost that all the time. The other three pictures of the same frame add a few
//! milliseconds: to encode them here would save that, and cost two libraries.

use std::{
    ffi::OsString,
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use domain::ids::StreamId;
use ffmpeg_sidecar::command::FfmpegCommand;
use storage::{InvalidKey, Key, Storage, StorageError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    niceness::give_way,
    packager::{Broadcast, KeyFrame},
};

/// How long one picture may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Far above a picture of this size.
const MAX_PICTURE_BYTES: u64 = 4 << 20;
/// What ffmpeg calls what makes WebP, and names when it was built without it.
const WEBP_ENCODER: &str = "libwebp";
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

/// One of the pictures of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// 640 pixels wide.
    Jpeg,
    /// 640 pixels wide.
    Webp,
    /// 320 pixels wide.
    SmallJpeg,
    /// 320 pixels wide.
    SmallWebp,
}

impl Picture {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Webp, Self::SmallJpeg, Self::SmallWebp];

    /// The picture that an address ends with.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "thumbnail.jpg" => Some(Self::Jpeg),
            "thumbnail.webp" => Some(Self::Webp),
            "thumbnail-small.jpg" => Some(Self::SmallJpeg),
            "thumbnail-small.webp" => Some(Self::SmallWebp),
            _ => None,
        }
    }

    /// Where a stream's picture is stored.
    ///
    /// # Errors
    ///
    /// Never in practice: an id is a valid name.
    pub fn key(self, stream_id: StreamId) -> Result<Key, InvalidKey> {
        let rest = match self {
            Self::Jpeg => ".jpg",
            Self::Webp => ".webp",
            Self::SmallJpeg => "-small.jpg",
            Self::SmallWebp => "-small.webp",
        };
        Key::new(format!("thumbnails/{stream_id}{rest}"))
    }

    pub(crate) fn is_webp(self) -> bool {
        matches!(self, Self::Webp | Self::SmallWebp)
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Jpeg => "a.jpg",
            Self::Webp => "a.webp",
            Self::SmallJpeg => "b.jpg",
            Self::SmallWebp => "b.webp",
        }
    }

    /// Whether these bytes are one: ISO/IEC 10918-1 section B.2.1, RFC 9649 section 2.4.
    fn is(self, bytes: &[u8]) -> bool {
        match self.is_webp() {
            true => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
            false => bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]),
        }
    }
}

/// Where a stream's thumbnail is stored: the larger JPEG.
///
/// # Errors
///
/// Never in practice: an id is a valid name.
pub fn key(stream_id: StreamId) -> Result<Key, InvalidKey> {
    Picture::Jpeg.key(stream_id)
}

/// Deletes all pictures of a stream.
///
/// # Errors
///
/// When some may still be there: the same again does no harm.
pub async fn delete(storage: &Storage, stream_id: StreamId) -> Result<(), DeleteError> {
    for picture in Picture::ALL {
        storage.delete(&picture.key(stream_id)?).await?;
    }
    Ok(())
}

/// Pictures of a stream may still be there.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The storage does not answer.
    #[error("delete a picture of a stream")]
    Storage(#[from] StorageError),
    /// Never in practice.
    #[error("find a picture of a stream")]
    Key(#[from] InvalidKey),
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
    let pictures = {
        // Never closed, so this cannot fail; without a slot it would only be one picture too many at once.
        let _slot = SLOTS.acquire().await.ok();
        tool.pictures(key_frame).await?
    };
    for (picture, bytes) in pictures {
        storage.put(&picture.key(stream_id)?, bytes).await?;
    }
    Ok(())
}

/// The ffmpeg to run.
struct Tool {
    program: OsString,
    timeout: Duration,
    /// `false` once this ffmpeg has said that it makes none.
    makes_webp: AtomicBool,
}

impl Tool {
    fn found() -> Self {
        Self::new(ffmpeg_sidecar::paths::ffmpeg_path().into_os_string(), TIMEOUT)
    }

    fn new(program: OsString, timeout: Duration) -> Self {
        Self { program, timeout, makes_webp: AtomicBool::new(true) }
    }

    /// The pictures that this ffmpeg can make. Dropping the future ends it.
    async fn pictures(&self, key_frame: KeyFrame) -> Result<Vec<(Picture, Bytes)>, ThumbnailError> {
        let made = self.pictures_in_time(key_frame.clone()).await;
        match made {
            Err(ThumbnailError::Failed { complaint })
                if complaint.contains(WEBP_ENCODER) && self.makes_webp.swap(false, Ordering::Relaxed) =>
            {
                tracing::warn!(complaint, "this ffmpeg makes no WebP; thumbnails are JPEG only");
                self.pictures_in_time(key_frame).await
            }
            made => made,
        }
    }

    async fn pictures_in_time(&self, key_frame: KeyFrame) -> Result<Vec<(Picture, Bytes)>, ThumbnailError> {
        timeout(self.timeout, self.run(key_frame)).await.unwrap_or(Err(ThumbnailError::TimedOut(self.timeout)))
    }

    async fn run(&self, key_frame: KeyFrame) -> Result<Vec<(Picture, Bytes)>, ThumbnailError> {
        let makes_webp = self.makes_webp.load(Ordering::Relaxed);
        let wanted: Vec<_> = Picture::ALL.into_iter().filter(|picture| makes_webp || !picture.is_webp()).collect();
        // One output can be a pipe, four cannot. For nobody else to look into: streams may be private.
        let folder = tempfile::Builder::new().prefix("weir-pictures-").tempdir().map_err(ThumbnailError::Run)?;
        let mut child = self.command(folder.path(), makes_webp).spawn().map_err(ThumbnailError::Run)?;
        give_way(&child);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // An ffmpeg that does not want it says why, or has what it needs.
                let _ = stdin.write_all(&key_frame.init).await;
                let _ = stdin.write_all(&key_frame.fragment).await;
            }
        };
        let mut complaint = Vec::new();
        let listen = async {
            if let Some(mut stderr) = stderr {
                (&mut stderr).take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await?;
                // What goes on must not block it.
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
            }
            Ok(())
        };
        let ((), listened) = tokio::join!(feed, listen);
        let status = child.wait().await.map_err(ThumbnailError::Run)?;
        listened.map_err(ThumbnailError::Run)?;
        let said = || format!("{status}: {}", String::from_utf8_lossy(&complaint).trim());
        if !status.success() {
            return Err(ThumbnailError::Failed { complaint: said() });
        }
        let read = spawn_blocking(move || read_all(folder.path(), &wanted)).await;
        let pictures = read.map_err(io::Error::other).and_then(|read| read).map_err(ThumbnailError::Run)?;
        pictures.ok_or_else(|| ThumbnailError::Failed { complaint: said() })
    }

    fn command(&self, folder: &Path, makes_webp: bool) -> Command {
        let file = |picture: Picture| folder.join(picture.file_name()).to_string_lossy().into_owned();
        let (large, small, graph) = match makes_webp {
            true => (["[a]", "[c]"], ["[b]", "[d]"], "split=3[a][c][s];[s]scale=320:-2,split=2[b][d]"),
            false => (["[a]", ""], ["[b]", ""], "split=2[a][s];[s]scale=320:-2[b]"),
        };
        let mut ffmpeg = FfmpegCommand::new_with_path(&self.program);
        ffmpeg.hide_banner().args(["-loglevel", "error", "-threads", "1"]).format("mp4").input("pipe:0");
        ffmpeg.args(["-filter_complex", &format!("[0:v]scale=640:-2,{graph}")]);
        for ([jpeg, webp], pictures) in
            [(large, [Picture::Jpeg, Picture::Webp]), (small, [Picture::SmallJpeg, Picture::SmallWebp])]
        {
            let [jpeg_file, webp_file] = pictures.map(file);
            ffmpeg.args(["-map", jpeg]).frames(1).args(["-pix_fmt", "yuvj420p", "-q:v", "4"]);
            ffmpeg.format("mjpeg").output(jpeg_file);
            if makes_webp {
                ffmpeg.args(["-map", webp]).frames(1).args(["-c:v", WEBP_ENCODER, "-pix_fmt", "yuv420p"]);
                // Less effort than usual: a thirtieth larger, for half the time.
                ffmpeg.args(["-compression_level", "2", "-quality", "75"]).format("webp").output(webp_file);
            }
        }
        // The other two streams are piped as it is.
        let mut command = Command::from(std::process::Command::from(ffmpeg));
        command.kill_on_drop(true);
        command
    }
}

/// Blocks. `None` when one of them is none.
fn read_all(folder: &Path, wanted: &[Picture]) -> io::Result<Option<Vec<(Picture, Bytes)>>> {
    let mut pictures = Vec::new();
    for picture in wanted {
        let path = folder.join(picture.file_name());
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = if length <= MAX_PICTURE_BYTES { fs::read(&path)? } else { Vec::new() };
        if !picture.is(&bytes) {
            return Ok(None);
        }
        pictures.push((*picture, Bytes::from(bytes)));
    }
    Ok(Some(pictures))
}

#[cfg(test)]
#[path = "thumbnails/tests.rs"]
mod tests;
