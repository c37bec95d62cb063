//! Recordings: who sees which, editing, deleting, and whether a channel records.

use domain::{
    ids::{ChannelId, RecordingId, StreamId},
    recordings::{FinishedRecording, RecordedRendition, RecordingFailure, RecordingPolicy},
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::site::{SignedIn, Site, id, node};

/// A channel's recording that is being made.
async fn begun(site: &Site, channel: &Value) -> RecordingId {
    let channel_id: ChannelId = id(channel);
    let owner = channel["owner"]["id"].as_str().unwrap().parse().unwrap();
    let on = RecordingPolicy { is_on: true, ..RecordingPolicy::default() };
    let metadata = commands::Metadata::new(commands::Actor::System);
    commands::recordings::change_policy(&site.commands, channel_id, owner, on, metadata).await.unwrap();
    let stream_id = StreamId::from(Uuid::now_v7());
    let begun = commands::recordings::start(&site.commands, stream_id, channel_id, node()).await.unwrap().unwrap();
    begun.recording_id
}

async fn publish(site: &Site, recording_id: RecordingId) {
    let source = RecordedRendition {
        name: "source".to_owned(),
        width: 1_280,
        height: 720,
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
        bitrate_bps: 2_500_000,
    };
    let finished = FinishedRecording {
        duration_ms: 61_000,
        size_bytes: 19_000_000,
        renditions: vec![source],
        gap_count: 0,
        cut_short: None,
    };
    let position = commands::recordings::publish(&site.commands, recording_id, node(), finished).await.unwrap();
    site.readable(position).await;
}

/// The address of a recording that everybody may watch.
pub(crate) async fn ready(site: &Site, channel: &Value) -> String {
    let recording_id = begun(site, channel).await;
    publish(site, recording_id).await;
    format!("/api/v1/recordings/{recording_id}")
}

async fn list(site: &Site, who: Option<&SignedIn>) -> Vec<String> {
    let mut request = site.get("/api/v1/channels/river/recordings");
    if let Some(who) = who {
        request = request.bearer_auth(&who.token);
    }
    let answer = site.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn get(site: &Site, path: &str, who: Option<&SignedIn>) -> (u16, Value) {
    let mut request = site.get(path);
    if let Some(who) = who {
        request = request.bearer_auth(&who.token);
    }
    let answer = site.send(request).await;
    (answer.status, answer.json())
}

fn path(recording_id: &str) -> String {
    format!("/api/v1/recordings/{recording_id}")
}

#[tokio::test]
async fn everybody_sees_what_is_ready_and_its_owner_what_is_made() {
    let site = Site::start().await;
    let (keeper, other) = (site.register("mira").await, site.register("other").await);
    let channel = site.channel(&keeper, "river").await;
    let making = begun(&site, &channel).await;
    let ready = ready(&site, &channel).await;
    let failed = begun(&site, &channel).await;
    let position = commands::recordings::fail(&site.commands, failed, node(), RecordingFailure::StorageFull).await;
    site.readable(position.unwrap()).await;

    let ready_id = ready.rsplit('/').next().unwrap().to_owned();
    assert_eq!(list(&site, None).await, std::slice::from_ref(&ready_id));
    assert_eq!(list(&site, Some(&other)).await, std::slice::from_ref(&ready_id));
    assert_eq!(list(&site, Some(&keeper)).await, [failed.to_string(), ready_id, making.to_string()]);

    let (status, shown) = get(&site, &ready, None).await;
    assert_eq!((status, &shown["status"], &shown["visibility"]), (200, &json!("ready"), &json!("published")));
    assert_eq!((&shown["duration_ms"], &shown["download_url"]), (&json!(61_000), &Value::Null));
    let plain = format!("/vod/{}/index.m3u8", shown["id"].as_str().unwrap());
    assert!(shown["playback"]["hls_url"].as_str().unwrap().ends_with(&plain), "{shown}");
    let (_, own) = get(&site, &ready, Some(&keeper)).await;
    assert!(own["download_url"].as_str().unwrap().contains("/vod/t/"), "{own}");

    let (status, shown) = get(&site, &path(&failed.to_string()), Some(&keeper)).await;
    assert_eq!((status, &shown["failure"], &shown["playback"]), (200, &json!("storage_full"), &Value::Null));
    for unseen in [failed, making] {
        let unseen = path(&unseen.to_string());
        assert_eq!(get(&site, &unseen, None).await.0, 404);
        assert_eq!(get(&site, &unseen, Some(&other)).await.0, 404);
    }
    for nothing in ["nothing", &Uuid::now_v7().to_string()] {
        assert_eq!(get(&site, &path(nothing), Some(&keeper)).await.0, 404);
    }
}

#[tokio::test]
async fn an_edit_changes_who_finds_it() {
    let site = Site::start().await;
    let (keeper, other) = (site.register("mira").await, site.register("other").await);
    let channel = site.channel(&keeper, "river").await;
    let recording = ready(&site, &channel).await;
    let edit = |who: &SignedIn, version: &str, body: Value| {
        site.send(site.patch(&recording, &body).header("if-match", version).bearer_auth(&who.token))
    };
    let edited = edit(&keeper, "\"2\"", json!({"title": "By night", "visibility": "unlisted"})).await;
    assert_eq!(edited.status, 200, "{}", edited.text());
    let shown = edited.json();
    assert_eq!((&shown["title"], &shown["version"]), (&json!("By night"), &json!(3)));
    assert_eq!(edit(&keeper, "\"2\"", json!({"title": "By day"})).await.problem(), (412, "version_stale".to_owned()));
    assert_eq!(edit(&keeper, "*", json!({"title": " "})).await.problem(), (422, "validation_failed".to_owned()));
    assert_eq!(edit(&other, "*", json!({"title": "Mine"})).await.problem(), (403, "forbidden".to_owned()));

    // Unlisted: whoever has the address sees it, and it plays by an address of its own.
    assert!(list(&site, None).await.is_empty());
    let (status, shown) = get(&site, &recording, None).await;
    assert_eq!(status, 200);
    assert!(shown["playback"]["hls_url"].as_str().unwrap().contains("/vod/t/"), "{shown}");

    let allowed = edit(&keeper, "*", json!({"visibility": "published", "is_download_allowed": true})).await.json();
    assert!(!allowed["download_url"].as_str().unwrap().contains("/vod/t/"), "{allowed}");
    assert_eq!(edit(&keeper, "*", json!({"visibility": "archived"})).await.status, 200);
    assert_eq!(get(&site, &recording, None).await.0, 404);
    assert_eq!(get(&site, &recording, Some(&keeper)).await.0, 200);
    assert_eq!(edit(&other, "*", json!({"title": "Mine"})).await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_what_is_made_is_not_deleted() {
    let site = Site::start().await;
    let (keeper, other) = (site.register("mira").await, site.register("other").await);
    let channel = site.channel(&keeper, "river").await;
    let making = begun(&site, &channel).await;
    let recording = ready(&site, &channel).await;
    let delete = |who: &SignedIn, path: &str| site.send(site.request(Method::DELETE, path).bearer_auth(&who.token));
    assert_eq!(delete(&other, &recording).await.problem(), (403, "forbidden".to_owned()));
    let refused = delete(&keeper, &path(&making.to_string())).await;
    assert_eq!(refused.problem(), (409, "recording_not_ready".to_owned()));
    assert_eq!(delete(&keeper, &recording).await.status, 204);
    assert_eq!(delete(&keeper, &recording).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(get(&site, &recording, Some(&keeper)).await.0, 404);
    assert_eq!(list(&site, Some(&keeper)).await, [making.to_string()]);
    let download = format!("{}/download", path(&making.to_string()));
    let refused = site.send(site.get(&download).bearer_auth(&keeper.token)).await;
    assert_eq!(refused.problem(), (409, "recording_not_ready".to_owned()));
}

#[tokio::test]
async fn an_owner_says_whether_streams_are_recorded() {
    let site = Site::start().await;
    let (keeper, other) = (site.register("mira").await, site.register("other").await);
    let channel = site.channel(&keeper, "river").await;
    let path = "/api/v1/channels/river/recording-settings";
    let (_, settings) = get(&site, path, Some(&keeper)).await;
    assert_eq!((&settings["is_on"], &settings["server_limits"]["keep_days"]), (&json!(false), &json!(90)));
    let stream_id = StreamId::from(Uuid::now_v7());
    let begun = commands::recordings::start(&site.commands, stream_id, id(&channel), node()).await.unwrap();
    assert_eq!(begun, None);

    let put =
        |who: &SignedIn, body: Value| site.send(site.request(Method::PUT, path).json(&body).bearer_auth(&who.token));
    let changed = put(&keeper, json!({"is_on": true, "keep_days": 7})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let (_, settings) = get(&site, path, Some(&keeper)).await;
    assert_eq!((&settings["is_on"], &settings["own_limits"]["keep_days"]), (&json!(true), &json!(7)));
    assert_eq!(put(&other, json!({"is_on": false})).await.problem(), (403, "forbidden".to_owned()));
    let wrong = put(&keeper, json!({"is_on": true, "keep_days": 0})).await;
    assert_eq!(wrong.problem(), (422, "validation_failed".to_owned()));
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/keep_days");
    ready(&site, &channel).await;
    let (_, settings) = get(&site, path, Some(&keeper)).await;
    assert_eq!(settings["usage"], json!({"count": 1, "size_bytes": 19_000_000}));
}
