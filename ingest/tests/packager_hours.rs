//! An hour of each kind of stream, faster than it plays: no gap, no drift, sound and picture always as far apart as at
//! the start, and no playlist on the way that breaks a rule.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/viewer.rs"]
mod viewer;

use std::{sync::Arc, time::Duration};

use fragments::{AUDIO, Run, VIDEO};
use ingest::packager::{Packager, PackagerConfig, Tag, TagKind};
use synthetic::{Encoder, MONO_44, STEREO_44, STEREO_48, Sent, Sound};
use viewer::{Viewer, config};

const HOUR_MS: u64 = 3_600_000;
/// A viewer looks so often where something begins or ends: each part is seen.
const LOOK_MS: u32 = 500;
/// So much of the beginning and of the end is looked at so often. Whatever joins does so in it.
const LOOK_OFTEN_MS: u32 = 120_000;
/// So often in between: each segment is seen, as none is in fewer than 12 s of playlists.
const LOOK_BETWEEN_MS: u32 = 3_000;

async fn watch_an_hour(encoder: &Encoder) -> Viewer {
    watch(encoder.tags(HOUR_MS, 0)).await
}

async fn watch(tags: Vec<Tag>) -> Viewer {
    let mut viewer = Viewer::new(config()).await;
    viewer.is_brief = true;
    push_all(&mut viewer, tags).await;
    viewer
}

async fn push_all(viewer: &mut Viewer, tags: Vec<Tag>) {
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    let mut next_look = 0;
    let between = LOOK_OFTEN_MS..tags.last().unwrap().timestamp_ms - LOOK_OFTEN_MS;
    for tag in tags {
        let time_ms = tag.timestamp_ms;
        packager.push(tag).unwrap();
        if time_ms >= next_look {
            viewer.look().await;
            next_look = time_ms + if between.contains(&time_ms) { LOOK_BETWEEN_MS } else { LOOK_MS };
        }
    }
    packager.finish();
    viewer.look().await;
}

/// The stream's epochs, as fragments whose times go on without a hole.
#[track_caller]
fn assert_gapless(viewer: &Viewer) -> Vec<Vec<Run>> {
    assert!(viewer.findings.is_empty(), "{} findings, first: {}", viewer.findings.len(), viewer.findings[0]);
    for pair in viewer.segments.windows(2) {
        assert_eq!(pair[0].2 + 1, pair[1].2, "the viewer missed a segment");
    }
    let read = |(_, media): (_, Vec<u8>)| fragments::runs(&media);
    let epochs: Vec<_> = viewer.epochs().into_iter().map(read).collect();
    for runs in &epochs {
        let findings = fragments::findings(runs);
        assert!(findings.is_empty(), "{findings:?}");
    }
    epochs
}

/// Every picture is there at its time. Returns where the encoder's time 0 is on the broadcast's timeline.
#[track_caller]
fn assert_pictures(runs: &[Run], sent: &[Sent]) -> i64 {
    let came: Vec<_> = fragments::samples(runs, VIDEO).collect();
    assert_eq!(came.len(), sent.len(), "pictures");
    let base = came[0].0 as i64 - sent[0].decode_ms as i64 * 90;
    for ((time, sample), sent) in came.iter().zip(sent) {
        assert_eq!(*time as i64 - base, sent.decode_ms as i64 * 90, "the decode time of {sent:?}");
        assert_eq!(sample.composition, sent.composition_ms as i64 * 90, "the composition time of {sent:?}");
        assert_eq!(sample.is_sync, sent.is_key);
        assert!(sample.data.ends_with(&sent.number.to_be_bytes()), "{sent:?} has other data");
    }
    base
}

/// Every frame of sound is there on the grid, as far from the encoder's time as the first, but for what rounding to
/// milliseconds makes.
#[track_caller]
fn assert_sound(runs: &[Run], sent_ms: &[u64], sample_rate: u64, base: i64) {
    let came: Vec<_> = fragments::samples(runs, AUDIO).collect();
    assert!(came.len() <= sent_ms.len() && came.len() + 8 >= sent_ms.len(), "{} of {}", came.len(), sent_ms.len());
    let mut offsets = came.iter().zip(sent_ms).map(|((time, sample), sent_ms)| {
        assert_eq!(sample.duration, 1_024);
        *time as i64 * 1_000_000 / sample_rate as i64 - base * 1_000 / 90 - *sent_ms as i64 * 1_000
    });
    let first = offsets.next().unwrap();
    let (least, most) = offsets.fold((first, first), |(least, most), offset| (least.min(offset), most.max(offset)));
    assert!(most - least <= 2_000, "sound and picture drift by {} us", most - least);
    assert!(least.abs() <= 2_000 && most.abs() <= 2_000, "sound is {least} to {most} us from the picture");
}

