//! Encoders that misbehave: each is refused with a reason, or survived with playlists that keep their rules.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/flv.rs"]
mod flv;
#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/viewer.rs"]
mod viewer;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use fragments::{AUDIO, VIDEO};
use ingest::packager::{Broadcast, FirstNumbers, MediaRefusal, Packager, PackagerConfig, Progress, Tag, TagKind};
use proptest::prelude::*;
use uuid::Uuid;
use viewer::{Viewer, config};

const X264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -keyint_min 60 -sc_threshold 0";

/// Eight seconds of picture and sound, key frames every two.
static SOURCE: LazyLock<Vec<Tag>> = LazyLock::new(|| {
    flv::encode(&format!(
        "-f lavfi -i testsrc2=size=320x180:rate=30:duration=8 \
         -f lavfi -i sine=frequency=440:sample_rate=48000:duration=8 {X264} -bf 2 -c:a aac -ac 2 -b:a 96k"
    ))
});

fn shifted(tags: &[Tag], by_ms: u32) -> Vec<Tag> {
    let shift = |tag: &Tag| Tag { timestamp_ms: tag.timestamp_ms.wrapping_add(by_ms), ..tag.clone() };
    tags.iter().map(shift).collect()
}

fn is_config(tag: &Tag) -> bool {
    tag.body.get(1) == Some(&0)
}

fn is_media(tag: &Tag, kind: TagKind) -> bool {
    tag.kind == kind && tag.body.get(1) == Some(&1)
}

/// Pushes until a refusal.
fn push_all(tags: &[Tag]) -> Result<Packager, MediaRefusal> {
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config(), FirstNumbers::default());
    let mut packager = Packager::new(broadcast);
    for tag in tags {
        packager.push(tag.clone())?;
    }
    Ok(packager)
}

#[track_caller]
fn refusal_of(tags: &[Tag]) -> MediaRefusal {
    let refusal = push_all(tags).unwrap_err();
    assert!(!refusal.to_string().is_empty());
    refusal
}

async fn watched(tags: &[Tag]) -> Viewer {
    let mut viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, tags).await;
    packager.finish();
    viewer.look().await;
    viewer
}

#[test]
fn what_cannot_be_played_is_refused_by_name() {
    let picture = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=1";
    let tone = "-f lavfi -i sine=duration=1";
    let refused = |arguments: &str| refusal_of(&flv::encode(arguments));
    let refusal = refused(&format!("{picture} {tone} {X264} -c:a libmp3lame"));
    assert_eq!(refusal, MediaRefusal::AudioCodecUnsupported { codec: "MP3".to_owned() });
    let refusal = refused(&format!("{picture} -c:v flv"));
    assert_eq!(refusal, MediaRefusal::VideoCodecUnsupported { codec: "Sorenson H.263".to_owned() });
    let refusal = refused(&format!("{picture} -c:v libx264 -pix_fmt yuv444p"));
    assert_eq!(refusal, MediaRefusal::VideoFormatUnsupported { format: "4:4:4".to_owned() });
    let hevc = Tag { kind: TagKind::Video, timestamp_ms: 0, body: Bytes::from_static(b"\x90hvc1\x01\x01") };
    let refusal = refusal_of(&[hevc]);
    assert_eq!(refusal, MediaRefusal::HevcNotTranscoded);
    assert!(refusal.to_string().ends_with("choose H.264 (x264 in OBS) or AV1 as the video encoder"), "{refusal}");
}

#[test]
fn a_picture_that_was_announced_and_does_not_come_is_refused_after_a_time() {
    let tags = flv::encode(&format!(
        "-f lavfi -i testsrc2=size=320x180:rate=10:duration=14 -f lavfi -i sine=duration=14 {X264} -c:a aac"
    ));
    let is_picture = |tag: &Tag| tag.kind == TagKind::Video && !is_config(tag);
    let without: Vec<Tag> = tags.into_iter().filter(|tag| !is_picture(tag)).collect();
    assert_eq!(refusal_of(&without), MediaRefusal::NoVideo);
    let before: Vec<Tag> = without.into_iter().filter(|tag| tag.timestamp_ms < 9_000).collect();
    assert!(push_all(&before).is_ok());
}

