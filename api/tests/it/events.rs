use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    redact::redact,
    site::{Answer, SignedIn, Site, id},
};

async fn list(site: &Site, who: &SignedIn, query: &str) -> Answer {
    site.send(site.get(&format!("/api/v1/events{query}")).bearer_auth(&who.token)).await
}

fn positions(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item["position"].as_i64().unwrap()).collect()
}

fn kinds(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect()
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
    let all_positions = positions(&page);
    assert_eq!(all_positions, (1..=all_positions.len() as i64).collect::<Vec<_>>());
    let head = all_positions.len().to_string();
    assert_eq!(all.header("weir-head-position"), head);

    let mut path = "/api/v1/events?limit=2&actors=pseudonymous&after=0".to_owned();
    for expected in all_positions.chunks(2) {
        let answer = site.send(site.get(&path).bearer_auth(&keeper.token)).await;
        let page = answer.json();
        assert_eq!((positions(&page).as_slice(), answer.header("weir-head-position")), (expected, head.as_str()));
        let after = *expected.last().unwrap();
        if after == *all_positions.last().unwrap() {
            assert_eq!((&page["next_cursor"], answer.header("link")), (&Value::Null, ""));
        } else {
            path = format!("/api/v1/events?limit=2&actors=pseudonymous&after={after}");
            assert_eq!(page["next_cursor"], after.to_string());
            assert_eq!(answer.header("link"), format!("<{path}>; rel=\"next\""));
        }
    }
    for beyond in [all_positions.len() as i64, all_positions.len() as i64 + 1, i64::MAX] {
        let nothing = list(&site, &keeper, &format!("?after={beyond}")).await;
        assert_eq!((nothing.status, nothing.json()), (200, json!({"items": [], "next_cursor": null})), "{beyond}");
    }
}

#[tokio::test]
async fn filters_narrow_the_log_down() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let river = site.channel(&keeper, "river").await;
    let sea = site.channel(&keeper, "sea").await;
    let stream_id = site.start_stream(&river).await;
    site.end_stream(stream_id).await;
    let all = list(&site, &keeper, "").await.json();
    let of = async |query: &str| list(&site, &keeper, query).await.json();
    let river_id = id(&river);
    for (query, expected) in [
        ("?types=channel.created".to_owned(), vec!["channel.created"; 2]),
        ("?types=channel.*".to_owned(), vec!["channel.created"; 2]),
        (
            "?types=stream.ended,%20channel.created".to_owned(),
            vec!["channel.created", "channel.created", "stream.ended"],
        ),
        ("?types=channel.closed".to_owned(), vec![]),
        (format!("?subject=channel/{}", id(&sea)), vec!["channel.created"]),
        (format!("?subject=stream/{stream_id}"), vec!["stream.started", "stream.ended"]),
        ("?subject=channel/nobody".to_owned(), vec![]),
        ("?channel=river".to_owned(), vec!["channel.created", "stream.started", "stream.ended"]),
        ("?channel=RIVER&types=stream.*".to_owned(), vec!["stream.started", "stream.ended"]),
        (format!("?channel={river_id}&limit=1"), vec!["channel.created"]),
        (format!("?channel=sea&subject=stream/{stream_id}"), vec![]),
    ] {
        assert_eq!(kinds(&of(&query).await), expected, "{query}");
    }
    // What is from then on and before then, and the plus of an offset that came as a space.
    let items = all["items"].as_array().unwrap();
    let (third, last) = (items[2]["time"].as_str().unwrap(), items.last().unwrap()["time"].as_str().unwrap());
    // Texts of times do not sort: zeroes at their end are left out.
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap();
    let expected: Vec<i64> = items
        .iter()
        .filter(|item| (time(third)..time(last)).contains(&time(item["time"].as_str().unwrap())))
        .map(|item| item["position"].as_i64().unwrap())
        .collect();
    let page = of(&format!("?from={third}&to={last}")).await;
    assert_eq!(positions(&page), expected);
    let offset = third.replace('Z', " 00:00");
    assert_eq!(positions(&of(&format!("?from={offset}&to={last}")).await), expected);
    assert_eq!(positions(&of(&format!("?from={last}&to={last}")).await), [0; 0]);
    assert_eq!(positions(&of("?to=2001-01-01T00:00:00Z").await), [0; 0]);
    // A page of a filter goes on where it stopped.
    let first = list(&site, &keeper, "?types=channel.*&limit=1").await;
    assert_eq!(positions(&first.json()).len(), 1);
    let next = first.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    assert!(next.contains("types=channel.*"), "{next}");
    let second = site.send(site.get(&next).bearer_auth(&keeper.token)).await.json();
    assert_eq!((kinds(&second), second["items"][0]["data"]["handle"].as_str()), (vec!["channel.created"], Some("sea")));
}

