//! Renditions beside the source: the same segments by number and by time, in playlists that keep every rule.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/flv.rs"]
mod flv;
#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/viewer.rs"]
mod viewer;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use fragments::{AUDIO, VIDEO};
use ingest::packager::{
    Broadcast, FeedItem, FirstNumbers, Follower, Packager, PackagerConfig, Rendition, RenditionSpec, Tag, TagKind,
};
use synthetic::{Encoder, LARGE, OTHER, Sent};
use tokio::time::timeout;
use uuid::Uuid;
use viewer::{Viewer, config};

fn spec(name: &str, height: u32) -> RenditionSpec {
    RenditionSpec {
        name: name.to_owned(),
        max_height: Some(height),
        bitrate_kbps: Some(1_400),
        ..RenditionSpec::default()
    }
}

/// What an encoder makes of a source's pictures: the same at the same presentation times, in decode order, and the same
/// sound. The source's first picture is decoded at `begins_ms` of the broadcast's timeline.
fn transcoded(source: &Encoder, length_ms: u64, begins_ms: u64, config: &'static [u8]) -> Vec<Tag> {
    let mut pictures = source.pictures(length_ms);
    pictures.sort_by_key(|picture| picture.decode_ms + picture.composition_ms);
    let mut tags = vec![Encoder { video_config: config, ..source.clone() }.video_config_tag(begins_ms)];
    tags.extend(pictures.into_iter().map(|picture| {
        let decode_ms = picture.decode_ms + picture.composition_ms;
        synthetic::picture_tag(&Sent { decode_ms, composition_ms: 0, ..picture }, begins_ms)
    }));
    let mut sound: Vec<Tag> =
        source.tags(length_ms, begins_ms).into_iter().filter(|tag| tag.kind == TagKind::Audio).collect();
    tags.append(&mut sound);
    // Configurations come first.
    tags.sort_by_key(|tag| (tag.body[1] != 0, tag.timestamp_ms, tag.kind == TagKind::Video));
    tags
}

/// Pushes the source's messages, and those of an encoder that is so much behind it.
struct Bench {
    viewer: Viewer,
    packager: Packager,
    follower: Option<Follower>,
}

const TIMELINE_START_MS: u64 = 10_000;
/// An encoder gets the source in parts of half a second.
const DELAY_MS: u64 = 700;

impl Bench {
    async fn new(config: PackagerConfig) -> Self {
        let mut viewer = Viewer::new(config).await;
        let rendition = viewer.broadcast.add_rendition(spec("720p", 720));
        viewer.also("720p");
        let packager = Packager::new(Arc::clone(&viewer.broadcast));
        let follower = Some(Follower::new(&viewer.broadcast, rendition));
        Self { viewer, packager, follower }
    }

    fn rendition(&self) -> Arc<Rendition> {
        self.viewer.broadcast.rendition("720p").unwrap()
    }

    /// Plays `source`, which begins at `at_ms` of the timeline, and `made` of it.
    async fn play(&mut self, source: &[Tag], made: &[Tag], at_ms: u64, delay_ms: u64) {
        let mut made = made.iter().peekable();
        for (index, tag) in source.iter().enumerate() {
            self.packager.push(tag.clone()).unwrap();
            let made_until_ms = u64::from(tag.timestamp_ms) + at_ms - delay_ms.min(at_ms);
            while let Some(tag) = made.next_if(|made| u64::from(made.timestamp_ms) <= made_until_ms) {
                if let Some(follower) = &mut self.follower {
                    follower.push(tag.clone()).unwrap();
                }
            }
            if index % 9 == 0 {
                self.viewer.look().await;
            }
        }
        for tag in made {
            if let Some(follower) = &mut self.follower {
                follower.push(tag.clone()).unwrap();
            }
        }
        self.viewer.look().await;
    }
}

/// What was seen of both keeps all rules, and has the same segments from where the rendition joined.
#[track_caller]
fn assert_beside(viewer: &Viewer) {
    for seen in std::iter::once(&viewer.source).chain(&viewer.others) {
        assert!(seen.findings.is_empty(), "{} findings, first: {}", seen.findings.len(), seen.findings[0]);
        assert!(!seen.segments.is_empty(), "{} has no segments", seen.name);
        for pair in seen.segments.windows(2) {
            assert_eq!(pair[0].2 + 1, pair[1].2, "the viewer of {} missed a segment", seen.name);
        }
        for (_, media) in seen.epochs() {
            let findings = fragments::findings(&fragments::runs(&media));
            assert!(findings.is_empty(), "{}: {findings:?}", seen.name);
        }
    }
}

