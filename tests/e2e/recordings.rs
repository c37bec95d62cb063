//! Recordings as a streamer and a viewer meet them: a stream is kept through a kill, plays anywhere, and goes when it is deleted.

mod bucket;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Caller, PASSWORD},
    browser::Spec,
    thread::on_air,
    weir::{DataDir, PATIENCE, Weir, eventually},
};

/// A channel that records, and its stream key.
async fn recording_channel(weir: &Weir, caller: &Caller, handle: &str) -> String {
    let key = caller.channel(handle).await;
    let path = format!("channels/{handle}/recording-settings");
    let (status, settings) = caller.call(Method::PUT, &path, Some(json!({ "is_on": true }))).await;
    assert_eq!((status, &settings["is_on"]), (StatusCode::OK, &json!(true)), "{settings}\n{}", weir.log());
    key
}

/// The channel's one recording, once it is as wanted.
async fn recording(caller: &Caller, handle: &str, status: &str) -> Value {
    eventually("the recording is there", async || {
        // Weir may be about to come back.
        let path = format!("channels/{handle}/recordings");
        let (answered, page) = caller.try_call(Method::GET, &path, None).await.ok()?;
        let found = page["items"].get(0)?.clone();
        (answered == StatusCode::OK && found["status"] == status).then_some(found)
    })
    .await
}

/// The segments that are stored: number and length in milliseconds.
fn stored(folder: &DataDir, id: &str) -> Vec<(u64, u64)> {
    let index = folder.path().join(format!("data/objects/recordings/{id}/source/index/000000.jsonl"));
    let text = std::fs::read_to_string(&index).unwrap_or_default();
    // The last line may be in the writing.
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let segment = |entry: Value| {
        let segment = entry.get("segment")?;
        Some((segment["number"].as_u64()?, segment["duration_ms"].as_u64()?))
    };
    entries.filter_map(segment).collect()
}

/// So many segments are stored; how long they are together, in milliseconds.
async fn until_stored(folder: &DataDir, id: &str, count: usize) -> u64 {
    eventually("segments are stored", async || {
        let stored = stored(folder, id);
        (stored.len() >= count).then(|| stored.iter().map(|(_, length_ms)| length_ms).sum())
    })
    .await
}

/// The segment before this one is stored, or written beside the storage: what comes after it in the stream is being written.
async fn until_left_behind(folder: &DataDir, id: &str, number: u64) {
    let beside = folder.path().join("data/recording").join(id);
    eventually("the segment before the last is on the disk", async || {
        let written = std::fs::read_dir(&beside).into_iter().flatten().flatten();
        let written = written.filter_map(|file| file.file_name().to_str()?.parse::<u64>().ok());
        let stored = stored(folder, id).into_iter().map(|(number, _)| number);
        stored.chain(written).any(|kept| kept >= number).then_some(())
    })
    .await;
}