#[test]
fn sound_whose_configuration_never_comes_is_refused_after_a_time() {
    let tags = flv::encode("-f lavfi -i sine=duration=14 -c:a aac");
    let without: Vec<Tag> = tags.into_iter().filter(|tag| tag.body[1] != 0).collect();
    assert_eq!(refusal_of(&without), MediaRefusal::NoVideo);
}

#[test]
fn pictures_without_a_key_frame_are_refused_after_a_time() {
    let tags = flv::encode(&format!("-f lavfi -i testsrc2=size=320x180:rate=10:duration=30 {X264} -g 999 -an"));
    let without: Vec<Tag> = tags.into_iter().filter(|tag| is_config(tag) || tag.body[0] != 0x17).collect();
    assert_eq!(refusal_of(&without), MediaRefusal::NoKeyFrame);
}

#[test]
fn a_clock_that_stands_still_is_refused() {
    let still = |tags: &[Tag]| -> Vec<Tag> { tags.iter().map(|tag| Tag { timestamp_ms: 7, ..tag.clone() }).collect() };
    let mut tags = still(&SOURCE);
    tags.extend(still(&SOURCE));
    assert_eq!(refusal_of(&tags), MediaRefusal::ErraticTimestamps);
    // Sound alone, for ever at the same time.
    let sound: Vec<Tag> = SOURCE.iter().filter(|tag| tag.kind == TagKind::Audio).cloned().collect();
    let many: Vec<Tag> = still(&sound).into_iter().cycle().take(20_000).collect();
    assert_eq!(refusal_of(&many), MediaRefusal::NoVideo);
}

#[test]
fn a_clock_that_jumps_without_end_is_refused() {
    let tags: Vec<Tag> =
        (0..40_u32).flat_map(|round| shifted(&SOURCE[..30], round.wrapping_mul(900_000_000))).collect();
    assert_eq!(refusal_of(&tags), MediaRefusal::ErraticTimestamps);
}

#[test]
fn garbage_configurations_are_refused() {
    let config = |kind, body: &'static [u8]| [Tag { kind, timestamp_ms: 0, body: Bytes::from_static(body) }];
    for body in [&[0x17, 0][..], &[0x17, 0, 0, 0, 0], &[0x17, 0, 0, 0, 0, 1, 100, 0, 40, 255, 225, 0, 4, 0x67, 1, 2, 3]]
    {
        assert_eq!(refusal_of(&config(TagKind::Video, body)).code(), "malformed_video_config", "{body:?}");
    }
    assert_eq!(refusal_of(&config(TagKind::Audio, &[0xaf, 0])).code(), "malformed_audio_config");
    assert_eq!(refusal_of(&config(TagKind::Audio, &[0xaf, 0, 0x0a, 0x10])).code(), "audio_format_unsupported");
}

#[test]
fn a_bit_rate_beyond_measure_is_refused() {
    let mut tags: Vec<Tag> = SOURCE.iter().filter(|tag| is_config(tag)).cloned().collect();
    let mut body = vec![0x17, 1, 0, 0, 0];
    body.extend_from_slice(&4_000_000_u32.to_be_bytes());
    body.resize(5 + 4 + 4_000_000, 0x65);
    let body = Bytes::from(body);
    tags.extend((0..100).map(|frame| Tag { kind: TagKind::Video, timestamp_ms: frame * 33, body: body.clone() }));
    assert_eq!(refusal_of(&tags), MediaRefusal::BitrateTooHigh { max_mbps: 100 });
}

/// So many seconds of pictures at 30 a second, a key frame every second.
fn of_bit_rate(mbps: u32, seconds: u32) -> Vec<Tag> {
    let mut tags: Vec<Tag> = SOURCE.iter().filter(|tag| is_config(tag)).cloned().collect();
    let size = mbps * 1_000_000 / 8 / 30;
    let bodies = [(0x17, 0x65), (0x27, 0x41)].map(|(tag, slice)| {
        let mut body = vec![tag, 1, 0, 0, 0];
        body.extend_from_slice(&size.to_be_bytes());
        body.resize(5 + 4 + size as usize, slice);
        Bytes::from(body)
    });
    let body = |frame: u32| bodies[usize::from(!frame.is_multiple_of(30))].clone();
    tags.extend((0..30 * seconds).map(|frame| Tag {
        kind: TagKind::Video,
        timestamp_ms: frame * 1_000 / 30,
        body: body(frame),
    }));
    tags
}

