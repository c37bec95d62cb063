//! DASH: what the manifest says, what it names, and how a segment comes while it grows.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/flv.rs"]
mod flv;
#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/manifest.rs"]
mod manifest;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/viewer.rs"]
mod viewer;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{HeaderMap, Request, StatusCode, header},
};
use bytes::Bytes;
use fragments::{AUDIO, VIDEO};
use ingest::{
    origin::LiveService,
    packager::{Follower, Packager, RenditionSpec, Tag},
};
use manifest::Manifest;
use synthetic::{Encoder, STEREO_44};
use tokio::time::timeout;
use tower::ServiceExt;
use viewer::{Viewer, assert_decodes, config};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

fn encode(size: &str, rate: u32, more: &str) -> Vec<Tag> {
    flv::encode(&format!(
        "-f lavfi -i testsrc2=size={size}:rate={rate}:duration=10 -f lavfi -i sine=frequency=440:sample_rate=44100:duration=10 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g {} {more} -c:a aac -ac 2",
        rate * 2
    ))
}

static SOURCE: LazyLock<Vec<Tag>> = LazyLock::new(|| encode("320x180", 30, "-bf 2"));
static OTHER: LazyLock<Vec<Tag>> = LazyLock::new(|| encode("640x360", 25, "-bf 0"));

fn until(milliseconds: u32) -> usize {
    SOURCE.iter().position(|tag| tag.timestamp_ms >= milliseconds).unwrap_or(SOURCE.len())
}

