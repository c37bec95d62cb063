//! Small pictures of a whole recording for seeking: sheets of 10 × 10 tiles, one tile for each ten seconds, and a WebVTT file
//! that says which tile is when.
//!
//! Only the fragments with the key frames are read, and of those ffmpeg decodes nothing but the key frames: an hour is 360
//! pictures. It runs once, after the recording, alone on its node and with the lowest priority.

use std::{error::Error, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::ids::RecordingId;
use ffmpeg_sidecar::command::FfmpegCommand;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    KeepError,
    index::{Index, KeptInit},
    key,
    shelf::Shelf,
};

/// What says which tile is when; stored last.
pub(super) const TIMES: &str = "sheets/index.vtt";
/// Between two tiles.
const EVERY_MS: u64 = 10_000;
const TILE_WIDTH: usize = 160;
const TILE_HEIGHT: usize = 90;
const COLUMNS: usize = 10;
const TILES: usize = 100;
/// How long ffmpeg may take for one sheet.
const SHEET_WITHIN: Duration = Duration::from_secs(180);
const MAX_SHEET_BYTES: u64 = 16 << 20;
const MAX_COMPLAINT_BYTES: u64 = 2_000;

/// One sheet at a time on a node: streams come first.
static SLOT: Semaphore = Semaphore::const_new(1);

/// One tile: which segment's key frame it shows, and from when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tile {
    from_ms: u64,
    /// The segment's place in the index.
    segment: usize,
}

/// The tiles of one sheet, which all need the same initialisation segment.
#[derive(Debug, PartialEq, Eq)]
struct Sheet {
    init: u64,
    tiles: Vec<Tile>,
}

/// Makes the sheets of a recording. It is the better for them, and does without them where they cannot be made.
pub(super) async fn make(recording_id: RecordingId, index: &Index, shelf: &Arc<dyn Shelf>) {
    match all(recording_id, index, &**shelf).await {
        Ok(sheets) => debug!(recording.id = %recording_id, sheets, "pictures for seeking made"),
        Err(error) => {
            warn!(recording.id = %recording_id, error = &*error, "a recording has no pictures for seeking");
        }
    }
}

async fn all(
    recording_id: RecordingId,
    index: &Index,
    shelf: &dyn Shelf,
) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let sheets = plan(index);
    for (number, sheet) in sheets.iter().enumerate() {
        let source = |name: String| key(recording_id, &format!("source/{name}"));
        let mut input = Vec::new();
        let init = shelf.get(&source(format!("init{}.mp4", sheet.init))?).await?.ok_or("an init segment is missing")?;
        input.push(init);
        for tile in &sheet.tiles {
            let segment = &index.segments[tile.segment];
            let fragment =
                shelf.beginning(&source(format!("s{}.m4s", segment.number))?, segment.key_frame_bytes).await?;
            input.push(fragment.ok_or("a segment is missing")?);
        }
        let picture = {
            // Never closed, so this cannot fail.
            let _slot = SLOT.acquire().await.ok();
            timeout(SHEET_WITHIN, draw(input)).await.map_err(|_| "ffmpeg took too long")??
        };
        shelf.put(&key(recording_id, &format!("sheets/{number}.jpg"))?, picture).await.map_err(KeepError::from)?;
    }
    if !sheets.is_empty() {
        let text = vtt(&sheets, index.segments.iter().map(|segment| u64::from(segment.duration_ms)).sum());
        shelf.put(&key(recording_id, TIMES)?, Bytes::from(text)).await?;
    }
    Ok(sheets.len())
}

/// Which key frames are shown.
fn plan(index: &Index) -> Vec<Sheet> {
    let mut sheets: Vec<Sheet> = Vec::new();
    let mut begins_ms = 0;
    let mut due_ms = 0;
    for (at, segment) in index.segments.iter().enumerate() {
        let ends_ms = begins_ms + u64::from(segment.duration_ms);
        let init = index.inits.iter().find(|init| init.number == segment.init);
        let has_key_frame = segment.key_frame_bytes > 0 && init.is_none_or(KeptInit::has_picture);
        if ends_ms > due_ms && has_key_frame {
            let tile = Tile { from_ms: if sheets.is_empty() { 0 } else { begins_ms.max(due_ms) }, segment: at };
            match sheets.last_mut().filter(|sheet| sheet.init == segment.init && sheet.tiles.len() < TILES) {
                Some(sheet) => sheet.tiles.push(tile),
                None => sheets.push(Sheet { init: segment.init, tiles: vec![tile] }),
            }
            // A segment may be longer than the time between two tiles.
            due_ms = (ends_ms.max(due_ms + 1)).div_ceil(EVERY_MS) * EVERY_MS;
        }
        begins_ms = ends_ms;
    }
    sheets
}

fn vtt(sheets: &[Sheet], duration_ms: u64) -> String {
    let mut text = String::from("WEBVTT\n");
    let mut tiles = sheets
        .iter()
        .enumerate()
        .flat_map(|(number, sheet)| sheet.tiles.iter().enumerate().map(move |(place, tile)| (number, place, tile)))
        .peekable();
    while let Some((number, place, tile)) = tiles.next() {
        let until_ms = tiles.peek().map_or(duration_ms, |(_, _, next)| next.from_ms).max(tile.from_ms + 1);
        let (x, y) = (place % COLUMNS * TILE_WIDTH, place / COLUMNS * TILE_HEIGHT);
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n{} --> {}\n{number}.jpg#xywh={x},{y},{TILE_WIDTH},{TILE_HEIGHT}\n",
            clock(tile.from_ms),
            clock(until_ms)
        );
    }
    text
}

