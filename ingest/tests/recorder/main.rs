//! Recordings: what viewers got is kept, whatever becomes of the storage, the write side and this process.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "modules of one test binary")]
#![expect(dead_code, reason = "what other tests need of the shared modules")]

mod downloads;
#[path = "../rtmp/encoder.rs"]
mod encoder;
#[path = "../rtmp/log.rs"]
mod log;
#[path = "../rtmp/peer.rs"]
mod peer;
#[path = "../rtmp/platform.rs"]
mod platform;
#[path = "../../../storage/tests/it/server.rs"]
mod server;
mod sound_alone;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use domain::{
    ids::{ChannelId, RecordingId, StreamId},
    recordings::{CutShort, FinishedRecording, RecordingFailure},
};
use futures::{FutureExt, future::BoxFuture};
use ingest::{
    Ingest, IngestConfig, OpenRecording, OpenStream, Publishing, RecordError, RecordingAccess, RecordingRights,
    RecordingUse, Recordings, origin::recordings, recorder::Recorder,
};
use storage::{DiskSpace, DiskThresholds, DiskWatch, Storage};
use time::OffsetDateTime;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use uuid::Uuid;

use crate::{
    encoder::FlvTag,
    peer::Peer,
    platform::{LONG, Platform},
};

/// What was told of a recording.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Begun(OpenRecording),
    Published(RecordingId, FinishedRecording),
    Failed(RecordingId, RecordingFailure),
}

/// The write side of recordings, which records what it is told.
#[derive(Default)]
struct Archive {
    told: watch::Sender<Vec<Told>>,
    left_open: Mutex<Vec<OpenRecording>>,
    is_off: AtomicBool,
    forgets: AtomicBool,
}

impl Archive {
    async fn until(&self, what: impl Fn(&Told) -> bool) -> Told {
        let mut told = self.told.subscribe();
        let found = timeout(2 * LONG, told.wait_for(|told| told.iter().any(&what))).await;
        let found = found.unwrap_or_else(|_| panic!("not told: {:?}", self.told.borrow())).unwrap();
        found.iter().find(|told| what(told)).unwrap().clone()
    }

    async fn begun(&self) -> OpenRecording {
        match self.until(|told| matches!(told, Told::Begun(_))).await {
            Told::Begun(open) => open,
            other => panic!("{other:?}"),
        }
    }

    async fn published(&self) -> (RecordingId, FinishedRecording) {
        match self.until(|told| matches!(told, Told::Published(..))).await {
            Told::Published(id, finished) => (id, finished),
            other => panic!("{other:?}"),
        }
    }

    fn tell(&self, told: Told) -> Result<(), RecordError> {
        self.told.send_modify(|all| all.push(told));
        if self.forgets.load(Ordering::SeqCst) { Err(RecordError::Gone) } else { Ok(()) }
    }
}

impl Recordings for Archive {
    fn begin(
        &self,
        stream_id: StreamId,
        channel_id: ChannelId,
    ) -> BoxFuture<'_, Result<Option<OpenRecording>, RecordError>> {
        async move {
            if self.is_off.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let open = OpenRecording { recording_id: Uuid::now_v7().into(), stream_id, channel_id };
            self.told.send_modify(|told| told.push(Told::Begun(open)));
            Ok(Some(open))
        }
        .boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        async move { Ok(self.left_open.lock().unwrap().clone()) }.boxed()
    }

    fn published(
        &self,
        recording_id: RecordingId,
        finished: FinishedRecording,
    ) -> BoxFuture<'_, Result<(), RecordError>> {
        async move { self.tell(Told::Published(recording_id, finished)) }.boxed()
    }

    fn failed(&self, recording_id: RecordingId, reason: RecordingFailure) -> BoxFuture<'_, Result<(), RecordError>> {
        async move { self.tell(Told::Failed(recording_id, reason)) }.boxed()
    }
}

/// Everybody may have everything, but for what needs the token `secret`.
struct Open {
    needs_token: bool,
}

impl RecordingRights for Open {
    fn allows<'a>(
        &'a self,
        _: RecordingId,
        _: RecordingUse,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<RecordingAccess, RecordError>> {
        async move {
            Ok(match token {
                _ if !self.needs_token => {
                    RecordingAccess::Granted { is_public: true, file_name: "harbour-2026-11-21".to_owned() }
                }
                Some("secret") => RecordingAccess::Granted { is_public: false, file_name: "harbour".to_owned() },
                Some(_) => RecordingAccess::Refused,
                None => RecordingAccess::Unknown,
            })
        }
        .boxed()
    }
}

