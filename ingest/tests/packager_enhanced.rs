//! Enhanced RTMP: AV1 and HEVC come out as they went in, or are refused with a reason.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/enhanced.rs"]
mod enhanced;
#[path = "support/flv.rs"]
mod flv;
#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/viewer.rs"]
mod viewer;

use std::{
    collections::HashSet,
    io::Write,
    process::Command,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use fragments::{AUDIO, VIDEO};
use ingest::packager::{Broadcast, FirstNumbers, MediaRefusal, Packager, PackagerConfig, Tag, TagKind};
use proptest::prelude::*;
use uuid::Uuid;
use viewer::{Viewer, config};

const SOURCE: &str = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=5 \
    -f lavfi -i sine=frequency=440:sample_rate=48000:duration=5 -c:a aac -ac 2 -b:a 96k";
const LIBAOM: &str = "-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 300k -g 30 -pix_fmt yuv420p";
const SVT: &str = "-c:v libsvtav1 -preset 12 -g 30 -pix_fmt yuv420p10le";
const X265: &str = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -tag:v hvc1 -x265-params \
    log-level=error:keyint=30:min-keyint=30:scenecut=0";

static AV1: LazyLock<Vec<Tag>> = LazyLock::new(|| enhanced::encode(&format!("{SOURCE} {LIBAOM}")));
static HEVC: LazyLock<Vec<Tag>> = LazyLock::new(|| enhanced::encode(&format!("{SOURCE} {X265}:bframes=2")));

fn with_ladder() -> PackagerConfig {
    PackagerConfig { takes_hevc: true, ..config() }
}

async fn watched(tags: &[Tag]) -> Viewer {
    let mut viewer = Viewer::new(with_ladder()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, tags).await;
    packager.finish();
    viewer.look().await;
    viewer
}

fn push_all(tags: &[Tag], config: PackagerConfig) -> Result<Packager, MediaRefusal> {
    let mut packager = Packager::new(Broadcast::new(Uuid::now_v7().into(), config, FirstNumbers::default()));
    for tag in tags {
        packager.push(tag.clone())?;
    }
    Ok(packager)
}

/// How many pictures ffprobe decodes.
fn decoded_pictures(init: &[u8], media: &[u8]) -> usize {
    let mut file = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
    file.write_all(init).unwrap();
    file.write_all(media).unwrap();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(file.path())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().unwrap()
}

/// Everything comes out, decodes, and is announced as this codec.
async fn comes_out(tags: &[Tag], codec: &str) -> Viewer {
    let viewer = watched(tags).await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 1);
    assert_eq!(fragments::track(&epochs[0].1, VIDEO).len(), enhanced::pictures(tags));
    assert!(!fragments::track(&epochs[0].1, AUDIO).is_empty());
    let (init, media) = &viewer.source.epochs()[0];
    assert_eq!(decoded_pictures(init, media), enhanced::pictures(tags));
    let (_, _, master) = viewer.get(&viewer.path("index.m3u8")).await;
    let master = String::from_utf8(master.to_vec()).unwrap();
    assert!(master.contains(&format!("CODECS=\"{codec},mp4a.40.2\"")), "{master}");
    assert!(master.contains("RESOLUTION=320x180"), "{master}");
    viewer
}

#[tokio::test]
async fn av1_of_libaom_is_passed_through() {
    assert_eq!(enhanced::pictures(&AV1), 150);
    comes_out(&AV1, "av01.0.00M.08").await;
}

#[tokio::test]
async fn av1_of_svt_with_ten_bits_is_passed_through() {
    // It reorders, and says so within its units.
    let tags = enhanced::encode(&format!("{SOURCE} {SVT}"));
    comes_out(&tags, "av01.0.00M.10").await;
}

#[tokio::test]
async fn hevc_with_reordered_pictures_is_passed_through() {
    let compositions: HashSet<&[u8]> = HEVC
        .iter()
        .filter(|tag| tag.kind == TagKind::Video && tag.body[0] & 0x0f == enhanced::CODED_FRAMES)
        .map(|tag| &tag.body[5..8])
        .collect();
    assert!(compositions.len() > 1, "nothing is reordered");
    comes_out(&HEVC, "hvc1.1.6.L60.90").await;
}

#[tokio::test]
async fn temporal_delimiters_are_taken_out() {
    let delimited: Vec<Tag> = AV1
        .iter()
        .map(|tag| match tag.kind == TagKind::Video && tag.body[0] & 0x0f == enhanced::CODED_FRAMES {
            true => Tag { body: [&tag.body[..5], &[0x12, 0], &tag.body[5..]].concat().into(), ..tag.clone() },
            false => tag.clone(),
        })
        .collect();
    let viewer = comes_out(&delimited, "av01.0.00M.08").await;
    let plain = watched(&AV1).await;
    assert_eq!(viewer.source.epochs(), plain.source.epochs());
}

