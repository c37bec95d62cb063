//! The newest of a recording, on this node's own disk: what the storage does not have yet.
//!
//! What viewers are shown is written here part by part, and left to the system to bring to the disk when it likes. So it costs
//! next to nothing, waits for no storage, and is there when the process is killed, though not when the machine loses its power.
//! What the storage has goes from here, and so does what has left the window that the packager keeps: it is a minute at most.
//!
//! One file a segment, `<recording>/<number>`, of frames that each begin with their length and a checksum: what the segment is
//! (JSON), the initialisation segment that it needs, and its parts, each behind its duration. The first frame that is not whole
//! ends the file.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use domain::ids::RecordingId;
use flate2::Crc;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{index::KeptInit, keeping::Taken};
use crate::packager::{Broadcast, Segment, View};

/// Length and checksum of a frame, four bytes each.
const FRAME_HEAD: usize = 8;
/// The duration before a part, in milliseconds.
const PART_HEAD: usize = 4;

/// Where the newest of recordings is. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Tails {
    folder: PathBuf,
}

/// What a file begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    number: u64,
    #[serde(with = "time::serde::rfc3339")]
    starts_at: OffsetDateTime,
    is_after_discontinuity: bool,
    /// Its first part can be decoded by itself.
    is_independent: bool,
    decode_time: u64,
    init: KeptInit,
}

/// What is to be written: the beginning of a file, or more of it.
struct News {
    number: u64,
    begins_with: Option<(Head, Bytes)>,
    parts: Vec<(u32, Bytes)>,
}

/// What is being written of one recording.
struct Tail {
    folder: PathBuf,
    /// The file that grows, of which segment it is, and how many of its parts are written.
    growing: Option<(u64, usize, File)>,
    /// The numbers of all files.
    files: BTreeSet<u64>,
}

impl Tails {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn of(&self, recording_id: RecordingId) -> PathBuf {
        self.folder.join(recording_id.to_string())
    }