#[test]
fn what_is_refused_is_the_bit_rate_and_not_the_length_of_segments() {
    // Also where segments are shorter than they may be, and end before they have the bytes of a long one.
    assert_eq!(refusal_of(&of_bit_rate(200, 20)), MediaRefusal::BitrateTooHigh { max_mbps: 100 });
}

#[tokio::test]
async fn a_hundred_megabits_a_second_are_taken_in_and_keep_to_their_bytes() {
    let window_bytes = 64_000_000;
    let mut viewer = Viewer::new(PackagerConfig { window_bytes, ..config() }).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &of_bit_rate(100, 20)).await;
    let mut kept = 0;
    for (uri, ..) in viewer.segments.clone() {
        let (status, _, bytes) = viewer.get(&viewer.path(&format!("source/{uri}"))).await;
        kept += if status.is_success() { bytes.len() } else { 0 };
    }
    assert!(kept > window_bytes / 2 && kept <= window_bytes, "{kept}");
}

#[test]
fn a_file_pushed_at_full_speed_is_refused() {
    let broadcast = Broadcast::new(Uuid::now_v7().into(), PackagerConfig::default(), FirstNumbers::default());
    let mut packager = Packager::new(broadcast);
    let refusal =
        (0..20_u32).flat_map(|round| shifted(&SOURCE, round * 8_000)).find_map(|tag| packager.push(tag).err());
    assert_eq!(refusal, Some(MediaRefusal::FasterThanRealTime));
}

#[test]
fn a_picture_that_stops_is_refused_after_a_time() {
    let mut tags: Vec<Tag> = SOURCE.clone();
    let sound: Vec<Tag> = SOURCE.iter().filter(|tag| is_media(tag, TagKind::Audio)).cloned().collect();
    for round in 1..6 {
        tags.extend(shifted(&sound, round * 8_000));
    }
    assert_eq!(refusal_of(&tags), MediaRefusal::VideoStopped);
}

#[test]
fn a_packager_takes_nothing_more_after_its_end() {
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config(), FirstNumbers::default());
    let mut packager = Packager::new(Arc::clone(&broadcast));
    packager.push(SOURCE[0].clone()).unwrap();
    packager.finish();
    assert_eq!(packager.push(SOURCE[0].clone()), Err(MediaRefusal::Ended));
    let mut packager = Packager::new(Arc::clone(&broadcast));
    packager.push(SOURCE[0].clone()).unwrap();
    broadcast.end();
    assert_eq!(packager.push(SOURCE[0].clone()), Err(MediaRefusal::Ended));
    assert_eq!(Packager::new(broadcast).push(SOURCE[0].clone()), Err(MediaRefusal::Ended));
}

#[tokio::test]
async fn times_that_wrap_go_on() {
    let viewer = watched(&shifted(&SOURCE, u32::MAX - 3_000)).await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 1);
    assert_eq!(fragments::track(&epochs[0].1, VIDEO).len(), 240);
}

#[tokio::test]
async fn a_jump_of_the_clock_is_a_discontinuity() {
    for by_ms in [86_400_000, 2_u32.pow(31) + 5, 0_u32.wrapping_sub(3_600_000), 20_000] {
        let mut tags = SOURCE.clone();
        tags.extend(shifted(&SOURCE, by_ms.wrapping_add(8_000)).into_iter().filter(|tag| !is_config(tag)));
        let viewer = watched(&tags).await;
        let epochs = viewer.assert_flawless();
        assert_eq!(epochs.len(), 2, "{by_ms}");
        for (_, runs) in &epochs {
            assert_eq!(fragments::track(runs, VIDEO).len(), 240, "{by_ms}");
        }
    }
}

