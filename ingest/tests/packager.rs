//! What real encoders send comes out whole, in playlists that keep every rule.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/flv.rs"]
mod flv;
#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/viewer.rs"]
mod viewer;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fragments::{AUDIO, Run, VIDEO};
use ingest::packager::{Broadcast, FirstNumbers, Packager, Progress, Tag, TagKind};
use uuid::Uuid;
use viewer::{Viewer, config};

const X264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
const AAC: &str = "-c:a aac -b:a 96k";

fn picture(rate: &str, seconds: u32) -> String {
    format!("-f lavfi -i testsrc2=size=320x180:rate={rate}:duration={seconds}")
}

fn tone(rate: u32, channels: u32, seconds: u32) -> String {
    let layout = if channels == 1 { "mono" } else { "stereo" };
    format!("-f lavfi -i aevalsrc=exprs=sin(440*2*PI*t):channel_layout={layout}:sample_rate={rate}:duration={seconds}")
}

/// Everything the encoder sent from the first key frame on is in what came out, at the same times.
#[track_caller]
fn assert_complete(tags: &[Tag], runs: &[Run]) {
    let came = fragments::track(runs, VIDEO);
    let sent = flv::pictures(tags);
    assert_eq!(came.len(), sent.len(), "pictures");
    let first = sent[0].0;
    let base = came[0].0;
    for ((time, sample), (sent_ms, composition_ms, data)) in came.iter().zip(&sent) {
        assert_eq!((time - base) as i64, (sent_ms - first) * 90, "decode time");
        assert_eq!(sample.composition, composition_ms * 90, "composition time");
        assert!(sample.data == *data, "picture at {sent_ms} ms");
    }
}

/// Sound that begins with the picture is whole, on a grid of 1024 samples, and within 100 ms of the encoder's times.
#[track_caller]
fn assert_sound(tags: &[Tag], runs: &[Run], sample_rate: i64) {
    let came = fragments::track(runs, AUDIO);
    let pictures = flv::pictures(tags);
    let begins = pictures[0].0 + pictures[0].1;
    let sent: Vec<_> = flv::sounds(tags).into_iter().filter(|(time, _)| *time >= begins).collect();
    // What is later than the last picture is dropped.
    assert!(came.len() <= sent.len() && came.len() + 8 >= sent.len(), "{} of {} frames", came.len(), sent.len());
    let video_base = fragments::track(runs, VIDEO)[0].0 as i64 / 90;
    for ((time, sample), (sent_ms, data)) in came.iter().zip(&sent) {
        assert_eq!(sample.duration, 1024);
        assert!(sample.data == *data, "sound at {sent_ms} ms");
        let came_ms = *time as i64 * 1_000 / sample_rate - video_base;
        assert!((came_ms - (sent_ms - pictures[0].0)).abs() <= 100, "{came_ms} for {sent_ms}");
    }
}

struct Case {
    rate: &'static str,
    group: u32,
    seconds: u32,
    encoder: &'static str,
    sound: Option<(u32, u32)>,
}

async fn check(case: &Case) -> Viewer {
    let Case { rate, group, seconds, encoder, sound } = case;
    let sound_input = sound.map(|(rate, channels)| tone(rate, channels, *seconds)).unwrap_or_default();
    let sound_codec = if sound.is_some() { AAC } else { "-an" };
    let tags = flv::encode(&format!(
        "{} {sound_input} {X264} {encoder} -g {group} -keyint_min {group} -sc_threshold 0 {sound_codec}",
        picture(rate, *seconds)
    ));
    let mut viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &tags).await;
    packager.finish();
    viewer.look().await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 1, "there is no discontinuity");
    assert_complete(&tags, &epochs[0].1);
    match sound {
        Some((rate, _)) => assert_sound(&tags, &epochs[0].1, i64::from(*rate)),
        None => assert!(fragments::track(&epochs[0].1, AUDIO).is_empty()),
    }
    viewer
}

#[tokio::test]
async fn usual_streams_of_all_frame_rates() {
    for (rate, group) in [("24", 48), ("25", 50), ("30", 60), ("60", 120), ("30000/1001", 60), ("50", 100)] {
        let case = Case { rate, group, seconds: 11, encoder: "-bf 2", sound: Some((48_000, 2)) };
        let viewer = check(&case).await;
        let last = viewer.playlists.last().unwrap();
        assert_eq!(last.target_duration_s, 2, "{rate}");
        let part_target_ms = last.part_target_ms.unwrap();
        assert!((480..=506).contains(&part_target_ms), "{rate}: {part_target_ms}");
    }
}

