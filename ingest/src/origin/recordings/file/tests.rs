use futures::TryStreamExt;
use uuid::Uuid;

use super::*;
use crate::{
    media::times::Times,
    packager::{Broadcast, FirstNumbers, Packager, PackagerConfig, Segment, Tag, TagKind},
    recorder::index::KeptInit,
};

const HOUR_MS: u32 = 3_600_000;

/// The parameter sets of x264 for 1920x1080.
const PICTURE: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44,
    0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4, 0x68, 0xeb, 0xe3,
    0xcb,
];

/// An hour of 29.97 pictures a second and sound of 44.1 kHz. Where the picture is still, only the first and the last one and
/// a half of each ten seconds have any.
fn hour(is_still: bool) -> Vec<Tag> {
    let tag = |kind, timestamp_ms, body: Vec<u8>| Tag { kind, timestamp_ms, body: body.into() };
    let mut tags = vec![tag(TagKind::Video, 0, [&[0x17, 0, 0, 0, 0], PICTURE].concat())];
    tags.push(tag(TagKind::Audio, 0, vec![0xaf, 0, 0x12, 0x10]));
    let mut pictures: Vec<Tag> = (0_u64..)
        .map(|slot| (slot, u32::try_from(slot * 1_001 / 30).unwrap()))
        .take_while(|(_, time_ms)| *time_ms < HOUR_MS)
        .filter(|(_, time_ms)| !is_still || !(1_000..8_500).contains(&(time_ms % 10_000)))
        .map(|(slot, time_ms)| {
            let (kind, slice) = if slot.is_multiple_of(300) { (0x17, 0x65) } else { (0x27, 0x41) };
            tag(TagKind::Video, time_ms, vec![kind, 1, 0, 0, 0, 0, 0, 0, 2, slice, 9])
        })
        .collect();
    let sounds = (0_u64..).map(|frame| u32::try_from(frame * 1_024_000 / 44_100).unwrap());
    pictures.extend(
        sounds
            .take_while(|time_ms| *time_ms < HOUR_MS)
            .map(|time_ms| tag(TagKind::Audio, time_ms, vec![0xaf, 1, 0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c])),
    );
    pictures.sort_by_key(|tag| tag.timestamp_ms);
    tags.append(&mut pictures);
    tags
}

/// As the recorder names it.
fn kept(segment: &Segment) -> KeptSegment {
    KeptSegment {
        number: segment.number,
        duration_ms: segment.duration_ms,
        size_bytes: segment.bytes.len() as u64,
        init: segment.init.number,
        is_after_discontinuity: segment.is_after_discontinuity,
        is_gap: false,
        starts_at: segment.starts_at,
        key_frame_bytes: u64::from(segment.is_independent()),
        decode_time: segment.decode_time(),
    }
}

/// Whether a picture is in a message, and not what is said of pictures.
fn is_media(tag: &Tag, kind: TagKind) -> bool {
    tag.kind == kind && tag.body[1] == 1
}

#[tokio::test]
async fn an_hour_in_one_file_has_the_times_at_which_it_was_sent() {
    for is_still in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let recording_id = RecordingId::from(Uuid::now_v7());
        let source = folder.path().join(format!("recordings/{recording_id}/source"));
        std::fs::create_dir_all(&source).unwrap();
        let mut index = Index::new(recording_id);
        let config = PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() };
        let broadcast = Broadcast::new(Uuid::now_v7().into(), config, FirstNumbers::default());
        let keep = |index: &mut Index| {
            let Some(view) = broadcast.source().view() else { return };
            let after = index.segments.last().map(|last| last.number);
            for segment in view.facts.segments.iter().filter(|segment| Some(segment.number) > after) {
                let init = &segment.init;
                if index.last_init() != Some(init.number) {
                    std::fs::write(source.join(format!("init{}.mp4", init.number)), &init.media.bytes).unwrap();
                    index.push_init(KeptInit {
                        number: init.number,
                        size_bytes: init.media.bytes.len() as u64,
                        codecs: init.media.codecs.clone(),
                        width: init.media.width,
                        height: init.media.height,
                        frame_rate: init.media.frame_rate,
                    });
                }
                std::fs::write(source.join(format!("s{}.m4s", segment.number)), &segment.bytes).unwrap();
                index.push_segment(kept(segment));
            }
        };
        let tags = hour(is_still);
        let mut packager = Packager::new(Arc::clone(&broadcast));
        let mut next_ms = 0;
        for tag in &tags {
            packager.push(tag.clone()).unwrap();
            if tag.timestamp_ms >= next_ms {
                keep(&mut index);
                next_ms = tag.timestamp_ms + 4_000;
            }
        }
        packager.finish();
        keep(&mut index);

        let files = File::all_of(recording_id, &index, &storage).await.unwrap();
        let [file] = &files[..] else { panic!("{} files", files.len()) };
        let size_bytes = file.size_bytes();
        let whole: Vec<Bytes> = Arc::clone(file).read(storage, 0, size_bytes).try_collect().await.unwrap();
        let whole = whole.concat();
        assert_eq!(whole.len() as u64, size_bytes);

        // Each picture is decoded when it was sent, to the millisecond, from the first to the last of the hour.
        let sent: Vec<i64> = tags
            .iter()
            .filter(|tag| is_media(tag, TagKind::Video))
            .map(|tag| i64::from(tag.timestamp_ms) * 90)
            .collect();
        let came: Vec<i64> = times::pictures(&whole).map(|(decode, _)| decode).collect();
        assert!(came == sent, "{is_still}: {} pictures, {} sent", came.len(), sent.len());
        // The tracks and the file last as long as was sent, within a frame.
        let frame_ms = 34;
        for (track, scale) in [(VIDEO_TRACK, u64::from(VIDEO_TIMESCALE)), (AUDIO_TRACK, 44_100)] {
            let times = Times::read(&whole, track).unwrap();
            let ends_ms = (times.decode + times.duration) * 1_000 / scale;
            let last_ms = u64::try_from(*sent.last().unwrap()).unwrap() / 90 + frame_ms;
            assert!(times.decode * 1_000 / scale <= frame_ms, "{is_still}: track {track} begins at {}", times.decode);
            assert!(
                ends_ms.abs_diff(last_ms) <= frame_ms,
                "{is_still}: track {track} ends at {ends_ms} of {last_ms} ms"
            );
            assert!(file.duration_ms.abs_diff(ends_ms) <= frame_ms, "{is_still}: {} and {ends_ms}", file.duration_ms);
        }
        // The sound goes on without a hole, segment by segment.
        let mut end = None;
        for piece in &file.pieces {
            let bytes = &whole[piece.offset as usize..(piece.offset + piece.length) as usize];
            if let Some(times) = Times::read(bytes, AUDIO_TRACK) {
                assert_eq!(end.unwrap_or(times.decode), times.decode, "{is_still}");
                end = Some(times.decode + times.duration);
            }
        }
    }
}