/// Each segment has the pictures that the source presents in it, and the same frames of sound.
#[track_caller]
fn assert_same_times(viewer: &Viewer) {
    let own = viewer.of("720p");
    let mut compared = 0;
    for (name, ..) in &own.segments {
        let (own, source) = (fragments::runs(&own.files[name]), fragments::runs(&viewer.files[name]));
        let presents = |runs: &[fragments::Run]| -> Vec<i64> {
            let samples = fragments::track(runs, VIDEO);
            let mut times: Vec<i64> = samples.iter().map(|(time, sample)| *time as i64 + sample.composition).collect();
            times.sort_unstable();
            times
        };
        let (own_pictures, source_pictures) = (presents(&own), presents(&source));
        assert_eq!(own_pictures.len(), source_pictures.len(), "pictures of {name}");
        for (own, source) in own_pictures.iter().zip(&source_pictures) {
            assert!((own - source).abs() <= 180, "{name}: {own} and {source}");
        }
        let sounds =
            |runs: &[fragments::Run]| fragments::track(runs, AUDIO).iter().map(|(time, _)| *time).collect::<Vec<_>>();
        let (own_sounds, source_sounds) = (sounds(&own), sounds(&source));
        // The first of an epoch begins with the picture.
        if own_sounds.len() == source_sounds.len() {
            for (own, source) in own_sounds.iter().zip(&source_sounds) {
                assert!(own.abs_diff(*source) <= 96, "{name}: {own} and {source}");
            }
            compared += 1;
        }
    }
    assert!(compared + 2 >= own.segments.len(), "the sound of {compared} in {} segments", own.segments.len());
}

#[tokio::test]
async fn a_rendition_has_the_segments_of_its_source() {
    for (group, reordered) in [(60, 2), (30, 0), (60, 0), (120, 2)] {
        let encoder = Encoder { group, reordered, ..Encoder::default() };
        let mut bench = Bench::new(config()).await;
        let made = transcoded(&encoder, 40_000, TIMELINE_START_MS, OTHER);
        bench.play(&encoder.tags(40_000, 0), &made, TIMELINE_START_MS, DELAY_MS).await;
        assert_beside(&bench.viewer);
        assert_same_times(&bench.viewer);
        let (own, source) = (bench.viewer.of("720p"), &bench.viewer.source);
        assert!(own.segments.len() + 3 >= source.segments.len(), "{} of {}", own.segments.len(), source.segments.len());
        assert!(
            own.playlists
                .last()
                .unwrap()
                .complete()
                .all(|segment| { segment.parts.first().is_none_or(|part| part.is_independent) })
        );
    }
}

#[tokio::test]
async fn segments_that_begin_without_a_key_frame_have_twins_too() {
    for reordered in [0, 2] {
        let encoder = Encoder { group: 249, reordered, ..Encoder::default() };
        let mut bench = Bench::new(config()).await;
        let made = transcoded(&encoder, 60_000, TIMELINE_START_MS, OTHER);
        bench.play(&encoder.tags(60_000, 0), &made, TIMELINE_START_MS, DELAY_MS).await;
        assert_beside(&bench.viewer);
        assert!(bench.viewer.of("720p").segments.len() > 8);
    }
}

#[tokio::test]
async fn a_variable_rate_out_of_order_has_the_same_pictures_in_each_segment() {
    for group in [30, 60, 120] {
        let encoder = Encoder { group, reordered: 2, is_variable: true, ..Encoder::default() };
        let mut bench = Bench::new(config()).await;
        let made = transcoded(&encoder, 60_000, TIMELINE_START_MS, OTHER);
        // A picture that stays is in no part before the next one comes.
        bench.play(&encoder.tags(60_000, 0), &made, TIMELINE_START_MS, 2_500).await;
        assert_beside(&bench.viewer);
        assert_same_times(&bench.viewer);
        assert_eq!(bench.follower.as_ref().unwrap().lag().lost, 0);
        let (own, source) = (bench.viewer.of("720p"), &bench.viewer.source);
        assert!(own.segments.len() + 4 >= source.segments.len(), "{} of {}", own.segments.len(), source.segments.len());
    }
}

