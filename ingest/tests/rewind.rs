//! Going back behind live: what is kept on the disk, for how long, and what viewers see of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/flv.rs"]
mod flv;
#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/viewer.rs"]
mod viewer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use bytes::Bytes;
use ingest::{
    origin::{self, Broadcasts},
    packager::{Packager, PackagerConfig, Tag},
    rewind::{Rewind, RewindConfig},
};
use playlist::MediaPlaylist;
use storage::{DiskSpace, DiskThresholds, DiskWatch};
use tokio::time::{sleep, timeout};
use viewer::{Viewer, assert_decodes, config};

static SOURCE: LazyLock<Vec<Tag>> = LazyLock::new(|| {
    flv::encode(
        "-f lavfi -i testsrc2=size=320x180:rate=30:duration=10 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=10 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -b:v 400k -g 60 -bf 2 -c:a aac -ac 2",
    )
});

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Who measures the memory of the process runs alone.
static RUNNING: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// A viewer of a stream that is kept.
struct Kept {
    viewer: Viewer,
    folder: tempfile::TempDir,
    packager: Packager,
    /// What was pushed, in media time.
    pushed_ms: u32,
}

impl Kept {
    async fn new(window_s: u64, config: PackagerConfig) -> Self {
        Self::on(DiskWatch::default(), window_s, config).await
    }

    async fn on(disk: DiskWatch, window_s: u64, config: PackagerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A crash has left something.
        std::fs::create_dir_all(folder.path().join("old/0-source")).unwrap();
        std::fs::write(folder.path().join("old/0-source/s1.m4s"), b"old").unwrap();
        let rewind = Rewind::open(rewind_config(folder.path(), window_s)).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        rewind.watch(disk);
        let mut viewer = Viewer::new(config).await;
        viewer.broadcasts = Broadcasts::default().with_rewind(rewind);
        viewer.service = origin::service(viewer.broadcasts.clone(), viewer.storage.clone());
        viewer.broadcasts.publish(viewer.channel_id, Arc::clone(&viewer.broadcast));
        let packager = Packager::new(Arc::clone(&viewer.broadcast));
        Self { viewer, folder, packager, pushed_ms: 0 }
    }

    fn stream_folder(&self) -> PathBuf {
        self.folder.path().join(self.viewer.broadcast.stream_id().to_string())
    }