async fn probe(url: &str) -> f64 {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// What a viewer has of a stream, segment by segment, in order.
#[derive(Default)]
struct Viewer {
    /// All that were listed when the playlist was last read, and those before.
    segments: BTreeMap<u64, Bytes>,
}

impl Viewer {
    /// Reads a media playlist as soon as it lists the next segment, and all segments that it lists and that are not there yet.
    async fn read(&mut self, playlist: &str) {
        let address = match self.segments.keys().last() {
            Some(last) => format!("{playlist}?_HLS_msn={}", last + 1),
            None => playlist.to_owned(),
        };
        let answer = reqwest::get(address).await.unwrap();
        if answer.status() != StatusCode::OK {
            return;
        }
        for name in answer.text().await.unwrap().lines().filter(|line| line.ends_with(".m4s")) {
            // Parts are in attributes: a line of its own is a whole segment.
            let Some(number) = name.strip_prefix('s').and_then(|name| name.strip_suffix(".m4s")?.parse().ok()) else {
                continue;
            };
            if let Entry::Vacant(place) = self.segments.entry(number) {
                let answer = reqwest::get(playlist.replace("index.m3u8", name)).await.unwrap();
                // Whoever was kept from asking for long finds nothing there any more.
                if answer.status() == StatusCode::NOT_FOUND {
                    continue;
                }
                assert_eq!(answer.status(), StatusCode::OK, "{name} is listed");
                place.insert(answer.bytes().await.unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_killed_node_loses_at_most_the_last_segment_that_viewers_could_have() {
    let folder = DataDir::new();
    let mut weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &["--reconnect-grace-seconds", "2"]].concat());
    let token = weir.setup_token();
    let caller = Caller::register(&weir.http, "mira", Some(&token)).await;
    let key = recording_channel(&weir, &caller, "river").await;
    let (encoder, _) = on_air(&caller, "river", &weir.rtmp, &key).await;
    let begun = recording(&caller, "river", "recording").await;
    let (id, stream_id) = (begun["id"].as_str().unwrap(), begun["stream_id"].as_str().unwrap());
    let playlist = format!("{}/live/{stream_id}/source/index.m3u8", weir.http);
    let mut viewer = Viewer::default();
    let began = Instant::now();
    while viewer.segments.len() < 8 {
        assert!(began.elapsed() < PATIENCE, "{} segments so far", viewer.segments.len());
        viewer.read(&playlist).await;
    }
    // The last of them has just come, and nothing has waited for its being stored.
    let last = *viewer.segments.keys().last().unwrap();
    until_left_behind(&folder, id, last).await;
    weir.kill();
    encoder.kill();

    let ports = [weir.http.trim_start_matches("http://"), weir.rtmp.trim_start_matches("rtmp://")];
    let rtmp = ports[1].trim_end_matches("/live");
    let arguments = ["--http", ports[0], "--rtmp", rtmp, "--reconnect-grace-seconds", "2"];
    let weir = Weir::up_with(&folder, &arguments);
    let caller = Caller::sign_in(&weir.http, "mira").await;
    let finished = recording(&caller, "river", "ready").await;
    assert_eq!((&finished["id"], &finished["cut_short"]), (&json!(id), &json!("crashed")), "{finished}");
    assert_eq!(finished["gap_count"], 0, "{finished}");
    let url = finished["playback"]["hls_url"].as_str().unwrap();
    let mut kept = Viewer::default();
    kept.read(&url.replace("index.m3u8", "source/index.m3u8")).await;
    assert!(!kept.segments.is_empty(), "{finished}");
    let is_lost = |(number, bytes): &(&u64, &Bytes)| kept.segments.get(number) != Some(bytes);
    let lost: Vec<u64> = viewer.segments.iter().filter(is_lost).map(|(number, _)| *number).collect();
    assert!(lost.is_empty() || lost == [last], "lost {lost:?} of 0 to {last}");
    // And nothing is there twice, or was never shown.
    let numbers: Vec<u64> = kept.segments.keys().copied().collect();
    assert_eq!(numbers, Vec::from_iter(0..numbers.len() as u64));
    let seconds = probe(url).await;
    let duration_ms = finished["duration_ms"].as_f64().unwrap();
    assert!((seconds * 1_000.0 - duration_ms).abs() < 200.0, "{seconds} s played of {duration_ms} ms");
    // What was written beside the storage is not needed any more.
    let beside = folder.path().join("data/recording");
    eventually("nothing is left beside the storage", async || {
        std::fs::read_dir(&beside).is_ok_and(|mut entries| entries.next().is_none()).then_some(())
    })
    .await;

    // Nothing is recorded a second time, and nothing is left open.
    let events = caller.events().await;
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("recording.started"), of("recording.published"), of("recording.failed")), (1, 1, 0));
}

#[tokio::test]
async fn a_recording_that_takes_all_the_room_of_its_channel_ends_and_the_stream_goes_on() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let token = weir.setup_token();
    let caller = Caller::register(&weir.http, "mira", Some(&token)).await;
    let key = recording_channel(&weir, &caller, "river").await;
    let settings = json!({ "is_on": true, "max_size_bytes": 400_000 });
    let (status, _) = caller.call(Method::PUT, "channels/river/recording-settings", Some(settings)).await;
    assert_eq!(status, StatusCode::OK);
    let (mut encoder, _) = on_air(&caller, "river", &weir.rtmp, &key).await;
    // It can be watched while its stream is on.
    let finished = recording(&caller, "river", "ready").await;
    assert_eq!((&finished["cut_short"], &finished["gap_count"]), (&json!("quota"), &json!(0)), "{finished}");
    let size_bytes = finished["size_bytes"].as_i64().unwrap();
    assert!((1..=400_000).contains(&size_bytes), "{finished}");
    let seconds = probe(finished["playback"]["hls_url"].as_str().unwrap()).await;
    assert!((seconds * 1_000.0 - finished["duration_ms"].as_f64().unwrap()).abs() < 200.0, "{seconds} s: {finished}");
    let path = format!("streams/{}", finished["stream_id"].as_str().unwrap());
    assert_eq!(caller.get(&path).await["is_live"], true);
    assert!(encoder.is_running());
    let id = finished["id"].as_str().unwrap();
    let owned =
        [("WEIR_CHANNEL", "river"), ("WEIR_RECORDING", id), ("WEIR_USERNAME", "mira"), ("WEIR_PASSWORD", PASSWORD)];
    Spec::run("cut-short.spec.ts", &weir, &owned).passes().await;
    encoder.stop();
    eventually("the stream ends", async || (caller.get(&path).await["is_live"] == false).then_some(())).await;
    // That made no other of it.
    let recordings = caller.get("channels/river/recordings").await;
    assert_eq!(recordings["items"].as_array().unwrap().len(), 1, "{recordings}");
}

#[tokio::test]
async fn a_recording_lasts_as_long_as_its_stream_and_goes_when_it_is_deleted() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let token = weir.setup_token();
    let caller = Caller::register(&weir.http, "mira", Some(&token)).await;
    let key = recording_channel(&weir, &caller, "river").await;
    let (encoder, _) = on_air(&caller, "river", &weir.rtmp, &key).await;
    let id = recording(&caller, "river", "recording").await["id"].as_str().unwrap().to_owned();
    let kept_ms = until_stored(&folder, &id, 12).await;
    // While its stream is on it is not deleted, and the stream goes on.
    let (status, refused) = caller.call(Method::DELETE, &format!("recordings/{id}"), None).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("recording_not_ready")));
    encoder.stop();
    let finished = recording(&caller, "river", "ready").await;
    // The stream lasts by the clock, and an encoder may be slower than that. It is known a little later than the recording.
    let path = format!("streams/{}", finished["stream_id"].as_str().unwrap());
    let streams = eventually("the stream has ended", async || caller.get(&path).await["duration_ms"].as_u64()).await;
    let own = finished["duration_ms"].as_u64().unwrap();
    assert!(
        (kept_ms..=streams + 2_000).contains(&own),
        "recorded {own} ms of {streams} ms, and {kept_ms} ms were kept"
    );

    // Everybody plays it; its owner downloads it; both are as long.
    let anonymous = Caller::anonymous(&weir.http);
    let shown = anonymous.get(&format!("recordings/{id}")).await;
    assert_eq!(shown["download_url"], Value::Null);
    let played = probe(shown["playback"]["hls_url"].as_str().unwrap()).await;
    let (status, refused) = anonymous.call(Method::GET, &format!("recordings/{id}/download"), None).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
    let file = finished["download_url"].as_str().unwrap();
    let downloaded = probe(file).await;
    for seconds in [played, downloaded] {
        assert!((seconds * 1_000.0 - own as f64).abs() < 200.0, "{seconds} s of {own} ms");
    }

    // And in Chromium, where the web app shows it.
    Spec::run("recording.spec.ts", &weir, &[("WEIR_CHANNEL", "river")]).passes().await;

    // Archived, it is its owner's alone, and the address of before is worth nothing.
    let path = format!("recordings/{id}");
    let (status, _) = caller.call(Method::PATCH, &path, Some(json!({ "visibility": "archived" }))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(anonymous.call(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
    let public = shown["playback"]["hls_url"].as_str().unwrap();
    eventually("nobody else plays it", async || {
        (reqwest::get(public).await.unwrap().status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    let own_address = caller.get(&path).await["playback"]["hls_url"].as_str().unwrap().to_owned();
    probe(&own_address).await;

    let (status, _) = caller.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let objects = folder.path().join(format!("data/objects/recordings/{id}"));
    eventually("what was stored is gone", async || (!objects.exists()).then_some(())).await;
    eventually("it plays no more", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (reqwest::get(&own_address).await.unwrap().status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}
