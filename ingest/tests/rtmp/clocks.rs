//! Publishers whose clocks, or whose pictures, change while they publish: what viewers get of it, over real RTMP.

use domain::ids::StreamId;
use ingest::PublishState;

use crate::{
    encoder::{self, FlvTag},
    fragments::{self, AUDIO, Run, VIDEO},
    peer::{self, Peer, chunked},
    platform::{LONG, Plane, Report},
};

/// As ffmpeg and OBS do it: chunks of this size, each of which repeats a timestamp that is extended.
const CHUNK_BYTES: usize = 4_096;

/// A message whose timestamp may need 32 bits: RTMP 1.0 section 5.3.1.3.
fn message(tag: &FlvTag) -> Vec<u8> {
    let chunk_stream = if tag.kind == peer::AUDIO { 4 } else { 6 };
    let is_extended = tag.timestamp_ms >= 0xff_ffff;
    let field = if is_extended { 0xff_ffff } else { tag.timestamp_ms };
    let extension = tag.timestamp_ms.to_be_bytes();
    let extension = if is_extended { &extension[..] } else { &[] };
    let mut bytes = peer::header(chunk_stream, tag.kind, field, 1, tag.body.len());
    bytes.extend(extension);
    for (index, payload) in tag.body.chunks(CHUNK_BYTES).enumerate() {
        if index > 0 {
            bytes.push(0xc0 | chunk_stream);
            bytes.extend(extension);
        }
        bytes.extend(payload);
    }
    bytes
}

async fn send(peer: &mut Peer, tags: &[FlvTag]) {
    for tag in tags {
        peer.push(&message(tag)).await;
    }
}

async fn publisher(plane: &Plane, key: &str) -> Peer {
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), key).await;
    peer.send(&chunked(2, 1, 0, 0, &u32::try_from(CHUNK_BYTES).unwrap().to_be_bytes())).await;
    peer
}

fn shifted(tags: &[FlvTag], by_ms: u32) -> Vec<FlvTag> {
    tags.iter().map(|tag| FlvTag { timestamp_ms: tag.timestamp_ms.wrapping_add(by_ms), ..tag.clone() }).collect()
}

/// A stream that was sent whole and is over, as it is listed.
struct Past {
    playlist: String,
    /// From discontinuity to discontinuity: the initialisation segment, and what is in the segments.
    stretches: Vec<(Vec<u8>, Vec<Run>)>,
}