async fn check(encoder: Encoder) -> Viewer {
    let viewer = watch_an_hour(&encoder).await;
    let epochs = assert_gapless(&viewer);
    assert_eq!(epochs.len(), 1, "there is no discontinuity");
    let pictures = encoder.pictures(HOUR_MS);
    let base = assert_pictures(&epochs[0], &pictures);
    match encoder.sound {
        Some(sound) => {
            let begins_ms = pictures[0].composition_ms;
            let sounds: Vec<u64> = encoder.sounds(HOUR_MS).into_iter().filter(|ms| *ms >= begins_ms).collect();
            assert_sound(&epochs[0], &sounds, sound.sample_rate, base);
        }
        None => assert_eq!(fragments::samples(&epochs[0], AUDIO).count(), 0),
    }
    viewer
}

#[tokio::test]
async fn reordered_30_a_second_and_a_key_frame_every_2_s() {
    let viewer = check(Encoder { reordered: 2, ..Encoder::default() }).await;
    assert_eq!(viewer.playlists.last().unwrap().target_duration_s, 2);
}

#[tokio::test]
async fn not_reordered_24_a_second_and_a_key_frame_every_second() {
    check(Encoder { rate: (24, 1), group: 24, ..Encoder::default() }).await;
}

#[tokio::test]
async fn reordered_25_a_second_and_a_key_frame_every_4_s() {
    check(Encoder { rate: (25, 1), group: 100, reordered: 2, ..Encoder::default() }).await;
}

#[tokio::test]
async fn reordered_29_97_a_second_and_sound_of_44_1_khz() {
    check(Encoder { rate: (30_000, 1_001), reordered: 2, sound: Some(STEREO_44), ..Encoder::default() }).await;
}

#[tokio::test]
async fn not_reordered_50_a_second_and_a_key_frame_every_10_s() {
    let viewer = check(Encoder { rate: (50, 1), group: 500, ..Encoder::default() }).await;
    assert_eq!(viewer.playlists.last().unwrap().target_duration_s, 4);
}

#[tokio::test]
async fn reordered_60_a_second_and_a_key_frame_every_second() {
    check(Encoder { rate: (60, 1), group: 60, reordered: 2, ..Encoder::default() }).await;
}

#[tokio::test]
async fn reordered_with_a_key_frame_every_8_3_s_and_mono() {
    check(Encoder { group: 249, reordered: 2, sound: Some(MONO_44), ..Encoder::default() }).await;
}

#[tokio::test]
async fn a_variable_frame_rate() {
    check(Encoder { is_variable: true, reordered: 2, ..Encoder::default() }).await;
}

#[tokio::test]
async fn a_variable_frame_rate_without_sound() {
    check(Encoder { is_variable: true, sound: None, ..Encoder::default() }).await;
}

#[tokio::test]
async fn pictures_alone() {
    check(Encoder { rate: (30_000, 1_001), group: 120, reordered: 2, sound: None, ..Encoder::default() }).await;
}

/// Sound without a picture is broadcast once it is plain that none comes.
async fn check_sound_alone(sound: Sound) {
    let encoder = Encoder { sound: Some(sound), pictures_from_ms: None, ..Encoder::default() };
    let viewer = watch_an_hour(&encoder).await;
    let epochs = assert_gapless(&viewer);
    assert_eq!(epochs.len(), 1, "there is no discontinuity");
    assert_eq!(fragments::samples(&epochs[0], VIDEO).count(), 0);
    let sounds: Vec<u64> = encoder.sounds(HOUR_MS).into_iter().filter(|time_ms| *time_ms >= 2_000).collect();
    // The broadcast's timeline begins ten seconds in, with the first frame.
    let base = (10_000 - sounds[0] as i64) * 90;
    assert_sound(&epochs[0], &sounds, sound.sample_rate, base);
    let playlist = viewer.playlists.last().unwrap();
    assert_eq!(playlist.target_duration_s, 2);
    for segment in &playlist.segments[..playlist.segments.len() - 2] {
        assert!(segment.duration_ms.is_some_and(|length_ms| (1_900..=2_100).contains(&length_ms)), "{segment:?}");
        assert!(segment.parts.iter().all(|part| part.is_independent));
    }
    let master = String::from_utf8(viewer.get(&viewer.path("index.m3u8")).await.2.to_vec()).unwrap();
    assert_eq!(master.matches("#EXT-X-STREAM-INF").count(), 1, "{master}");
    assert!(master.contains(",CODECS=\"mp4a.40.2\"\nsource/index.m3u8") && !master.contains("RESOLUTION"), "{master}");
}

