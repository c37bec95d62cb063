use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::{
    redact::redact,
    site::{Answer, SignedIn, Site},
};

async fn list(site: &Site, who: &SignedIn, query: &str) -> Answer {
    site.send(site.get(&format!("/api/v1/events{query}")).bearer_auth(&who.token)).await
}

#[tokio::test]
async fn administrators_read_the_log_in_order() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let channel = site.channel(&keeper, "river").await;
    let stream_id = site.start_stream(&channel).await;
    site.end_stream(stream_id).await;
    let all = list(&site, &keeper, "").await;
    assert_eq!((all.status, all.header("cache-control")), (200, "no-store"));
    let mut page = all.json();
    for item in page["items"].as_array_mut().unwrap() {
        if item["type"] == "stream.ended" {
            item["data"]["duration_ms"] = json!(0);
        }
    }
    assert_json_snapshot!("events", redact(page.clone()));
    let text = all.text();
    assert!(!text.contains("keeper") && !text.contains("example.org"), "personal data in plain text: {text}");
    assert!(!text.contains("live_"), "a stream key in an event: {text}");
    let positions: Vec<i64> =
        page["items"].as_array().unwrap().iter().map(|item| item["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (1..=positions.len() as i64).collect::<Vec<_>>());

    let mut after = 0;
    for expected in positions.chunks(2) {
        let page = list(&site, &keeper, &format!("?limit=2&after={after}")).await.json();
        let got: Vec<i64> =
            page["items"].as_array().unwrap().iter().map(|item| item["position"].as_i64().unwrap()).collect();
        assert_eq!(got, expected);
        after = *expected.last().unwrap();
        let is_last = after == *positions.last().unwrap();
        let cursor = if is_last { Value::Null } else { after.to_string().into() };
        assert_eq!(page["next_cursor"], cursor);
    }
    let nothing = list(&site, &keeper, &format!("?after={after}")).await.json();
    assert_eq!(nothing, json!({"items": [], "next_cursor": null}));
}

#[tokio::test]
async fn nobody_else_reads_the_log() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let answer = list(&site, &mira, "").await;
    assert_eq!(answer.status, 403);
    assert_json_snapshot!("events_forbidden", redact(answer.json()));
}

#[tokio::test]
async fn positions_are_digits() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    for after in ["-1", "x", "1.5", "%2B1", "", "99999999999999999999", "1%00"] {
        let answer = list(&site, &keeper, &format!("?after={after}")).await;
        assert_eq!(answer.problem(), (400, "cursor_invalid".to_owned()), "{after}");
    }
    assert_eq!(list(&site, &keeper, &format!("?after={}", i64::MAX)).await.json()["items"], json!([]));
}
