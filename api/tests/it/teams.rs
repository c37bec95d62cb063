//! Roles in a channel: given, used, taken, left.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    recordings,
    site::{Answer, SignedIn, Site},
};

const TEAM: &str = "/api/v1/channels/river/team";

/// Registers somebody and gives them a role in `river`.
pub(crate) async fn member(site: &Site, owner: &SignedIn, username: &str, role: &str) -> SignedIn {
    let member = site.register(username).await;
    let given = give(site, owner, username, role).await;
    assert_eq!(given.status, 200, "{}", given.text());
    member
}

async fn as_who(site: &Site, request: RequestBuilder, who: &SignedIn) -> Answer {
    site.send(request.bearer_auth(&who.token)).await
}

async fn give(site: &Site, by: &SignedIn, username: &str, role: &str) -> Answer {
    let request = site.request(Method::PUT, &format!("{TEAM}/{username}")).json(&json!({"role": role}));
    as_who(site, request, by).await
}

async fn take(site: &Site, by: &SignedIn, username: &str) -> Answer {
    as_who(site, site.request(Method::DELETE, &format!("{TEAM}/{username}")), by).await
}

async fn get(site: &Site, path: &str, by: &SignedIn) -> Answer {
    as_who(site, site.get(path), by).await
}

async fn edit(site: &Site, by: &SignedIn, body: Value) -> Answer {
    as_who(site, site.patch("/api/v1/channels/river", &body), by).await
}

async fn names(site: &Site, by: &SignedIn) -> Vec<(String, String)> {
    let listed = get(site, TEAM, by).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let items = listed.json()["items"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    items.iter().map(|item| (text(&item["account"]["username"]), text(&item["role"]))).collect()
}

#[tokio::test]
async fn the_owner_names_a_team_and_everybody_in_it_sees_it() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let (mira, other) = (site.register("mira").await, site.register("other").await);
    site.channel(&mira, "river").await;
    let noor = member(&site, &mira, "noor", "moderator").await;
    let zoe = member(&site, &mira, "zoe", "editor").await;
    let expected = [("noor".to_owned(), "moderator".to_owned()), ("zoe".to_owned(), "editor".to_owned())];
    for by in [&mira, &noor, &zoe, &keeper] {
        assert_eq!(names(&site, by).await, expected);
    }
    assert_eq!(get(&site, TEAM, &other).await.problem(), (403, "forbidden".to_owned()));
    for by in [&noor, &zoe, &other] {
        assert_eq!(give(&site, by, "other", "editor").await.problem(), (403, "forbidden".to_owned()));
    }
    // Another role in place of the one of before, the same again, and somebody else's eyes.
    assert_eq!(give(&site, &mira, "NOOR", "editor").await.json()["role"], "editor");
    assert_eq!(give(&site, &keeper, "noor", "editor").await.status, 200);
    assert_eq!(names(&site, &mira).await[0].1, "editor");

    assert_eq!(give(&site, &mira, "nobody", "editor").await.problem(), (404, "account_not_found".to_owned()));
    assert_eq!(give(&site, &mira, "mira", "editor").await.problem(), (409, "owner_needs_no_role".to_owned()));
    assert_eq!(give(&site, &mira, "other", "owner").await.status, 422);
    assert_eq!(take(&site, &mira, "nobody").await.problem(), (404, "account_not_found".to_owned()));
}

#[tokio::test]
async fn a_role_gives_what_it_says_and_no_more_than_that_until_it_is_taken() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let recording = recordings::ready(&site, &channel).await;
    let noor = member(&site, &mira, "noor", "moderator").await;
    let zoe = member(&site, &mira, "zoe", "editor").await;
    let settings = "/api/v1/channels/river/recording-settings";

    assert_eq!(edit(&site, &zoe, json!({"title": "By Zoe"})).await.json()["title"], "By Zoe");
    assert_eq!(edit(&site, &noor, json!({"title": "By Noor"})).await.status, 403);
    let hidden = edit(&site, &zoe, json!({"title": "Hidden", "visibility": "private"})).await;
    assert_eq!(hidden.problem(), (403, "forbidden".to_owned()));
    assert_eq!(get(&site, "/api/v1/channels/river", &mira).await.json()["title"], "By Zoe", "all of it or nothing");

    let record = |by: &SignedIn, body: Value| {
        let request = site.request(Method::PUT, settings).json(&body).bearer_auth(&by.token);
        site.send(request)
    };
    assert_eq!(record(&zoe, json!({"is_on": true})).await.json()["is_on"], true);
    assert_eq!(record(&zoe, json!({"is_on": true, "keep_days": 1})).await.status, 403);
    assert_eq!(record(&mira, json!({"is_on": true, "keep_days": 9})).await.status, 200);
    assert_eq!(record(&zoe, json!({"is_on": false, "keep_days": 9})).await.status, 200, "the limits are the same");
    assert_eq!(record(&noor, json!({"is_on": false})).await.status, 403);

    let rename = site.patch(&recording, &json!({"title": "Again", "visibility": "archived"}));
    assert_eq!(as_who(&site, rename, &zoe).await.status, 200);
    assert_eq!(get(&site, &recording, &zoe).await.status, 200, "an editor sees what is archived");
    assert_eq!(get(&site, &recording, &noor).await.status, 404);
    let delete = site.request(Method::DELETE, &recording);
    assert_eq!(as_who(&site, delete, &zoe).await.problem(), (403, "forbidden".to_owned()));
    for (path, moderator, editor) in [
        ("/api/v1/channels/river/ingest", 200, 200),
        ("/api/v1/channels/river/stream-key", 403, 403),
        ("/api/v1/channels/river/invites", 403, 403),
        ("/api/v1/events?channel=river", 403, 403),
        ("/api/v1/channels/river?as_of=3", 403, 403),
    ] {
        assert_eq!(get(&site, path, &noor).await.status, moderator, "{path}");
        assert_eq!(get(&site, path, &zoe).await.status, editor, "{path}");
    }

    assert_eq!(take(&site, &mira, "zoe").await.status, 204);
    assert_eq!(take(&site, &mira, "zoe").await.status, 204, "the same again is fine");
    assert_eq!(edit(&site, &zoe, json!({"title": "Too late"})).await.status, 403);
    assert_eq!(get(&site, "/api/v1/channels/river/ingest", &zoe).await.status, 403);
    // Who has one leaves when they like, and is nothing after that.
    assert_eq!(take(&site, &noor, "noor").await.status, 204);
    assert_eq!(take(&site, &noor, "noor").await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(names(&site, &mira).await, []);
}

