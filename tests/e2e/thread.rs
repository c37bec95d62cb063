//! From the encoder to the viewer, and back to silence.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    weir::{DataDir, Weir, eventually},
};

/// The channel once `is_live` is as wanted.
pub async fn channel_when(caller: &Caller, handle: &str, is_live: bool) -> Value {
    let path = format!("channels/{handle}");
    eventually(&format!("{handle} live: {is_live}"), async || {
        let (_, channel) = caller.try_call(Method::GET, &path, None).await.ok()?;
        (channel["is_live"] == is_live).then_some(channel)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_from_the_encoder_to_viewers_and_ends() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let viewer = Caller::anonymous(&weir.http);
    let key = streamer.channel("river").await;

    let before = viewer.get("channels/river").await;
    let stable = before["playback"]["hls_url"].as_str().unwrap().to_owned();
    assert_eq!(before["is_live"], false);
    let offline = reqwest::get(&stable).await.unwrap();
    assert_eq!(offline.status(), StatusCode::NOT_FOUND);
    assert_eq!(offline.json::<Value>().await.unwrap()["code"], "channel_offline");
    assert_eq!(streamer.get("channels/river/ingest").await["state"], "waiting");

    let encoder = Encoder::publish(&weir.rtmp, &key);
    let channel = channel_when(&viewer, "river", true).await;
    let stream_id = channel["live_stream_id"].as_str().unwrap().to_owned();
    let stream = viewer.get(&format!("streams/{stream_id}")).await;
    assert_eq!(stream["is_live"], true);
    assert_eq!(stream["title"], "The channel river");
    assert_eq!((&stream["video"]["width"], &stream["video"]["height"]), (&json!(640), &json!(360)));
    assert_eq!(viewer.get("streams?live=true").await["items"][0]["id"], stream_id.as_str());
    let ingest = streamer.get("channels/river/ingest").await;
    assert_eq!((&ingest["state"], &ingest["stream_id"]), (&json!("live"), &json!(stream_id)));

    // The address that could be shared before, and the stream's own, both play.
    let playback = stream["playback"]["hls_url"].as_str().unwrap().to_owned();
    for address in [&stable, &playback] {
        let played = crate::playlist::check_live(address, 8).await;
        assert!(played.seconds() >= 4.0, "{played:?}");
    }
    eventually("a thumbnail", async || {
        let address = viewer.get(&format!("streams/{stream_id}")).await["thumbnail_url"].as_str()?.to_owned();
        let answer = reqwest::get(address).await.unwrap();
        let is_jpeg = answer.status() == StatusCode::OK && answer.headers()["content-type"] == "image/jpeg";
        is_jpeg.then_some(())
    })
    .await;

    encoder.stop();
    channel_when(&viewer, "river", false).await;
    let ended = viewer.get(&format!("streams/{stream_id}")).await;
    assert_eq!((&ended["is_live"], &ended["end_reason"]), (&json!(false), &json!("unpublished")));
    assert!(ended["duration_ms"].as_i64().unwrap() >= 4_000, "{ended}");
    let events = administrator.events().await;
    check_events(&events);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "account.registered",
            "email.confirmation_requested",
            "session.opened",
            "account.registered",
            "email.confirmation_requested",
            "session.opened",
            "channel.created",
            "stream.started",
            "stream.ended"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_second_publishers_are_refused() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;

    let said = Encoder::publish(&weir.rtmp, "live_0000000000000000000000000000000000").refused();
    assert!(!said.is_empty(), "ffmpeg says why");

    let mut first = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&streamer, "river", true).await;
    Encoder::publish(&weir.rtmp, &key).refused();
    let ingest = streamer.get("channels/river/ingest").await;
    assert_eq!(ingest["state"], "live");
    assert_ne!(ingest["last_refusal"], Value::Null, "the dashboard tells of the second encoder: {ingest}");
    assert!(first.is_running());
    assert_eq!(streamer.get("channels/river").await["live_stream_id"], live["live_stream_id"]);

    // A rotated key cuts whoever publishes with the old one, and the old one is refused at once.
    let (status, rotated) = streamer.call(Method::POST, "channels/river/stream-key/rotate", None).await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    channel_when(&streamer, "river", false).await;
    first.refused();
    Encoder::publish(&weir.rtmp, &key).refused();
    let again = Encoder::publish(&weir.rtmp, rotated["stream_key"].as_str().unwrap());
    channel_when(&streamer, "river", true).await;
    again.stop();
    channel_when(&streamer, "river", false).await;
    let past = streamer.get("streams?channel=river&live=false").await;
    assert_eq!(past["items"][1]["end_reason"], "key_rotated", "{past}");
}
