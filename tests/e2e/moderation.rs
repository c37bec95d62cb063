//! Administrators keep somebody out, and take a stream down, while an encoder publishes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    nodes::{Node, Servers},
    thread::{channel_when, on_air},
    weir::{DataDir, Weir, eventually},
};

async fn ended_as(keeper: &Caller, stream: &str) -> String {
    let reason = async || {
        let events = keeper.events().await;
        let ended = events.iter().find(|event| {
            event["type"] == "stream.ended"
                && event["subject"].as_str().is_some_and(|subject| subject.ends_with(stream))
        });
        ended.map(|event| event["data"]["reason"].as_str().unwrap().to_owned())
    };
    eventually("the end of the stream", reason).await
}

/// Whoever publishes is refused, and told why; on a busy machine it may have to ask again.
async fn is_told_of_the_suspension(rtmp: &str, key: &str) {
    eventually("the encoder shows why", async || {
        Encoder::publish(rtmp, key).refused().contains("owner is suspended").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_streamer_is_cut_and_refused_until_reinstated() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let mira = Caller::register(&weir.http, "mira", None).await;
    let key = mira.channel("river").await;
    let account = mira.get("auth/me").await["id"].as_str().unwrap().to_owned();
    let (encoder, live) = on_air(&mira, "river", &weir.rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();
    let playlist = format!("{}/live/{stream}/index.m3u8", weir.http);
    crate::playlist::check_live(&playlist, 2).await;

    let path = format!("admin/accounts/{account}/suspension");
    let (status, answer) = keeper.call(Method::PUT, &path, Some(json!({ "reason": "Two warnings" }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The encoder is sent away, the page is gone, and what was buffered is not handed out any more.
    encoder.refused();
    assert_eq!(ended_as(&keeper, &stream).await, "account_suspended");
    let anybody = Caller::anonymous(&weir.http);
    let is_hidden =
        async || (anybody.call(Method::GET, "channels/river", None).await.0 == StatusCode::NOT_FOUND).then_some(());
    eventually("the channel is hidden", is_hidden).await;
    let is_gone = async || (reqwest::get(&playlist).await.ok()?.status() == StatusCode::NOT_FOUND).then_some(());
    eventually("the stream is gone from the node", is_gone).await;
    let is_out = async || (mira.call(Method::GET, "auth/me", None).await.0 == StatusCode::UNAUTHORIZED).then_some(());
    eventually("its owner is signed out", is_out).await;

    // A new one is refused, and shows why.
    is_told_of_the_suspension(&weir.rtmp, &key).await;
    let started = async || {
        let events = keeper.events().await;
        check_events(&events);
        events.iter().filter(|event| event["type"] == "stream.started").count()
    };
    assert_eq!(started().await, 1);

    let (status, answer) = keeper.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (encoder, live) = on_air(&Caller::anonymous(&weir.http), "river", &weir.rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();

    // Somebody reports it, and it is taken down.
    let noor = Caller::register(&weir.http, "noor", None).await;
    let body = json!({ "target_kind": "stream", "target_id": stream, "kind": "copyright", "text": "My film" });
    let (status, report) = noor.call(Method::POST, "reports", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    let decision = json!({ "verdict": "upheld", "action": "take_down", "answer": "Thank you" });
    let path = format!("admin/reports/{}/decision", report["id"].as_str().unwrap());
    let (status, decided) = keeper.call(Method::PUT, &path, Some(decision)).await;
    assert_eq!(status, StatusCode::OK, "{decided}");
    encoder.refused();
    assert_eq!(ended_as(&keeper, &stream).await, "taken_down");
    let own: Value = noor.get("me/reports").await;
    assert_eq!(own["items"][0]["answer"], "Thank you");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_no_message_reaches_ends_what_is_to_end_all_the_same() {
    let mut servers = Servers::new().await;
    let migrated = servers.operate(&["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let api = Node::serve("api,relay,projections,processes", &servers);
    let http = format!("http://{}", api.serves("http").await);
    let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
    // Nobody answers there: to this node NATS is away for ever.
    servers.nats = "nats://127.0.0.1:9".to_owned();
    let node = Node::serve("ingest", &servers);
    let rtmp = format!("rtmp://{}/live", node.serves("rtmp").await);

    let mira = Caller::register(&http, "mira", None).await;
    let key = mira.channel("river").await;
    let account = mira.get("auth/me").await["id"].as_str().unwrap().to_owned();
    let (encoder, live) = on_air(&mira, "river", &rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();
    let body = json!({ "target_kind": "stream", "target_id": stream, "kind": "rules", "text": "It is mine" });
    let (status, report) = keeper.call(Method::POST, "reports", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    let decision = json!({ "verdict": "upheld", "action": "take_down", "answer": "It is gone" });
    let path = format!("admin/reports/{}/decision", report["id"].as_str().unwrap());
    let (status, decided) = keeper.call(Method::PUT, &path, Some(decision)).await;
    assert_eq!(status, StatusCode::OK, "{decided}");
    encoder.refused();
    assert_eq!(ended_as(&keeper, &stream).await, "taken_down");

    channel_when(&mira, "river", false).await;
    let (encoder, live) = on_air(&mira, "river", &rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();
    let (status, rotated) = mira.call(Method::POST, "channels/river/stream-key/rotate", None).await;
    assert_eq!(status, StatusCode::OK, "{rotated}");
    encoder.refused();
    assert_eq!(ended_as(&keeper, &stream).await, "key_rotated");

    channel_when(&mira, "river", false).await;
    let key = rotated["stream_key"].as_str().unwrap().to_owned();
    let (encoder, live) = on_air(&mira, "river", &rtmp, &key).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();
    let path = format!("admin/accounts/{account}/suspension");
    let (status, answer) = keeper.call(Method::PUT, &path, Some(json!({ "reason": "Two warnings" }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    encoder.refused();
    assert_eq!(ended_as(&keeper, &stream).await, "account_suspended");
    is_told_of_the_suspension(&rtmp, &key).await;
}
