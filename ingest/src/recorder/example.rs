//! A stream for tests.

use std::sync::Arc;

use uuid::Uuid;

use crate::packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag, TagKind};

/// The parameter sets of x264 for 1920x1080.
const CONFIG: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44,
    0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4, 0x68, 0xeb, 0xe3,
    0xcb,
];

/// A stream of so many seconds with a key frame in each, which has ended.
pub(super) fn broadcast(seconds: u32) -> Arc<Broadcast> {
    let (broadcast, mut packager) = growing(30 * seconds);
    packager.finish();
    broadcast.end();
    broadcast
}

/// A stream of so many pictures, 30 a second with a key frame in each second, which goes on.
pub(super) fn growing(pictures: u32) -> (Arc<Broadcast>, Packager) {
    let config = PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() };
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config, FirstNumbers::default());
    let mut packager = Packager::new(Arc::clone(&broadcast));
    let mut push = |timestamp_ms, body: Vec<u8>| {
        packager.push(Tag { kind: TagKind::Video, timestamp_ms, body: body.into() }).unwrap();
    };
    push(0, [&[0x17, 0, 0, 0, 0], CONFIG].concat());
    for picture in 0..pictures {
        let (kind, slice) = if picture.is_multiple_of(30) { (0x17, 0x65) } else { (0x27, 0x41) };
        push(picture * 100 / 3, vec![kind, 1, 0, 0, 0, 0, 0, 0, 2, slice, 9]);
    }
    (broadcast, packager)
}