#[tokio::test]
async fn another_codec_in_mid_stream_is_a_discontinuity() {
    let h264 = flv::encode(&format!("{SOURCE} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30"));
    let shifted = |tags: &[Tag], by_ms: u32| -> Vec<Tag> {
        tags.iter().map(|tag| Tag { timestamp_ms: tag.timestamp_ms + by_ms, ..tag.clone() }).collect()
    };
    let tags = [h264, shifted(&AV1, 5_000), shifted(&HEVC, 10_000)].concat();
    let viewer = watched(&tags).await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 3);
    for ((init, _), name) in epochs.iter().zip([b"avc1", b"av01", b"hvc1"]) {
        assert!(init.windows(4).any(|bytes| bytes == name), "{}", name.escape_ascii());
    }
    let pictures: Vec<usize> = epochs.iter().map(|(_, runs)| fragments::track(runs, VIDEO).len()).collect();
    assert_eq!(pictures, [150, 150, 150]);
}

#[test]
fn hevc_is_refused_where_nobody_makes_anything_else_of_it() {
    let refusal = push_all(&HEVC, config()).unwrap_err();
    assert_eq!(refusal, MediaRefusal::HevcNotTranscoded);
    assert!(refusal.to_string().contains("choose H.264 (x264 in OBS) or AV1"), "{refusal}");
    assert!(push_all(&HEVC, with_ladder()).is_ok());
}

#[test]
fn what_browsers_cannot_play_is_refused_by_name() {
    let full = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=1 -pix_fmt yuv444p";
    for encoder in [LIBAOM, X265] {
        let encoder = encoder.replace("-pix_fmt yuv420p", "");
        let refusal = push_all(&enhanced::encode(&format!("{full} {encoder}")), with_ladder()).unwrap_err();
        assert_eq!(refusal, MediaRefusal::VideoFormatUnsupported { format: "4:4:4".to_owned() }, "{encoder}");
    }
}

#[test]
fn malformed_configurations_are_refused_with_their_reason() {
    for (tags, fourcc) in [(&*AV1, b"av01"), (&*HEVC, b"hvc1")] {
        let whole = enhanced::configuration(tags);
        for length in 0..whole.len() {
            let cut = enhanced::video(fourcc, enhanced::SEQUENCE_START, true, 0, &whole[..length]);
            let refusal = push_all(&[cut], with_ladder()).unwrap_err();
            assert_eq!(refusal.code(), "malformed_video_config", "{length} of {}", fourcc.escape_ascii());
            assert!(refusal.to_string().contains("is malformed ("), "{refusal}");
        }
    }
}

#[test]
fn broken_pictures_are_dropped_and_at_last_refused() {
    for (tags, fourcc) in [(&*AV1, b"av01"), (&*HEVC, b"hvc1")] {
        let mut broken = tags[..2].to_vec();
        broken.sort_by_key(|tag| tag.kind == TagKind::Audio);
        for time_ms in 0..60 {
            broken.push(enhanced::video(fourcc, enhanced::CODED_FRAMES_X, true, time_ms * 33, &[0x32, 0x7f, 1, 2, 3]));
        }
        let refusal = push_all(&broken, with_ladder()).unwrap_err();
        assert_eq!(refusal, MediaRefusal::MalformedMedia { reason: "broken pictures" });
        // Pictures of a codec that was never announced are no better.
        let other = if fourcc == b"av01" { b"hvc1" } else { b"av01" };
        let strange: Vec<Tag> = broken
            .iter()
            .map(|tag| match tag.kind == TagKind::Video && tag.body[0] & 0x0f != enhanced::SEQUENCE_START {
                true => Tag { body: [&tag.body[..1], other, &tag.body[5..]].concat().into(), ..tag.clone() },
                false => tag.clone(),
            })
            .collect();
        assert_eq!(push_all(&strange, with_ladder()).unwrap_err().code(), "malformed_media");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes after a good beginning, the packager says yes or why not.
    #[test]
    fn no_tag_makes_it_panic(
        is_hevc in any::<bool>(),
        changes in proptest::collection::vec((0..200_usize, 0..4_000_usize, any::<u8>()), 1..30),
    ) {
        let mut tags = if is_hevc { HEVC.clone() } else { AV1.clone() };
        for (tag, at, byte) in changes {
            let Some(tag) = tags.get_mut(tag) else { continue };
            let mut body = tag.body.to_vec();
            let length = body.len();
            body[at % length] = byte;
            tag.body = Bytes::from(body);
        }
        if let Err(refusal) = push_all(&tags, with_ladder()) {
            prop_assert!(!refusal.to_string().is_empty());
        }
    }
}
