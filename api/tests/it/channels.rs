use insta::assert_json_snapshot;
use reqwest::{
    Method,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use serde_json::{Value, json};

use crate::{
    redact::redact,
    site::{Site, id},
};

#[tokio::test]
async fn a_new_channel_can_be_read_at_once() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let body = json!({"handle": "River_Talks", "title": " Talks by the river ", "description": "Every Friday."});
    let created = site.send(site.post("/api/v1/channels", &body).bearer_auth(&mira.token)).await;
    assert_eq!((created.status, created.header("location")), (201, "/api/v1/channels/river_talks"));
    assert_json_snapshot!("channel_created", redact(created.json()));
    let read = site.send(site.get("/api/v1/channels/RIVER_talks").bearer_auth(&mira.token)).await;
    assert_eq!((read.status, read.json()), (200, created.json()));
}

#[tokio::test]
async fn a_handle_is_taken_whatever_its_case() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let body = json!({"handle": "RIVER", "title": "Mine"});
    let answer = site.send(site.post("/api/v1/channels", &body).bearer_auth(&mira.token)).await;
    assert_eq!(answer.status, 409);
    assert_json_snapshot!("handle_taken", redact(answer.json()));
}

#[tokio::test]
async fn a_channel_needs_a_handle_and_a_title() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let body = json!({"handle": "settings", "title": " ", "description": "\u{0}"});
    let answer = site.send(site.post("/api/v1/channels", &body).bearer_auth(&mira.token)).await;
    assert_eq!(answer.status, 422);
    assert_json_snapshot!("channel_invalid", redact(answer.json()));
}

#[tokio::test]
async fn an_unknown_channel_is_404() {
    let site = Site::start().await;
    for handle in ["nobody", "a", "settings", "%00", "%F0%9F%A6%80", "..", "'%20or%201=1", &"x".repeat(3_000)] {
        let answer = site.send(site.get(&format!("/api/v1/channels/{handle}"))).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{handle}");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_printable() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let create = async |handle: &str, key: &[u8]| {
        let request = site.post("/api/v1/channels", &json!({"handle": handle, "title": "River"}));
        site.send(request.header("idempotency-key", key).bearer_auth(&mira.token)).await
    };
    for (number, key) in ["01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00", "x", &"~".repeat(255)].into_iter().enumerate() {
        assert_eq!(create(&format!("river_{number}"), key.as_bytes()).await.status, 201, "{key}");
    }
    for key in [b"".as_slice(), b"caf\xe9", b"a\tb", b"a b", &[b'x'; 256]] {
        assert_eq!(create("sea", key).await.problem(), (400, "idempotency_key_invalid".to_owned()), "{key:?}");
    }
}

#[tokio::test]
async fn the_owner_edits_and_others_do_not() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    site.channel(&mira, "river").await;
    let path = "/api/v1/channels/river";
    let edited = site.send(site.patch(path, &json!({"title": "The sea"})).bearer_auth(&mira.token)).await;
    assert_eq!(edited.status, 200);
    assert_json_snapshot!("channel_edited", redact(edited.json()));
    assert_eq!(site.send(site.get(path).bearer_auth(&mira.token)).await.json(), edited.json());
    // What is left out or null stays; the same again changes nothing.
    for body in [json!({}), json!({"title": null, "description": null}), json!({"title": "The sea"})] {
        let same = site.send(site.patch(path, &body).bearer_auth(&mira.token)).await;
        assert_eq!((same.status, same.json()), (200, edited.json()), "{body}");
    }
    let refused = site.send(site.patch(path, &json!({"title": "Mine"})).bearer_auth(&noor.token)).await;
    assert_eq!(refused.status, 403);
    assert_json_snapshot!("channel_not_owner", redact(refused.json()));
    let unknown = site.send(site.patch("/api/v1/channels/sea", &json!({})).bearer_auth(&mira.token)).await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn an_edit_of_a_stale_version_is_refused() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let edit = async |version: &str, title: &str| {
        let request = site.patch("/api/v1/channels/river", &json!({"title": title}));
        site.send(request.header(IF_MATCH, version).bearer_auth(&mira.token)).await
    };
    let version = format!("\"{}\"", channel["version"]);
    let first = edit(&version, "First").await;
    assert_eq!((first.status, &first.json()["title"]), (200, &json!("First")));
    let second = edit(&version, "Second").await;
    assert_eq!(second.status, 412);
    assert_json_snapshot!("version_stale", redact(second.json()));
    assert_eq!(edit("*", "Third").await.status, 200);
    for wrong in ["1", "W/\"1\"", "\"x\"", "\"\"", "\"1\", \"2\"", "\"99999999999999999999\""] {
        assert_eq!(edit(wrong, "Fourth").await.problem(), (400, "if_match_invalid".to_owned()), "{wrong}");
    }
}