#[tokio::test]
async fn low_latency_encoders_without_reordering() {
    check(&Case { rate: "30", group: 60, seconds: 9, encoder: "-tune zerolatency", sound: Some((48_000, 2)) }).await;
}

#[tokio::test]
async fn key_frames_every_second() {
    let viewer = check(&Case { rate: "30", group: 30, seconds: 9, encoder: "-bf 3", sound: Some((44_100, 1)) }).await;
    assert!(viewer.playlists.last().unwrap().complete().all(|segment| segment.length_ms() >= 990));
}

#[tokio::test]
async fn key_frames_twice_a_second_are_joined() {
    let viewer = check(&Case { rate: "30", group: 15, seconds: 12, encoder: "", sound: None }).await;
    let (_, _, last, _) = viewer.segments.last().unwrap();
    assert!(*last <= 12, "{last} segments in 12 s");
}

#[tokio::test]
async fn every_picture_is_a_key_frame() {
    let viewer = check(&Case { rate: "30", group: 1, seconds: 6, encoder: "", sound: Some((48_000, 2)) }).await;
    assert!(viewer.segments.last().unwrap().2 <= 6);
}

#[tokio::test]
async fn key_frames_every_ten_seconds_are_cut_between() {
    let viewer = check(&Case { rate: "30", group: 300, seconds: 32, encoder: "-bf 2", sound: Some((48_000, 2)) }).await;
    let last = viewer.playlists.last().unwrap();
    assert_eq!(last.target_duration_s, 4);
    let independent =
        last.segments.iter().filter(|segment| segment.parts.first().is_some_and(|part| part.is_independent));
    assert!(independent.count() >= 1);
}

#[tokio::test]
async fn slow_pictures() {
    for (rate, group) in [("5", 10), ("7", 14), ("1", 2), ("15", 30), ("10", 20)] {
        let viewer = check(&Case { rate, group, seconds: 12, encoder: "", sound: Some((44_100, 2)) }).await;
        let text = viewer.get(&viewer.path("index.m3u8")).await.2;
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains(&format!("FRAME-RATE={rate}.000")), "{text}");
    }
}

#[tokio::test]
async fn pictures_without_sound() {
    let viewer = check(&Case { rate: "25", group: 50, seconds: 9, encoder: "-bf 2", sound: None }).await;
    let text = String::from_utf8(viewer.get(&viewer.path("index.m3u8")).await.2.to_vec()).unwrap();
    assert!(text.contains("CODECS=\"avc1.") && !text.contains("mp4a"), "{text}");
}

#[tokio::test]
async fn scene_cuts_at_any_time() {
    // Irregular key frames, as x264 makes them without a fixed distance.
    let tags = flv::encode(&format!(
        "-f lavfi -i mandelbrot=size=320x180:rate=30,trim=duration=14 {X264} -g 60 -bf 2 -force_key_frames expr:lt(mod(t*7,5),0.3) -an"
    ));
    let mut viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &tags).await;
    packager.finish();
    viewer.look().await;
    let epochs = viewer.assert_flawless();
    assert_complete(&tags, &epochs[0].1);
    assert!(viewer.segments.last().unwrap().2 <= 14);
}

#[tokio::test]
async fn the_master_playlist_tells_the_truth() {
    let case = Case { rate: "30", group: 60, seconds: 9, encoder: "-bf 2 -b:v 800k", sound: Some((48_000, 2)) };
    let viewer = check(&case).await;
    let text = String::from_utf8(viewer.get(&viewer.path("index.m3u8")).await.2.to_vec()).unwrap();
    let line = text.lines().find(|line| line.starts_with("#EXT-X-STREAM-INF")).unwrap();
    assert!(line.contains("RESOLUTION=320x180") && line.contains("FRAME-RATE=30.000"), "{line}");
    assert!(line.contains(",mp4a.40.2\"") && line.contains("CODECS=\"avc1."), "{line}");
    assert_eq!(text.lines().nth(3), Some("source/index.m3u8"));
    let number = |name: &str| -> u64 {
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    };
    let rates: Vec<u64> = viewer
        .segments
        .iter()
        .map(|(uri, ..)| {
            let mut segments = viewer.playlists.iter().flat_map(|playlist| playlist.complete());
            let duration_ms = segments.find(|segment| segment.uri.as_ref() == Some(uri)).unwrap().length_ms();
            if duration_ms >= 1_000 { viewer.files[uri].len() as u64 * 8_000 / duration_ms } else { 0 }
        })
        .collect();
    assert_eq!(number(":BANDWIDTH"), *rates.iter().max().unwrap());
    let average = number("AVERAGE-BANDWIDTH");
    assert!(average <= number(":BANDWIDTH") && average > 100_000, "{average}");
}

