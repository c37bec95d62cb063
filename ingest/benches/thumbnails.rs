//! What the still pictures of a live stream cost: processor time of the one-shot ffmpeg for the four pictures of a key frame,
//! 1080p30, twenty in a row. Beside it, what a decoder takes that runs along with the same stream and makes one JPEG every
//! 20 s: of all pictures, and of key frames alone. `docs/benchmarks.md` says what the figures mean.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::ids::StreamId;
use ingest::{
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag, TagKind},
    thumbnails::{self, Picture},
};
use storage::Storage;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PICTURES: usize = 20;
const KEY_FRAME_EVERY_S: usize = 2;
/// As the node makes them.
const INTERVAL_S: f64 = 20.0;
/// For one picture, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.flv");
    let seconds = (PICTURES + 1) * KEY_FRAME_EVERY_S;
    encode(&film, seconds);
    println!(
        "thumbnails: 1080p30 of 6 Mbit/s, {} build, load average {}",
        if cfg!(debug_assertions) { "debug" } else { "release" },
        fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or("?")
    );

    let (ours, took) = make_pictures(&film, folder.path()).await;
    let each = ours.as_secs_f64() / PICTURES as f64;
    say("one-shot ffmpeg on a key frame, two sizes as JPEG and WebP", each);
    println!("{:<64} {:>8.0} ms", "from the key frame to the stored pictures, mean", took.as_secs_f64() * 1e3);
    for (what, option) in [("a decoder that runs along", None), ("the same, key frames alone", Some("nokey"))] {
        let taken = run_along(&film, option);
        let each_interval = taken.as_secs_f64() * INTERVAL_S / seconds as f64;
        say(what, each_interval);
        println!("{:<64} {:>9.2}", "ours against it", each / each_interval);
    }
}

/// Processor time for one picture, and as a share of a core where there is one every 20 s.
fn say(what: &str, seconds: f64) {
    println!("{what:<64} {seconds:>8.3} CPU-s every {INTERVAL_S} s: {:.4} of a core", seconds / INTERVAL_S);
}

fn encode(film: &Path, seconds: usize) {
    let picture = format!("testsrc2=size=1920x1080:rate=30:duration={seconds}");
    let every = (KEY_FRAME_EVERY_S * 30).to_string();
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &picture])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-b:v", "6M", "-maxrate", "6M"])
        .args(["-bufsize", "6M", "-g", &every, "-sc_threshold", "0", "-f", "flv"])
        .arg(film)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Feeds a broadcast with the film, key frame by key frame, each when the pictures of the one before are stored. Answers with
/// the processor time of all ffmpegs, and how long a picture took.
async fn make_pictures(film: &Path, folder: &Path) -> (Duration, Duration) {
    let storage = Storage::open_disk(folder.join("objects")).await.unwrap();
    let stream_id = StreamId::from(Uuid::now_v7());
    let broadcast = Broadcast::new(stream_id, PackagerConfig::default(), FirstNumbers::default());
    let mut packager = Packager::new(Arc::clone(&broadcast));
    let cancel = CancellationToken::new();
    let interval = Duration::from_millis(5);
    let maker = tokio::spawn(thumbnails::run(broadcast, storage.clone(), interval, cancel.clone()));
    // The last of the four.
    let last = Picture::SmallWebp.key(stream_id).unwrap();
    let (before, mut took) = (of_ended_children(), Duration::ZERO);
    let (mut made, mut stored) = (0, None);
    for tag in tags(&fs::read(film).unwrap()) {
        let is_key_frame = tag.kind == TagKind::Video && tag.body.starts_with(&[0x17, 1]);
        packager.push(tag).unwrap();
        if !is_key_frame || made == PICTURES {
            continue;
        }
        let began = Instant::now();
        loop {
            let object = storage.get(&last).await.unwrap();
            if object.is_some() && object != stored {
                stored = object;
                break;
            }
            assert!(began.elapsed() < PATIENCE, "no picture comes");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took += began.elapsed();
        made += 1;
    }
    assert_eq!(made, PICTURES);
    cancel.cancel();
    maker.await.unwrap();
    (of_ended_children() - before, took / PICTURES as u32)
}

/// Processor time of an ffmpeg that decodes the film as it comes and makes a picture every 20 s.
fn run_along(film: &Path, skipped: Option<&str>) -> Duration {
    let before = of_ended_children();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-threads", "1"]);
    if let Some(skipped) = skipped {
        ffmpeg.args(["-skip_frame", skipped]);
    }
    ffmpeg.arg("-i").arg(film).args(["-vf", "select='isnan(prev_selected_t)+gte(t-prev_selected_t,20)',scale=640:-2"]);
    ffmpeg.args(["-fps_mode", "passthrough", "-pix_fmt", "yuvj420p", "-q:v", "4", "-f", "mjpeg", "/dev/null"]);
    assert!(ffmpeg.status().unwrap().success());
    of_ended_children() - before
}

/// Fields 16 and 17 of our own `stat`, proc(5): user and system time of children that have ended and were waited for.
fn of_ended_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = after_name.split_whitespace().skip(13).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The tags of an FLV file with media in them.
fn tags(flv: &[u8]) -> Vec<Tag> {
    let (mut tags, mut rest) = (Vec::new(), &flv[13..]);
    while let [kind, a, b, c, t2, t1, t0, t3, _, _, _, content @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let timestamp_ms = u32::from_be_bytes([*t3, *t2, *t1, *t0]);
        let body = content[..length].to_vec().into();
        match kind {
            8 => tags.push(Tag { kind: TagKind::Audio, timestamp_ms, body }),
            9 => tags.push(Tag { kind: TagKind::Video, timestamp_ms, body }),
            _ => {}
        }
        rest = &content[length + 4..];
    }
    tags
}
