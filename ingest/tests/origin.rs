//! What the origin answers: addresses, headers, waiting, refusals.

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
    io::Read,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use bytes::Bytes;
use ingest::{
    origin::LiveService,
    packager::{Packager, Tag},
    thumbnails,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use viewer::{Viewer, config};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

static SOURCE: LazyLock<Vec<Tag>> = LazyLock::new(|| {
    flv::encode(
        "-f lavfi -i testsrc2=size=320x180:rate=30:duration=10 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=10 \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 60 -bf 2 -c:a aac -ac 2",
    )
});

fn until(milliseconds: u32) -> usize {
    SOURCE.iter().position(|tag| tag.timestamp_ms >= milliseconds).unwrap_or(SOURCE.len())
}

fn push(packager: &mut Packager, tags: &[Tag]) {
    for tag in tags {
        packager.push(tag.clone()).unwrap();
    }
}

/// Two segments are complete, the third has two parts.
const LIVE_MS: u32 = 5_100;

/// A broadcast with its first 5 s in.
async fn live() -> (Viewer, Packager) {
    let viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    push(&mut packager, &SOURCE[..until(LIVE_MS)]);
    (viewer, packager)
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> &str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn assert_problem(answer: &(StatusCode, HeaderMap, Bytes), status: u16, code: &str) {
    let (got, headers, body) = answer;
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(got.as_u16(), status, "{body}");
    assert_eq!(text(headers, header::CONTENT_TYPE), "application/problem+json");
    assert_eq!(text(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    assert_eq!(text(headers, header::CACHE_CONTROL), "no-store");
    assert_eq!(body["code"], code);
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], format!("urn:weir:problem:{code}"));
    for field in ["title", "detail"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
}

#[tokio::test]
async fn everything_has_its_headers() {
    let (viewer, _packager) = live().await;
    let playlist = "application/vnd.apple.mpegurl";
    let for_ever = "public, max-age=31536000, immutable";
    for (path, kind, cache) in [
        ("index.m3u8", playlist, "public, max-age=1"),
        ("source/index.m3u8", playlist, "public, max-age=1"),
        ("source/index.m3u8?_HLS_msn=1", playlist, "public, max-age=12"),
        ("source/init0.mp4", "video/mp4", for_ever),
        ("source/s0.m4s", "video/mp4", for_ever),
        ("source/p3.m4s", "video/mp4", for_ever),
    ] {
        let path = viewer.path(path);
        let (status, headers, body) = viewer.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(text(&headers, header::CONTENT_TYPE), kind, "{path}");
        assert_eq!(text(&headers, header::CACHE_CONTROL), cache, "{path}");
        assert_eq!(text(&headers, header::ACCESS_CONTROL_ALLOW_ORIGIN), "*", "{path}");
        let tag = text(&headers, header::ETAG).to_owned();
        assert!(tag.starts_with('"') && !body.is_empty(), "{path}");
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let request = Request::get(&path).header(header::IF_NONE_MATCH, known).body(Body::empty()).unwrap();
            let (status, headers, body) = viewer.request(request).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
            assert_eq!(text(&headers, header::ETAG), tag);
            assert_eq!(text(&headers, header::CACHE_CONTROL), cache);
        }
    }
}

#[tokio::test]
async fn playlists_are_compressed_for_who_accepts_it() {
    let (viewer, _packager) = live().await;
    for path in ["index.m3u8", "source/index.m3u8"] {
        let (_, plain_headers, plain) = viewer.get(&viewer.path(path)).await;
        assert_eq!(text(&plain_headers, header::CONTENT_ENCODING), "");
        assert_eq!(text(&plain_headers, header::VARY), "accept-encoding");
        let request = Request::get(viewer.path(path)).header(header::ACCEPT_ENCODING, "br, gzip").body(Body::empty());
        let (_, headers, packed) = viewer.request(request.unwrap()).await;
        assert_eq!(text(&headers, header::CONTENT_ENCODING), "gzip");
        assert_ne!(text(&headers, header::ETAG), text(&plain_headers, header::ETAG));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }
}

/// Over a real connection, mounted as the binary mounts it.
async fn serve(service: LiveService) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().nest_service("/live", service)).await.unwrap() });
    format!("http://{address}/live")
}