#[tokio::test]
async fn an_encoder_that_comes_back_goes_on_after_a_discontinuity() {
    let small = flv::encode(&format!("{} {} {X264} -bf 2 -g 60 {AAC}", picture("30", 5), tone(48_000, 2, 5)));
    let large = flv::encode(&format!(
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=5 {} {X264} -g 50 {AAC}",
        tone(44_100, 1, 5)
    ));
    let mut viewer = Viewer::new(config()).await;
    for (round, tags) in [&small, &large, &small].into_iter().enumerate() {
        let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
        viewer.watch(&mut packager, tags).await;
        if round == 1 {
            // The connection just ends; dropping writes out what is held.
            drop(packager);
        } else {
            packager.finish();
        }
        viewer.look().await;
    }
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 3);
    assert_complete(&small, &epochs[0].1);
    assert_complete(&large, &epochs[1].1);
    assert_complete(&small, &epochs[2].1);
    assert_eq!(fragments::timescales(&epochs[1].0)[&AUDIO], 44_100);
    assert_eq!(fragments::timescales(&epochs[2].0)[&AUDIO], 48_000);
    viewer.broadcast.end();
    viewer.look().await;
    assert!(viewer.playlists.last().unwrap().is_ended);
    viewer.assert_flawless();
}

#[tokio::test]
async fn a_new_connection_takes_over_from_one_that_hangs() {
    let tags = flv::encode(&format!("{} {} {X264} -bf 2 -g 60 {AAC}", picture("30", 7), tone(48_000, 2, 7)));
    let mut viewer = Viewer::new(config()).await;
    let mut old = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut old, &tags[..tags.len() / 2 + 17]).await;
    let mut new = Packager::new(Arc::clone(&viewer.broadcast));
    assert_eq!(old.push(tags[0].clone()).unwrap_err().code(), "replaced");
    viewer.watch(&mut new, &tags).await;
    drop(old);
    new.finish();
    viewer.look().await;
    let epochs = viewer.assert_flawless();
    assert_eq!(epochs.len(), 2);
    assert_complete(&tags, &epochs[1].1);
}

#[tokio::test]
async fn numbers_go_on_after_a_crash() {
    let tags = flv::encode(&format!("{} {X264} -g 60 -an", picture("30", 5)));
    let first = FirstNumbers { media_sequence: 5_000, discontinuity_sequence: 7 };
    let mut viewer = Viewer::with_first(config(), first).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &tags).await;
    packager.finish();
    viewer.look().await;
    viewer.assert_flawless();
    let playlist = viewer.playlists.last().unwrap();
    assert_eq!((playlist.media_sequence, playlist.discontinuity_sequence), (5_000, 7));
    assert_eq!(playlist.segments[0].init, "init5000.mp4");
    assert_eq!(playlist.segments[0].parts[0].uri, "p640000.m4s");
}

#[tokio::test]
async fn progress_tracks_and_health_are_told() {
    let tags = flv::encode(&format!("{} {} {X264} -b:v 600k -g 60 {AAC}", picture("30", 8), tone(48_000, 2, 8)));
    let viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    assert!(packager.tracks().is_none());
    let mut progress = Vec::new();
    for tag in &tags {
        let now = packager.push(tag.clone()).unwrap();
        assert_eq!(now == Progress::Waiting, packager.tracks().is_none());
        if progress.last() != Some(&now) {
            progress.push(now);
        }
    }
    assert_eq!(progress, [Progress::Waiting, Progress::Begun, Progress::Continuing]);
    let tracks = packager.tracks().unwrap();
    let video = tracks.video.as_ref().unwrap();
    assert_eq!((video.width, video.height, video.frame_rate), (320, 180, 30.0));
    assert!(video.codec.starts_with("avc1."));
    let audio = tracks.audio.as_ref().unwrap();
    assert_eq!((audio.codec.as_str(), audio.sample_rate, audio.channels), ("mp4a.40.2", 48_000, 2));
    let health = packager.health();
    assert_eq!((health.key_frame_interval_ms, health.frame_rate.round()), (2_000, 30.0));
    let bytes: usize = tags.iter().map(|tag| tag.body.len()).sum();
    let average_kbps = (bytes / 1_000) as u32;
    assert!(health.bitrate_kbps.abs_diff(average_kbps) < average_kbps / 3, "{health:?}, {average_kbps}");
}