    /// The numbers of the segments on the disk.
    fn on_disk(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        for rendition in std::fs::read_dir(self.stream_folder()).into_iter().flatten() {
            for file in std::fs::read_dir(rendition.unwrap().path()).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                numbers.push(name.strip_prefix('s').unwrap().strip_suffix(".m4s").unwrap().parse().unwrap());
            }
        }
        numbers.sort_unstable();
        numbers
    }

    /// Ten more seconds of media, as fast as can be.
    fn push(&mut self, tags: &[Tag]) {
        for tag in tags {
            // A body of its own, as from the network: what is kept must not be what the test holds.
            let body = Bytes::copy_from_slice(&tag.body);
            self.packager.push(Tag { kind: tag.kind, timestamp_ms: tag.timestamp_ms + self.pushed_ms, body }).unwrap();
        }
        self.pushed_ms += 10_000;
    }

    /// An encoder that has just come.
    fn reconnect(&mut self) {
        self.packager.finish();
        self.packager = Packager::new(Arc::clone(&self.viewer.broadcast));
        self.pushed_ms = 0;
    }

    async fn playlist(&self, path: &str) -> MediaPlaylist {
        let (status, _, text) = self.viewer.get(&self.viewer.path(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        MediaPlaylist::parse(std::str::from_utf8(&text).unwrap()).unwrap()
    }

    /// Reads the playlist and what it is as a delta update, and checks both against one of before.
    async fn look(&self, name: &str, earlier: Option<&MediaPlaylist>) -> MediaPlaylist {
        // Ten seconds later, the part that was hinted has no line of its own any more.
        let earlier = earlier.map(|earlier| MediaPlaylist { preload_hint: None, ..earlier.clone() });
        self.look_soon(name, earlier.as_ref()).await
    }

    /// The same, for who looks at each part.
    async fn look_soon(&self, name: &str, earlier: Option<&MediaPlaylist>) -> MediaPlaylist {
        let (playlist, delta) = loop {
            let playlist = self.playlist(&format!("{name}/rewind.m3u8")).await;
            let delta = self.playlist(&format!("{name}/rewind.m3u8?_HLS_skip=YES")).await;
            // What is too old may have been let go of in between; then they are of two moments.
            let moment = |playlist: &MediaPlaylist| (playlist.media_sequence, playlist.next_position());
            if moment(&playlist) == moment(&delta) {
                break (playlist, delta);
            }
        };
        let mut findings = playlist.findings();
        findings.extend(delta.findings_of_delta(&playlist));
        findings.extend(earlier.iter().flat_map(|earlier| playlist.findings_after(earlier)));
        assert!(findings.is_empty(), "{findings:?}");
        playlist
    }

    async fn wait_until_on_disk(&self, number: u64) {
        let there = async {
            while self.on_disk().last() != Some(&number) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, there).await.unwrap();
    }

    async fn wait_until_written(&self) {
        let live = self.playlist("source/index.m3u8").await;
        self.wait_until_on_disk(live.complete().last().unwrap().number).await;
    }

    async fn wait_until_oldest_is(&self, numbers: std::ops::RangeInclusive<u64>) {
        let removed = async {
            while !self.on_disk().first().is_some_and(|oldest| numbers.contains(oldest)) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, removed).await.unwrap();
    }

    /// Waits until what is too old for the window is let go of, which comes after the newest is written.
    async fn wait_until_window_is(&self, window_ms: std::ops::Range<u64>) -> MediaPlaylist {
        let slid = async {
            loop {
                let playlist = self.look("source", None).await;
                if window_ms.contains(&length_ms(&playlist)) {
                    return playlist;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, slid).await.unwrap()
    }

    async fn file(&self, path: &str) -> Bytes {
        let (status, _, bytes) = self.viewer.get(&self.viewer.path(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        bytes
    }
}

fn rewind_config(folder: &Path, window_s: u64) -> RewindConfig {
    RewindConfig { folder: folder.to_owned(), window: Duration::from_secs(window_s) }
}

/// Resident memory of the process.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn length_ms(playlist: &MediaPlaylist) -> u64 {
    playlist.complete().map(playlist::Segment::length_ms).sum()
}

#[tokio::test]
async fn an_hour_leaves_half_an_hour_on_the_disk_and_nothing_in_memory() {
    let _alone = RUNNING.write().await;
    let mut kept = Kept::new(1_800, config()).await;
    let mut earlier = None;
    let mut first_segment = Bytes::new();
    let mut memory = Vec::new();
    for round in 0..360 {
        kept.push(&SOURCE);
        kept.wait_until_written().await;
        earlier = Some(kept.look("source", earlier.as_ref()).await);
        if round == 181 {
            // The oldest that will still be kept at the end.
            first_segment = kept.file("source/s905.m4s").await;
        }
        if round % 10 == 9 {
            memory.push(memory_bytes() >> 20);
        }
    }
    let playlist = kept.wait_until_window_is(1_800_000..1_804_000).await;
    println!("memory, MiB: {memory:?}; {} segments in the playlist", playlist.segments.len());
    let listed = playlist.segments[0].number;
    // A minute more than the playlist lists.
    kept.wait_until_oldest_is(listed - 31..=listed - 29).await;
    let on_disk = kept.on_disk();
    assert!(on_disk.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{on_disk:?}");
    // From when the window is full on. 100 MB of media have come since.
    assert!(memory[35] < memory[18] + 8, "{memory:?}");

    // What has left the memory long ago is what viewers got then.
    assert!(listed <= 905, "{listed}");
    assert_eq!(kept.file("source/s905.m4s").await, first_segment);
    let mut media = Vec::new();
    for number in listed..listed + 3 {
        media.extend_from_slice(&kept.file(&format!("source/s{number}.m4s")).await);
    }
    assert_decodes(&kept.file(&format!("source/{}", playlist.segments[0].init)).await, &media);
    let (status, ..) = kept.viewer.get(&kept.viewer.path(&format!("source/s{}.m4s", on_disk[0] - 1))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    // The sound alone goes as far back.
    let audio = kept.look("audio", None).await;
    assert_eq!(audio.segments[0].number, listed);
    let mut sound = Vec::new();
    for number in listed..listed + 3 {
        sound.extend_from_slice(&kept.file(&format!("audio/s{number}.m4s")).await);
    }
    assert!(sound.len() < media.len() / 3);
    assert_decodes(&kept.file(&format!("audio/{}", audio.segments[0].init)).await, &sound);
}

#[tokio::test]
async fn a_disk_that_is_short_of_room_is_left_alone_until_it_has_some() {
    const GIB: u64 = 1 << 30;
    let _running = RUNNING.read().await;
    let free = Arc::new(AtomicU64::new(50 * GIB));
    let probed = Arc::clone(&free);
    let thresholds = DiskThresholds { warn_bytes: 5 * GIB, reserve_bytes: 2 * GIB };
    let space = move || {
        let free_bytes = probed.load(Ordering::Relaxed);
        Ok(DiskSpace { free_bytes, used_bytes: 100 * GIB - free_bytes, size_bytes: 100 * GIB })
    };
    let (disk, mut watcher) = DiskWatch::with_probe(space, thresholds);
    let mut kept = Kept::on(disk, 600, config()).await;
    for _ in 0..3 {
        kept.push(&SOURCE);
        kept.wait_until_written().await;
    }
    let before = kept.on_disk();
    assert!(before.len() > 10, "{before:?}");
    free.store(GIB, Ordering::Relaxed);
    watcher.look();
    // Nothing more is written, and what is there makes room; live goes on from memory.
    let shrunk = async {
        loop {
            kept.push(&SOURCE);
            let on_disk = kept.on_disk();
            assert!(on_disk.iter().all(|number| *number <= before[before.len() - 1]), "{on_disk:?}");
            if on_disk.len() < before.len() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, shrunk).await.unwrap();
    let live = kept.playlist("source/index.m3u8").await;
    assert!(live.complete().count() > 0);
    free.store(50 * GIB, Ordering::Relaxed);
    watcher.look();
    kept.push(&SOURCE);
    kept.wait_until_written().await;
    assert!(kept.on_disk().last() > before.last());
}

#[tokio::test]
async fn what_a_full_disk_lets_go_of_stays_in_memory_for_who_is_fetching_it() {
    const GIB: u64 = 1 << 30;
    let _running = RUNNING.read().await;
    let free = Arc::new(AtomicU64::new(50 * GIB));
    let probed = Arc::clone(&free);
    let thresholds = DiskThresholds { warn_bytes: 5 * GIB, reserve_bytes: 2 * GIB };
    let space = move || {
        let free_bytes = probed.load(Ordering::Relaxed);
        Ok(DiskSpace { free_bytes, used_bytes: 100 * GIB - free_bytes, size_bytes: 100 * GIB })
    };
    let (disk, mut watcher) = DiskWatch::with_probe(space, thresholds);
    // Forty seconds are listed.
    let mut kept = Kept::on(disk, 600, PackagerConfig { window_segments: 20, ..config() }).await;
    for _ in 0..3 {
        kept.push(&SOURCE);
        kept.wait_until_written().await;
    }
    let on_disk = kept.on_disk();
    let segment = on_disk[on_disk.len() / 2];
    free.store(GIB, Ordering::Relaxed);
    watcher.look();
    for round in 0.. {
        assert!(round < 7, "the disk keeps {:?}", kept.on_disk());
        let count = kept.on_disk().len();
        kept.push(&SOURCE);
        // The oldest quarter, all of it: what the next round counts is what is kept.
        let shrunk = async {
            while kept.on_disk().len() > count - count.div_ceil(4) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, shrunk).await.expect("the oldest makes room");
        let live = kept.playlist("source/index.m3u8").await;
        if live.segments[0].number > segment + 1 && !kept.on_disk().contains(&segment) {
            break;
        }
    }
    // It has left the playlist and the disk, and some who saw it there still fetch it.
    kept.file(&format!("source/s{segment}.m4s")).await;
}

#[tokio::test]
async fn each_part_is_named_as_it_comes() {
    let _running = RUNNING.read().await;
    let mut kept = Kept::new(30, PackagerConfig { window_segments: 4, ..config() }).await;
    let mut earlier: Option<MediaPlaylist> = None;
    for _ in 0..8 {
        for tags in SOURCE.chunks(17) {
            kept.push(tags);
            kept.pushed_ms -= 10_000;
            if kept.viewer.broadcast.is_playable() {
                earlier = Some(kept.look_soon("source", earlier.as_ref()).await);
            }
        }
        kept.pushed_ms += 10_000;
        kept.wait_until_written().await;
    }
    let is_slid = async {
        while !(30_000..34_000).contains(&length_ms(&kept.look_soon("source", earlier.as_ref()).await)) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, is_slid).await.unwrap();
}

#[tokio::test]
async fn its_master_playlist_leads_to_it() {
    let _running = RUNNING.read().await;
    let mut kept = Kept::new(60, config()).await;
    kept.push(&SOURCE);
    let master = kept.file("rewind.m3u8").await;
    let master = std::str::from_utf8(&master).unwrap();
    assert!(master.contains("\nsource/rewind.m3u8\n") && !master.contains("index.m3u8"), "{master}");
    let live = kept.file("index.m3u8").await;
    assert_eq!(master.replace("rewind", "index"), std::str::from_utf8(&live).unwrap());
    assert!(kept.look("source", None).await.reports.iter().all(|report| report.uri == "../audio/rewind.m3u8"));
}

#[tokio::test]
async fn reconnects_stay_in_it_with_their_initialisation_segments() {
    let _running = RUNNING.read().await;
    let large = flv::encode(
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=10 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -an",
    );
    let mut kept = Kept::new(600, PackagerConfig { window_segments: 4, ..config() }).await;
    let mut earlier = None;
    for (round, tags) in [&*SOURCE, &large, &SOURCE, &large].into_iter().enumerate() {
        for _ in 0..3 {
            kept.push(tags);
            kept.wait_until_written().await;
            earlier = Some(kept.look("source", earlier.as_ref()).await);
        }
        if round == 2 {
            // Once it was without sound.
            let audio = kept.look("audio", None).await;
            assert_eq!(audio.segments[0].number, 0);
            let gaps = audio.segments.iter().filter(|segment| segment.is_gap).count();
            assert!((10..20).contains(&gaps), "{gaps} gaps");
        }
        kept.reconnect();
    }
    kept.wait_until_written().await;
    let playlist = kept.look("source", earlier.as_ref()).await;
    assert_eq!(playlist.segments[0].number, 0);
    assert_eq!(playlist.segments.iter().filter(|segment| segment.is_after_discontinuity).count(), 3);
    for segment in playlist.segments.chunk_by(|one, next| one.init == next.init) {
        let mut media = Vec::new();
        for segment in segment {
            media.extend_from_slice(&kept.file(&format!("source/{}", segment.uri.as_deref().unwrap())).await);
        }
        assert_decodes(&kept.file(&format!("source/{}", segment[0].init)).await, &media);
    }

    kept.viewer.broadcast.end();
    let last = kept.look("source", Some(&playlist)).await;
    assert!(last.is_ended);
    kept.viewer.broadcasts.remove(kept.viewer.broadcast.stream_id());
    let gone = async {
        while kept.stream_folder().exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.unwrap();
    let (status, ..) = kept.viewer.get(&kept.viewer.path("source/rewind.m3u8")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_only_shortens_it() {
    let _running = RUNNING.read().await;
    let mut kept = Kept::new(600, PackagerConfig { window_segments: 4, ..config() }).await;
    kept.push(&SOURCE);
    kept.wait_until_written().await;
    let mut earlier = kept.look("source", None).await;
    assert_eq!(earlier.segments[0].number, 0);
    // From now on no file can be made.
    std::fs::remove_dir_all(kept.stream_folder()).unwrap();
    std::fs::write(kept.stream_folder(), b"in the way").unwrap();
    for _ in 0..10 {
        kept.push(&SOURCE);
        earlier = kept.look("source", Some(&earlier)).await;
        // Live is as ever.
        assert!(kept.playlist("source/index.m3u8").await.findings().is_empty());
        // Its task has the time of some answers.
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    let shorter = kept.look("source", Some(&earlier)).await;
    assert!(length_ms(&shorter) < 20_000, "{}", length_ms(&shorter));
    for segment in shorter.complete() {
        kept.file(&format!("source/{}", segment.uri.as_deref().unwrap())).await;
    }

    std::fs::remove_file(kept.stream_folder()).unwrap();
    earlier = shorter;
    for _ in 0..10 {
        kept.push(&SOURCE);
        kept.wait_until_written().await;
        earlier = kept.look("source", Some(&earlier)).await;
    }
    assert!(length_ms(&earlier) > 90_000, "{}", length_ms(&earlier));
    kept.file(&format!("source/{}", earlier.segments[0].uri.as_deref().unwrap())).await;
}

#[tokio::test]
async fn where_nothing_is_kept_it_says_so() {
    let _running = RUNNING.read().await;
    let folder = tempfile::tempdir().unwrap();
    let rewind = Rewind::open(rewind_config(folder.path(), 0)).await.unwrap();
    assert!(!rewind.is_on());
    let viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    for tag in SOURCE.iter() {
        packager.push(tag.clone()).unwrap();
    }
    for path in ["rewind.m3u8", "source/rewind.m3u8"] {
        let (status, _, body) = viewer.get(&viewer.path(path)).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(std::str::from_utf8(&body).unwrap().contains("rewind_off"), "{path}");
    }
}

#[tokio::test]
async fn many_who_went_back_to_one_place_are_answered_alike() {
    let _running = RUNNING.read().await;
    let mut kept = Kept::new(600, PackagerConfig { window_segments: 4, ..config() }).await;
    for _ in 0..6 {
        kept.push(&SOURCE);
        kept.wait_until_written().await;
    }
    let path = kept.viewer.path("source/s1.m4s");
    let answers = futures::future::join_all((0..1_000).map(|_| kept.viewer.get(&path))).await;
    // One reading: they share the bytes.
    let first = answers[0].2.clone();
    assert_eq!(answers[0].0, StatusCode::OK);
    assert!(answers.iter().all(|(_, _, bytes)| *bytes == first && !bytes.is_empty()));
}

#[tokio::test]
async fn what_is_on_the_disk_leaves_memory_with_the_playlist() {
    let _running = RUNNING.read().await;
    let mut kept = Kept::new(600, PackagerConfig { window_segments: 4, ..config() }).await;
    // What is written is known a moment after it is there.
    for round in 0.. {
        assert!(round < 50, "memory forgets nothing");
        kept.push(&SOURCE);
        kept.wait_until_written().await;
        let live = kept.playlist("source/index.m3u8").await;
        for segment in live.complete() {
            kept.file(&format!("source/{}", segment.uri.as_deref().unwrap())).await;
        }
        let Some(unlisted) = live.segments[0].number.checked_sub(2).filter(|number| *number > 0) else { continue };
        let path = kept.viewer.path(&format!("source/s{unlisted}.m4s"));
        assert_eq!(kept.viewer.get(&path).await.0, StatusCode::OK);
        // Of a stream without a disk, memory has it for twice as long as it is listed.
        for rendition in std::fs::read_dir(kept.stream_folder()).unwrap() {
            let _ = std::fs::remove_file(rendition.unwrap().path().join(format!("s{}.m4s", unlisted - 1)));
        }
        let path = kept.viewer.path(&format!("source/s{}.m4s", unlisted - 1));
        if kept.viewer.get(&path).await.0 == StatusCode::NOT_FOUND {
            return;
        }
    }
}
