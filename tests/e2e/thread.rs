//! From the encoder to the viewer, and back to silence.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    weir::{DataDir, Weir, eventually},
};

/// The channel once `is_live` is as wanted, and its streams say the same.
pub async fn channel_when(caller: &Caller, handle: &str, is_live: bool) -> Value {
    eventually(&format!("{handle} live: {is_live}"), async || found_when(caller, handle, is_live).await).await
}

/// Channels and streams are two read models, and each follows the log at its own pace.
async fn found_when(caller: &Caller, handle: &str, is_live: bool) -> Option<Value> {
    let (_, channel) = caller.try_call(Method::GET, &format!("channels/{handle}"), None).await.ok()?;
    let path = format!("streams?channel={handle}&live=true");
    let (_, live) = caller.try_call(Method::GET, &path, None).await.ok()?;
    let live = live["items"].as_array()?;
    let is_known =
        live.len() == usize::from(is_live) && live.iter().all(|live| live["id"] == channel["live_stream_id"]);
    (channel["is_live"] == is_live && is_known).then_some(channel)
}

/// An encoder, and the channel once it is live.
pub async fn on_air(caller: &Caller, handle: &str, server: &str, key: &str) -> (Encoder, Value) {
    let mut encoder = Encoder::publish(server, key);
    let channel = eventually(&format!("{handle} is on the air"), async || {
        encoder.insist();
        found_when(caller, handle, true).await
    })
    .await;
    (encoder, channel)
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

    let (encoder, channel) = on_air(&viewer, "river", &weir.rtmp, &key).await;
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

    let (mut first, live) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    Encoder::publish(&weir.rtmp, &key).refused();
    eventually("the dashboard tells of the second encoder", async || {
        let ingest = streamer.get("channels/river/ingest").await;
        assert_eq!(ingest["state"], "live");
        (ingest["last_refusal"] != Value::Null).then_some(())
    })
    .await;
    assert!(first.is_running());
    assert_eq!(streamer.get("channels/river").await["live_stream_id"], live["live_stream_id"]);

    // A rotated key cuts whoever publishes with the old one, and the old one is refused at once.
    let (status, rotated) = streamer.call(Method::POST, "channels/river/stream-key/rotate", None).await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    channel_when(&streamer, "river", false).await;
    first.refused();
    Encoder::publish(&weir.rtmp, &key).refused();
    let (again, _) = on_air(&streamer, "river", &weir.rtmp, rotated["stream_key"].as_str().unwrap()).await;
    again.stop();
    channel_when(&streamer, "river", false).await;
    let past = streamer.get("streams?channel=river&live=false").await;
    assert_eq!(past["items"][1]["end_reason"], "key_rotated", "{past}");
}