#[tokio::test]
async fn under_a_picture_that_stays_there_are_the_same_segments() {
    for reordered in [0, 2] {
        let encoder = Encoder { group: 300, reordered, is_still: true, ..Encoder::default() };
        let mut bench = Bench::new(config()).await;
        let made = transcoded(&encoder, 90_000, TIMELINE_START_MS, OTHER);
        // The picture that stays is in no part before the next one comes.
        bench.play(&encoder.tags(90_000, 0), &made, TIMELINE_START_MS, 9_000).await;
        assert_beside(&bench.viewer);
        if reordered == 0 {
            // Segments that begin under a picture begin between pictures that are sent in another order.
            assert_same_times(&bench.viewer);
        }
        assert_eq!(bench.follower.as_ref().unwrap().lag().lost, 0, "{reordered}");
        let (own, source) = (bench.viewer.of("720p"), &bench.viewer.source);
        assert!(own.segments.len() + 8 >= source.segments.len(), "{} of {}", own.segments.len(), source.segments.len());
    }
}

#[tokio::test]
async fn an_hour_beside_a_variable_source() {
    beside_a_variable_source(0, 3_600_000).await;
}

#[tokio::test]
async fn half_an_hour_beside_a_variable_source_whose_pictures_are_out_of_order() {
    beside_a_variable_source(2, 1_800_000).await;
}

async fn beside_a_variable_source(reordered: usize, length_ms: u64) {
    let encoder = Encoder { group: 60, reordered, is_variable: true, ..Encoder::default() };
    let mut bench = Bench::new(config()).await;
    let rendition = bench.rendition();
    bench.viewer.is_brief = true;
    bench.viewer.others[0].is_brief = true;
    let source = encoder.tags(length_ms, 0);
    let made = transcoded(&encoder, length_ms, TIMELINE_START_MS, OTHER);
    let mut made = made.iter().peekable();
    let mut next_look = 0;
    for tag in &source {
        bench.packager.push(tag.clone()).unwrap();
        let follower = bench.follower.as_mut().unwrap();
        // A picture that stays is in no part before the next one comes.
        while let Some(tag) = made.next_if(|made| made.timestamp_ms <= tag.timestamp_ms + 7_500) {
            follower.push(tag.clone()).unwrap();
        }
        if tag.timestamp_ms >= next_look {
            bench.viewer.look().await;
            next_look = tag.timestamp_ms + 1_000;
        }
    }
    assert_beside(&bench.viewer);
    assert_eq!(bench.follower.as_ref().unwrap().lag().lost, 0);
    assert!(rendition.is_playable());
    // A segment has 2 s.
    assert!(bench.viewer.of("720p").segments.len() as u64 > length_ms / 2_000 - 100);
}

