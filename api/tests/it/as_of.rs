//! Channels as they were.

use serde_json::{Value, json};

use crate::site::{Answer, SignedIn, Site};

async fn get(site: &Site, who: &SignedIn, handle: &str, as_of: impl std::fmt::Display) -> Answer {
    site.send(site.get(&format!("/api/v1/channels/{handle}?as_of={as_of}")).bearer_auth(&who.token)).await
}

async fn edit(site: &Site, who: &SignedIn, body: &Value) -> Value {
    let answer = site.send(site.patch("/api/v1/channels/river", body).bearer_auth(&who.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The events of the log: position and time.
async fn points(site: &Site, keeper: &SignedIn) -> Vec<(i64, String)> {
    let page = site.send(site.get("/api/v1/events").bearer_auth(&keeper.token)).await.json();
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| (item["position"].as_i64().unwrap(), item["time"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn a_channel_is_shown_as_it_was_at_a_position_or_a_time() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let mira = site.register("mira").await;
    let created = site.channel(&mira, "river").await;
    let edited = edit(&site, &mira, &json!({"title": "The sea", "description": "Deep."})).await;
    let last = edit(&site, &mira, &json!({"title": "The ocean"})).await;
    let points = points(&site, &keeper).await;
    let expected = |channel: &Value, position: i64, time: &str| {
        json!({
            "id": channel["id"], "handle": "river", "title": channel["title"], "description": channel["description"],
            "visibility": "public", "owner_id": mira.account["id"], "team": [],
            "recording": {"is_on": false, "own_limits": {"keep_days": null, "max_size_bytes": null, "max_count": null}},
            "created_at": created["created_at"], "updated_at": channel["updated_at"],
            "version": channel["version"], "as_of": {"position": position, "time": time},
        })
    };
    // The last three are the channel's.
    let (before, of_channel) = points.split_at(points.len() - 3);
    for ((position, time), channel) in of_channel.iter().zip([&created, &edited, &last]) {
        for who in [&mira, &keeper] {
            let by_position = get(&site, who, "River", position).await;
            assert_eq!((by_position.status, by_position.json()), (200, expected(channel, *position, time)));
            assert_eq!(by_position.header("cache-control"), "private, no-cache");
            let by_time = get(&site, who, "river", time).await;
            assert_eq!((by_time.status, by_time.json()), (200, expected(channel, *position, time)));
        }
    }
    // Between two events it is as after the first.
    let now = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!(get(&site, &mira, "river", &now).await.json(), expected(&last, of_channel[2].0, &now));
    let (position, time) = before.last().unwrap();
    for before in ["0".to_owned(), position.to_string(), time.clone(), "2001-01-01T00:00:00Z".to_owned()] {
        let answer = get(&site, &mira, "river", &before).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{before}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("did not exist yet"), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_was_recorded_is_shown_as_it_was() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let before = commands::events::head(&site.pool).await.unwrap();
    let body = json!({"is_on": true, "keep_days": 30, "max_count": 7});
    let settings = site.request(reqwest::Method::PUT, "/api/v1/channels/river/recording-settings").json(&body);
    let changed = settings.bearer_auth(&mira.token);
    assert_eq!(site.send(changed).await.status, 200);
    let after = commands::events::head(&site.pool).await.unwrap();
    assert_eq!(get(&site, &mira, "river", before).await.json()["recording"]["is_on"], false);
    let recording = get(&site, &mira, "river", after).await.json()["recording"].clone();
    let limits = json!({"keep_days": 30, "max_size_bytes": null, "max_count": 7});
    assert_eq!(recording, json!({"is_on": true, "own_limits": limits}));
}

#[tokio::test]
async fn others_do_not_see_how_it_was() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let river = site.channel(&mira, "river").await;
    let created_at = commands::events::head(&site.pool).await.unwrap();
    let path = &format!("/api/v1/channels/river?as_of={created_at}");
    assert_eq!(site.send(site.get(path)).await.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(site.send(site.get(path).bearer_auth("x")).await.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(get(&site, &noor, "river", created_at).await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(get(&site, &noor, "nobody", created_at).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(site.send(site.get("/api/v1/channels/river?x=7")).await.status, 200, "as it is, all may");

    site.close(&river).await;
    assert_eq!(get(&site, &mira, "river", created_at).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(get(&site, &noor, "river", created_at).await.problem(), (404, "not_found".to_owned()));
    let was = get(&site, &keeper, "river", created_at).await;
    assert_eq!((was.status, &was.json()["title"]), (200, &json!("The river")), "administrators may, even then");
    let closed = get(&site, &keeper, "river", created_at + 1).await;
    assert_eq!(closed.problem(), (404, "not_found".to_owned()));
    assert!(closed.json()["detail"].as_str().unwrap().contains("was closed"), "{}", closed.text());
}

#[tokio::test]
async fn points_that_are_none_are_refused() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let head = commands::events::head(&site.pool).await.unwrap();
    for wrong in ["", "-1", "x", "1.5", "yesterday", "2026-11-21", "2026-02-30T00:00:00Z", "%00", "9223372036854775808"]
    {
        let answer = get(&site, &mira, "river", wrong).await;
        assert_eq!(answer.problem(), (400, "query_invalid".to_owned()), "{wrong}");
        assert_eq!(answer.json()["errors"][0]["pointer"], "?as_of", "{wrong}");
    }
    let to_come = get(&site, &mira, "river", "2999-01-01T00:00:00Z").await;
    assert_eq!((to_come.status, &to_come.json()["errors"][0]["code"]), (400, &json!("time_to_come")));
    for beyond in [head + 1, i64::MAX] {
        let answer = get(&site, &mira, "river", beyond).await;
        assert_eq!(answer.problem(), (400, "position_beyond_head".to_owned()), "{beyond}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(&format!("position {head}")), "{}", answer.text());
    }
    let twice = site.get("/api/v1/channels/river?as_of=1&as_of=2").bearer_auth(&mira.token);
    assert_eq!(site.send(twice).await.problem(), (400, "query_invalid".to_owned()));
}
