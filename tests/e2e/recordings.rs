//! Recordings as a streamer and a viewer meet them: a stream is kept through a kill, plays anywhere, and goes when it is deleted.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Caller,
    browser::Spec,
    encoder::Encoder,
    weir::{DataDir, Weir, eventually},
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

/// So many segments are stored.
async fn until_stored(folder: &DataDir, id: &str, count: usize) -> usize {
    let index = folder.path().join(format!("data/objects/recordings/{id}/source/index/000000.jsonl"));
    eventually("segments are stored", async || {
        let kept = std::fs::read_to_string(&index).unwrap_or_default().matches("\"segment\"").count();
        (kept >= count).then_some(kept)
    })
    .await
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

#[tokio::test]
async fn a_killed_node_loses_at_most_the_segment_that_was_growing() {
    let folder = DataDir::new();
    let mut weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &["--reconnect-grace-seconds", "2"]].concat());
    let token = weir.setup_token();
    let caller = Caller::register(&weir.http, "mira", Some(&token)).await;
    let key = recording_channel(&weir, &caller, "river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let id = recording(&caller, "river", "recording").await["id"].as_str().unwrap().to_owned();
    until_stored(&folder, &id, 4).await;
    weir.kill();
    encoder.kill();
    let stored = until_stored(&folder, &id, 4).await;

    let ports = [weir.http.trim_start_matches("http://"), weir.rtmp.trim_start_matches("rtmp://")];
    let rtmp = ports[1].trim_end_matches("/live");
    let arguments = ["--http", ports[0], "--rtmp", rtmp, "--reconnect-grace-seconds", "2"];
    let weir = Weir::up_with(&folder, &arguments);
    let caller = Caller::sign_in(&weir.http, "mira").await;
    let finished = recording(&caller, "river", "ready").await;
    assert_eq!((&finished["id"], &finished["cut_short"]), (&json!(id), &json!("crashed")), "{finished}");
    let url = finished["playback"]["hls_url"].as_str().unwrap();
    let media = reqwest::get(url.replace("index.m3u8", "source/index.m3u8")).await.unwrap().text().await.unwrap();
    assert_eq!(media.matches("#EXTINF").count(), stored, "{media}");
    let seconds = probe(url).await;
    let duration_ms = finished["duration_ms"].as_f64().unwrap();
    assert!((seconds * 1_000.0 - duration_ms).abs() < 200.0, "{seconds} s played of {duration_ms} ms");

    // Nothing is recorded a second time, and nothing is left open.
    let events = caller.events().await;
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("recording.started"), of("recording.published"), of("recording.failed")), (1, 1, 0));
}

#[tokio::test]
async fn a_recording_lasts_as_long_as_its_stream_and_goes_when_it_is_deleted() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let token = weir.setup_token();
    let caller = Caller::register(&weir.http, "mira", Some(&token)).await;
    let key = recording_channel(&weir, &caller, "river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let id = recording(&caller, "river", "recording").await["id"].as_str().unwrap().to_owned();
    until_stored(&folder, &id, 12).await;
    // While its stream is on it is not deleted, and the stream goes on.
    let (status, refused) = caller.call(Method::DELETE, &format!("recordings/{id}"), None).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("recording_not_ready")));
    encoder.stop();
    let finished = recording(&caller, "river", "ready").await;
    let stream = caller.get(&format!("streams/{}", finished["stream_id"].as_str().unwrap())).await;
    let (own, streams) = (finished["duration_ms"].as_i64().unwrap(), stream["duration_ms"].as_i64().unwrap());
    assert!((own - streams).abs() <= 2_000, "recorded {own} ms of {streams} ms");

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