struct Plane {
    platform: Arc<Platform>,
    archive: Arc<Archive>,
    ingest: Ingest,
    address: SocketAddr,
}

impl Plane {
    async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Arc::default(), Arc::default(), DiskWatch::default()).await
    }

    async fn start_with(folder: &Path, platform: Arc<Platform>, archive: Arc<Archive>, disk: DiskWatch) -> Self {
        let storage = Storage::open_disk(folder).await.unwrap();
        Self::start_on(storage, platform, archive, disk).await
    }

    async fn start_on(storage: Storage, platform: Arc<Platform>, archive: Arc<Archive>, disk: DiskWatch) -> Self {
        log::listen();
        let mut config = IngestConfig::new("127.0.0.1:0".parse().unwrap());
        config.recorder = Recorder::new(Arc::clone(&archive) as _, disk);
        let publishing: Arc<dyn Publishing> = Arc::clone(&platform) as _;
        let ingest = Ingest::start(config, publishing, storage.clone()).await.unwrap();
        let router = Router::new()
            .nest("/live", ingest.router())
            .nest("/vod", recordings::router(storage.clone(), Arc::new(Open { needs_token: false })))
            .nest("/kept", recordings::router(storage, Arc::new(Open { needs_token: true })));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { platform, archive, ingest, address }
    }

    async fn peer(&self) -> Peer {
        Peer::publishing(self.ingest.rtmp_addr(), "key").await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(self.url(path)).await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// Waits until the playlist of a stream names so many segments.
    async fn until_segments(&self, stream: StreamId, count: usize) {
        let poll = async {
            loop {
                let answer = self.get(&format!("live/{stream}/source/index.m3u8")).await;
                if answer.text().await.unwrap().matches("#EXTINF").count() >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, poll).await.expect("segments come");
    }
}

/// The clip of three seconds, again and again.
fn clips(count: u32) -> Vec<FlvTag> {
    let clip = encoder::clip();
    // Configurations are said once.
    let (configs, rest): (Vec<_>, Vec<_>) =
        clip.iter().cloned().partition(|tag| tag.body[1] == 0 && tag.timestamp_ms == 0);
    let mut tags = configs;
    for round in 0..count {
        tags.extend(rest.iter().cloned().map(|mut tag| {
            tag.timestamp_ms += round * 3_000;
            tag
        }));
    }
    tags
}

fn source(folder: &Path, recording: RecordingId) -> PathBuf {
    folder.join(format!("recordings/{recording}/source"))
}

/// What ffprobe says of something: its duration in seconds and how many pictures it has.
async fn probe(input: &str) -> (f64, u64) {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-select_streams", "v:0", "-of", "json"])
        .args(["-show_entries", "format=duration:stream=nb_read_packets,codec_name", input])
        .output()
        .await
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["streams"][0]["codec_name"], "h264", "{said}");
    let number = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (
        number(&said["format"]["duration"]).parse().unwrap(),
        number(&said["streams"][0]["nb_read_packets"]).parse().unwrap(),
    )
}