#[tokio::test]
async fn sound_alone() {
    check_sound_alone(STEREO_48).await;
}

#[tokio::test]
async fn sound_alone_of_44_1_khz_in_mono() {
    check_sound_alone(MONO_44).await;
}

#[tokio::test]
async fn frames_of_sound_that_are_longer_than_a_part_do_not_hold_the_packager_up() {
    // 1,024 samples at 8 kHz last 128 ms, and a part may have 105.
    let sound = Sound { sample_rate: 8_000, config: &[0x15, 0x90], from_ms: 0 };
    let encoder = Encoder { sound: Some(sound), pictures_from_ms: None, ..Encoder::default() };
    let mut viewer = Viewer::new(PackagerConfig { part_target_ms: 100, ..config() }).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    let (done, is_done) = tokio::sync::oneshot::channel();
    // In a thread that may be left behind: what it must not do is to go round for ever.
    std::thread::spawn(move || {
        for tag in encoder.tags(12_000, 0) {
            packager.push(tag).unwrap();
        }
        packager.finish();
        done.send(()).unwrap();
    });
    tokio::time::timeout(Duration::from_secs(120), is_done).await.expect("it comes to an end").unwrap();
    viewer.look().await;
    let epochs = assert_gapless(&viewer);
    // All that came after the two seconds in which a picture might have come.
    let came = fragments::samples(&epochs[0], AUDIO).count();
    assert!(came >= 70, "{came}");
}

#[tokio::test]
async fn a_picture_that_comes_late() {
    let encoder = Encoder { reordered: 2, pictures_from_ms: Some(30_000), ..Encoder::default() };
    let viewer = watch_an_hour(&encoder).await;
    let epochs = assert_gapless(&viewer);
    assert_eq!(epochs.len(), 2, "the picture begins after a discontinuity");
    assert_eq!(fragments::samples(&epochs[0], VIDEO).count(), 0);
    let before = fragments::samples(&epochs[0], AUDIO).count();
    assert!((1_310..=1_313).contains(&before), "28 s of sound, not {before} frames");
    let pictures: Vec<Sent> = encoder
        .pictures(HOUR_MS - 30_000)
        .into_iter()
        .map(|picture| Sent { decode_ms: picture.decode_ms + 30_000, ..picture })
        .collect();
    let base = assert_pictures(&epochs[1], &pictures);
    let begins_ms = pictures[0].decode_ms + pictures[0].composition_ms;
    let sounds: Vec<u64> = encoder.sounds(HOUR_MS).into_iter().filter(|time_ms| *time_ms >= begins_ms).collect();
    assert_sound(&epochs[1], &sounds, 48_000, base);
}

#[tokio::test]
async fn sound_that_comes_late() {
    let sound = Sound { from_ms: 37_123, ..STEREO_48 };
    let encoder = Encoder { reordered: 2, sound: Some(sound), ..Encoder::default() };
    let viewer = watch_an_hour(&encoder).await;
    let epochs = assert_gapless(&viewer);
    // It gets its track at the next key frame.
    assert_eq!(epochs.len(), 2);
    let (before, after): (Vec<Sent>, Vec<Sent>) =
        encoder.pictures(HOUR_MS).into_iter().partition(|picture| picture.decode_ms < 38_000);
    assert_pictures(&epochs[0], &before);
    let base = assert_pictures(&epochs[1], &after);
    let begins_ms = after[0].decode_ms + after[0].composition_ms;
    let sounds: Vec<u64> = encoder.sounds(HOUR_MS).into_iter().filter(|time_ms| *time_ms >= begins_ms).collect();
    assert_sound(&epochs[1], &sounds, 48_000, base);
}

#[tokio::test]
async fn reordered_23_976_a_second_and_mono() {
    check(Encoder { rate: (24_000, 1_001), group: 48, reordered: 2, sound: Some(MONO_44), ..Encoder::default() }).await;
}

#[tokio::test]
async fn reordered_59_94_a_second_and_sound_of_44_1_khz() {
    let encoder =
        Encoder { rate: (60_000, 1_001), group: 120, reordered: 2, sound: Some(STEREO_44), ..Encoder::default() };
    check(encoder).await;
}

async fn check_still_desktop(reordered: usize, sound: Option<Sound>) {
    let viewer = check(Encoder { group: 300, reordered, is_still: true, sound, ..Encoder::default() }).await;
    assert_eq!(viewer.playlists.last().unwrap().target_duration_s, 4);
}

#[tokio::test]
async fn a_still_desktop() {
    check_still_desktop(0, Some(STEREO_48)).await;
}

