//! All that reads bytes of strangers, fed with whatever bytes: for the fuzz targets in `fuzz/`, and for the test that feeds
//! it what they have found. What comes back does not matter; that it comes back does.
//!
//! To add one: a function here, its line in [`TARGETS`], a file of its name in `fuzz/fuzz_targets`, and a few seeds in
//! `fuzz/corpus`.

use bytes::Bytes;
use domain::ids::StreamId;
use uuid::Uuid;

pub use crate::rtmp::exercise::{Outcome, connection, conversation};
use crate::{
    media::{
        aac::AacConfig,
        init,
        video::{VideoCodec, VideoConfig},
    },
    origin::address::ReloadQuery,
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Tag, TagKind},
    rights::PlaybackKeys,
};

/// Takes whatever bytes.
pub type Target = fn(&[u8]);

/// Each by the name of its fuzz target and of the folder with its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("conversation", conversation_in_reads),
    ("handshake", handshake),
    ("tags", tags),
    ("configuration", configuration),
    ("query", query),
    ("token", token),
];

/// What a peer sends after the handshake: the first byte is one less than the bytes of each read.
pub fn conversation_in_reads(data: &[u8]) {
    let Some((read_bytes, bytes)) = data.split_first() else { return };
    conversation(bytes, usize::from(*read_bytes) + 1);
}

/// What a peer sends from its first byte on.
pub fn handshake(data: &[u8]) {
    connection(data, 700);
}

/// FLV tags through the packager. Each has a byte whose lowest bit says picture or sound, a step in time of two bytes
/// (by which times may go back or jump, with the byte's second bit), a length of two bytes, and a body.
pub fn tags(mut data: &[u8]) {
    let config = PackagerConfig { takes_hevc: true, window_bytes: 1 << 20, ..PackagerConfig::default() };
    let broadcast = Broadcast::new(StreamId::from(Uuid::nil()), config, FirstNumbers::default());
    let mut packager = Packager::new(broadcast);
    let mut timestamp_ms = 0_u32;
    while let [flags, step_high, step_low, length_high, length_low, rest @ ..] = data {
        let kind = if flags & 1 == 0 { TagKind::Video } else { TagKind::Audio };
        let step = u32::from(u16::from_be_bytes([*step_high, *step_low]));
        timestamp_ms = timestamp_ms.wrapping_add(if flags & 2 == 0 { step } else { step << 16 });
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        let (body, behind) = rest.split_at(length.min(rest.len()));
        data = behind;
        if packager.push(Tag { kind, timestamp_ms, body: Bytes::copy_from_slice(body) }).is_err() {
            break;
        }
    }
    let _ = (packager.tracks(), packager.health());
    packager.finish();
}

/// A configuration record, whose codec the first byte says; what is read of it is written out again. A second part, behind
/// the length that the second byte says, is a picture.
pub fn configuration(data: &[u8]) {
    let [codec, length, rest @ ..] = data else { return };
    let (record, picture) = rest.split_at(usize::from(*length).min(rest.len()));
    let (record, picture) = (Bytes::copy_from_slice(record), Bytes::copy_from_slice(picture));
    let codec = match codec % 4 {
        0 => VideoCodec::Avc,
        1 => VideoCodec::Hevc,
        2 => VideoCodec::Av1,
        _ => {
            if let Ok(config) = AacConfig::read(record) {
                let _ = (config.codec(), config.silence());
            }
            return;
        }
    };
    if let Ok(config) = VideoConfig::read(codec, record) {
        let _ = (config.codec(), init::write(&config, None));
        if let Some((_, kept)) = config.inspect(&picture, false) {
            assert!(kept.len() <= picture.len());
        }
    }
}

/// The query of a playlist's address.
pub fn query(data: &[u8]) {
    if let Ok(query) = std::str::from_utf8(data) {
        let _ = ReloadQuery::read(query);
    }
}

/// A token for playback in an address.
pub fn token(data: &[u8]) {
    if let Ok(token) = std::str::from_utf8(data) {
        assert!(PlaybackKeys::new([7; 32], []).check(token).is_none(), "somebody has guessed a key");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn what_the_fuzz_targets_have_found_comes_back() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let mut files = 0;
            for file in fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")) {
                target(&fs::read(file.unwrap().path()).unwrap());
                files += 1;
            }
            assert!(files > 0, "{name} has no corpus");
        }
    }

    #[test]
    fn each_folder_of_the_corpus_has_its_target() {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for folder in fs::read_dir(fuzz.join("corpus")).unwrap() {
            let name = folder.unwrap().file_name().into_string().unwrap();
            assert!(names.contains(&name.as_str()), "{name}");
        }
        for name in names {
            let target = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(target.contains("ingest::exercise::"), "{name}");
        }
    }
}
