//! Administrators keep somebody out, and take a stream down, while an encoder publishes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    thread::channel_when,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_streamer_is_cut_and_refused_until_reinstated() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let mira = Caller::register(&weir.http, "mira", None).await;
    let key = mira.channel("river").await;
    let account = mira.get("auth/me").await["id"].as_str().unwrap().to_owned();
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&mira, "river", true).await;
    let stream = live["live_stream_id"].as_str().unwrap().to_owned();
    let playlist = format!("{}/live/{stream}/index.m3u8", weir.http);
    crate::playlist::check_live(&playlist, 2).await;

    let path = format!("admin/accounts/{account}/suspension");
    let (status, answer) = keeper.call(Method::PUT, &path, Some(json!({ "reason": "Two warnings" }))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The encoder is sent away, the page is gone, and what was buffered is not handed out any more.
    encoder.refused();
    assert_eq!(ended_as(&keeper, &stream).await, "account_suspended");
    let (status, _) = Caller::anonymous(&weir.http).call(Method::GET, "channels/river", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let is_gone = async || (reqwest::get(&playlist).await.ok()?.status() == StatusCode::NOT_FOUND).then_some(());
    eventually("the stream is gone from the node", is_gone).await;
    assert_eq!(mira.call(Method::GET, "auth/me", None).await.0, StatusCode::UNAUTHORIZED);

    // A new one is refused, and shows why.
    let said = Encoder::publish(&weir.rtmp, &key).refused();
    assert!(said.contains("owner is suspended"), "{said}");
    let started = async || {
        let events = keeper.events().await;
        check_events(&events);
        events.iter().filter(|event| event["type"] == "stream.started").count()
    };
    assert_eq!(started().await, 1);

    let (status, answer) = keeper.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let encoder = Encoder::publish(&weir.rtmp, &key);
    let live = channel_when(&Caller::anonymous(&weir.http), "river", true).await;
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
