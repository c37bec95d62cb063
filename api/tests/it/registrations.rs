//! Who may make an account: everybody, whoever has an invite, or nobody.

use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{Answer, SignedIn, Site, registration};

const SETTINGS: &str = "/api/v1/admin/settings";
const INVITES: &str = "/api/v1/admin/registration-invites";

async fn say(site: &Site, keeper: &SignedIn, mode: &str) {
    let changed = site.send(site.patch(SETTINGS, &json!({"registration": mode})).bearer_auth(&keeper.token)).await;
    assert_eq!((changed.status, changed.json()), (200, json!({"registration": mode})), "{}", changed.text());
}

async fn invite(site: &Site, keeper: &SignedIn, body: Value) -> (Value, String) {
    let made = site.send(site.post(INVITES, &body).bearer_auth(&keeper.token)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let (page, secret) = made["url"].as_str().unwrap().split_once('#').unwrap();
    assert!(page.ends_with("/register"), "{page}");
    (made["invite"].clone(), secret.to_owned())
}

async fn register(site: &Site, username: &str, invite: Option<&str>) -> Answer {
    let mut body = registration(username);
    body["invite"] = invite.into();
    site.send(site.post("/api/v1/auth/register", &body)).await
}

async fn listed(site: &Site, keeper: &SignedIn) -> Vec<Value> {
    let answer = site.send(site.get(INVITES).bearer_auth(&keeper.token)).await;
    answer.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn registration_is_open_until_an_administrator_closes_it_on_every_node() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let mira = site.register("mira").await;
    let other = site.another_node().await;
    let mode = async || site.send(site.get("/api/v1/registration")).await.json()["mode"].clone();
    assert_eq!(mode().await, "open");
    say(&site, &keeper, "closed").await;
    assert_eq!(mode().await, "closed");
    let refused = register(&site, "late", None).await;
    assert_eq!(refused.problem(), (403, "registration_closed".to_owned()));
    let elsewhere = site.http.post(format!("{other}/api/v1/auth/register")).json(&registration("late"));
    assert_eq!(elsewhere.send().await.unwrap().status(), 403);
    // An invite opens no closed door.
    let (_, secret) = invite(&site, &keeper, json!({})).await;
    assert_eq!(register(&site, "late", Some(&secret)).await.problem(), (403, "registration_closed".to_owned()));
    say(&site, &keeper, "open").await;
    assert_eq!(register(&site, "late", None).await.status, 201);
    let asked = site.send(site.get(SETTINGS).bearer_auth(&mira.token)).await;
    assert_eq!(asked.problem(), (403, "forbidden".to_owned()));
    let said = site.patch(SETTINGS, &json!({"registration": "closed"})).bearer_auth(&mira.token);
    assert_eq!(site.send(said).await.problem(), (403, "forbidden".to_owned()));
    let made = site.post(INVITES, &json!({})).bearer_auth(&mira.token);
    assert_eq!(site.send(made).await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(mode().await, "open");
    let nothing = site.send(site.patch(SETTINGS, &json!({})).bearer_auth(&keeper.token)).await;
    assert_eq!(nothing.json(), json!({"registration": "open"}));
}

#[tokio::test]
async fn an_invite_makes_as_many_accounts_as_it_says_and_shows_its_link_once() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    say(&site, &keeper, "invite").await;
    assert_eq!(register(&site, "mira", None).await.problem(), (403, "registration_invite_needed".to_owned()));
    let (made, secret) = invite(&site, &keeper, json!({"max_uses": 2, "days": 7})).await;
    assert_eq!((&made["max_uses"], &made["uses"]), (&json!(2), &json!(0)));
    assert_eq!(listed(&site, &keeper).await, std::slice::from_ref(&made), "without its link");
    // What is wrong with the rest uses nothing up.
    assert_eq!(register(&site, "x", Some(&secret)).await.status, 422);
    assert_eq!(register(&site, "keeper", Some(&secret)).await.problem(), (409, "username_taken".to_owned()));
    assert_eq!(listed(&site, &keeper).await[0]["uses"], 0);
    assert_eq!(register(&site, "mira", Some(&secret)).await.status, 201);
    assert_eq!(register(&site, "noor", Some(&secret)).await.status, 201);
    let refused = register(&site, "zoe", Some(&secret)).await;
    assert_eq!(refused.problem(), (403, "registration_invite_invalid".to_owned()));
    let used_up = listed(&site, &keeper).await;
    assert_eq!(
        (used_up.len(), &used_up[0]["uses"], &used_up[0]["max_uses"]),
        (1, &json!(2), &json!(2)),
        "and shown so"
    );
    let other = commands::registrations::invite_secret(&site.commands, uuid::Uuid::now_v7().into());
    // The id of one with the digest of the other.
    let mixed = format!("{}{}", &secret[..22], &other[22..]);
    for wrong in ["", "x", &secret[1..], &mixed, &other] {
        let refused = register(&site, "zoe", Some(wrong)).await;
        assert_eq!(refused.problem(), (403, "registration_invite_invalid".to_owned()), "{wrong}");
    }
    for body in [json!({"max_uses": 0}), json!({"max_uses": 1001}), json!({"days": 0}), json!({"days": 366})] {
        let refused = site.send(site.post(INVITES, &body).bearer_auth(&keeper.token)).await;
        assert_eq!(refused.problem(), (422, "validation_failed".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn an_invite_that_was_taken_back_lets_nobody_in() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    say(&site, &keeper, "invite").await;
    let (made, secret) = invite(&site, &keeper, json!({"max_uses": 5})).await;
    assert_eq!(made["expires_at"], Value::Null);
    assert_eq!(register(&site, "mira", Some(&secret)).await.status, 201);
    let path = format!("{INVITES}/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = site.send(site.request(Method::DELETE, &path).bearer_auth(&keeper.token)).await;
        assert_eq!(revoked.status, 204, "the same again is fine");
    }
    let refused = register(&site, "noor", Some(&secret)).await;
    assert_eq!(refused.problem(), (403, "registration_invite_invalid".to_owned()));
    assert_eq!(site.sign_in("mira").await.account["username"], "mira");
    let again = || {
        let asked = site.post(INVITES, &json!({"days": 1})).header("idempotency-key", "one");
        site.send(asked.bearer_auth(&keeper.token))
    };
    let (first, second) = (again().await.json(), again().await.json());
    assert_eq!(first, second, "a repeat gets the same link");
    assert_eq!(listed(&site, &keeper).await.len(), 1);
}

#[tokio::test]
async fn the_set_up_token_is_good_whatever_holds() {
    let site = Site::start().await;
    let token = site.setup_token().await;
    let system = domain::Principal { account_id: uuid::Uuid::now_v7().into(), is_administrator: true };
    let closed = domain::registrations::RegistrationMode::Closed;
    let metadata = commands::Metadata::new(commands::Actor::System);
    commands::registrations::change_mode(&site.commands, system, closed, metadata).await.unwrap();
    let mut body = registration("keeper");
    body["setup_token"] = "wrong".into();
    let refused = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!(refused.problem(), (403, "setup_token_invalid".to_owned()));
    body["setup_token"] = token.into();
    let registered = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!((registered.status, &registered.json()["account"]["is_administrator"]), (201, &json!(true)));
}
