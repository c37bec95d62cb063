//! The log as one long answer.

use std::{io::Read, time::Duration};

use api::FeedOptions;
use serde_json::{Value, json};

use crate::{
    listener::{LONG, begun, rest_of},
    site::{Options, SignedIn, Site},
};

const NDJSON: &str = "/api/v1/events?format=ndjson";

fn lines(body: &[u8]) -> Vec<Value> {
    assert!(body.is_empty() || body.ends_with(b"\n"));
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

async fn exports(site: &Site, who: &SignedIn) -> Vec<Value> {
    let answer = site.send(site.get("/api/v1/events?types=export.*&limit=1000").bearer_auth(&who.token)).await;
    answer.json()["items"].as_array().unwrap().clone()
}

/// Waits until the log tells of the end of `count` transfers.
async fn ended(site: &Site, who: &SignedIn, count: usize) -> Vec<Value> {
    let look = async {
        loop {
            let events = exports(site, who).await;
            let ends: Vec<Value> = events.into_iter().filter(|event| event["type"] != "export.requested").collect();
            if ends.len() >= count {
                return ends;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, look).await.expect("a transfer does not end")
}

#[tokio::test]
async fn everything_comes_a_line_each_and_is_itself_an_event() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    site.channel(&keeper, "river").await;
    let page = site.send(site.get("/api/v1/events").bearer_auth(&keeper.token)).await;
    let request = site.get("/api/v1/events").header("accept", "application/x-ndjson");
    let answer = site.send(request.bearer_auth(&keeper.token)).await;
    assert_eq!((answer.status, answer.kind()), (200, "application/x-ndjson"));
    let head = page.json()["items"].as_array().unwrap().len();
    assert_eq!(answer.header("weir-head-position"), head.to_string());
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert_eq!(json!(lines(&answer.body)), page.json()["items"], "the same objects as in pages");

    let events = exports(&site, &keeper).await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["export.requested", "export.completed"], "whoever has the end finds it in the log");
    let requested = &events[0]["data"];
    assert_eq!((&requested["way"], &requested["format"]), (&json!("feed"), &json!("ndjson")));
    assert_eq!(requested["names_accounts"], false);
    assert_eq!(
        (&requested["filter"]["until"], &requested["by"]),
        (&json!(head), &events[1]["actor"].as_str().unwrap()[8..].into())
    );
    assert_eq!(events[1]["data"]["event_count"], head);
    assert_eq!(events[1]["data"]["size_bytes"], answer.body.len());

    let limited = site.send(site.get(&format!("{NDJSON}&limit=2&after=1")).bearer_auth(&keeper.token)).await;
    let positions: Vec<_> = lines(&limited.body).iter().map(|line| line["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, [2, 3]);
    let nothing = site.send(site.get(&format!("{NDJSON}&after=1000")).bearer_auth(&keeper.token)).await;
    assert_eq!((nothing.status, nothing.body.len()), (200, 0));
    let head = site.send(site.request(reqwest::Method::HEAD, NDJSON).bearer_auth(&keeper.token)).await;
    assert_eq!((head.status, head.kind()), (200, "application/x-ndjson"));
    assert_eq!(ended(&site, &keeper, 3).await.len(), 3, "who asks for the head alone takes nothing out");
}

#[tokio::test]
async fn compressed_bodies_hold_the_same_lines() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    // More than one batch.
    site.fill_log(3_000).await;
    let get = async |encoding: Option<&str>| {
        let mut request = site.get(&format!("{NDJSON}&types=channel.*,account.*")).bearer_auth(&keeper.token);
        if let Some(encoding) = encoding {
            request = request.header("accept-encoding", encoding);
        }
        let response = request.send().await.unwrap();
        let encoding = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert!(response.headers()["vary"].to_str().unwrap().contains("accept-encoding"));
        (encoding, response.bytes().await.unwrap())
    };
    let (none, plain) = get(None).await;
    assert_eq!((none, lines(&plain).len()), (None, 3_001));
    let (gzip, gzipped) = get(Some("gzip")).await;
    assert_eq!(gzip.as_deref(), Some("gzip"));
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&*gzipped).read_to_end(&mut unzipped).unwrap();
    assert!(unzipped == plain, "gzip changed something");
    let (zstd, zstded) = get(Some("gzip;q=0.5, zstd")).await;
    assert_eq!(zstd.as_deref(), Some("zstd"));
    assert!(zstd::stream::decode_all(&*zstded).unwrap() == plain, "zstd changed something");
    assert!(gzipped.len() < plain.len() / 5 && zstded.len() < plain.len() / 5);
}

#[tokio::test]
async fn who_does_not_read_is_cut_and_holds_up_nobody() {
    // Longer than this process is kept waiting, or who does read would be cut, too.
    let feed = FeedOptions { stalled: Duration::from_secs(15), ..FeedOptions::default() };
    let site = Site::with(Options { feed, ..Options::default() }).await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let stalled = site.unread(&keeper, NDJSON, "").await;
    site.transfers_under_way(1).await;
    let whole = site.get(NDJSON).bearer_auth(&keeper.token).send().await.unwrap().bytes().await.unwrap();
    let whole = lines(&whole);
    assert!(whole.len() >= 30_001, "{}", whole.len());
    let mut all = Vec::new();
    for _ in 0..site.pool.options().get_max_connections() {
        all.push(site.pool.acquire().await.expect("no connection is held for who does not read"));
    }
    drop(all);
    let ends = ended(&site, &keeper, 2).await;
    let failed: Vec<_> = ends.iter().filter(|event| event["type"] == "export.failed").collect();
    assert_eq!(failed.len(), 1, "{ends:?}");
    assert_eq!(failed[0]["data"]["reason"], "the reader took nothing for too long");
    let rest = rest_of(stalled).await;
    assert!(rest.len() > 10_000, "it got what was on its way");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "what was cut must not look whole");
}

