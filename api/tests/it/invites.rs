//! Invites: links into a private channel, made and taken back by its owner, and used by whoever has one.

use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{SignedIn, Site};

const INVITES: &str = "/api/v1/channels/river/invites";

async fn private_channel(site: &Site, keeper: &SignedIn) -> Value {
    let channel = site.channel(keeper, "river").await;
    let body = json!({"visibility": "private"});
    let edited = site.send(site.patch("/api/v1/channels/river", &body).bearer_auth(&keeper.token)).await;
    assert_eq!(edited.status, 200, "{}", edited.text());
    channel
}

async fn invite(site: &Site, keeper: &SignedIn, body: Value) -> Value {
    let made = site.send(site.post(INVITES, &body).bearer_auth(&keeper.token)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

fn secret(invite: &Value) -> String {
    let (page, secret) = invite["url"].as_str().unwrap().split_once('#').unwrap();
    assert!(page.ends_with("/invite"), "{page}");
    secret.to_owned()
}

#[tokio::test]
async fn whoever_has_one_watches_without_an_account_until_it_is_taken_back() {
    let site = Site::start().await;
    let (keeper, other) = (site.register("mira").await, site.register("other").await);
    let channel = private_channel(&site, &keeper).await;
    let made = invite(&site, &keeper, json!({"days": 7})).await;
    assert!(made["expires_at"].is_string(), "{made}");
    let listed = site.send(site.get(INVITES).bearer_auth(&keeper.token)).await;
    assert_eq!((listed.status, &listed.json()["items"][0]), (200, &made));

    let show = |secret: String| site.send(site.post("/api/v1/invites/use", &json!({"invite": secret})));
    let shown = show(secret(&made)).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert_eq!(shown.headers["cache-control"], "no-store");
    let shown = shown.json();
    assert_eq!((&shown["channel"]["id"], &shown["is_live"]), (&channel["id"], &json!(false)));
    assert!(shown["hls_url"].as_str().unwrap().contains("/live/t/"), "{shown}");
    assert!(shown["expires_at"].is_string(), "{shown}");
    // The channel itself stays one that nobody learns of.
    assert_eq!(site.send(site.get("/api/v1/channels/river")).await.status, 404);

    let take_back = |who: &SignedIn, id: &Value| {
        let path = format!("{INVITES}/{}", id.as_str().unwrap());
        site.send(site.request(Method::DELETE, &path).bearer_auth(&who.token))
    };
    assert_eq!(take_back(&other, &made["id"]).await.status, 404);
    assert_eq!(take_back(&keeper, &json!("nothing")).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(take_back(&keeper, &made["id"]).await.status, 204);
    assert_eq!(take_back(&keeper, &made["id"]).await.status, 204, "the same again is fine");
    assert_eq!(show(secret(&made)).await.problem(), (404, "invite_not_good".to_owned()));
    let listed = site.send(site.get(INVITES).bearer_auth(&keeper.token)).await;
    assert_eq!(listed.json(), json!({"items": []}));
}

#[tokio::test]
async fn only_the_owner_makes_and_sees_them_and_nobody_guesses_one() {
    let site = Site::start().await;
    let (keeper, other) = (site.register("mira").await, site.register("other").await);
    site.channel(&keeper, "river").await;
    assert_eq!(site.send(site.get(INVITES)).await.status, 401);
    assert_eq!(site.send(site.post(INVITES, &json!({}))).await.status, 401);
    assert_eq!(site.send(site.request(Method::DELETE, &format!("{INVITES}/x"))).await.status, 401);
    let asked = site.send(site.get(INVITES).bearer_auth(&other.token)).await;
    assert_eq!(asked.problem(), (403, "forbidden".to_owned()));
    let made = site.send(site.post(INVITES, &json!({})).bearer_auth(&other.token)).await;
    assert_eq!(made.problem(), (403, "forbidden".to_owned()));
    for days in [0, 366] {
        let made = site.send(site.post(INVITES, &json!({"days": days})).bearer_auth(&keeper.token)).await;
        assert_eq!(made.problem(), (422, "validation_failed".to_owned()));
    }
    let (one, two) = (invite(&site, &keeper, json!({})).await, invite(&site, &keeper, json!({})).await);
    assert_eq!(one["expires_at"], Value::Null);
    let (one, two) = (secret(&one), secret(&two));
    // The id of one with the digest of the other.
    let mixed = format!("{}{}", &one[..22], &two[22..]);
    for wrong in [String::new(), mixed, format!("{one}A"), one[1..].to_owned(), "é".to_owned()] {
        let shown = site.send(site.post("/api/v1/invites/use", &json!({"invite": wrong}))).await;
        assert_eq!(shown.problem(), (404, "invite_not_good".to_owned()), "{wrong}");
    }
    // Of a public channel it leads to what everybody has.
    let shown = site.send(site.post("/api/v1/invites/use", &json!({"invite": one}))).await.json();
    assert!(!shown["hls_url"].as_str().unwrap().contains("/t/"), "{shown}");
    assert_eq!(shown["expires_at"], Value::Null);
}

#[tokio::test]
async fn an_invite_is_taken_back_at_its_own_channel_alone() {
    let site = Site::start().await;
    let keeper = site.register("mira").await;
    private_channel(&site, &keeper).await;
    site.channel(&keeper, "brook").await;
    let made = invite(&site, &keeper, json!({})).await;
    let id = made["id"].as_str().unwrap();
    let take_back = async |channel: &str| {
        let path = format!("/api/v1/channels/{channel}/invites/{id}");
        site.send(site.request(Method::DELETE, &path).bearer_auth(&keeper.token)).await
    };
    assert_eq!(take_back("brook").await.problem(), (404, "not_found".to_owned()));
    let listed = site.send(site.get(INVITES).bearer_auth(&keeper.token)).await;
    assert_eq!(listed.json()["items"][0]["id"], id);
    assert_eq!(take_back("river").await.status, 204);
}

#[tokio::test]
async fn the_same_request_again_gives_the_same_invite() {
    let site = Site::start().await;
    let keeper = site.register("mira").await;
    site.channel(&keeper, "river").await;
    let again = || {
        let asked = site.post(INVITES, &json!({"days": 1})).header("idempotency-key", "one");
        site.send(asked.bearer_auth(&keeper.token))
    };
    let (first, second) = (again().await.json(), again().await.json());
    assert_eq!(first, second);
    let listed = site.send(site.get(INVITES).bearer_auth(&keeper.token)).await;
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
}