fn push(packager: &mut Packager, tags: &[Tag]) {
    for tag in tags {
        packager.push(tag.clone()).unwrap();
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// Reads the manifest and checks it, alone and against the last.
async fn look(viewer: &Viewer, earlier: Option<&Manifest>) -> Manifest {
    let (status, headers, body) = viewer.get(&viewer.path("index.mpd")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text(&headers, header::CONTENT_TYPE), "application/dash+xml");
    assert_eq!(text(&headers, header::CACHE_CONTROL), "public, no-cache");
    let body = String::from_utf8(body.to_vec()).unwrap();
    let manifest = Manifest::parse(&body).unwrap_or_else(|error| panic!("{error}\n{body}"));
    let mut findings = manifest.findings();
    findings.extend(earlier.iter().flat_map(|earlier| manifest.findings_after(earlier)));
    assert!(findings.is_empty(), "{findings:?}\n{body}");
    manifest
}

/// Fetches all complete segments: each has the times that the manifest says, one track, and ffmpeg decodes them.
async fn assert_true(viewer: &Viewer, manifest: &Manifest) {
    for (index, period) in manifest.periods.iter().enumerate() {
        let is_last_period = index + 1 == manifest.periods.len();
        for representation in &period.representations {
            let init = file(viewer, &representation.init).await;
            let track = if representation.is_video { VIDEO } else { AUDIO };
            let timescales = fragments::timescales(&init);
            assert_eq!(timescales.into_iter().collect::<Vec<_>>(), [(track, representation.timescale)]);
            let complete = match representation.is_growing && is_last_period && !manifest.is_over {
                true => &representation.segments[..representation.segments.len() - 1],
                false => &representation.segments[..],
            };
            let mut media = Vec::new();
            for (index, segment) in complete.iter().enumerate() {
                let bytes = file(viewer, &segment.uri).await;
                let runs = fragments::runs(&bytes);
                assert!(runs.iter().all(|run| run.track == track), "{}", segment.uri);
                let samples = fragments::track(&runs, track);
                let presented = samples.iter().map(|(time, sample)| *time as i64 + sample.composition).min().unwrap();
                assert_eq!(segment.start as i64, presented, "{}", segment.uri);
                let (time, last) = samples.last().unwrap();
                let end = time + last.duration - samples[0].0 + segment.start;
                let is_last = index + 1 == complete.len();
                let may_differ = if representation.is_video && !is_last { representation.timescale / 20 } else { 0 };
                assert!(end.abs_diff(segment.start + segment.duration) <= may_differ, "{}: {end}", segment.uri);
                media.extend_from_slice(&bytes);
            }
            if !media.is_empty() {
                assert_decodes(&init, &media);
            }
        }
    }
}

async fn file(viewer: &Viewer, uri: &str) -> Bytes {
    let (status, headers, bytes) = viewer.get(&viewer.path(uri)).await;
    assert_eq!(status, StatusCode::OK, "{uri}");
    assert_eq!(text(&headers, header::CACHE_CONTROL), "public, max-age=31536000, immutable");
    bytes
}

#[tokio::test]
async fn the_manifest_tells_the_truth_across_a_reconnect() {
    let mut viewer = Viewer::new(config()).await;
    let mut earlier = None;
    for tags in [&SOURCE, &OTHER, &SOURCE] {
        let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
        for tags in tags.chunks(11) {
            push(&mut packager, tags);
            if viewer.broadcast.is_playable() {
                earlier = Some(look(&viewer, earlier.as_ref()).await);
            }
        }
        assert_true(&viewer, earlier.as_ref().unwrap()).await;
        packager.finish();
    }
    let manifest = look(&viewer, earlier.as_ref()).await;
    assert_eq!(manifest.periods.len(), 2, "the first has left the window");
    let names: Vec<_> = manifest.periods[0].representations.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(names, ["source", "audio"]);
    assert!(manifest.text.contains("width=\"640\"") && manifest.text.contains("width=\"320\""));
    viewer.broadcast.end();
    let last = look(&viewer, Some(&manifest)).await;
    assert!(last.is_over);
    assert_true(&viewer, &last).await;
    viewer.look().await;
}

/// Where a broadcast's timeline begins.
const BEGINS_MS: u32 = 10_000;

#[tokio::test]
async fn renditions_stand_beside_the_source() {
    let small = encode("160x90", 30, "-bf 2");
    let viewer = Viewer::new(config()).await;
    let spec = RenditionSpec { name: "90p".to_owned(), max_height: Some(90), ..RenditionSpec::default() };
    let rendition = viewer.broadcast.add_rendition(spec);
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    let mut follower = Follower::new(&viewer.broadcast, rendition);
    let mut earlier: Option<Manifest> = None;
    let mut late = small.iter().peekable();
    for tags in SOURCE.chunks(11) {
        push(&mut packager, tags);
        let now_ms = tags.last().unwrap().timestamp_ms;
        // An encoder gets the source in parts of half a second.
        while let Some(tag) = late.next_if(|tag| tag.timestamp_ms + 700 < now_ms) {
            follower.push(Tag { timestamp_ms: tag.timestamp_ms + BEGINS_MS, ..tag.clone() }).unwrap();
        }
        if viewer.broadcast.is_playable() {
            earlier = Some(look(&viewer, earlier.as_ref()).await);
        }
    }
    let manifest = earlier.unwrap();
    let names: Vec<_> = manifest.periods[0].representations.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(names, ["source", "90p", "audio"]);
    assert_true(&viewer, &manifest).await;
    let [source, small, _] = &manifest.periods[0].representations[..] else { panic!("three") };
    // It begins with the first segment that an encoder had in time.
    let twin = |small| source.segments.iter().find(|source: &&manifest::Segment| source.number == small);
    let together: Vec<_> = small.segments.iter().filter_map(|one| Some((one, twin(one.number)?))).collect();
    assert!(together.len() >= 3, "{together:?}");
    // A player may change between them at any segment.
    let is_near =
        |(small, source): &(&manifest::Segment, &manifest::Segment)| small.start.abs_diff(source.start) < 9_000;
    assert!(together.iter().all(is_near), "{together:?}");

    // What is taken away while it grows does not end as if it were whole.
    let growing = small.segments.last().unwrap();
    let mut body = response(&viewer, &growing.uri).await.into_body();
    assert!(frame(&mut body).await.is_some());
    viewer.broadcast.remove_rendition("90p");
    let error = loop {
        match timeout(LONG, next(&mut body)).await.unwrap() {
            Some(Ok(_)) => {}
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(error.is_some(), "it ended as if it were whole");
}

async fn response(viewer: &Viewer, path: &str) -> axum::response::Response {
    let request = Request::get(viewer.path(path)).body(Body::empty()).unwrap();
    viewer.service.clone().oneshot(request).await.unwrap()
}

async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

/// What comes without anything being sent on.
async fn frame(body: &mut Body) -> Option<Bytes> {
    timeout(Duration::ZERO, next(body)).await.ok()?.map(Result::unwrap)
}

#[tokio::test]
async fn a_segment_comes_part_by_part_while_it_grows() {
    let viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    push(&mut packager, &SOURCE[..until(5_100)]);
    let (of_video, of_audio) = (response(&viewer, "source/v/s2.m4s").await, response(&viewer, "source/a/s2.m4s").await);
    for response in [&of_video, &of_audio] {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.body().size_hint().exact(), None, "its length is not known");
        assert_eq!(text(response.headers(), header::CACHE_CONTROL), "public, max-age=31536000, immutable");
    }
    // The next one is waited for.
    let coming = tokio::spawn({
        let (router, path) = (viewer.service.clone(), viewer.path("source/v/s3.m4s"));
        async move { router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap() }
    });
    let mut bodies = [of_video.into_body(), of_audio.into_body()];
    let mut came = [Vec::new(), Vec::new()];
    let mut arrivals = Vec::new();
    let mut is_over = false;
    for tag in &SOURCE[until(5_100)..] {
        for (body, came) in bodies.iter_mut().zip(&mut came).filter(|_| !is_over) {
            while let Ok(Some(part)) = timeout(Duration::ZERO, next(body)).await {
                came.extend_from_slice(&part.unwrap());
                arrivals.push(tag.timestamp_ms);
            }
        }
        is_over |= tag.timestamp_ms > 6_200;
        if tag.timestamp_ms < 5_900 {
            assert!(!coming.is_finished());
        }
        packager.push(tag.clone()).unwrap();
    }
    arrivals.dedup();
    assert!(arrivals.len() >= 3, "the parts came at different times: {arrivals:?}");
    for (came, uri) in came.iter().zip(["source/v/s2.m4s", "source/a/s2.m4s"]) {
        let whole = response(&viewer, uri).await;
        assert!(whole.body().size_hint().exact().is_some(), "it has a length");
        assert_eq!(*came, file(&viewer, uri).await, "{uri}");
    }
    let mut coming = coming.await.unwrap().into_body();
    assert!(frame(&mut coming).await.is_some());
    // Too far ahead, or never there.
    for (path, code) in [
        ("source/v/s99.m4s", StatusCode::NOT_FOUND),
        ("source/v/init9.mp4", StatusCode::NOT_FOUND),
        ("source/v/p1.m4s", StatusCode::NOT_FOUND),
        ("source/x/s0.m4s", StatusCode::NOT_FOUND),
        ("720p/v/s0.m4s", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(response(&viewer, path).await.status(), code, "{path}");
    }
}

#[tokio::test]
async fn it_says_what_time_it_is() {
    let viewer = Viewer::new(config()).await;
    let (status, headers, body) = viewer.get("/time").await;
    assert_eq!((status, text(&headers, header::CACHE_CONTROL)), (StatusCode::OK, "no-store"));
    let body = std::str::from_utf8(&body).unwrap();
    let time = time::OffsetDateTime::parse(body, &time::format_description::well_known::Rfc3339).unwrap();
    assert!((time::OffsetDateTime::now_utc() - time).whole_seconds().abs() < 60, "{body}");
}

/// Over a real connection, mounted as the binary mounts it.
async fn serve(service: LiveService) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().nest_service("/live", service)).await.unwrap() });
    format!("http://{address}/live")
}