impl Past {
    async fn of(plane: &Plane, stream: StreamId) -> Self {
        let poll = async {
            loop {
                let playlist = plane.playlist(stream).await;
                if playlist.contains("EXT-X-ENDLIST") {
                    return playlist;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let playlist = tokio::time::timeout(LONG, poll).await.expect("the stream ends");
        assert!(playlist.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "the beginning is still listed: {playlist}");
        let mut stretches: Vec<(Vec<u8>, Vec<Run>)> = Vec::new();
        for line in playlist.lines() {
            let file = |name: &str| format!("{stream}/source/{name}");
            if let Some(init) = line.strip_prefix("#EXT-X-MAP:URI=\"").and_then(|rest| rest.strip_suffix('"')) {
                stretches.push((plane.bytes(&file(init)).await, Vec::new()));
            } else if line.ends_with(".m4s") {
                let runs = fragments::runs(&plane.bytes(&file(line)).await);
                stretches.last_mut().unwrap().1.extend(runs);
            }
        }
        for (_, runs) in &stretches {
            let findings = fragments::findings(runs);
            assert!(findings.is_empty(), "{findings:?}");
        }
        Self { playlist, stretches }
    }

    /// `EXT-X-DISCONTINUITY-SEQUENCE` is always there, and is no break.
    fn breaks(&self) -> usize {
        self.playlist.lines().filter(|line| *line == "#EXT-X-DISCONTINUITY").count()
    }
}

/// When the pictures among these tags are decoded, in milliseconds from the first.
fn pictures_ms(tags: &[FlvTag]) -> Vec<u64> {
    let is_picture = |tag: &&FlvTag| tag.kind == peer::VIDEO && tag.body[1] == 1;
    let mut times = tags.iter().filter(is_picture).map(|tag| tag.timestamp_ms);
    let first = times.clone().next().unwrap();
    times.by_ref().map(|time| u64::from(time.wrapping_sub(first))).collect()
}

/// When the pictures that came are decoded, in milliseconds from the first.
fn decoded_ms(runs: &[Run]) -> Vec<u64> {
    let pictures = fragments::track(runs, VIDEO);
    pictures.iter().map(|(time, _)| (time - pictures[0].0) / 90).collect()
}

/// Sends it all and stops.
async fn published(plane: &Plane, key: &str, tags: &[FlvTag]) -> Past {
    let mut peer = publisher(plane, key).await;
    send(&mut peer, tags).await;
    peer.unpublish(key).await;
    let reports = plane.platform.wait_for(2).await;
    let Report::Started(started) = &reports[0] else { panic!("{reports:?}") };
    Past::of(plane, started.stream_id).await
}

#[tokio::test]
async fn a_clock_that_wraps_at_32_bits_is_no_break() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let film = encoder::film("320x180", 10);
    // The wrap is in the middle, at no key frame.
    let sent = shifted(&film, 0_u32.wrapping_sub(4_700));
    assert!(sent[0].timestamp_ms > 0xffff_0000 && sent.last().unwrap().timestamp_ms < 0xffff);
    let past = published(&plane, "key", &sent).await;
    assert_eq!(past.breaks(), 0, "{}", past.playlist);
    let [(_, runs)] = &past.stretches[..] else { panic!("{}", past.playlist) };
    assert_eq!(decoded_ms(runs), pictures_ms(&film));
    // 10 s of sound, but for what comes before the first picture and what is never sent.
    let sound = fragments::track(runs, AUDIO);
    assert!((466..=470).contains(&sound.len()), "{} frames of sound", sound.len());
    assert!(sound.iter().all(|(_, frame)| frame.duration == 1_024 && frame.data.len() > 6), "no silence was put in");
}

#[tokio::test]
async fn a_clock_whose_timestamps_become_extended_is_no_break() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let film = encoder::film("320x180", 8);
    let past = published(&plane, "key", &shifted(&film, 0xff_ffff - 4_100)).await;
    assert_eq!(past.breaks(), 0, "{}", past.playlist);
    assert_eq!(decoded_ms(&past.stretches[0].1), pictures_ms(&film));
}

#[tokio::test]
async fn a_picture_that_changes_its_size_is_told_at_once_and_viewers_cross_a_discontinuity() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let (small, large) = (encoder::film("320x180", 4), shifted(&encoder::film("640x360", 4), 4_000));
    let mut peer = publisher(&plane, "key").await;
    send(&mut peer, &small).await;
    let width = |width| {
        move |status: &ingest::IngestStatus| {
            status.tracks.as_ref().and_then(|tracks| tracks.video.as_ref()).is_some_and(|video| video.width == width)
        }
    };
    plane.status(channel, width(320)).await;
    plane.state(channel, PublishState::Live).await;
    send(&mut peer, &large).await;
    // All has come: the next message would be the one that tells.
    assert_eq!(plane.status(channel, width(640)).await.state, PublishState::Live);
    peer.unpublish("key").await;
    let past = Past::of(&plane, plane.platform.started().await).await;
    assert_eq!(past.breaks(), 1, "{}", past.playlist);
    let [(_, before), (_, after)] = &past.stretches[..] else { panic!("{}", past.playlist) };
    assert_eq!(decoded_ms(before), pictures_ms(&small));
    assert_eq!(decoded_ms(after), pictures_ms(&large));
}

