//! What a crash has left of streams, before it is removed.

use std::{collections::HashMap, fs::DirEntry, path::Path};

use domain::ids::StreamId;

/// The highest number of a segment that is there of each stream. What cannot be read is passed over: it is not needed where
/// the clock is right.
pub(super) fn last_numbers(folder: &Path) -> HashMap<StreamId, u64> {
    let numbered = |stream: &DirEntry| {
        let id = stream.file_name().to_str()?.parse().ok()?;
        let files = entries(&stream.path()).flat_map(|rendition| entries(&rendition.path()));
        Some((id, files.filter_map(|file| number(file.file_name().to_str()?)).max()?))
    };
    entries(folder).filter_map(|stream| numbered(&stream)).collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten()
}

/// Of a segment's file.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix('s')?.strip_suffix(".m4s")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_stream_has_the_highest_number_of_all_its_renditions() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other, empty] = std::array::from_fn(|_| StreamId::from(Uuid::now_v7()));
        for (stream, rendition, files) in [
            (one, "0-source", &["s9.m4s", "s10.m4s", "s11.tmp", "init9.mp4"][..]),
            (one, "1-720p", &["s12.m4s", "s8.m4s"]),
            (other, "7-source", &["s3.m4s", "sx.m4s"]),
            (empty, "2-source", &["notes"]),
        ] {
            let rendition = folder.path().join(stream.to_string()).join(rendition);
            std::fs::create_dir_all(&rendition).unwrap();
            for file in files {
                std::fs::write(rendition.join(file), b"").unwrap();
            }
        }
        std::fs::write(folder.path().join("a file"), b"").unwrap();
        assert_eq!(last_numbers(folder.path()), HashMap::from([(one, 12), (other, 3)]));
        assert_eq!(last_numbers(&folder.path().join("nowhere")), HashMap::new());
    }
}