/// The pictures from this time on come so much later, and the sound, if there is any, goes on meanwhile.
fn with_a_picture_that_stays(from_ms: u32, by_ms: u32, has_sound: bool) -> Vec<Tag> {
    let is_later = |tag: &Tag| is_media(tag, TagKind::Video) && tag.timestamp_ms >= from_ms;
    let (later, mut tags): (Vec<Tag>, Vec<Tag>) = SOURCE.iter().cloned().partition(is_later);
    tags.extend(shifted(&later, by_ms));
    let is_sound = |tag: &Tag| is_media(tag, TagKind::Audio);
    let sound: Vec<Tag> = SOURCE.iter().filter(|tag| is_sound(tag)).cloned().collect();
    // As long again.
    tags.extend(shifted(&sound, 8_000));
    tags.retain(|tag| tag.kind == TagKind::Video || has_sound);
    tags.sort_by_key(|tag| (!is_config(tag), tag.timestamp_ms));
    tags.retain(|tag| tag.timestamp_ms < 8_000 + by_ms);
    tags
}

#[tokio::test]
async fn a_picture_that_stays_is_packaged_whole_and_the_sound_with_it() {
    // In the middle of a group, in its first one, and just before a key frame.
    for (from_ms, by_ms) in [(2_600, 2_500), (900, 3_000), (3_990, 4_999), (5_000, 7_900), (30, 7_000)] {
        for has_sound in [true, false] {
            let tags = with_a_picture_that_stays(from_ms, by_ms, has_sound);
            let viewer = watched(&tags).await;
            let epochs = viewer.assert_flawless();
            assert_eq!(epochs.len(), 1, "{from_ms} {by_ms}: there is no discontinuity");
            let pictures = fragments::track(&epochs[0].1, VIDEO);
            let sent = flv::pictures(&tags);
            assert_eq!((pictures.len(), sent.len()), (240, 240), "{from_ms} {by_ms}: no picture is lost");
            for ((time, sample), (sent_ms, composition_ms, data)) in pictures.iter().zip(&sent) {
                assert_eq!((time - pictures[0].0) as i64, (sent_ms - sent[0].0) * 90);
                assert!(sample.composition == composition_ms * 90 && sample.data == *data);
            }
            let sound = fragments::track(&epochs[0].1, AUDIO);
            let silent = sound.iter().filter(|(_, sample)| sample.data.len() < 10).count();
            assert_eq!(silent, 0, "{from_ms} {by_ms}: no silence is put in");
            let lasts_ms = sound.last().map_or(0, |(time, _)| (time - sound[0].0) / 48);
            let whole_ms = if has_sound { u64::from(8_000 + by_ms) } else { 0 };
            assert!(lasts_ms.abs_diff(whole_ms) < 200, "{from_ms} {by_ms}: {lasts_ms} ms of sound");
        }
    }
}

#[tokio::test]
async fn a_first_picture_that_stays_makes_segments_as_long_as_they_may_be() {
    let viewer = watched(&with_a_picture_that_stays(1_000, 7_500, true)).await;
    viewer.assert_flawless();
    let last = viewer.playlists.last().unwrap();
    assert_eq!(last.target_duration_s, 4);
    assert!(viewer.segments.len() <= 6, "{} segments", viewer.segments.len());
}

#[test]
fn a_picture_that_stays_for_too_long_is_refused_and_nothing_is_lost_in_silence() {
    for (by_ms, has_sound) in [(8_200, true), (8_200, false), (12_000, false), (40_000, false)] {
        let refusal = refusal_of(&with_a_picture_that_stays(2_600, by_ms, has_sound));
        assert_eq!(refusal, MediaRefusal::VideoStopped, "{by_ms} {has_sound}");
        assert!(refusal.to_string().contains("for 8 s: set the encoder to a constant frame rate"), "{refusal}");
    }
}

#[tokio::test]
async fn a_hole_that_ends_with_a_key_frame_is_a_discontinuity_and_loses_nothing() {
    // Without reordering, so that a key frame is the first after the hole in decode order, too.
    let tags = flv::encode(&format!("-f lavfi -i testsrc2=size=320x180:rate=30:duration=8 {X264} -bf 0 -an"));
    for by_ms in [9_000, 30_000] {
        let (mut before, after): (Vec<Tag>, Vec<Tag>) =
            tags.iter().cloned().partition(|tag| tag.timestamp_ms < 4_000 || is_config(tag));
        before.extend(shifted(&after, by_ms));
        let epochs = watched(&before).await.assert_flawless();
        let pictures: Vec<usize> = epochs.iter().map(|(_, runs)| fragments::track(runs, VIDEO).len()).collect();
        assert_eq!(pictures, [120, 120], "{by_ms}");
    }
}