#[tokio::test]
async fn what_viewers_got_is_kept_and_plays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(5)).await;
    let stream = plane.platform.started().await;
    plane.until_segments(stream, 3).await;
    let live = plane.get(&format!("live/{stream}/source/s1.m4s")).await.bytes().await.unwrap();
    peer.unpublish("key").await;

    let (id, finished) = plane.archive.published().await;
    assert!((14_500..=15_500).contains(&finished.duration_ms), "{finished:?}");
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));
    let source_of = &finished.renditions[0];
    assert_eq!((source_of.name.as_str(), source_of.width, source_of.height), ("source", 320, 180));

    let master = plane.text(&format!("vod/{id}/index.m3u8")).await;
    assert!(master.contains("RESOLUTION=320x180") && master.contains("\nsource/index.m3u8\n"), "{master}");
    let media = plane.text(&format!("vod/{id}/source/index.m3u8")).await;
    assert!(media.contains("#EXT-X-PLAYLIST-TYPE:VOD") && media.ends_with("#EXT-X-ENDLIST\n"), "{media}");
    assert!(!media.contains("DISCONTINUITY") && media.contains("#EXT-X-PROGRAM-DATE-TIME:"), "{media}");
    let kept = plane.get(&format!("vod/{id}/source/s1.m4s")).await;
    assert_eq!(kept.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(kept.bytes().await.unwrap(), live);

    for address in ["index.m3u8", "download.mp4"] {
        let (seconds, pictures) = probe(&plane.url(&format!("vod/{id}/{address}"))).await;
        assert!((14.5..=15.5).contains(&seconds), "{address}: {seconds}");
        // The last may wait for a next one that does not come.
        assert!((449..=450).contains(&pictures), "{address}: {pictures}");
    }
    // Every byte is counted: the initialisation segment and the segments, but not the indexes of the file.
    let stored: u64 = std::fs::read_dir(source(folder.path(), id))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert_eq!(u64::try_from(finished.size_bytes).unwrap(), stored);
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn any_part_of_the_file_can_be_had_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(5)).await;
    plane.archive.begun().await;
    peer.unpublish("key").await;
    let (id, _) = plane.archive.published().await;

    let url = plane.url(&format!("vod/{id}/download.mp4"));
    let whole = reqwest::get(&url).await.unwrap();
    assert_eq!(whole.headers()["content-disposition"], "attachment; filename=\"harbour-2026-11-21.mp4\"");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let length: usize = whole.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole.len(), length);
    let client = reqwest::Client::new();
    for (first, last) in [(0, 0), (10, 2_000), (700, length / 2), (length - 5, length - 1)] {
        let part = client.get(&url).header("range", format!("bytes={first}-{last}")).send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes {first}-{last}/{length}"));
        assert_eq!(part.bytes().await.unwrap(), whole[first..=last], "{first} to {last}");
    }
    let beyond = client.get(&url).header("range", format!("bytes={length}-")).send().await.unwrap();
    assert_eq!(beyond.status(), 416);

    // A player that jumps reads the picture of that moment, and not all before it.
    let jump = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-ss", "12", "-i", &url, "-frames:v", "1", "-f", "framecrc", "-"])
        .output()
        .await
        .unwrap();
    assert!(jump.status.success() && jump.stderr.is_empty(), "{}", String::from_utf8_lossy(&jump.stderr));
    assert!(String::from_utf8_lossy(&jump.stdout).lines().any(|line| line.starts_with("0,")), "no picture");
    // The index behind leads to where a segment begins.
    let at = whole.len() - 4;
    let length = u32::from_be_bytes(whole[at..].try_into().unwrap()) as usize;
    let back = &whole[whole.len() - length..];
    assert_eq!(&back[4..8], b"mfra");
    let first = u64::from_be_bytes(back[8 + 24 + 8..8 + 24 + 16].try_into().unwrap()) as usize;
    assert_eq!(&whole[first + 4..first + 8], b"moof");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn small_pictures_for_seeking_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(5)).await;
    plane.archive.begun().await;
    peer.unpublish("key").await;
    let (id, _) = plane.archive.published().await;
    let poll = async {
        loop {
            let answer = plane.get(&format!("vod/{id}/sheets/index.vtt")).await;
            if answer.status() == 200 {
                return answer.text().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let times = timeout(2 * LONG, poll).await.expect("sheets are made");
    assert!(times.starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:10.000\n0.jpg#xywh=0,0,160,90\n"), "{times}");
    assert!(times.contains("0.jpg#xywh=160,0,160,90"), "{times}");
    let sheet = plane.get(&format!("vod/{id}/sheets/0.jpg")).await;
    assert_eq!(sheet.headers()["content-type"], "image/jpeg");
    let sheet = sheet.bytes().await.unwrap();
    let path = folder.path().join("sheet.jpg");
    std::fs::write(&path, sheet).unwrap();
    let size = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&size.stdout).trim(), "1600,900");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_channel_that_does_not_record_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.archive.is_off.store(true, Ordering::SeqCst);
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    let stream = plane.platform.started().await;
    plane.until_segments(stream, 2).await;
    peer.unpublish("key").await;
    plane.ingest.shutdown().await;
    assert!(!folder.path().join("recordings").exists());
    assert_eq!(*plane.archive.told.borrow(), []);
}

#[tokio::test]
async fn what_not_everybody_may_watch_takes_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    plane.archive.begun().await;
    peer.unpublish("key").await;
    let (id, _) = plane.archive.published().await;
    assert_eq!(plane.get(&format!("kept/{id}/index.m3u8")).await.status(), 404);
    assert_eq!(plane.get(&format!("kept/t/wrong/{id}/index.m3u8")).await.status(), 403);
    let init = plane.get(&format!("kept/t/secret/{id}/source/init0.mp4")).await;
    assert_eq!(init.status(), 200);
    assert_eq!(init.headers()["cache-control"], "private, max-age=31536000, immutable");
    let (seconds, _) = probe(&plane.url(&format!("kept/t/secret/{id}/index.m3u8"))).await;
    assert!((8.5..=9.5).contains(&seconds), "{seconds}");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_ends_the_recording_and_not_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let is_full = Arc::new(AtomicBool::new(false));
    let probe_full = Arc::clone(&is_full);
    let space = move || {
        let free_bytes = if probe_full.load(Ordering::SeqCst) { 0 } else { 90 << 30 };
        Ok(DiskSpace { free_bytes, used_bytes: (100 << 30) - free_bytes, size_bytes: 100 << 30 })
    };
    let (disk, watcher) = DiskWatch::with_probe(space, DiskThresholds::default());
    tokio::spawn(watcher.run());
    let plane = Plane::start_with(folder.path(), Arc::default(), Arc::default(), disk.clone()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    let tags = clips(12);
    let (first, rest) = tags.split_at(tags.len() / 3);
    peer.send_tags(first).await;
    let id = plane.archive.begun().await.recording_id;
    let index = source(folder.path(), id).join("index/000000.jsonl");
    let kept = async {
        while !index.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, kept).await.unwrap();
    is_full.store(true, Ordering::SeqCst);
    let mut state = disk.subscribe();
    timeout(LONG, state.wait_for(|_| !disk.may_record())).await.unwrap().unwrap();
    peer.send_tags(rest).await;
    let (_, finished) = plane.archive.published().await;
    assert_eq!(finished.cut_short, Some(CutShort::StorageFull));
    assert!((2_000..20_000).contains(&finished.duration_ms), "{finished:?}");
    // The stream does not know.
    let stream = plane.platform.started().await;
    assert_eq!(plane.get(&format!("live/{stream}/index.m3u8")).await.status(), 200);
    assert!(!plane.text(&format!("live/{stream}/source/index.m3u8")).await.contains("ENDLIST"));
    peer.unpublish("key").await;
    let (seconds, _) = probe(&plane.url(&format!("vod/{id}/index.m3u8"))).await;
    assert!(seconds * 1_000.0 <= finished.duration_ms as f64 + 100.0, "{seconds}");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let space = || Ok(DiskSpace { free_bytes: 0, used_bytes: 100 << 30, size_bytes: 100 << 30 });
    let (disk, _watcher) = DiskWatch::with_probe(space, DiskThresholds::default());
    let plane = Plane::start_with(folder.path(), Arc::default(), Arc::default(), disk).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    let failed = plane.archive.until(|told| matches!(told, Told::Failed(..))).await;
    assert!(matches!(failed, Told::Failed(_, RecordingFailure::StorageFull)), "{failed:?}");
    let stream = plane.platform.started().await;
    assert_eq!(plane.get(&format!("live/{stream}/index.m3u8")).await.status(), 200);
    peer.unpublish("key").await;
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_storage_that_takes_nothing_for_a_while_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    // A file where the folder should be: nothing can be stored.
    let blocked = folder.path().join("recordings");
    std::fs::write(&blocked, "in the way").unwrap();
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(4)).await;
    let stream = plane.platform.started().await;
    plane.until_segments(stream, 3).await;
    plane.archive.begun().await;
    tokio::fs::remove_file(&blocked).await.unwrap();
    peer.unpublish("key").await;
    let (_, finished) = plane.archive.published().await;
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));
    assert!((11_500..=12_500).contains(&finished.duration_ms), "{finished:?}");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn s3_that_is_away_for_a_while_costs_nothing() {
    let mut server = server::Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    server.stop().await;
    let plane = Plane::start_on(storage.clone(), Arc::default(), Arc::default(), DiskWatch::default()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(4)).await;
    let stream = plane.platform.started().await;
    // The stream does not wait for it.
    plane.until_segments(stream, 3).await;
    plane.archive.begun().await;
    server.start_again();
    peer.unpublish("key").await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));
    assert!((11_500..=12_500).contains(&finished.duration_ms), "{finished:?}");
    for address in ["index.m3u8", "download.mp4"] {
        let (seconds, _) = probe(&plane.url(&format!("vod/{id}/{address}"))).await;
        assert!((11.5..=12.5).contains(&seconds), "{address}: {seconds}");
    }
    // Away again, it says so, and does not play nothing.
    server.stop().await;
    assert_eq!(plane.get(&format!("vod/{id}/source/s0.m4s")).await.status(), 503);
    server.start_again();
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn what_is_deleted_while_it_is_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    let id = plane.archive.begun().await.recording_id;
    plane.archive.forgets.store(true, Ordering::SeqCst);
    peer.unpublish("key").await;
    plane.archive.published().await;
    let gone = async {
        while folder.path().join(format!("recordings/{id}")).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone).await.expect("what was stored goes");
    plane.ingest.shutdown().await;
}