#[tokio::test]
async fn who_goes_away_is_noticed() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let reader = site.unread(&keeper, NDJSON, "Accept-Encoding: identity\r\n").await;
    site.transfers_under_way(1).await;
    drop(reader);
    let ends = ended(&site, &keeper, 1).await;
    assert_eq!(
        (&ends[0]["type"], &ends[0]["data"]["reason"]),
        (&json!("export.failed"), &json!("the reader went away"))
    );
}

#[tokio::test]
async fn a_session_that_ends_ends_its_transfer() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let guest = site.sign_in("keeper").await;
    let site = site.stop_projecting().await;
    site.fill_log(40_000).await;
    let mut response = site.get(NDJSON).bearer_auth(&guest.token).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    site.send(site.request(reqwest::Method::POST, "/api/v1/auth/logout").header("cookie", &guest.cookie)).await;
    let slowly = async {
        while let Some(_part) = response.chunk().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, reqwest::Error>(())
    };
    assert!(tokio::time::timeout(LONG, slowly).await.unwrap().is_err(), "the body breaks off");
    let ends = ended(&site, &keeper, 1).await;
    assert!(ends[0]["data"]["reason"].as_str().unwrap().contains("session ended"), "{ends:?}");
}

#[tokio::test]
async fn places_are_bounded() {
    let feed = FeedOptions { transfers_per_account: 1, transfers: 2, ..FeedOptions::default() };
    let site = Site::with(Options { feed, ..Options::default() }).await;
    let keeper = site.administrator().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    for (who, handle) in [(&mira, "river"), (&noor, "sea")] {
        site.channel(who, handle).await;
    }
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let keepers = site.unread(&keeper, NDJSON, "").await;
    site.transfers_under_way(1).await;
    let second = site.send(site.get(NDJSON).bearer_auth(&keeper.token)).await;
    assert_eq!(second.problem(), (429, "too_many_feeds".to_owned()));
    assert_eq!(second.header("retry-after"), "5");
    let pages = site.send(site.get("/api/v1/events?limit=1").bearer_auth(&keeper.token)).await;
    assert_eq!(pages.status, 200, "pages are not bounded so");
    let miras = site.send(site.get(&format!("{NDJSON}&channel=river")).bearer_auth(&mira.token)).await;
    assert_eq!(miras.status, 200);
    drop(keepers);
    ended(&site, &keeper, 2).await;
    site.until_transferring(&keeper).await;
}

#[tokio::test]
async fn a_log_that_is_lost_on_the_way_breaks_it_off() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    // Also compressed more than all buffers between two ends hold, so that most of it is still to be read when the log goes.
    site.fill_log_with_noise(50_000).await;
    for encoding in ["identity", "gzip", "zstd"] {
        let mut stream = site.unread(&keeper, NDJSON, &format!("Accept-Encoding: {encoding}\r\n")).await;
        begun(&mut stream).await;
        // Every statement from here on fails.
        sqlx::raw_sql("alter table log.events rename to away").execute(&site.pool).await.unwrap();
        let rest = rest_of(stream).await;
        assert!(rest.len() > 10_000, "{encoding}: it got what was on its way");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{encoding}: the body looks whole");
        sqlx::raw_sql("alter table log.away rename to events").execute(&site.pool).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_newer_weir_wrote_and_what_is_damaged_is_passed_on() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    let begun = commands::events::head(&site.pool).await.unwrap();
    for (kind, version, payload, metadata) in [
        ("channel.painted", "7", r#"{"Painted":{"colour":"blue"}}"#, r#"{"actor":"system","correlation_id":"x"}"#),
        (
            "channel.created",
            "99",
            r#"{"Created":{"handle":"a","other":1}}"#,
            r#"{"actor":"system","correlation_id":"x"}"#,
        ),
        ("channel.created", "1", "{\"a\": 1,\n\"b\": 2}", r#"{"actor":"system","correlation_id":"x"}"#),
    ] {
        sqlx::query(
            "with head as (update log.head set position = position + 1 returning position) \
             insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
             metadata) select position, 'channel', 'x' || position, 1, $1, $2, $3::json, $4::json from head",
        )
        .bind(kind)
        .bind(version)
        .bind(payload)
        .bind(metadata)
        .execute(&site.pool)
        .await
        .unwrap();
    }
    let page = site.send(site.get(&format!("/api/v1/events?after={begun}")).bearer_auth(&keeper.token)).await.json();
    let items = page["items"].as_array().unwrap();
    assert_eq!((&items[0]["type"], &items[0]["data"]), (&json!("channel.painted"), &json!({"colour": "blue"})));
    assert_eq!((&items[1]["version"], &items[1]["data"]["other"]), (&json!("99"), &json!(1)));
    assert_eq!(items[2]["data"], json!({"a": 1, "b": 2}));
    let whole = site.send(site.get(&format!("{NDJSON}&after={begun}")).bearer_auth(&keeper.token)).await;
    assert_eq!(&lines(&whole.body), items);
    let mut feed = site.subscribe(&keeper, &format!("?after={begun}")).await;
    let (past, _) = feed.until_caught_up().await;
    assert_eq!(past[..3].iter().map(|event| &event.data).collect::<Vec<_>>(), items.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_node_that_stops_breaks_off() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let stream = site.unread(&keeper, NDJSON, "").await;
    site.transfers_under_way(1).await;
    site.stop();
    let rest = rest_of(stream).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "what was cut must not look whole");
}
