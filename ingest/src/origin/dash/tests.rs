use axum::{body::to_bytes, http::Request};
use domain::ids::ChannelId;
use storage::Storage;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::{
    origin::{self, Broadcasts},
    packager::{FirstNumbers, Packager, PackagerConfig, Tag, TagKind},
};

/// The parameter sets of x264 for 1920x1080.
const PICTURE: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44,
    0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4, 0x68, 0xeb, 0xe3,
    0xcb,
];

/// Sends picture and sound with a key frame every second, from one second to another.
fn send(packager: &mut Packager, seconds: std::ops::Range<u32>) {
    let mut push = |kind, timestamp_ms, body: Vec<u8>| {
        packager.push(Tag { kind, timestamp_ms, body: body.into() }).unwrap();
    };
    if seconds.start == 0 {
        push(TagKind::Video, 0, [&[0x17, 0, 0, 0, 0], PICTURE].concat());
        push(TagKind::Audio, 0, vec![0xaf, 0, 0x11, 0x90]);
    }
    for slot in 30 * seconds.start..30 * seconds.end {
        let (kind, slice) = if slot.is_multiple_of(30) { (0x17, 0x65) } else { (0x27, 0x41) };
        push(TagKind::Video, slot * 100 / 3, vec![kind, 1, 0, 0, 0, 0, 0, 0, 2, slice, 9]);
        push(TagKind::Audio, slot * 100 / 3, vec![0xaf, 1, 0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]);
    }
}

/// Numbers of the segments of which something was made for DASH.
fn split(view: &View) -> Vec<u64> {
    view.segments().filter(|segment| segment.is_split()).map(|segment| segment.number).collect()
}

fn is_described(view: &View) -> bool {
    view.manifest.lock().unwrap().is_some()
}

#[tokio::test]
async fn nothing_is_made_before_somebody_asks_and_nothing_after_the_last_one_has() {
    let folder = tempfile::tempdir().unwrap();
    let broadcasts = Broadcasts::default();
    let config = PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() };
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config, FirstNumbers::default());
    broadcasts.publish(ChannelId::from(Uuid::now_v7()), Arc::clone(&broadcast));
    let router = origin::service(broadcasts, Storage::open_disk(folder.path()).await.unwrap());
    let get = |path: &str| {
        let request = Request::get(format!("/{}/{path}", broadcast.stream_id())).body(Body::empty()).unwrap();
        let router = router.clone();
        async move {
            let answer = router.oneshot(request).await.unwrap();
            let is_there = answer.status().is_success();
            (is_there, to_bytes(answer.into_body(), usize::MAX).await.unwrap())
        }
    };
    let source = broadcast.source();
    let mut packager = Packager::new(Arc::clone(&broadcast));

    // Players of HLS read it, and nobody else.
    for second in 0..10 {
        send(&mut packager, second..second + 1);
        let Some(view) = source.view() else { continue };
        for path in ["index.m3u8", "source/index.m3u8", "source/s0.m4s", "source/p0.m4s", "source/init0.mp4"] {
            assert!(get(path).await.0, "{path}");
        }
        assert!(split(&view).is_empty() && !is_described(&view));
    }
    assert!(source.view().unwrap().segments().count() >= 9);

    // One player of DASH.
    assert!(get("index.mpd").await.0);
    let (is_there, picture) = get("source/v/s6.m4s").await;
    assert!(is_there && !picture.is_empty());
    let asked = source.view().unwrap();
    assert!(is_described(&asked));
    assert_eq!(split(&asked), [6], "of what was asked for, and of nothing else");

    // It has gone.
    for second in 10..14 {
        send(&mut packager, second..second + 1);
        let view = source.view().unwrap();
        assert_eq!(split(&view), [6]);
        assert!(!is_described(&view));
    }
}