/// A recording of so many clips as a crash leaves it: not published, its stream open.
async fn left_by_a_crash(folder: &Path, count: u32) -> (OpenRecording, usize) {
    let plane = Plane::start(folder).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(count)).await;
    let open = plane.archive.begun().await;
    let index = source(folder, open.recording_id).join("index/000000.jsonl");
    // Of a second each; the last one grows.
    let wanted = count as usize * 3 - 1;
    let kept = || std::fs::read_to_string(&index).unwrap_or_default().matches("\"segment\"").count();
    let all = async {
        while kept() < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, all).await.unwrap_or_else(|_| panic!("{} of {wanted} kept", kept()));
    // The process goes with all that it holds; whatever its tasks still do, the next one reads only what is stored now.
    let copy = folder.with_extension("after");
    let copied = std::process::Command::new("cp").arg("-r").arg(folder).arg(&copy).status().unwrap();
    assert!(copied.success());
    let segments = kept();
    plane.ingest.shutdown().await;
    (open, segments)
}

#[tokio::test]
async fn a_recording_is_finished_after_a_crash_from_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (open, segments) = left_by_a_crash(folder.path(), 4).await;
    let after = folder.path().with_extension("after");
    let archive = Arc::<Archive>::default();
    archive.left_open.lock().unwrap().push(open);
    let plane = Plane::start_with(&after, Arc::default(), archive, DiskWatch::default()).await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!(id, open.recording_id);
    assert_eq!((finished.cut_short, finished.gap_count), (Some(CutShort::Crashed), 0));
    // The segment that was growing is lost, and no other.
    assert!((10_500..=12_000).contains(&finished.duration_ms), "{finished:?}");
    let media = plane.text(&format!("vod/{id}/source/index.m3u8")).await;
    assert_eq!(media.matches("#EXTINF").count(), segments, "{media}");
    let (seconds, _) = probe(&plane.url(&format!("vod/{id}/index.m3u8"))).await;
    assert!((seconds * 1_000.0 - finished.duration_ms as f64).abs() < 200.0, "{seconds}");
    plane.ingest.shutdown().await;
    std::fs::remove_dir_all(after).unwrap();
}

