//! Streams without a picture, by a real ffmpeg and by peers that say nothing of what they will send.

use ingest::{Advice, LadderReason, PublishState};

use crate::{
    encoder::{self, Encoder},
    fragments::{self, AUDIO},
    peer::Peer,
    platform::{Plane, Report},
    playlist::MediaPlaylist,
};

/// What ffprobe finds at an address.
async fn probe(address: &str) -> String {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries", "stream=codec_type,codec_name", address])
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_real_encoder_of_sound_alone_can_be_heard_and_says_so() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let encoder = Encoder::publish_sound(&plane.url("key"));
    let reports = plane.platform.wait_for(1).await;
    let Report::Started(started) = &reports[0] else { panic!("{reports:?}") };
    assert_eq!(started.video, None);
    assert_eq!(started.audio.as_ref().map(|audio| audio.codec.as_str()), Some("mp4a.40.2"));
    let stream = started.stream_id;
    let status = plane.status(channel, |status| status.ladder.reason == Some(LadderReason::NoPicture)).await;
    assert_eq!((status.state, status.tracks.as_ref().unwrap().video.as_ref()), (PublishState::Live, None));
    plane.status(channel, |status| status.advice == [Advice::SoundAlone]).await;

    let poll = async {
        loop {
            let (status, text) = plane.get(&format!("{stream}/source/index.m3u8")).await;
            if status == 200 && text.matches("#EXTINF").count() >= 3 {
                return MediaPlaylist::parse(&text).unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let playlist = tokio::time::timeout(crate::platform::LONG, poll).await.expect("three segments");
    assert_eq!(playlist.findings(), [] as [String; 0]);
    let mut runs = Vec::new();
    for segment in playlist.complete() {
        assert!(segment.parts.iter().all(|part| part.is_independent), "{segment:?}");
        let address = format!("{stream}/source/{}", segment.uri.as_ref().unwrap());
        runs.extend(fragments::runs(&plane.bytes(&address).await));
    }
    assert_eq!(fragments::findings(&runs), [] as [String; 0]);
    assert!(runs.iter().all(|run| run.track == AUDIO));

    let (_, master) = plane.get(&format!("{stream}/index.m3u8")).await;
    assert!(master.contains("CODECS=\"mp4a.40.2\"\nsource/index.m3u8") && !master.contains("RESOLUTION"), "{master}");
    // Whoever has the address of the sound alone gets that.
    let (_, alone) = plane.get(&format!("{stream}/audio/index.m3u8")).await;
    assert!(alone.contains("#EXTINF") && !alone.contains("GAP"), "{alone}");
    let (_, manifest) = plane.get(&format!("{stream}/index.mpd")).await;
    assert!(manifest.contains("contentType=\"audio\"") && !manifest.contains("contentType=\"video\""), "{manifest}");
    // Once for the stream, and once for the program that it belongs to.
    let found = probe(&plane.address(&format!("{stream}/index.m3u8"))).await;
    assert!(found.lines().all(|line| line.is_empty() || line == "aac,audio") && found.contains("aac"), "{found}");
    encoder.stop().await;
}

#[tokio::test]
async fn sound_whose_encoder_says_nothing_is_waited_with_for_a_picture() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let tone = encoder::tone(6);
    let (first, rest) = tone.split_at(tone.partition_point(|tag| tag.timestamp_ms < 1_900));
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(first).await;
    peer.send_tags(rest).await;
    let reports = plane.platform.wait_for(1).await;
    let Report::Started(started) = &reports[0] else { panic!("{reports:?}") };
    assert_eq!(started.video, None);
    peer.unpublish("key").await;
    plane.platform.wait_for(2).await;
    let playlist = plane.playlist(started.stream_id).await;
    let playlist = MediaPlaylist::parse(&playlist).unwrap();
    let length_ms: u64 = playlist.complete().filter_map(|segment| segment.duration_ms).sum();
    assert!((3_900..=4_100).contains(&length_ms), "what came after two seconds, not {length_ms} ms");
}

#[tokio::test]
async fn a_picture_that_comes_later_is_shown_after_a_discontinuity() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(&encoder::tone(5)).await;
    plane.status(channel, |status| status.tracks.as_ref().is_some_and(|tracks| tracks.video.is_none())).await;
    let mut clip = encoder::film("320x180", 4);
    clip.iter_mut().for_each(|tag| tag.timestamp_ms += 5_000);
    peer.send_tags(&clip).await;
    plane.status(channel, |status| status.tracks.as_ref().is_some_and(|tracks| tracks.video.is_some())).await;
    // The log hears of it, too, so that the stream is no longer one of sound alone.
    let (stream_id, video, audio) = plane.platform.tracks().await;
    assert_eq!(video.map(|video| (video.width, video.height)), Some((320, 180)));
    assert!(audio.is_some());
    peer.unpublish("key").await;
    let reports = plane.platform.wait_for(2).await;
    let Report::Started(started) = &reports[0] else { panic!("{reports:?}") };
    assert_eq!((started.video.as_ref(), started.stream_id), (None, stream_id));
    let playlist = plane.playlist(started.stream_id).await;
    assert_eq!(playlist.lines().filter(|line| *line == "#EXT-X-DISCONTINUITY").count(), 1, "{playlist}");
    assert_eq!(MediaPlaylist::parse(&playlist).unwrap().findings(), [] as [String; 0]);
}
