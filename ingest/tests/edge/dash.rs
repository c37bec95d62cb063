//! Low-latency DASH over a relay: a segment reaches its viewers as it grows.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures::StreamExt;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::{
    node::{LONG, Origin, get},
    pause, read, settled,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_is_sent_on_as_it_grows() {
    let mut origin = Origin::start().await;
    let router = origin.edge().service();
    let (_, _, playlist) = settled(&router, &origin.path("source/index.m3u8")).await;
    let number = read(&playlist).next_position().0;
    let path = origin.path(&format!("source/v/s{number}.m4s"));
    // Three viewers of one segment that has begun.
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let request = Request::get(&path).body(Body::empty()).unwrap();
        let response = timeout(LONG, router.clone().oneshot(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "video/mp4");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        bodies.push((response.into_body().into_data_stream(), Vec::new()));
    }
    // Something comes while it is not complete: the origin has not been given the rest yet.
    for (stream, got) in &mut bodies {
        got.extend_from_slice(&timeout(LONG, stream.next()).await.unwrap().unwrap().unwrap());
    }
    let (_, _, now) = get(&router, &origin.path("source/index.m3u8")).await;
    assert_eq!(read(&now).next_position().0, number, "the segment is not complete yet");
    origin.push_until(9_000);
    for (stream, got) in &mut bodies {
        while let Some(piece) = timeout(LONG, stream.next()).await.unwrap() {
            got.extend_from_slice(&piece.unwrap());
        }
    }
    let (_, _, whole) = get(&origin.straight, &format!("/live{path}")).await;
    assert!(bodies.iter().all(|(_, got)| *got == whole), "what was sent piece by piece is the whole");
    // Now it is kept, and has a length.
    assert_eq!(get(&router, &path).await.2, whole);
    let asked = origin.asked(|asked| asked.ends_with(&path));
    assert_eq!(asked.values().sum::<usize>(), 1, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_breaks_off_does_not_end_as_if_it_were_whole() {
    let mut origin = Origin::start().await;
    let router = origin.edge().service();
    let (_, _, playlist) = settled(&router, &origin.path("source/index.m3u8")).await;
    let path = origin.path(&format!("source/v/s{}.m4s", read(&playlist).next_position().0));
    let request = Request::get(&path).body(Body::empty()).unwrap();
    let response = timeout(LONG, router.clone().oneshot(request)).await.unwrap().unwrap();
    let mut stream = response.into_body().into_data_stream();
    assert!(timeout(LONG, stream.next()).await.unwrap().unwrap().is_ok());
    origin.stop().await;
    let end = async {
        loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                other => break other,
            }
        }
    };
    assert!(matches!(timeout(LONG, end).await.unwrap(), Some(Err(_))), "the torso is not taken for the whole");
    timeout(LONG, async {
        loop {
            let request = Request::get(&path).body(Body::empty()).unwrap();
            // A moment later it is forgotten.
            if router.clone().oneshot(request).await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
            pause().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_time_it_is_a_relay_knows_itself() {
    let origin = Origin::start().await;
    let router = origin.edge().service();
    let (status, headers, body) = get(&router, "/time").await;
    assert_eq!((status, &headers[header::CACHE_CONTROL]), (StatusCode::OK, &"no-store".parse().unwrap()));
    assert!(body.starts_with(b"20"), "{body:?}");
    assert!(origin.asked(|path| path.ends_with("/time")).is_empty());
}