/// Boxes are read strictly by a library of somebody else.
#[tokio::test]
async fn a_strict_reader_takes_every_box() {
    use mp4_atom::{Any, Atom, Decode, Moof, Moov};
    let tags =
        flv::encode(&format!("{} {} {X264} -profile:v high -bf 2 -g 60 {AAC}", picture("30", 5), tone(44_100, 1, 5)));
    let mut viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &tags).await;
    packager.finish();
    viewer.look().await;
    let (init, media) = viewer.epochs().remove(0);
    let mut init: &[u8] = &init;
    let mut names = Vec::new();
    while !init.is_empty() {
        let atom = Any::decode(&mut init).unwrap();
        names.push(atom.kind());
        if let Any::Moov(Moov { trak, mvex, .. }) = atom {
            assert_eq!((trak.len(), mvex.unwrap().trex.len()), (2, 2));
            let codec = &trak[0].mdia.minf.stbl.stsd.codecs[0];
            assert!(matches!(codec, mp4_atom::Codec::Avc1(avc1) if avc1.visual.width == 320), "{codec:?}");
            let codec = &trak[1].mdia.minf.stbl.stsd.codecs[0];
            assert!(matches!(codec, mp4_atom::Codec::Mp4a(mp4a) if mp4a.audio.channel_count == 1), "{codec:?}");
        }
    }
    assert_eq!(names, [mp4_atom::Ftyp::KIND, Moov::KIND]);
    let mut media: &[u8] = &media;
    let mut sequence = None;
    while !media.is_empty() {
        let Any::Moof(Moof { mfhd, traf }) = Any::decode(&mut media).unwrap() else { panic!("not a moof") };
        assert!(sequence.is_none_or(|last| last + 1 == mfhd.sequence_number));
        sequence = Some(mfhd.sequence_number);
        assert!(traf.iter().all(|traf| traf.tfdt.is_some() && !traf.trun.is_empty()));
        assert!(matches!(Any::decode(&mut media).unwrap(), Any::Mdat(_)));
    }
}

/// What a stream costs: printed, and far from real time even without optimisation.
#[tokio::test]
async fn packaging_costs_little() {
    const STREAMS: u32 = 10;
    const ROUNDS: u32 = 4;
    let tags = flv::encode(&format!(
        "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=10 {} {X264} -b:v 2500k -minrate 2500k -maxrate 2500k \
         -bufsize 2500k -nal-hrd cbr -g 60 {AAC}",
        tone(48_000, 2, 10)
    ));
    let bytes: usize = tags.iter().map(|tag| tag.body.len()).sum();
    let memory_before = memory_bytes();
    let started = processor_time();
    let mut packagers = Vec::new();
    for _ in 0..STREAMS {
        let broadcast = Broadcast::new(Uuid::now_v7().into(), config(), FirstNumbers::default());
        let mut packager = Packager::new(broadcast);
        for round in 0..ROUNDS {
            for tag in &tags {
                // A body of its own, as from the network: what is kept must not be what the test holds.
                let body = Bytes::copy_from_slice(&tag.body);
                let timestamp_ms = tag.timestamp_ms + round * 10_000;
                packager.push(Tag { kind: tag.kind, timestamp_ms, body }).unwrap();
            }
        }
        packagers.push(packager);
    }
    let spent = processor_time() - started;
    let seconds = f64::from(10 * STREAMS * ROUNDS);
    println!(
        "packaging {} kbit/s: {:.6} s of one core per stream-second, {:.1} MiB a stream",
        bytes * 8 / 10_000,
        spent.as_secs_f64() / seconds,
        memory_bytes().saturating_sub(memory_before) as f64 / f64::from(STREAMS) / f64::from(1 << 20),
    );
    assert!(spent.as_secs_f64() < seconds / 50.0, "{spent:?} for {seconds} s of media");
}

/// What this thread has computed, whatever else the machine does.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Resident memory of the process.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[test]
fn tags_are_read_in_both_kinds() {
    let tags = flv::encode(&format!("{} {} {X264} {AAC}", picture("30", 1), tone(48_000, 2, 1)));
    assert!(tags.iter().any(|tag| tag.kind == TagKind::Audio) && tags.iter().any(|tag| tag.kind == TagKind::Video));
}
