//! Pictures of any duration, even and uneven: the part target suits the parts that are there when it is announced.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/fragments.rs"]
mod fragments;
#[path = "support/playlist.rs"]
mod playlist;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/viewer.rs"]
mod viewer;

use std::sync::Arc;

use ingest::packager::{Packager, PackagerConfig, Tag, TagKind};
use proptest::prelude::*;
use synthetic::{Encoder, Sent};
use viewer::{Viewer, config};

const KEY_FRAMES_APART_MS: u64 = 2_000;

/// Pictures of these durations, in milliseconds.
fn lasting(durations_ms: impl IntoIterator<Item = u64>, has_sound: bool) -> Vec<Tag> {
    let encoder = Encoder::default();
    let (mut decode_ms, mut next_key_ms) = (0, 0);
    let mut pictures = Vec::new();
    for (duration_ms, number) in durations_ms.into_iter().zip(0..) {
        let is_key = decode_ms >= next_key_ms;
        next_key_ms = if is_key { decode_ms + KEY_FRAMES_APART_MS } else { next_key_ms };
        pictures.push(synthetic::picture_tag(&Sent { decode_ms, composition_ms: 0, is_key, number }, 0));
        decode_ms += duration_ms;
    }
    let mut tags = vec![encoder.video_config_tag(0)];
    if has_sound {
        tags.extend(encoder.tags(decode_ms, 0).into_iter().filter(|tag| tag.kind == TagKind::Audio));
    }
    tags.append(&mut pictures);
    tags.sort_by_key(|tag| tag.timestamp_ms);
    tags
}

/// What a viewer finds who looks after each message.
async fn findings_of(tags: &[Tag], part_target_ms: u32) -> Vec<String> {
    let mut viewer = Viewer::new(PackagerConfig { part_target_ms, ..config() }).await;
    let mut packager = Packager::new(Arc::clone(&viewer.broadcast));
    for tag in tags {
        packager.push(tag.clone()).unwrap();
        viewer.look().await;
    }
    packager.finish();
    viewer.look().await;
    assert!(!viewer.segments.is_empty(), "nothing came out");
    viewer.source.findings
}

#[tokio::test]
async fn even_pictures_make_parts_of_one_length() {
    for duration_ms in (16..500).step_by(5) {
        let tags = lasting(std::iter::repeat_n(duration_ms, 10_000 / duration_ms as usize), false);
        for part_target_ms in [333, 500] {
            let findings = findings_of(&tags, part_target_ms).await;
            assert!(findings.is_empty(), "{duration_ms} ms in {part_target_ms}: {}", findings[0]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// As an encoder sends them that shows a desktop: none as long as nothing changes there.
    #[test]
    fn uneven_pictures_make_parts_of_one_length(
        durations_ms in proptest::collection::vec(prop_oneof![Just(33_u64), 20_u64..600, 150_u64..300], 20..60),
        has_sound in any::<bool>(),
        part_target_ms in 100_u32..1_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let findings = runtime.block_on(findings_of(&lasting(durations_ms, has_sound), part_target_ms));
        prop_assert!(findings.is_empty(), "{}", findings[0]);
    }
}