#[tokio::test]
async fn the_master_playlist_lists_what_can_be_played() {
    let encoder = Encoder { reordered: 2, ..Encoder::default() };
    let mut bench = Bench::new(config()).await;
    bench.viewer.broadcast.add_rendition(spec("1080p", 1_080));
    let made = transcoded(&encoder, 10_000, TIMELINE_START_MS, LARGE);
    let master = |viewer: &Viewer| {
        let (viewer_path, router) = (viewer.path("index.m3u8"), viewer.service.clone());
        async move {
            use tower::ServiceExt;
            let request = axum::http::Request::get(viewer_path).body(axum::body::Body::empty()).unwrap();
            let body = router.oneshot(request).await.unwrap().into_body();
            String::from_utf8(axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap()
        }
    };
    let source = encoder.tags(10_000, 0);
    let half = source.iter().position(|tag| tag.timestamp_ms >= 3_000).unwrap();
    bench.play(&source[..half], &[], TIMELINE_START_MS, 0).await;
    let text = master(&bench.viewer).await;
    let addresses =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(addresses(&text), ["source/index.m3u8", "audio/index.m3u8"]);
    bench.play(&source[half..], &made, TIMELINE_START_MS, DELAY_MS).await;
    let text = master(&bench.viewer).await;
    assert_eq!(addresses(&text), ["source/index.m3u8", "720p/index.m3u8", "audio/index.m3u8"]);
    let variants: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXT-X-STREAM-INF:")).collect();
    for variant in &variants[..2] {
        for attribute in [
            ":BANDWIDTH=",
            "AVERAGE-BANDWIDTH=",
            "CODECS=\"avc1.640028,mp4a.40.2\"",
            "RESOLUTION=1920x1080",
            "FRAME-RATE=",
        ] {
            assert!(variant.contains(attribute), "{attribute}: {variant}");
        }
    }
    assert!(variants[1].contains(":BANDWIDTH=1400000,"), "{}", variants[1]);
    assert!(variants[2].contains("CODECS=\"mp4a.40.2\"") && !variants[2].contains("RESOLUTION"), "{}", variants[2]);
    // Reports name all others, with what they have.
    let playlists = |name: &str| bench.viewer.of(name).playlists.last().unwrap().clone();
    let own = playlists("720p");
    let uris: Vec<&str> = own.reports.iter().map(|report| report.uri.as_str()).collect();
    assert_eq!(uris, ["../source/index.m3u8", "../audio/index.m3u8"]);
    let source = bench.viewer.playlists.last().unwrap();
    let (segment, part) = match source.next_position() {
        (segment, 0) => (segment - 1, source.segments.last().unwrap().parts.len() as u64 - 1),
        (segment, part) => (segment, part - 1),
    };
    assert_eq!((own.reports[0].last_segment, own.reports[0].last_part), (segment, Some(part)));
    // One that is taken away is not listed, and not found.
    bench.viewer.broadcast.remove_rendition("720p");
    assert_eq!(addresses(&master(&bench.viewer).await), ["source/index.m3u8", "audio/index.m3u8"]);
    assert_eq!(bench.viewer.get(&bench.viewer.path("720p/index.m3u8")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(bench.follower.unwrap().push(made[0].clone()).unwrap_err().code(), "ended");
}

#[tokio::test]
async fn who_waits_for_a_rendition_that_is_taken_away_is_told() {
    let encoder = Encoder::default();
    let mut bench = Bench::new(config()).await;
    let made = transcoded(&encoder, 10_000, TIMELINE_START_MS, LARGE);
    bench.play(&encoder.tags(10_000, 0), &made, TIMELINE_START_MS, DELAY_MS).await;
    let (segment, part) = bench.viewer.of("720p").playlists.last().unwrap().next_position();
    let path = bench.viewer.path(&format!("720p/index.m3u8?_HLS_msn={segment}&_HLS_part={part}"));
    let remove = async {
        tokio::task::yield_now().await;
        bench.viewer.broadcast.remove_rendition("720p");
    };
    let (answer, ()) = tokio::join!(bench.viewer.get(&path), remove);
    assert_eq!(answer.0, StatusCode::NOT_FOUND);
    assert!(std::str::from_utf8(&answer.2).unwrap().contains("rendition_not_found"));
}

#[tokio::test]
async fn renditions_survive_an_encoder_that_comes_back_as_another() {
    let first = Encoder { reordered: 2, ..Encoder::default() };
    let second = Encoder { rate: (25, 1), group: 50, video_config: OTHER, ..Encoder::default() };
    let mut bench = Bench::new(config()).await;
    let mut feed = bench.viewer.broadcast.feed();
    let made = transcoded(&first, 9_000, TIMELINE_START_MS, LARGE);
    bench.play(&first.tags(9_000, 0), &made, TIMELINE_START_MS, DELAY_MS).await;
    bench.packager.finish();
    bench.viewer.look().await;
    // The feed says where the second connection is on the timeline.
    while let Ok(Some(_)) = timeout(Duration::ZERO, feed.next()).await {}
    bench.packager = Packager::new(Arc::clone(&bench.viewer.broadcast));
    let source = second.tags(12_000, 0);
    let known = source.iter().position(|tag| tag.timestamp_ms >= 1_000).unwrap();
    bench.play(&source[..known], &[], TIMELINE_START_MS, 0).await;
    assert!(matches!(feed.next().await, Some(FeedItem::Init(_))));
    let Some(FeedItem::Fragment { first_decode_ms, .. }) = feed.next().await else { panic!("no fragment") };
    let begins_ms = u64::try_from(first_decode_ms).unwrap();
    let made = transcoded(&second, 12_000, begins_ms, LARGE);
    bench.play(&source[known..], &made, begins_ms, DELAY_MS).await;
    assert_beside(&bench.viewer);
    assert_same_times(&bench.viewer);
    for seen in [&bench.viewer.source, bench.viewer.of("720p")] {
        assert_eq!(seen.epochs().len(), 2, "{}", seen.name);
        assert!(seen.playlists.last().unwrap().next_position().0 >= 9, "{}", seen.name);
    }
    assert_eq!(bench.follower.unwrap().lag().lost, 0);
}

#[tokio::test]
async fn renditions_survive_new_pictures_within_a_connection() {
    let first = Encoder { reordered: 2, ..Encoder::default() };
    let second = Encoder { video_config: OTHER, ..first.clone() };
    let mut bench = Bench::new(config()).await;
    let made = transcoded(&first, 8_000, TIMELINE_START_MS, LARGE);
    bench.play(&first.tags(8_000, 0), &made, TIMELINE_START_MS, DELAY_MS).await;
    let source = second.tags(12_000, 8_000);
    let known = source.iter().position(|tag| tag.timestamp_ms >= 9_000).unwrap();
    bench.play(&source[..known], &[], TIMELINE_START_MS, 0).await;
    let mut feed = bench.viewer.broadcast.feed();
    assert!(matches!(feed.next().await, Some(FeedItem::Init(_))));
    let Some(FeedItem::Fragment { first_decode_ms, .. }) = feed.next().await else { panic!("no fragment") };
    let begins_ms = u64::try_from(first_decode_ms).unwrap();
    // The encoder of renditions is started anew, and so is what packages it.
    drop(bench.follower.take());
    bench.follower = Some(Follower::new(&bench.viewer.broadcast, bench.rendition()));
    let made = transcoded(&second, 12_000, begins_ms, OTHER);
    bench.play(&source[known..], &made, begins_ms - 8_000, DELAY_MS).await;
    assert_beside(&bench.viewer);
    for seen in [&bench.viewer.source, bench.viewer.of("720p")] {
        assert_eq!(seen.epochs().len(), 2, "{}", seen.name);
    }
}

#[tokio::test]
async fn one_that_is_too_late_says_so_and_begins_anew() {
    let encoder = Encoder::default();
    let mut bench = Bench::new(config()).await;
    let made = transcoded(&encoder, 120_000, TIMELINE_START_MS, LARGE);
    let source = encoder.tags(120_000, 0);
    let until = |tags: &[Tag], time_ms: u32| {
        tags.iter().position(|tag| tag.timestamp_ms >= time_ms && tag.body[1] != 0).unwrap()
    };
    bench.play(&source[..until(&source, 10_000)], &made[..until(&made, 19_500)], TIMELINE_START_MS, DELAY_MS).await;
    let lag = bench.follower.as_ref().unwrap().lag();
    assert!(lag.behind_ms < 2_000 && lag.lost == 0, "{lag:?}");
    // The source goes on, and the encoder hangs until all that it needs is gone.
    bench.viewer.others.clear();
    bench.play(&source[until(&source, 10_000)..until(&source, 100_000)], &[], TIMELINE_START_MS, 0).await;
    let lag = bench.follower.as_ref().unwrap().lag();
    assert!(lag.behind_ms > 85_000, "{lag:?}");
    let follower = bench.follower.as_mut().unwrap();
    let next = until(&made, 19_500);
    for tag in &made[next..next + 100] {
        follower.push(tag.clone()).unwrap();
    }
    assert_eq!(follower.lag().lost, 1);
    assert!(!follower.is_following());
    // What comes in time is taken again.
    for tag in &made[until(&made, 108_000)..until(&made, 110_000)] {
        follower.push(tag.clone()).unwrap();
    }
    assert!(follower.is_following());
}

#[tokio::test]
async fn a_feed_that_begins_where_no_key_frame_is_listed_waits_for_the_next() {
    let config = PackagerConfig { window_segments: 4, ..config() };
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config, FirstNumbers::default());
    let mut packager = Packager::new(Arc::clone(&broadcast));
    // Segments of two seconds, and then no key frame for fifteen.
    for tag in Encoder::default().tags(4_000, 0) {
        packager.push(tag).unwrap();
    }
    let tags = Encoder { group: 450, ..Encoder::default() }.tags(20_000, 4_000);
    let (before, after) = tags.split_at(tags.partition_point(|tag| tag.timestamp_ms < 17_000));
    for tag in before {
        packager.push(tag.clone()).unwrap();
    }
    let mut feed = broadcast.feed();
    assert_eq!(timeout(Duration::ZERO, feed.next()).await.ok(), None, "the latest key frame is kept, and not listed");
    for tag in after {
        packager.push(tag.clone()).unwrap();
    }
    assert!(matches!(feed.next().await, Some(FeedItem::Init(_))));
    let Some(FeedItem::Fragment { bytes, .. }) = feed.next().await else { panic!("no fragment") };
    assert!(fragments::track(&fragments::runs(&bytes), VIDEO)[0].1.is_sync);
}

#[tokio::test]
async fn the_feed_gives_the_source_in_order_and_says_when_it_lost_its_place() {
    let encoder = Encoder { reordered: 2, ..Encoder::default() };
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config(), FirstNumbers::default());
    let mut packager = Packager::new(Arc::clone(&broadcast));
    let tags = encoder.tags(90_000, 0);
    let mut feed = broadcast.feed();
    let mut at = 0;
    let mut push_until = |packager: &mut Packager, time_ms: u32| {
        while at < tags.len() && tags[at].timestamp_ms < time_ms {
            packager.push(tags[at].clone()).unwrap();
            at += 1;
        }
    };
    push_until(&mut packager, 1_500);
    assert!(timeout(Duration::ZERO, feed.next()).await.is_err(), "the first segment is not complete");
    push_until(&mut packager, 9_000);
    let mut items = Vec::new();
    while let Ok(item) = timeout(Duration::ZERO, feed.next()).await {
        items.push(item.unwrap());
    }
    let FeedItem::Init(init) = &items[0] else { panic!("{:?}", items[0]) };
    assert_eq!(fragments::timescales(init).len(), 2);
    let read = |items: &[FeedItem]| -> Vec<(i64, Vec<fragments::Run>)> {
        let part = |item: &FeedItem| match item {
            FeedItem::Fragment { bytes, first_decode_ms } => (*first_decode_ms, fragments::runs(bytes)),
            other => panic!("{other:?}"),
        };
        items.iter().map(part).collect()
    };
    let assert_whole = |parts: &[(i64, Vec<fragments::Run>)]| {
        let runs: Vec<_> = parts.iter().flat_map(|(_, runs)| runs.clone()).collect();
        let findings = fragments::findings(&runs);
        assert!(findings.is_empty(), "{findings:?}");
        assert!(runs[0].samples[0].is_sync, "it begins with a key frame");
        for (first_decode_ms, runs) in parts {
            assert_eq!(runs[0].decode_time as i64, first_decode_ms * 90);
        }
    };
    assert_whole(&read(&items[1..]));
    // Nobody reads for longer than the playlist is.
    push_until(&mut packager, 60_000);
    assert_eq!(feed.next().await, Some(FeedItem::Lagged));
    assert!(matches!(feed.next().await, Some(FeedItem::Init(_))));
    let mut items = Vec::new();
    while let Ok(item) = timeout(Duration::ZERO, feed.next()).await {
        items.push(item.unwrap());
    }
    let parts = read(&items);
    assert_whole(&parts);
    assert!(parts[0].0 >= 10_000 + 56_000, "it goes on near the end: {}", parts[0].0);
    packager.finish();
    broadcast.end();
    while let Some(item) = feed.next().await {
        assert!(matches!(item, FeedItem::Fragment { .. }));
    }
}

#[tokio::test]
async fn long_playlists_have_delta_updates() {
    let encoder = Encoder { reordered: 2, ..Encoder::default() };
    let mut bench = Bench::new(PackagerConfig { window_segments: 20, ..config() }).await;
    let made = transcoded(&encoder, 120_000, TIMELINE_START_MS, LARGE);
    bench.viewer.also("audio");
    bench.play(&encoder.tags(120_000, 0), &made, TIMELINE_START_MS, DELAY_MS).await;
    assert_beside(&bench.viewer);
    let viewer = &bench.viewer;
    for seen in std::iter::once(&viewer.source).chain(&viewer.others) {
        assert!(seen.deltas > 100, "{}: {} delta updates", seen.name, seen.deltas);
        let sizes = (
            viewer.get(&viewer.path(&format!("{}/index.m3u8", seen.name))).await,
            viewer.get(&viewer.path(&format!("{}/index.m3u8?_HLS_skip=YES", seen.name))).await,
        );
        assert!(sizes.1.2.len() < sizes.0.2.len());
        assert_ne!(sizes.0.1["etag"], sizes.1.1["etag"]);
    }
}

#[tokio::test]
async fn the_sound_alone_can_be_played() {
    let tags = flv::encode(
        "-f lavfi -i testsrc2=size=320x180:rate=30:duration=12 -f lavfi -i sine=frequency=440:sample_rate=44100:duration=12 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 60 -c:a aac -ac 1 -b:a 96k",
    );
    let mut viewer = Viewer::new(config()).await;
    viewer.also("audio");
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &tags).await;
    packager.finish();
    viewer.look().await;
    let source = viewer.assert_flawless();
    assert_beside(&viewer);
    let audio = viewer.of("audio");
    assert!(audio.playlists.iter().all(|playlist| playlist.has_independent_segments));
    let epochs = audio.epochs();
    let (init, media) = &epochs[0];
    assert_eq!(fragments::timescales(init).into_iter().collect::<Vec<_>>(), [(AUDIO, 44_100)]);
    let runs = fragments::runs(media);
    assert!(runs.iter().all(|run| run.track == AUDIO));
    assert_eq!(fragments::track(&runs, AUDIO), fragments::track(&source[0].1, AUDIO));
    viewer::assert_decodes(init, media);
}