    /// Writes what viewers are shown of a stream, but for what the storage has: segments before `stored_before`. Until the
    /// stream has ended, or `stop` is called; or the disk takes no more, which is told once and holds up nobody.
    pub(super) async fn write(
        &self,
        recording_id: RecordingId,
        broadcast: &Broadcast,
        stored_before: &AtomicU64,
        stop: &CancellationToken,
    ) {
        let mut shown = broadcast.subscribe();
        let mut tail = Tail { folder: self.of(recording_id), growing: None, files: BTreeSet::new() };
        loop {
            let (news, from, is_ended) = {
                let shown = shown.borrow_and_update();
                let stored = stored_before.load(Ordering::Relaxed);
                let view = shown.view.as_deref();
                let oldest = view.and_then(|view| view.segments().next()).map_or(0, |oldest| oldest.number);
                let from = stored.max(oldest);
                (view.map(|view| tail.news(view, from)).unwrap_or_default(), from, shown.is_ended)
            };
            if !news.is_empty() || tail.files.first().is_some_and(|first| *first < from) {
                let written = spawn_blocking(move || tail.write(news, from)).await;
                tail = match written {
                    Ok(Ok(tail)) => tail,
                    Ok(Err(error)) => {
                        let error = &error as &(dyn Error + 'static);
                        warn!(recording.id = %recording_id, error, "what a kill would cost of a recording is not written");
                        return;
                    }
                    Err(_) => return,
                };
            }
            if is_ended {
                return;
            }
            tokio::select! {
                changed = shown.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// What a killed process has left of a recording beyond its segment `after`, oldest first; the last one may be a beginning.
    pub(super) async fn left(&self, recording_id: RecordingId, after: Option<u64>) -> Vec<Taken> {
        let folder = self.of(recording_id);
        let read = spawn_blocking(move || {
            let mut numbers = numbers(&folder);
            numbers.retain(|number| after.is_none_or(|after| *number > after));
            numbers.into_iter().filter_map(|number| read(&folder.join(number.to_string()), number)).collect()
        });
        read.await.unwrap_or_default()
    }

    /// What there is of a recording is not needed any more.
    pub(super) async fn drop(&self, recording_id: RecordingId) {
        let folder = self.of(recording_id);
        let _ = spawn_blocking(move || remove(&folder)).await;
    }

    /// Of which recordings there is something, in no particular order. What has another name is not ours.
    pub(super) async fn all(&self) -> Vec<RecordingId> {
        let folder = self.folder.clone();
        let read = spawn_blocking(move || {
            let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        });
        read.await.unwrap_or_default()
    }
}

impl Tail {
    /// What is shown from this segment on and not written yet.
    fn news(&self, view: &View, from: u64) -> Vec<News> {
        let mut news = Vec::new();
        for segment in view.segments().filter(|segment| segment.number >= from) {
            let written = match &self.growing {
                Some((growing, _, _)) if segment.number < *growing => continue,
                Some((growing, written, _)) if segment.number == *growing => Some(*written),
                _ => None,
            };
            let parts = segment.parts.iter().skip(written.unwrap_or(0));
            let parts: Vec<_> = parts.map(|part| (part.duration_ms, part.bytes.clone())).collect();
            if !parts.is_empty() {
                let begins_with = written.is_none().then(|| (Head::of(segment), segment.init.media.bytes.clone()));
                news.push(News { number: segment.number, begins_with, parts });
            }
        }
        news
    }

    /// Blocks.
    fn write(mut self, news: Vec<News>, from: u64) -> io::Result<Self> {
        for News { number, begins_with, parts } in news {
            if let Some((head, init)) = begins_with {
                fs::create_dir_all(&self.folder)?;
                let mut file = create(&self.folder.join(number.to_string()))?;
                self.files.insert(number);
                write_frame(&mut file, &[&serde_json::to_vec(&head)?])?;
                write_frame(&mut file, &[&init])?;
                self.growing = Some((number, 0, file));
            }
            let Some((_, written, file)) = &mut self.growing else { continue };
            for (duration_ms, bytes) in parts {
                write_frame(file, &[&duration_ms.to_be_bytes(), &bytes])?;
                *written += 1;
            }
        }
        while let Some(number) = self.files.first().copied().filter(|first| *first < from) {
            self.files.remove(&number);
            match fs::remove_file(self.folder.join(number.to_string())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(self)
    }
}

impl Head {
    fn of(segment: &Segment) -> Self {
        Self {
            number: segment.number,
            starts_at: segment.starts_at,
            is_after_discontinuity: segment.is_after_discontinuity,
            is_independent: segment.parts.first().is_some_and(|first| first.is_independent),
            decode_time: segment.decode_time(),
            init: KeptInit::of(&segment.init),
        }
    }
}

/// Nobody else on the machine need read what is not for everybody.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_frame(file: &mut File, content: &[&[u8]]) -> io::Result<()> {
    let length: usize = content.iter().map(|piece| piece.len()).sum();
    let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut sum = Crc::new();
    content.iter().for_each(|piece| sum.update(piece));
    let mut head = [0; FRAME_HEAD];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..].copy_from_slice(&sum.sum().to_be_bytes());
    file.write_all(&head)?;
    content.iter().try_for_each(|piece| file.write_all(piece))
}

/// The next frame, which is taken from what is left to be read; `None` when it is not whole.
fn read_frame(left: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(left.get(..4)?.try_into().ok()?) as usize;
    let expected = u32::from_be_bytes(left.get(4..FRAME_HEAD)?.try_into().ok()?);
    let content = FRAME_HEAD..FRAME_HEAD.checked_add(length)?;
    let mut sum = Crc::new();
    sum.update(left.get(content.clone())?);
    if sum.sum() != expected {
        return None;
    }
    let frame = left.slice(content.clone());
    *left = left.slice(content.end..);
    Some(frame)
}

/// A segment as far as it was written; `None` when there is no part of it.
fn read(path: &Path, number: u64) -> Option<Taken> {
    let mut left = Bytes::from(fs::read(path).ok()?);
    let head: Head =
        serde_json::from_slice(&read_frame(&mut left)?).ok().filter(|head: &Head| head.number == number)?;
    let init_bytes = read_frame(&mut left)?;
    let (mut bytes, mut duration_ms, mut first_bytes) = (BytesMut::new(), 0, None);
    while let Some(part) = read_frame(&mut left) {
        let Some((lasts, content)) = part.split_first_chunk::<PART_HEAD>() else { break };
        duration_ms += u32::from_be_bytes(*lasts);
        first_bytes.get_or_insert(content.len() as u64);
        bytes.extend_from_slice(content);
    }
    let key_frame_bytes = if head.is_independent { first_bytes? } else { 0 };
    (!bytes.is_empty()).then(|| Taken {
        number,
        duration_ms,
        bytes: bytes.freeze(),
        is_after_discontinuity: head.is_after_discontinuity,
        starts_at: head.starts_at,
        key_frame_bytes,
        decode_time: head.decode_time,
        init: head.init,
        init_bytes,
    })
}

/// The numbers of the files in a folder, in order.
fn numbers(folder: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut numbers: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            debug!(folder = %folder.display(), %error, "what was written of a recording beside the storage stays");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