#[tokio::test]
async fn a_clock_that_goes_back_a_little_is_put_in_order_and_one_that_goes_back_far_is_a_break() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let film = encoder::film("320x180", 4);
    let is_second = |tag: &FlvTag| tag.timestamp_ms >= 2_000;
    let (first, second): (Vec<_>, Vec<_>) = film.iter().cloned().partition(|tag| !is_second(tag));
    // A third of a second back: the pictures follow each other by a millisecond until the clock has caught up.
    let past = published(&plane, "key", &[first.clone(), shifted(&second, 0_u32.wrapping_sub(333))].concat()).await;
    assert_eq!(past.breaks(), 0, "{}", past.playlist);
    assert_eq!(decoded_ms(&past.stretches[0].1).len(), pictures_ms(&film).len());

    let plane = Plane::start().await;
    plane.platform.channel("key");
    let back = shifted(&film, 0_u32.wrapping_sub(3_600_000));
    let past = published(&plane, "key", &[film.clone(), back, shifted(&film, 7_200_000)].concat()).await;
    // An hour back, then three forward: each begins again with a key frame, and nothing is lost.
    assert_eq!(past.breaks(), 2, "{}", past.playlist);
    for (_, runs) in &past.stretches {
        assert_eq!(decoded_ms(runs), pictures_ms(&film));
    }
}

#[tokio::test]
async fn a_stall_in_the_media_is_a_break_and_a_short_one_is_none() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let film = encoder::film("320x180", 2);
    // Half a second without anything is a picture that stays, and so are 3 s; 12 s are a break.
    let begin_ms = [0, 2_500, 7_500, 21_500];
    let past = published(&plane, "key", &begin_ms.map(|begins_ms| shifted(&film, begins_ms)).concat()).await;
    assert_eq!(past.breaks(), 1, "{}", past.playlist);
    let pictures = pictures_ms(&film);
    let before: Vec<u64> = begin_ms[..3]
        .iter()
        .flat_map(|begins_ms| pictures.iter().map(|time_ms| time_ms + u64::from(*begins_ms)))
        .collect();
    assert_eq!(decoded_ms(&past.stretches[0].1), before);
    assert_eq!(decoded_ms(&past.stretches[1].1), pictures);
}

#[tokio::test]
async fn numbers_go_on_after_a_crash_whatever_has_become_of_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let platform = std::sync::Arc::new(crate::platform::Platform::default());
    let stream_id = StreamId::from(uuid::Uuid::now_v7());
    // It had lasted for hours, and by the clock that was set back it begins in an hour or has just begun.
    let now = time::OffsetDateTime::now_utc();
    let just_begun = StreamId::from(uuid::Uuid::now_v7());
    for (stream_id, key, started_at) in
        [(stream_id, "key", now + time::Duration::hours(1)), (just_begun, "other", now - time::Duration::seconds(9))]
    {
        let channel_id = platform.channel(key);
        platform.leave_open(ingest::OpenStream { stream_id, channel_id, started_at });
        let kept = folder.path().join(stream_id.to_string()).join("0-source");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join("s7200.m4s"), b"what viewers have").unwrap();
    }
    let rewind =
        ingest::rewind::RewindConfig { folder: folder.path().to_owned(), window: std::time::Duration::from_secs(600) };
    let plane = Plane::start_on(platform, |config| config.rewind = Some(rewind)).await;
    for (stream_id, key) in [(stream_id, "key"), (just_begun, "other")] {
        let peer = Peer::on_air(plane.ingest.rtmp_addr(), key).await;
        let poll = async {
            loop {
                let (status, playlist) = plane.get(&format!("{stream_id}/source/index.m3u8")).await;
                if status == 200 {
                    return playlist;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let playlist = tokio::time::timeout(LONG, poll).await.expect("the stream goes on");
        let number = |tag: &str| -> u64 {
            playlist
                .lines()
                .find_map(|line| line.strip_prefix(tag))
                .unwrap_or_else(|| panic!("{playlist}"))
                .parse()
                .unwrap()
        };
        assert!(number("#EXT-X-MEDIA-SEQUENCE:") > 7_200 + 60, "{playlist}");
        assert!(number("#EXT-X-DISCONTINUITY-SEQUENCE:") > 7_200, "{playlist}");
        peer.unpublish(key).await;
    }
}