#[tokio::test]
async fn it_works_nested_and_over_http() {
    let (viewer, _packager) = live().await;
    let root = serve(viewer.service.clone()).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::limited(3)).build().unwrap();
    let stream_id = viewer.broadcast.stream_id();
    let segment = client.get(format!("{root}/{stream_id}/source/s0.m4s")).send().await.unwrap();
    assert_eq!(segment.status(), 200);
    let length = segment.content_length();
    assert_eq!(segment.bytes().await.unwrap().len() as u64, length.unwrap());
    let head = client.head(format!("{root}/{stream_id}/source/s0.m4s")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"].to_str().unwrap().parse().ok(), length);
    assert!(head.bytes().await.unwrap().is_empty());
    // The channel's address leads to the stream's playlist.
    let master = client.get(format!("{root}/channels/{}/index.m3u8", viewer.channel_id)).send().await.unwrap();
    assert_eq!(master.url().path(), format!("/live/{stream_id}/index.m3u8"));
    assert!(master.text().await.unwrap().contains("source/index.m3u8"));
    for path in ["", "/x", "/x/y/z/w"] {
        let answer = client.get(format!("{root}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn methods_other_than_reading_are_refused() {
    let (viewer, _packager) = live().await;
    let path = viewer.path("source/index.m3u8");
    let request = |method| Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
    let (status, headers, _) = viewer.request(request(Method::OPTIONS)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(text(&headers, header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    assert_eq!(text(&headers, header::ACCESS_CONTROL_ALLOW_METHODS), "GET, HEAD, OPTIONS");
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = viewer.request(request(method)).await;
        assert_problem(&answer, 405, "method_not_allowed");
        assert_eq!(text(&answer.1, header::ALLOW), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let (viewer, _packager) = live().await;
    let nobody = Uuid::now_v7();
    for (path, code) in [
        (viewer.path("source/s99.m4s"), "media_not_found"),
        (viewer.path("source/p99999.m4s"), "media_not_found"),
        (viewer.path("source/init1.mp4"), "media_not_found"),
        (viewer.path("thumbnail.jpg"), "thumbnail_not_found"),
        (viewer.path("source/x.m4s"), "not_found"),
        (viewer.path("720p/index.m3u8"), "rendition_not_found"),
        (viewer.path("720p/s0.m4s"), "rendition_not_found"),
        ("/%ff%fe".to_owned(), "not_found"),
        (format!("/{nobody}/index.m3u8"), "stream_not_found"),
        (format!("/{nobody}/source/s0.m4s"), "stream_not_found"),
        (format!("/{nobody}/thumbnail.jpg"), "thumbnail_not_found"),
        (format!("/channels/{nobody}/index.m3u8"), "channel_offline"),
    ] {
        assert_problem(&viewer.get(&path).await, 404, code);
    }
}

#[tokio::test]
async fn a_channel_shows_its_live_stream() {
    let (viewer, _packager) = live().await;
    let path = format!("/channels/{}/index.m3u8", viewer.channel_id);
    let (status, headers, _) = viewer.get(&path).await;
    assert_eq!(status, StatusCode::FOUND);
    let location = format!("../../{}/index.m3u8", viewer.broadcast.stream_id());
    assert_eq!(text(&headers, header::LOCATION), location);
    assert_eq!(text(&headers, header::CACHE_CONTROL), "no-store");
    viewer.broadcast.end();
    assert_problem(&viewer.get(&path).await, 404, "channel_offline");
    // What was kept stays watchable until it is removed.
    let (_, _, playlist) = viewer.get(&viewer.path("source/index.m3u8")).await;
    assert!(std::str::from_utf8(&playlist).unwrap().ends_with("#EXT-X-ENDLIST\n"));
    assert_eq!(viewer.get(&viewer.path("source/s0.m4s")).await.0, StatusCode::OK);
    viewer.broadcasts.remove(viewer.broadcast.stream_id());
    assert_problem(&viewer.get(&viewer.path("source/s0.m4s")).await, 404, "stream_not_found");
}

#[tokio::test]
async fn directives_that_make_no_sense_are_refused() {
    let (viewer, _packager) = live().await;
    for query in ["_HLS_part=0", "_HLS_msn=x", "_HLS_msn=2&_HLS_part=-1", "_HLS_skip=NO", "_HLS_msn=1&_HLS_skip="] {
        let answer = viewer.get(&viewer.path(&format!("source/index.m3u8?{query}"))).await;
        assert_problem(&answer, 400, "reload_invalid");
    }
    for query in ["_HLS_msn=4", "_HLS_msn=99999", "_HLS_msn=2&_HLS_part=9", "_HLS_msn=3&_HLS_part=6"] {
        let answer = viewer.get(&viewer.path(&format!("source/index.m3u8?{query}"))).await;
        assert_problem(&answer, 400, "reload_too_far");
    }
    for query in
        ["_HLS_msn=0", "_HLS_msn=1&_HLS_part=0", "_HLS_msn=1&_HLS_part=50", "_HLS_msn=2&_HLS_part=0", "_HLS_skip=YES"]
    {
        let answer = viewer.get(&viewer.path(&format!("source/index.m3u8?{query}"))).await;
        assert_eq!(answer.0, StatusCode::OK, "{query}");
    }
}

/// Asks for something that is to come, then sends on until it is answered.
async fn answered_after(viewer: &Viewer, packager: &mut Packager, path: &str) -> (u32, (StatusCode, HeaderMap, Bytes)) {
    let path = viewer.path(path);
    let mut answer = std::pin::pin!(viewer.get(&path));
    for tag in &SOURCE[until(LIVE_MS)..] {
        if let Ok(answer) = timeout(Duration::ZERO, &mut answer).await {
            return (tag.timestamp_ms, answer);
        }
        packager.push(tag.clone()).unwrap();
    }
    panic!("{path} was not answered");
}

#[tokio::test]
async fn a_reload_waits_for_its_part() {
    for (query, earliest_ms, expected) in [
        ("_HLS_msn=2&_HLS_part=2", 5_490, "p10.m4s"),
        ("_HLS_msn=2", 5_990, "s2.m4s"),
        // There is no fifth part: the first of the next segment is meant.
        ("_HLS_msn=2&_HLS_part=4", 6_490, "p12.m4s"),
        ("_HLS_msn=3&_HLS_part=0", 6_490, "p12.m4s"),
        ("_HLS_msn=3", 7_990, "s3.m4s"),
    ] {
        let (viewer, mut packager) = live().await;
        let path = format!("source/index.m3u8?{query}");
        let (time_ms, (status, _, body)) = answered_after(&viewer, &mut packager, &path).await;
        assert_eq!(status, StatusCode::OK);
        let body = String::from_utf8(body.to_vec()).unwrap();
        let named = body.lines().filter(|line| !line.contains("PRELOAD-HINT")).any(|line| line.contains(expected));
        assert!(named, "{query}: {body}");
        assert!((earliest_ms..earliest_ms + 120).contains(&time_ms), "{query} at {time_ms}");
    }
}

#[tokio::test]
async fn a_hinted_part_is_waited_for() {
    let (viewer, mut packager) = live().await;
    let (time_ms, (status, _, body)) = answered_after(&viewer, &mut packager, "source/p10.m4s").await;
    assert_eq!(status, StatusCode::OK);
    assert!((5_490..5_620).contains(&time_ms), "{time_ms}");
    assert_eq!(&body[4..8], b"moof");
    assert_problem(&viewer.get(&viewer.path("source/p12.m4s")).await, 404, "media_not_found");
}

#[tokio::test]
async fn who_waits_in_vain_is_told_once_no_picture_can_have_stayed_for_so_long() {
    let (viewer, _packager) = live().await;
    let (reload, part) = (viewer.path("source/index.m3u8?_HLS_msn=2&_HLS_part=3"), viewer.path("source/p10.m4s"));
    let started = Instant::now();
    let (reload, part) = tokio::join!(viewer.get(&reload), viewer.get(&part));
    // Three target durations are 6 s, and a picture may stay for 8.
    assert!(started.elapsed() > Duration::from_secs(8), "{:?}", started.elapsed());
    for answer in [reload, part] {
        assert_problem(&answer, 503, "not_ready");
        assert_eq!(text(&answer.1, header::RETRY_AFTER), "1");
    }
}

#[tokio::test]
async fn the_end_wakes_all_who_wait() {
    let (viewer, mut packager) = live().await;
    let reload = viewer.path("source/index.m3u8?_HLS_msn=3");
    let part = viewer.path("source/p11.m4s");
    let hint = viewer.path("source/p10.m4s");
    let end = async {
        tokio::task::yield_now().await;
        packager.finish();
        viewer.broadcast.end();
    };
    let (reload, hint, ()) = tokio::join!(viewer.get(&reload), viewer.get(&hint), end);
    assert_eq!(reload.0, StatusCode::OK);
    assert!(std::str::from_utf8(&reload.2).unwrap().ends_with("#EXT-X-ENDLIST\n"));
    // What was held back became the hinted part, or it never comes.
    assert!(hint.0 == StatusCode::OK || hint.0 == StatusCode::NOT_FOUND);
    assert_problem(&viewer.get(&part).await, 404, "media_not_found");
}

#[tokio::test]
async fn a_stream_that_has_just_begun_is_waited_for() {
    let viewer = Viewer::new(config()).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    push(&mut packager, &SOURCE[..until(1_000)]);
    assert!(!viewer.broadcast.is_playable());
    assert_problem(&viewer.get(&viewer.path("source/p0.m4s")).await, 404, "media_not_found");
    let (master, media) = (viewer.path("index.m3u8"), viewer.path("source/index.m3u8"));
    let rest = async {
        tokio::task::yield_now().await;
        push(&mut packager, &SOURCE[until(1_000)..until(2_200)]);
    };
    let (master, media, playable, ()) =
        tokio::join!(viewer.get(&master), viewer.get(&media), viewer.broadcast.playable(), rest);
    assert_eq!((master.0, media.0, playable), (StatusCode::OK, StatusCode::OK, true));
    assert!(std::str::from_utf8(&media.2).unwrap().contains("#EXT-X-TARGETDURATION:2\n"));
}

#[tokio::test]
async fn a_stream_that_ended_before_it_could_be_played_says_so() {
    let viewer = Viewer::new(config()).await;
    let path = viewer.path("index.m3u8");
    let end = async { viewer.broadcast.end() };
    let (answer, playable, ()) = tokio::join!(viewer.get(&path), viewer.broadcast.playable(), end);
    assert_problem(&answer, 404, "nothing_to_play");
    assert!(!playable);
}

#[tokio::test]
async fn an_encoder_that_is_away_leaves_what_it_sent() {
    let (viewer, mut packager) = live().await;
    packager.finish();
    let (status, _, body) = viewer.get(&viewer.path("source/index.m3u8")).await;
    assert_eq!(status, StatusCode::OK);
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("s2.m4s") && !body.contains("ENDLIST") && body.contains("PRELOAD-HINT"), "{body}");
    assert_eq!(viewer.get(&viewer.path("source/s2.m4s")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_thumbnail_is_made_of_the_first_key_frame_and_outlives_the_stream() {
    let viewer = Viewer::new(config()).await;
    let cancel = CancellationToken::new();
    let every = Duration::from_secs(20);
    let work =
        tokio::spawn(thumbnails::run(Arc::clone(&viewer.broadcast), viewer.storage.clone(), every, cancel.clone()));
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    push(&mut packager, &SOURCE[..until(200)]);
    // The last of the four.
    let key = thumbnails::Picture::SmallWebp.key(viewer.broadcast.stream_id()).unwrap();
    let started = std::time::Instant::now();
    while viewer.storage.stat(&key).await.unwrap().is_none() {
        assert!(started.elapsed() < LONG, "there is no thumbnail");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    viewer.broadcast.end();
    timeout(LONG, work).await.expect("it stops with the broadcast").unwrap();
    viewer.broadcasts.remove(viewer.broadcast.stream_id());
    let path = viewer.path("thumbnail.jpg");
    let (status, headers, body) = viewer.get(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text(&headers, header::CONTENT_TYPE), "image/jpeg");
    assert_eq!(text(&headers, header::CACHE_CONTROL), "public, max-age=10");
    assert!(text(&headers, header::LAST_MODIFIED).ends_with(" GMT"));
    assert_eq!(jpeg_size(&body), (640, 360));
    let (_, _, small) = viewer.get(&viewer.path("thumbnail-small.jpg")).await;
    assert_eq!(jpeg_size(&small), (320, 180));
    for (name, expected) in [("thumbnail.webp", (640, 360)), ("thumbnail-small.webp", (320, 180))] {
        let (status, headers, body) = viewer.get(&viewer.path(name)).await;
        assert_eq!((status, text(&headers, header::CONTENT_TYPE)), (StatusCode::OK, "image/webp"), "{name}");
        assert_eq!(webp_size(&body), expected);
    }
    let tag = text(&headers, header::ETAG).to_owned();
    let request = Request::get(&path).header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
    assert_eq!(viewer.request(request).await.0, StatusCode::NOT_MODIFIED);

    // Of a stream of before there were four, or by an ffmpeg without WebP, there is one.
    for picture in [thumbnails::Picture::SmallWebp, thumbnails::Picture::Webp, thumbnails::Picture::SmallJpeg] {
        assert!(viewer.storage.delete(&picture.key(viewer.broadcast.stream_id()).unwrap()).await.unwrap());
    }
    let (status, headers, body) = viewer.get(&viewer.path("thumbnail-small.webp")).await;
    assert_eq!((status, text(&headers, header::CONTENT_TYPE)), (StatusCode::OK, "image/jpeg"));
    assert_eq!(jpeg_size(&body), (640, 360));
    thumbnails::delete(&viewer.storage, viewer.broadcast.stream_id()).await.unwrap();
    assert_eq!(viewer.get(&path).await.0, StatusCode::NOT_FOUND);
}

/// From the frame header of the lossy form, RFC 6386 section 9.1.
fn webp_size(bytes: &[u8]) -> (u16, u16) {
    let at = bytes.windows(3).position(|code| code == [0x9d, 0x01, 0x2a]).unwrap();
    let side = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]) & 0x3fff;
    (side(at + 3), side(at + 5))
}

/// From the frame header, ISO/IEC 10918-1 section B.2.2.
fn jpeg_size(bytes: &[u8]) -> (u16, u16) {
    let at = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let side = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    (side(at + 7), side(at + 5))
}