/// As WebVTT writes times.
fn clock(ms: u64) -> String {
    let (s, m) = (ms / 1_000, ms / 60_000);
    format!("{:02}:{:02}:{:02}.{:03}", m / 60, m % 60, s % 60, ms % 1_000)
}

/// One sheet, as a JPEG. Dropping the future ends ffmpeg.
async fn draw(input: Vec<Bytes>) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
    let mut child = command().spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            for bytes in input {
                // An ffmpeg that does not want it says why.
                if stdin.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        }
    };
    let mut picture = Vec::new();
    let mut complaint = Vec::new();
    let collect = async {
        if let Some(stdout) = stdout {
            stdout.take(MAX_SHEET_BYTES).read_to_end(&mut picture).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let listen = async {
        if let Some(mut stderr) = stderr {
            (&mut stderr).take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let ((), collected, listened) = tokio::join!(feed, collect, listen);
    let status = child.wait().await?;
    collected.and(listened)?;
    if !status.success() || !picture.starts_with(&[0xff, 0xd8]) {
        return Err(format!("ffmpeg: {status}: {}", String::from_utf8_lossy(&complaint).trim()).into());
    }
    Ok(picture.into())
}

fn command() -> Command {
    let scale = format!(
        // Of the key frames of one fragment the first: tiles lie further apart than a fragment is long.
        "select='isnan(prev_selected_t)+gte(t-prev_selected_t,2.5)',\
         scale={TILE_WIDTH}:{TILE_HEIGHT}:force_original_aspect_ratio=decrease,\
         pad={TILE_WIDTH}:{TILE_HEIGHT}:(ow-iw)/2:(oh-ih)/2,tile={COLUMNS}x{COLUMNS}"
    );
    let mut ffmpeg = FfmpegCommand::new_with_path(ffmpeg_sidecar::paths::ffmpeg_path());
    ffmpeg
        .hide_banner()
        .args(["-loglevel", "error", "-threads", "1", "-skip_frame", "nokey"])
        .format("mp4")
        .input("pipe:0")
        .args(["-an", "-vf", &scale, "-frames:v", "1", "-pix_fmt", "yuvj420p", "-q:v", "5"])
        .format("mjpeg")
        .pipe_stdout();
    let ffmpeg = std::process::Command::from(ffmpeg);
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(ffmpeg.get_program()).args(ffmpeg.get_args());
    nice.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    nice.kill_on_drop(true);
    nice
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::recorder::index::KeptSegment;

    fn index(segments: impl IntoIterator<Item = (u32, u64, u64)>) -> Index {
        let mut index = Index::new(uuid::Uuid::nil().into());
        for (number, (duration_ms, init, key_frame_bytes)) in segments.into_iter().enumerate() {
            index.push_segment(KeptSegment {
                number: number as u64,
                duration_ms,
                size_bytes: 1_000,
                init,
                is_after_discontinuity: false,
                is_gap: false,
                starts_at: OffsetDateTime::UNIX_EPOCH,
                key_frame_bytes,
                decode_time: 0,
            });
        }
        index
    }

    fn tiles(sheets: &[Sheet]) -> Vec<(u64, usize)> {
        sheets.iter().flat_map(|sheet| &sheet.tiles).map(|tile| (tile.from_ms, tile.segment)).collect()
    }

    #[test]
    fn there_is_a_tile_for_each_ten_seconds() {
        let sheets = plan(&index(vec![(4_000, 0, 9); 10]));
        assert_eq!(tiles(&sheets), [(0, 0), (10_000, 2), (20_000, 5), (30_000, 7)]);
        assert_eq!(plan(&index([])), []);
        // Long segments, and one without a key frame at its beginning.
        let sheets = plan(&index([(25_000, 0, 9), (4_000, 0, 0), (4_000, 0, 9), (30_000, 0, 9)]));
        assert_eq!(tiles(&sheets), [(0, 0), (30_000, 2), (40_000, 3)]);
    }

    #[test]
    fn a_sheet_has_a_hundred_tiles_and_one_initialisation_segment() {
        let long = plan(&index(vec![(10_000, 0, 9); 250]));
        assert_eq!(long.iter().map(|sheet| sheet.tiles.len()).collect::<Vec<_>>(), [100, 100, 50]);
        let two = plan(&index([(10_000, 0, 9), (10_000, 0, 9), (10_000, 2, 9)]));
        assert_eq!(two.iter().map(|sheet| (sheet.init, sheet.tiles.len())).collect::<Vec<_>>(), [(0, 2), (2, 1)]);
    }

    #[test]
    fn times_and_places_are_written_as_webvtt_wants_them() {
        let sheets = plan(&index(vec![(10_000, 0, 9); 12]));
        let text = vtt(&sheets, 120_000);
        assert!(text.starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:10.000\n0.jpg#xywh=0,0,160,90\n"), "{text}");
        assert!(text.ends_with("\n00:01:50.000 --> 00:02:00.000\n0.jpg#xywh=160,90,160,90\n"), "{text}");
        assert_eq!(clock(3_723_045), "01:02:03.045");
    }
}