/// How many pictures and frames of sound ffmpeg gets out of the manifest in so many seconds, and of what size.
async fn play(url: String, seconds: u32) -> (usize, usize, String) {
    let output = tokio::process::Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "error", "-nostdin", "-i", &url, "-t", &seconds.to_string()])
        .args(["-map", "0:v:0", "-map", "0:a:0", "-f", "framemd5", "-"])
        .kill_on_drop(true)
        .output();
    let output = timeout(LONG, output).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).unwrap();
    let frames = |track: &str| out.lines().filter(|line| line.starts_with(track)).count();
    let size = out.lines().find_map(|line| line.strip_prefix("#dimensions 0: ")).unwrap_or_default();
    (frames("0,"), frames("1,"), size.to_owned())
}

#[tokio::test]
async fn ffmpeg_plays_it_before_and_after_a_reconnect() {
    let viewer = Viewer::new(config()).await;
    let root = serve(viewer.service.clone()).await;
    let url = format!("{root}/{}/index.mpd", viewer.broadcast.stream_id());
    for (tags, size, rate) in [(&SOURCE, "320x180", 30), (&OTHER, "640x360", 25)] {
        let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
        push(&mut packager, tags);
        // It goes on as an encoder does, for as long as it is watched.
        let watched = async {
            let began = tokio::time::Instant::now();
            loop {
                let (pictures, sounds, dimensions) = play(url.clone(), 6).await;
                assert_eq!(dimensions, size);
                if pictures >= 5 * rate && sounds >= 5 * 43 {
                    break;
                }
                // On a busy machine it skips what it comes too late for, and may do better after.
                assert!(began.elapsed() < LONG, "{pictures} pictures, {sounds} frames of sound");
            }
        };
        let sending = async {
            let begun = tokio::time::Instant::now();
            for round in 1.. {
                for tag in tags.iter() {
                    tokio::time::sleep_until(
                        begun + Duration::from_millis(u64::from(tag.timestamp_ms) + 10_000 * (round - 1)),
                    )
                    .await;
                    let timestamp_ms = tag.timestamp_ms + u32::try_from(round * 10_000).unwrap();
                    packager.push(Tag { timestamp_ms, ..tag.clone() }).unwrap();
                }
            }
        };
        tokio::select! {
            () = watched => {}
            () = sending => unreachable!(),
        }
        packager.finish();
    }
}