#[tokio::test]
async fn a_short_stall_of_the_picture_leaves_parts_with_sound() {
    let is_hole = |tag: &Tag| is_media(tag, TagKind::Video) && (2_600..4_000).contains(&tag.timestamp_ms);
    let tags: Vec<Tag> = SOURCE.iter().filter(|tag| !is_hole(tag)).cloned().collect();
    let viewer = watched(&tags).await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 1);
    let part_target_ms = viewer.playlists[0].part_target_ms.unwrap();
    assert!(part_target_ms < 510, "{part_target_ms}");
}

#[tokio::test]
async fn a_short_stall_without_sound_is_survived() {
    let (before, after): (Vec<Tag>, Vec<Tag>) = SOURCE
        .iter()
        .filter(|tag| tag.kind == TagKind::Video)
        .cloned()
        .partition(|tag| tag.timestamp_ms < 2_600 || is_config(tag));
    for stall_ms in [300, 700, 900, 1_400, 2_300] {
        let mut tags = before.clone();
        tags.extend(shifted(&after, stall_ms));
        let viewer = watched(&tags).await;
        assert_eq!(viewer.assert_flawless().len(), 1, "{stall_ms}");
    }
}

#[tokio::test]
async fn a_first_picture_that_stays_and_sound_that_begins_under_it() {
    let is_hole = |tag: &Tag| match tag.kind {
        TagKind::Video => is_media(tag, TagKind::Video) && (30..1_990).contains(&tag.timestamp_ms),
        TagKind::Audio => is_media(tag, TagKind::Audio) && tag.timestamp_ms < 1_500,
    };
    let tags: Vec<Tag> = SOURCE.iter().filter(|tag| !is_hole(tag)).cloned().collect();
    let viewer = watched(&tags).await;
    assert_eq!(viewer.assert_flawless().len(), 1);
}

#[tokio::test]
async fn a_new_resolution_in_mid_stream_is_a_discontinuity() {
    let large = flv::encode(&format!(
        "-f lavfi -i testsrc2=size=640x360:rate=30:duration=4 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=4 \
         {X264} -bf 2 -c:a aac -ac 2"
    ));
    let mut tags = SOURCE.clone();
    tags.extend(shifted(&large, 8_000));
    let viewer = watched(&tags).await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 2);
    assert_eq!(fragments::track(&epochs[1].1, VIDEO).len(), 120);
}

#[tokio::test]
async fn a_repeated_configuration_changes_nothing() {
    let mut tags = Vec::new();
    for (index, tag) in SOURCE.iter().enumerate() {
        tags.push(tag.clone());
        if index % 50 == 0 {
            tags.extend(SOURCE.iter().filter(|tag| is_config(tag)).cloned());
        }
    }
    let epochs = watched(&tags).await.assert_flawless();
    assert_eq!(epochs.len(), 1);
    assert_eq!(fragments::track(&epochs[0].1, VIDEO).len(), 240);
}

#[tokio::test]
async fn sound_that_stops_is_silence_and_may_come_back() {
    let is_hole = |tag: &Tag| is_media(tag, TagKind::Audio) && (2_300..6_100).contains(&tag.timestamp_ms);
    let tags: Vec<Tag> = SOURCE.iter().filter(|tag| !is_hole(tag)).cloned().collect();
    let viewer = watched(&tags).await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 1);
    let sound = fragments::track(&epochs[0].1, AUDIO);
    let silent = sound.iter().filter(|(_, sample)| sample.data.len() < 10).count();
    assert!((165..=190).contains(&silent), "{silent} silent frames");
}

