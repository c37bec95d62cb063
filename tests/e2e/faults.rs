//! What is killed comes back, and nothing acknowledged is lost or happens twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    thread::channel_when,
    weir::{DataDir, Weir, eventually},
};

/// Creates channels one after the other until told to stop; gives the handles of those that were acknowledged.
fn load(caller: Caller, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let handle = format!("brook_{number}");
            let body = json!({ "handle": handle, "title": "A brook" });
            match caller.try_call(Method::POST, "channels", Some(body)).await {
                Ok((StatusCode::CREATED | StatusCode::ACCEPTED, _)) => acknowledged.push(handle),
                Ok((status, answer)) => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nothing but a clean refusal: {answer}");
                }
                Err(_) => {}
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        acknowledged
    })
}

/// Every acknowledged channel is in the log exactly once and readable.
async fn check_channels(administrator: &Caller, acknowledged: &[String]) {
    let events = administrator.events().await;
    check_events(&events);
    for handle in acknowledged {
        let created = events
            .iter()
            .filter(|event| {
                event["type"] == "channel.created" && event["data"].to_string().contains(&format!("\"{handle}\""))
            })
            .count();
        assert_eq!(created, 1, "{handle}");
    }
    eventually("the read model has all of it", async || {
        for handle in acknowledged {
            let (status, _) = administrator.call(Method::GET, &format!("channels/{handle}"), None).await;
            if status != StatusCode::OK {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_nats_are_killed_under_load() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = administrator.channel("river").await;
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&administrator, "river", true).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(administrator.clone(), stop.clone());
    for name in ["postgres", "nats-server", "postgres"] {
        let before = folder.child(name);
        kill_process(Pid::from_raw(before).unwrap(), Signal::KILL).unwrap();
        eventually(&format!("{name} is back"), async || {
            let ready = reqwest::get(format!("{}/readyz", weir.http)).await.ok()?.status().is_success();
            (ready && folder.child_if_any(name).is_some_and(|pid| pid != before)).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = load.await.unwrap();
    assert!(acknowledged.len() > 10, "the load went on: {}", acknowledged.len());
    check_channels(&administrator, &acknowledged).await;
    assert!(encoder.is_running(), "the broadcast does not need Postgres or NATS");
    assert_eq!(administrator.get("channels/river").await["live_stream_id"], live["live_stream_id"]);
    encoder.stop();
    channel_when(&administrator, "river", false).await;
    check_events(&administrator.events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_weir_goes_on_in_the_same_stream() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = administrator.channel("river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&administrator, "river", true).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(administrator.clone(), stop.clone());
    let before = crate::playlist::check_live(live["playback"]["hls_url"].as_str().unwrap(), 4).await;
    weir.kill();
    stop.store(true, Ordering::Relaxed);
    let acknowledged = load.await.unwrap();
    drop(encoder);

    let weir = Weir::up_again(&folder, &weir);
    let administrator = Caller::sign_in(&weir.http, "keeper").await;
    check_channels(&administrator, &acknowledged).await;
    let waiting = administrator.get("channels/river/ingest").await;
    assert_eq!(waiting["state"], "reconnecting", "{waiting}");
    let encoder = Encoder::publish(&weir.rtmp, &key);
    eventually("the picture is back", async || {
        (administrator.get("channels/river/ingest").await["state"] == "live").then_some(())
    })
    .await;
    let after = administrator.get("channels/river").await;
    assert_eq!(after["live_stream_id"], live["live_stream_id"], "within the grace time it is the same stream");
    let again = crate::playlist::check_live(after["playback"]["hls_url"].as_str().unwrap(), 4).await;
    assert!(again.first_sequence() > before.first_sequence(), "numbers never go backwards: {before:?} {again:?}");
    encoder.stop();
    channel_when(&administrator, "river", false).await;
    check_events(&administrator.events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_crash_left_open_is_ended() {
    let folder = DataDir::new();
    let arguments = ["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--reconnect-grace-seconds", "2"];
    let mut weir = Weir::up_with(&folder, &arguments);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    channel_when(&streamer, "river", true).await;
    weir.kill();
    drop(encoder);
    let weir = Weir::up_with(&folder, &arguments);
    let viewer = Caller::anonymous(&weir.http);
    channel_when(&viewer, "river", false).await;
    let streams = viewer.get("streams?channel=river").await;
    assert_eq!(streams["items"][0]["end_reason"], "crashed", "{streams}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_encoder_is_waited_for() {
    let folder = DataDir::new();
    let weir =
        Weir::up_with(&folder, &["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--reconnect-grace-seconds", "5"]);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&streamer, "river", true).await;
    encoder.kill();
    eventually("it is waited for", async || {
        (streamer.get("channels/river/ingest").await["state"] == "reconnecting").then_some(())
    })
    .await;
    let encoder = Encoder::publish(&weir.rtmp, &key);
    eventually("it is live again", async || {
        (streamer.get("channels/river/ingest").await["state"] == "live").then_some(())
    })
    .await;
    assert_eq!(streamer.get("channels/river").await["live_stream_id"], live["live_stream_id"]);
    encoder.kill();
    channel_when(&streamer, "river", false).await;
    let streams = streamer.get("streams?channel=river").await;
    assert_eq!(streams["items"][0]["end_reason"], "connection_lost", "{streams}");
}