#[tokio::test]
async fn a_still_desktop_reordered_and_sound_of_44_1_khz() {
    check_still_desktop(2, Some(STEREO_44)).await;
}

#[tokio::test]
async fn a_still_desktop_without_sound() {
    check_still_desktop(0, None).await;
}

/// The sound's clock goes so many millionths slower than the picture's; faster where it is negative. Each frame says which
/// it is.
fn with_a_clock_of_its_own(encoder: &Encoder, slower_ppm: i64) -> (Vec<Tag>, Vec<u64>) {
    let mut sent_ms = Vec::new();
    let (mut sound, mut tags): (Vec<Tag>, Vec<Tag>) =
        encoder.tags(HOUR_MS, 0).into_iter().partition(|tag| tag.kind == TagKind::Audio);
    for tag in sound.iter_mut().filter(|tag| tag.body[1] == 1) {
        let time_ms = i64::from(tag.timestamp_ms);
        tag.timestamp_ms = u32::try_from(time_ms + time_ms * slower_ppm / 1_000_000).unwrap();
        tag.body = [&[0xaf, 1][..], &(sent_ms.len() as u32).to_be_bytes()].concat().into();
        sent_ms.push(u64::from(tag.timestamp_ms));
    }
    tags.append(&mut sound);
    tags.sort_by_key(|tag| (tag.body[1] != 0, tag.timestamp_ms));
    (tags, sent_ms)
}

async fn check_clock_apart(slower_ppm: i64) {
    let encoder = Encoder { reordered: 2, ..Encoder::default() };
    let (tags, sent_ms) = with_a_clock_of_its_own(&encoder, slower_ppm);
    let viewer = watch(tags).await;
    let epochs = assert_gapless(&viewer);
    assert_eq!(epochs.len(), 1, "there is no discontinuity");
    let base = assert_pictures(&epochs[0], &encoder.pictures(HOUR_MS));
    // Frames are left out or silence is put in for what the clocks differ by, 360 ms in an hour, and not before it is
    // 100 ms.
    let (mut next, mut silent, mut missing) = (None, 0, 0);
    for (time, frame) in fragments::samples(&epochs[0], AUDIO) {
        let Ok(number) = <[u8; 4]>::try_from(&frame.data[..]) else {
            silent += 1;
            continue;
        };
        let number = u32::from_be_bytes(number) as usize;
        missing += number - next.replace(number + 1).unwrap_or(number);
        // Never further from where it was sent than that, and a frame.
        let apart_ms = (time / 48) as i64 - base / 90 - sent_ms[number] as i64;
        assert!(apart_ms.abs() <= 123, "{slower_ppm}: frame {number} is {apart_ms} ms off");
    }
    let last = next.unwrap();
    // What is later than the last picture is dropped.
    assert!(last + 8 + 17 >= sent_ms.len(), "{slower_ppm}: {last} of {}", sent_ms.len());
    let frames = 12..=18;
    match slower_ppm {
        100 => assert!(frames.contains(&silent) && missing == 0, "{silent} silent, {missing} missing"),
        _ => assert!(frames.contains(&missing) && silent == 0, "{silent} silent, {missing} missing"),
    }
}

#[tokio::test]
async fn a_clock_of_the_sound_that_is_slower_than_the_pictures() {
    check_clock_apart(100).await;
}

#[tokio::test]
async fn a_clock_of_the_sound_that_is_faster_than_the_pictures() {
    check_clock_apart(-100).await;
}

#[tokio::test]
async fn the_sound_alone_beside_its_picture() {
    let encoder = Encoder { is_variable: true, is_still: true, group: 300, reordered: 2, ..Encoder::default() };
    let mut viewer = Viewer::new(config()).await;
    viewer.is_brief = true;
    viewer.also("audio");
    viewer.others[0].is_brief = true;
    push_all(&mut viewer, encoder.tags(HOUR_MS, 0)).await;
    let whole = assert_gapless(&viewer);
    let alone = viewer.of("audio");
    assert!(alone.findings.is_empty(), "{} findings, first: {}", alone.findings.len(), alone.findings[0]);
    assert_eq!(alone.segments.len(), viewer.segments.len());
    let (init, media) = alone.epochs().remove(0);
    assert_eq!(fragments::timescales(&init).into_iter().collect::<Vec<_>>(), [(AUDIO, 48_000)]);
    let runs = fragments::runs(&media);
    assert_eq!(fragments::findings(&runs), [] as [String; 0]);
    assert!(runs.iter().all(|run| run.track == AUDIO));
    // The very frames, at the very times.
    assert!(fragments::samples(&runs, AUDIO).eq(fragments::samples(&whole[0], AUDIO)));
}