#[tokio::test]
async fn sound_that_stops_for_good_is_silence_to_the_end() {
    let is_hole = |tag: &Tag| is_media(tag, TagKind::Audio) && tag.timestamp_ms >= 3_000;
    let tags: Vec<Tag> = SOURCE.iter().filter(|tag| !is_hole(tag)).cloned().collect();
    let epochs = watched(&tags).await.assert_flawless();
    let end_ms = fragments::track(&epochs[0].1, AUDIO).last().unwrap().0 * 1_000 / 48_000;
    let begin_ms = fragments::track(&epochs[0].1, VIDEO)[0].0 / 90;
    assert!(end_ms - begin_ms > 7_900, "{}", end_ms - begin_ms);
}

#[tokio::test]
async fn mono_silence_decodes_too() {
    let mono = flv::encode(&format!(
        "-f lavfi -i testsrc2=size=320x180:rate=30:duration=6 -f lavfi -i sine=frequency=440:sample_rate=44100:duration=6 \
         {X264} -c:a aac -ac 1"
    ));
    let is_hole = |tag: &Tag| is_media(tag, TagKind::Audio) && tag.timestamp_ms >= 2_000;
    let tags: Vec<Tag> = mono.into_iter().filter(|tag| !is_hole(tag)).collect();
    watched(&tags).await.assert_flawless();
}

#[tokio::test]
async fn sound_that_comes_late_gets_its_track_at_a_key_frame() {
    let is_early = |tag: &Tag| tag.kind == TagKind::Audio && tag.timestamp_ms < 3_000;
    let config = SOURCE.iter().find(|tag| tag.kind == TagKind::Audio && is_config(tag)).unwrap();
    // Announced at the start, and announced only when it comes.
    for is_announced in [true, false] {
        let mut tags = Vec::new();
        tags.extend(is_announced.then(|| config.clone()));
        let (early, late): (Vec<Tag>, Vec<Tag>) = SOURCE.iter().cloned().partition(|tag| tag.timestamp_ms < 3_000);
        tags.extend(early.into_iter().filter(|tag| !is_early(tag)));
        tags.extend((!is_announced).then(|| config.clone()));
        tags.extend(late);
        let viewer = watched(&tags).await;
        let epochs = viewer.assert_flawless();
        assert_eq!(epochs.len(), 2);
        assert!(fragments::track(&epochs[0].1, AUDIO).is_empty());
        assert_eq!(fragments::timescales(&epochs[0].0).len(), 1);
        assert!(fragments::track(&epochs[1].1, AUDIO).len() > 150);
        let videos: usize = epochs.iter().map(|(_, runs)| fragments::track(runs, VIDEO).len()).sum();
        assert_eq!(videos, 240, "no picture is lost");
    }
}

#[tokio::test]
async fn empty_and_broken_messages_are_skipped() {
    let mut tags = Vec::new();
    for (index, tag) in SOURCE.iter().enumerate() {
        tags.push(tag.clone());
        let broken: &'static [u8] =
            [&[][..], &[0x27, 1, 0, 0, 0], &[0x27, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1], &[0x57, 0]][index % 4];
        tags.push(Tag { kind: TagKind::Video, timestamp_ms: tag.timestamp_ms, body: Bytes::from_static(broken) });
        let broken: &'static [u8] = [&[][..], &[0xaf], &[0xaf, 1], &[0xaf, 7, 1]][index % 4];
        tags.push(Tag { kind: TagKind::Audio, timestamp_ms: tag.timestamp_ms, body: Bytes::from_static(broken) });
    }
    let epochs = watched(&tags).await.assert_flawless();
    assert_eq!(fragments::track(&epochs[0].1, VIDEO).len(), 240);
    let broken = Tag { kind: TagKind::Video, timestamp_ms: 0, body: Bytes::from_static(&[0x27, 1, 0, 0, 0, 1]) };
    let mut tags = SOURCE[..20].to_vec();
    tags.extend(std::iter::repeat_n(broken, 100));
    assert_eq!(refusal_of(&tags).code(), "malformed_media");
}

#[tokio::test]
async fn the_window_keeps_to_its_bytes() {
    let window_bytes = 700_000;
    let mut viewer = Viewer::new(PackagerConfig { window_bytes, ..config() }).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    for round in 0..6 {
        viewer.watch(&mut packager, &shifted(&SOURCE, round * 8_000)).await;
        let mut kept = 0;
        for (uri, ..) in viewer.segments.clone() {
            let (status, _, bytes) = viewer.get(&viewer.path(&format!("source/{uri}"))).await;
            kept += if status.is_success() { bytes.len() } else { 0 };
        }
        assert!(kept <= window_bytes, "{kept}");
    }
    assert!(viewer.playlists.last().unwrap().media_sequence > 15);
}