/// Picture and sound apart are the same pictures and the same sound, at the same times, and the manifest says which, for an
/// hour.
async fn an_hour_apart(encoder: &Encoder) {
    let mut viewer = Viewer::new(config()).await;
    viewer.is_brief = true;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    let mut earlier: Option<Manifest> = None;
    let mut apart = [Vec::new(), Vec::new()];
    // As the manifest says: number, start and duration of each segment, once it does not grow any more.
    let mut said: [Vec<(u64, u64, u64)>; 2] = Default::default();
    let (mut next_ms, mut next_segment) = (0, 0);
    let tags = encoder.tags(3_600_000, 0);
    let end_ms = tags.last().unwrap().timestamp_ms;
    for tag in tags {
        let time_ms = tag.timestamp_ms;
        packager.push(tag).unwrap();
        if time_ms == end_ms {
            packager.finish();
            viewer.broadcast.end();
        } else if time_ms < next_ms || !viewer.broadcast.is_playable() {
            continue;
        }
        next_ms = time_ms + 2_000;
        viewer.look().await;
        let manifest = look(&viewer, earlier.as_ref()).await;
        let [video, audio] = &manifest.periods[0].representations[..] else { panic!("{}", manifest.text) };
        let last = viewer.playlists.last().unwrap().complete().next_back().unwrap().number;
        for number in next_segment..=last {
            for (folder, runs) in ["v", "a"].into_iter().zip(&mut apart) {
                runs.extend(fragments::runs(&file(&viewer, &format!("source/{folder}/s{number}.m4s")).await));
            }
        }
        for (representation, said) in [video, audio].into_iter().zip(&mut said) {
            let known = said.last().map(|(number, ..)| *number);
            // The last one but the growing one is measured by where the next begins.
            let settled = representation.segments.iter().filter(|segment| segment.number < last);
            said.extend(
                settled
                    .filter(|segment| Some(segment.number) > known)
                    .map(|segment| (segment.number, segment.start, segment.duration)),
            );
        }
        next_segment = last + 1;
        earlier = Some(manifest);
    }
    assert!(viewer.findings.is_empty(), "{} findings, first: {}", viewer.findings.len(), viewer.findings[0]);
    let (_, media) = viewer.epochs().remove(0);
    let whole = fragments::runs(&media);
    for ((track, apart), said) in [VIDEO, AUDIO].into_iter().zip(&apart).zip(&said) {
        let findings = fragments::findings(apart);
        assert!(findings.is_empty(), "{findings:?}");
        assert!(apart.iter().all(|run| run.track == track));
        assert!(fragments::track(apart, track) == fragments::track(&whole, track), "track {track}");
        for pair in said.windows(2) {
            let [(number, start, duration), (next, begins, _)] = pair else { continue };
            assert_eq!((number + 1, start + duration), (*next, *begins), "track {track}");
        }
    }
    // What lasts to the end lasts an hour, less what is not settled.
    assert!(said[0].len() > 890, "{} segments", said[0].len());
    assert!(said[1].last().unwrap().1.abs_diff(said[0].last().unwrap().1 * 441 / 900) < 44_100 / 10);
}

#[tokio::test]
async fn an_hour_of_picture_and_sound_apart() {
    let encoder =
        Encoder { rate: (30_000, 1_001), group: 120, reordered: 2, sound: Some(STEREO_44), ..Encoder::default() };
    an_hour_apart(&encoder).await;
}

#[tokio::test]
async fn an_hour_of_a_still_desktop_and_its_sound_apart() {
    an_hour_apart(&Encoder { group: 300, is_still: true, sound: Some(STEREO_44), ..Encoder::default() }).await;
}