#[tokio::test]
async fn a_recording_goes_on_with_its_stream_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (open, _) = left_by_a_crash(folder.path(), 4).await;
    let after = folder.path().with_extension("after");
    let (archive, platform) = (Arc::<Archive>::default(), Arc::<Platform>::default());
    archive.left_open.lock().unwrap().push(open);
    let channel_id = platform.channel("key");
    let started_at = OffsetDateTime::now_utc() - Duration::from_secs(12);
    platform.leave_open(OpenStream { stream_id: open.stream_id, channel_id, started_at });
    let plane = Plane::start_with(&after, platform, archive, DiskWatch::default()).await;
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    plane.until_segments(open.stream_id, 2).await;
    peer.unpublish("key").await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((id, finished.gap_count, finished.cut_short), (open.recording_id, 1, None));
    assert!((19_000..=21_000).contains(&finished.duration_ms), "{finished:?}");
    let media = plane.text(&format!("vod/{id}/source/index.m3u8")).await;
    assert_eq!(media.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{media}");
    assert_eq!(media.matches("#EXT-X-MAP").count(), 2, "{media}");
    // Times begin anew after the crash; in the file they go on.
    let (seconds, pictures) = probe(&plane.url(&format!("vod/{id}/download.mp4"))).await;
    assert!((seconds * 1_000.0 - finished.duration_ms as f64).abs() < 200.0, "{seconds}");
    assert!((570..=630).contains(&pictures), "{pictures}");
    plane.ingest.shutdown().await;
    std::fs::remove_dir_all(after).unwrap();
}