#[tokio::test]
async fn the_window_slides_by_time_and_keeps_what_was_just_listed() {
    let mut viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    for round in 0..8 {
        viewer.watch(&mut packager, &shifted(&SOURCE, round * 8_000)).await;
    }
    assert!(viewer.findings.is_empty(), "{}", viewer.findings[0]);
    let last = viewer.playlists.last().unwrap();
    let listed_ms: u64 = last.complete().map(playlist::Segment::length_ms).sum();
    assert!((12_000..=14_100).contains(&listed_ms), "{listed_ms}");
    let status = |number: u64| {
        let path = viewer.path(&format!("source/s{number}.m4s"));
        let viewer = &viewer;
        async move { viewer.get(&path).await.0.as_u16() }
    };
    assert_eq!(status(last.media_sequence - 1).await, 200);
    assert_eq!(status(last.media_sequence - 6).await, 200);
    assert_eq!(status(0).await, 404);
}

/// What may happen to a message on its way.
#[derive(Clone, Debug)]
enum Mishap {
    Drop,
    Repeat,
    Shift(u32),
    Flip(usize, u8),
    Cut(usize),
    Swap,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        3 => Just(Mishap::Drop),
        2 => Just(Mishap::Repeat),
        3 => (0_u32..6_000).prop_map(Mishap::Shift),
        1 => any::<u32>().prop_map(Mishap::Shift),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, bits)| Mishap::Flip(at % 64, bits)),
        2 => any::<usize>().prop_map(Mishap::Cut),
        2 => Just(Mishap::Swap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a stream: no panic, and playlists that parse, never go back and never change.
    #[test]
    fn no_mishap_breaks_a_broadcast(mishaps in proptest::collection::vec((0_usize..500, mishap()), 0..60)) {
        let mut tags = SOURCE.clone();
        for (at, mishap) in mishaps {
            let at = at % tags.len();
            match mishap {
                Mishap::Drop => { tags.remove(at); }
                Mishap::Repeat => { let tag = tags[at].clone(); tags.insert(at, tag); }
                Mishap::Shift(by_ms) => { tags[at].timestamp_ms = tags[at].timestamp_ms.wrapping_add(by_ms); }
                Mishap::Flip(index, bits) => {
                    let mut body = tags[at].body.to_vec();
                    if let Some(byte) = body.get_mut(index) { *byte ^= bits; }
                    tags[at].body = body.into();
                }
                Mishap::Cut(length) => { let length = length % (tags[at].body.len() + 1); tags[at].body.truncate(length); }
                Mishap::Swap => { let last = tags.len() - 1; tags.swap(at, (at + 1).min(last)); }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let findings = runtime.block_on(async {
            let mut viewer = Viewer::new(config()).await;
            let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
            for (index, tag) in tags.iter().enumerate() {
                if packager.push(tag.clone()).is_err() {
                    break;
                }
                if index % 20 == 0 {
                    viewer.look().await;
                }
            }
            packager.finish();
            viewer.look().await;
            for (_, media) in viewer.epochs() {
                viewer.findings.extend(fragments::findings(&fragments::runs(&media)));
            }
            viewer.source.findings
        });
        prop_assert!(findings.is_empty(), "{}", findings[0]);
    }

    /// Bytes out of nowhere.
    #[test]
    fn no_message_makes_a_packager_panic(
        messages in proptest::collection::vec((any::<bool>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..200),
    ) {
        let broadcast = Broadcast::new(Uuid::now_v7().into(), config(), FirstNumbers::default());
        let mut packager = Packager::new(broadcast);
        for (is_video, timestamp_ms, body) in messages {
            let kind = if is_video { TagKind::Video } else { TagKind::Audio };
            if let Ok(progress) = packager.push(Tag { kind, timestamp_ms, body: body.into() }) {
                prop_assert_eq!(progress, Progress::Waiting);
            }
        }
    }
}