#[tokio::test]
async fn accounts_stand_under_pseudonyms_unless_an_administrator_asks() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let mira_id = mira.account["id"].as_str().unwrap();
    let named = list(&site, &keeper, "").await;
    assert!(!named.text().contains(mira_id), "{}", named.text());
    let plain = list(&site, &keeper, "?actors=plain").await;
    assert!(plain.text().contains(&format!("\"actor\":\"account:{mira_id}\"")), "{}", plain.text());
    let created =
        |page: Value| page["items"].as_array().unwrap().iter().find(|i| i["type"] == "channel.created").cloned();
    let created = created(named.json()).unwrap();
    let owner = created["data"]["owner_id"].as_str().unwrap();
    assert_eq!(created["actor"], format!("account:{owner}"), "the same account under the same name");
    // Her own events tell her no more.
    let own = list(&site, &mira, "?channel=river").await;
    assert_eq!(own.json()["items"][0], created);
    for path in ["/api/v1/events", "/api/v1/events/subscribe"] {
        let answer = site.send(site.get(&format!("{path}?channel=river&actors=plain")).bearer_auth(&mira.token)).await;
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{path}");
    }
}

/// Who may read what: the status for nobody, for the administrator, the owner, and somebody else.
#[tokio::test]
async fn rights() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let river = site.channel(&mira, "river").await;
    let gone = site.channel(&mira, "gone").await;
    site.channel(&noor, "sea").await;
    site.close(&gone).await;
    let (river_id, gone_id) = (id(&river), id(&gone));
    let cases: [(String, [u16; 4]); 9] = [
        (String::new(), [401, 200, 403, 403]),
        ("types=channel.*".to_owned(), [401, 200, 403, 403]),
        (format!("subject=channel/{river_id}"), [401, 200, 403, 403]),
        ("channel=river".to_owned(), [401, 200, 200, 403]),
        (format!("channel={river_id}&types=stream.*"), [401, 200, 200, 403]),
        ("channel=sea".to_owned(), [401, 200, 403, 200]),
        // A closed channel's events stay in the log; it is nobody's.
        ("channel=gone".to_owned(), [401, 200, 404, 404]),
        (format!("channel={gone_id}"), [401, 200, 404, 404]),
        ("channel=nobody".to_owned(), [401, 404, 404, 404]),
    ];
    for (query, statuses) in &cases {
        for path in ["/api/v1/events?", "/api/v1/events?format=ndjson&", "/api/v1/events/subscribe?"] {
            let path = format!("{path}{query}");
            let who = [None, Some(&keeper), Some(&mira), Some(&noor)];
            for (who, status) in who.into_iter().zip(statuses) {
                let mut request = site.get(&path);
                if let Some(who) = who {
                    request = request.bearer_auth(&who.token);
                }
                let answer = site.send(request).await;
                let name = who.map_or("nobody", |who| who.account["username"].as_str().unwrap());
                assert_eq!(answer.status, *status, "{path} by {name}: {}", answer.text());
            }
        }
    }
    let answer = list(&site, &mira, "").await;
    assert_json_snapshot!("events_forbidden", redact(answer.json()));
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let long = "x".repeat(5_000);
    let both = [
        ("after=-1", "cursor_invalid", "?after"),
        ("after=x", "cursor_invalid", "?after"),
        ("after=1.5", "cursor_invalid", "?after"),
        ("after=%2B1", "cursor_invalid", "?after"),
        ("after=", "cursor_invalid", "?after"),
        ("after=9223372036854775808", "cursor_invalid", "?after"),
        ("after=1%00", "cursor_invalid", "?after"),
        ("types=", "query_invalid", "?types"),
        ("types=channel", "query_invalid", "?types"),
        ("types=channel.create", "query_invalid", "?types"),
        ("types=channel.created,,", "query_invalid", "?types"),
        ("types=*", "query_invalid", "?types"),
        ("types=nothing.*", "query_invalid", "?types"),
        ("types=%00", "query_invalid", "?types"),
        (&format!("types={long}"), "query_invalid", "?types"),
        ("subject=", "query_invalid", "?subject"),
        ("subject=channel", "query_invalid", "?subject"),
        ("subject=channel/", "query_invalid", "?subject"),
        ("subject=nothing/1", "query_invalid", "?subject"),
        ("subject=account/5c1e4b7e-0f7a-8f52-a7a1-6d1c0b2f9e44", "query_invalid", "?subject"),
        ("subject=channel/1/2", "query_invalid", "?subject"),
        ("subject=channel/%27%20or%201=1", "query_invalid", "?subject"),
        (&format!("subject=channel/{long}"), "query_invalid", "?subject"),
        ("actors=real", "query_invalid", "?actors"),
        ("actors=", "query_invalid", "?actors"),
        ("after=1&after=2", "query_invalid", "?after"),
        ("colour=blue", "query_invalid", "?colour"),
    ];
    let pages = [
        ("limit=0", "query_invalid", "?limit"),
        ("limit=1001", "query_invalid", "?limit"),
        ("limit=-1", "query_invalid", "?limit"),
        ("limit=x", "query_invalid", "?limit"),
        ("limit=99999999999999999999", "query_invalid", "?limit"),
        ("format=csv", "query_invalid", "?format"),
        ("from=yesterday", "query_invalid", "?from"),
        ("from=2026-11-21", "query_invalid", "?from"),
        ("from=", "query_invalid", "?from"),
        ("to=2026-02-30T00:00:00Z", "query_invalid", "?to"),
        ("to=9999-12-31T23:59:59-23:59", "query_invalid", "?to"),
        ("from=2026-11-21T10:00:01Z&to=2026-11-21T10:00:00Z", "query_invalid", "?to"),
    ];
    let subscriptions = [("limit=1", "query_invalid", "?limit"), ("after=1000000", "position_beyond_head", "?after")];
    for (path, own) in [("/api/v1/events", &pages[..]), ("/api/v1/events/subscribe", &subscriptions[..])] {
        for (query, code, pointer) in both.iter().chain(own) {
            let answer = site.send(site.get(&format!("{path}?{query}")).bearer_auth(&keeper.token)).await;
            assert_eq!(answer.problem(), (400, (*code).to_owned()), "{path}?{query:.80}");
            assert_eq!(answer.json()["errors"][0]["pointer"], *pointer, "{path}?{query:.80}");
            assert!(answer.text().len() < 2_000, "{}", answer.text());
        }
    }
    let answer = list(&site, &keeper, "?types=channel.create").await.json();
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("`channel.created`"), "what there is, is named: {message}");
    for id in ["x", "-1", "99999999999999999999", "1 2"] {
        let request = site.get("/api/v1/events/subscribe").bearer_auth(&keeper.token).header("last-event-id", id);
        assert_eq!(site.send(request).await.problem(), (400, "last_event_id_invalid".to_owned()), "{id}");
    }
    let request = site.get("/api/v1/events/subscribe").bearer_auth(&keeper.token).header("last-event-id", "77");
    let answer = site.send(request).await;
    assert_eq!(answer.problem(), (400, "position_beyond_head".to_owned()));
    let head = commands::events::head(&site.pool).await.unwrap();
    assert_eq!(answer.header("weir-head-position"), head.to_string());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("position {head}")), "{detail}");
}