#[tokio::test]
async fn channels_come_in_pages_newest_first() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    for number in 1..=5 {
        site.channel(if number % 2 == 0 { &noor } else { &mira }, &format!("river_{number}")).await;
    }
    let handles = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["handle"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = Vec::new();
    let mut path = "/api/v1/channels?limit=2".to_owned();
    loop {
        let answer = site.send(site.get(&path)).await;
        assert_eq!(answer.status, 200);
        let page = answer.json();
        seen.extend(handles(&page));
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(answer.header("link"), "");
            break;
        };
        path = format!("/api/v1/channels?limit=2&after={cursor}");
        assert_eq!(answer.header("link"), format!("<{path}>; rel=\"next\""));
    }
    assert_eq!(seen, ["river_5", "river_4", "river_3", "river_2", "river_1"]);

    let list = async |query: &str, token: Option<&str>| {
        let mut request = site.get(&format!("/api/v1/channels?{query}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        site.send(request).await
    };
    assert_eq!(handles(&list("account=NOOR", None).await.json()), ["river_4", "river_2"]);
    assert_eq!(handles(&list("account=nobody", None).await.json()), [""; 0]);
    assert_eq!(handles(&list("mine=true", Some(&noor.token)).await.json()), ["river_4", "river_2"]);
    assert_eq!(handles(&list("mine=true&account=mira", Some(&noor.token)).await.json()), [""; 0]);
    assert_eq!(list("mine=true", None).await.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(list("live=true", Some("x")).await.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(handles(&list("live=true", None).await.json()), [""; 0]);
    assert_eq!(handles(&list("live=false&limit=1&mine=false", None).await.json()), ["river_5"]);
}

#[tokio::test]
async fn a_channel_shows_its_live_stream() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    site.channel(&mira, "quiet").await;
    let stream_id = site.start_stream(&channel).await;
    let live = site.send(site.get("/api/v1/channels/river")).await.json();
    assert_json_snapshot!("channel_live", redact(live.clone()));
    assert_eq!(live["live_stream_id"], stream_id.to_string());
    assert_eq!(live["playback"], channel["playback"], "the address is the same before and while live");
    let page = site.send(site.get("/api/v1/channels?live=true")).await.json();
    assert_eq!(page["items"], json!([live]));
    site.end_stream(stream_id).await;
    let over = site.get("/api/v1/channels/river").bearer_auth(&mira.token);
    assert_eq!(site.send(over).await.json(), channel);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    for path in ["/api/v1/channels/river", "/api/v1/channels"] {
        let first = site.send(site.get(path)).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        assert_eq!(first.header("cache-control"), "no-cache");
        for known in [tag.clone(), format!("\"x\", {tag}"), tag.replace("W/", ""), "*".to_owned()] {
            let again = site.send(site.get(path).header(IF_NONE_MATCH, &known)).await;
            assert_eq!((again.status, again.header("etag")), (304, tag.as_str()), "{known}");
        }
        site.send(site.patch("/api/v1/channels/river", &json!({"title": path})).bearer_auth(&mira.token)).await;
        assert_eq!(site.send(site.get(path).header(IF_NONE_MATCH, &tag)).await.status, 200);
    }
}

#[tokio::test]
async fn the_stream_key_is_its_owners() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let channel = site.channel(&mira, "river").await;
    let path = "/api/v1/channels/river/stream-key";
    let first = site.send(site.get(path).bearer_auth(&mira.token)).await;
    assert_eq!((first.status, first.header("cache-control")), (200, "no-store"));
    assert_json_snapshot!("stream_key", redact(first.json()));
    let first = first.json()["stream_key"].as_str().unwrap().to_owned();
    assert!(first.starts_with("live_"), "{first}");

    let rotate = |token: String| {
        site.send(site.request(Method::POST, "/api/v1/channels/river/stream-key/rotate").bearer_auth(token))
    };
    let second = rotate(mira.token.clone()).await;
    assert_eq!(second.status, 200);
    let second = second.json()["stream_key"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(*site.media.cut.lock().unwrap(), [id(&channel)], "the encoder is cut");
    assert_eq!(site.send(site.get(path).bearer_auth(&mira.token)).await.json()["stream_key"], second);
    assert!(commands::channels::authorise_publisher(&site.commands, &first).await.is_err(), "the old key is refused");
    assert!(commands::channels::authorise_publisher(&site.commands, &second).await.is_ok());

    for answer in [site.send(site.get(path).bearer_auth(&noor.token)).await, rotate(noor.token.clone()).await] {
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()));
    }
    assert_eq!(site.media.cut.lock().unwrap().len(), 1);
    // A media plane that does not answer is no reason to keep the old key.
    *site.media.is_away.lock().unwrap() = true;
    assert_eq!(rotate(mira.token.clone()).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_read_back_in_time_is_accepted() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "sea").await;
    let site = site.stop_projecting().await;
    let body = json!({"handle": "River", "title": "River"});
    let answer = site.send(site.post("/api/v1/channels", &body).bearer_auth(&mira.token)).await;
    assert_eq!((answer.status, answer.header("location")), (202, "/api/v1/channels/river"));
    assert_eq!(answer.json()["location"], "/api/v1/channels/river");
    let head = commands::events::head(&site.pool).await.unwrap();
    assert_eq!(answer.json()["position"], head);
    let answer = site.send(site.patch("/api/v1/channels/sea", &json!({"title": "Sea"})).bearer_auth(&mira.token)).await;
    assert_eq!((answer.status, answer.header("location")), (202, "/api/v1/channels/sea"));
    // A key comes from the write side.
    let rotate = site.request(Method::POST, "/api/v1/channels/sea/stream-key/rotate").bearer_auth(&mira.token);
    assert_eq!(site.send(rotate).await.status, 200);
}