#[tokio::test]
async fn a_role_opens_a_private_channel_and_shows_among_ones_own() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    assert_eq!(edit(&site, &mira, json!({"visibility": "private"})).await.status, 200);
    let noor = site.register("noor").await;
    assert_eq!(get(&site, "/api/v1/channels/river", &noor).await.status, 404);
    assert_eq!(get(&site, TEAM, &noor).await.status, 404);
    assert_eq!(take(&site, &noor, "noor").await.status, 404);
    assert_eq!(give(&site, &mira, "noor", "moderator").await.status, 200);
    let shown = get(&site, "/api/v1/channels/river", &noor).await;
    assert_eq!((shown.status, &shown.json()["standing"]), (200, &json!("moderator")));
    assert!(shown.json()["playback"]["hls_url"].as_str().unwrap().contains("/live/t/"));
    assert_eq!(shown.header("cache-control"), "private, no-cache");
    assert_eq!(get(&site, "/api/v1/channels/river/playback", &noor).await.status, 200);
    site.channel(&noor, "sea").await;
    let mine = get(&site, "/api/v1/channels?mine=true", &noor).await.json();
    let mine: Vec<(&str, &str)> = mine["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["handle"].as_str().unwrap(), item["standing"].as_str().unwrap()))
        .collect();
    assert_eq!(mine, [("sea", "owner"), ("river", "moderator")]);
    let of_noor = get(&site, "/api/v1/channels?mine=true&account=noor", &noor).await.json();
    assert_eq!(of_noor["items"].as_array().unwrap().len(), 1);
    // Nobody else is told.
    assert_eq!(site.send(site.get("/api/v1/channels/sea")).await.json()["standing"], Value::Null);
    assert_eq!(get(&site, "/api/v1/channels/sea", &mira).await.json()["standing"], Value::Null);

    assert_eq!(take(&site, &noor, "noor").await.status, 204);
    assert_eq!(get(&site, "/api/v1/channels/river", &noor).await.status, 404);
    assert_eq!(get(&site, "/api/v1/channels?mine=true", &noor).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn rights_are_asked_of_the_log_and_not_of_a_read_model() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let noor = member(&site, &mira, "noor", "editor").await;
    let site = site.stop_projecting().await;
    let taken = take(&site, &mira, "noor").await;
    assert_eq!(taken.status, 204);
    // The read model still has her in the team.
    assert_eq!(names(&site, &mira).await, [("noor".to_owned(), "editor".to_owned())]);
    assert_eq!(get(&site, "/api/v1/channels/river/ingest", &noor).await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(edit(&site, &noor, json!({"title": "Too late"})).await.problem(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn how_it_was_tells_who_had_which_role() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let channel = site.channel(&mira, "river").await;
    let noor = member(&site, &mira, "noor", "editor").await;
    let head = async || commands::events::head(&site.pool).await.unwrap();
    let with_role = head().await;
    assert_eq!(take(&site, &mira, "noor").await.status, 204);
    let without = head().await;
    let team = async |position: i64| {
        let path = format!("/api/v1/channels/river?as_of={position}");
        get(&site, &path, &mira).await.json()["team"].clone()
    };
    assert_eq!(team(with_role).await, json!([{"account_id": noor.account["id"], "role": "editor"}]));
    assert_eq!(team(without).await, json!([]));
    let now = get(&site, "/api/v1/channels/river", &mira).await.json();
    assert!(now["version"].as_i64() > channel["version"].as_i64());
}

#[tokio::test]
async fn no_personal_token_changes_a_team() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    site.register("noor").await;
    let body = json!({
        "name": "A program", "scopes": ["read", "channels:write"], "expires_in_days": 1,
        "password": crate::site::PASSWORD,
    });
    let made = as_who(&site, site.post("/api/v1/auth/tokens", &body), &mira).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let program = SignedIn { token: made.json()["token"].as_str().unwrap().to_owned(), ..mira.clone() };
    assert_eq!(names(&site, &program).await, []);
    assert_eq!(give(&site, &program, "noor", "editor").await.problem(), (403, "scope_missing".to_owned()));
    assert_eq!(take(&site, &program, "noor").await.problem(), (403, "scope_missing".to_owned()));
}