#[tokio::test]
async fn sound_that_is_not_always_there_leaves_gaps_in_the_sound_alone() {
    let silent = Encoder { sound: None, ..Encoder::default() };
    let mut viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &silent.tags(6_000, 0)).await;
    assert_eq!(viewer.get(&viewer.path("audio/index.m3u8")).await.0, StatusCode::NOT_FOUND);
    let text = viewer.get(&viewer.path("index.m3u8")).await.2;
    assert!(!std::str::from_utf8(&text).unwrap().contains("audio/"));
    packager.finish();
    viewer.also("audio");
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    for tag in Encoder::default().tags(6_000, 0) {
        packager.push(tag).unwrap();
    }
    viewer.look().await;
    assert_beside(&viewer);
    let playlist = viewer.of("audio").playlists.last().unwrap();
    let gaps: Vec<bool> = playlist
        .segments
        .iter()
        .map(|segment| segment.is_gap || segment.parts.iter().any(|part| part.is_gap))
        .collect();
    assert!(gaps.first() == Some(&true) && gaps.last() == Some(&false), "{gaps:?}");
    assert_eq!(playlist.segments.iter().filter(|segment| segment.is_after_discontinuity).count(), 1);
}

#[tokio::test]
async fn parts_without_a_frame_of_sound_are_there_in_the_sound_alone() {
    // Less than a second is no reason for silence yet.
    let is_pause = |tag: &Tag| tag.kind == TagKind::Audio && (3_000..3_950).contains(&tag.timestamp_ms);
    let tags: Vec<Tag> = Encoder::default().tags(9_000, 0).into_iter().filter(|tag| !is_pause(tag)).collect();
    let mut viewer = Viewer::new(config()).await;
    viewer.also("audio");
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    viewer.watch(&mut packager, &tags).await;
    assert_beside(&viewer);
    let parts = viewer.of("audio").files.iter().filter(|(name, _)| name.starts_with('p'));
    let empty = parts.filter(|(_, bytes)| fragments::runs(bytes).is_empty()).count();
    assert!((1..=2).contains(&empty), "{empty} parts without sound");
}
