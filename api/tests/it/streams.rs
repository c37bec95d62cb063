use insta::assert_json_snapshot;
use reqwest::header::IF_NONE_MATCH;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{redact::redact, site::Site};

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_stream_is_live_and_then_over() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let stream_id = site.start_stream(&channel).await;
    let path = format!("/api/v1/streams/{stream_id}");
    let live = site.send(site.get(&path)).await;
    assert_eq!(live.status, 200);
    assert_json_snapshot!("stream_live", redact(live.json()));
    assert_eq!(live.json()["playback"]["hls_url"], format!("http://weir.test/live/{stream_id}/index.m3u8"));
    site.end_stream(stream_id).await;
    let mut over = site.send(site.get(&path)).await.json();
    assert!(over["duration_ms"].as_i64().unwrap() >= 0);
    over["duration_ms"] = json!(0);
    assert_json_snapshot!("stream_over", redact(over));
}

#[tokio::test]
async fn an_unknown_stream_is_404() {
    let site = Site::start().await;
    for id in [&Uuid::now_v7().to_string(), "x", "%00", "0"] {
        let answer = site.send(site.get(&format!("/api/v1/streams/{id}"))).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{id}");
    }
}

#[tokio::test]
async fn streams_come_in_pages_newest_first() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (river, sea) = (site.channel(&mira, "river").await, site.channel(&mira, "sea").await);
    let first = site.start_stream(&river).await;
    site.end_stream(first).await;
    let second = site.start_stream(&river).await;
    let third = site.start_stream(&sea).await;
    let [first, second, third] = [first, second, third].map(|id| id.to_string());
    let list = async |query: &str| site.send(site.get(&format!("/api/v1/streams{query}"))).await;
    let all = list("").await;
    assert_eq!(ids(&all.json()), [&*third, &second, &first]);
    assert_eq!(ids(&list("?live=true").await.json()), [&*third, &second]);
    assert_eq!(ids(&list("?live=false").await.json()), [&*first]);
    assert_eq!(ids(&list("?channel=RIVER").await.json()), [&*second, &first]);
    assert_eq!(ids(&list("?channel=nobody").await.json()), [""; 0]);
    let page = list("?channel=river&limit=1").await;
    assert_eq!(ids(&page.json()), [&*second]);
    let cursor = page.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(page.header("link"), format!("</api/v1/streams?limit=1&channel=river&after={cursor}>; rel=\"next\""));
    let next = list(&format!("?channel=river&limit=1&after={cursor}")).await.json();
    assert_eq!((ids(&next), &next["next_cursor"]), (vec![first], &Value::Null));
    let again = site.send(site.get("/api/v1/streams").header(IF_NONE_MATCH, all.header("etag"))).await;
    assert_eq!(again.status, 304);
}
