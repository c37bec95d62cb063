//! What the log keeps of the request that an event comes from.

use std::collections::HashSet;

use api::AccessOptions;
use reqwest::header::COOKIE;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::site::{Options, PASSWORD, SignedIn, Site, registration};

/// The types of the events that belong to a request, in order.
async fn events_of(site: &Site, correlation_id: &str) -> Vec<String> {
    sqlx::query_scalar("select event_type from log.events where metadata->>'correlation_id' = $1 order by position")
        .bind(correlation_id)
        .fetch_all(site.commands.pool())
        .await
        .unwrap()
}

/// A site to which this test is a proxy that it trusts.
async fn behind_a_proxy() -> Site {
    let access = AccessOptions { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..AccessOptions::default() };
    Site::with(Options { access, ..Options::default() }).await
}

#[tokio::test]
async fn all_that_a_request_does_carries_its_id() {
    let site = behind_a_proxy().await;
    let [register, sign_in, create, sign_out] = [(); 4].map(|()| Uuid::now_v7().to_string());
    let with_id = |path: &str, body: &Value, id: &String| site.post(path, body).header("X-Request-Id", id);

    let answer = site.send(with_id("/api/v1/auth/register", &registration("mira"), &register)).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (201, register.as_str()));
    assert_eq!(
        events_of(&site, &register).await,
        ["account.registered", "email.confirmation_requested", "session.opened"]
    );
    let mira = SignedIn::from(&answer);

    let credentials = json!({"username": "mira", "password": PASSWORD});
    let signed_in = site.send(with_id("/api/v1/auth/login", &credentials, &sign_in)).await;
    assert_eq!(signed_in.status, 200);
    assert_eq!(events_of(&site, &sign_in).await, ["session.opened"]);

    let channel = json!({"handle": "mira", "title": "Painting"});
    let created = site.send(with_id("/api/v1/channels", &channel, &create).bearer_auth(&mira.token)).await;
    assert_eq!(created.status, 201);
    assert_eq!(events_of(&site, &create).await, ["channel.created"]);

    let cookie = signed_in.set_cookie().split(';').next().unwrap();
    let signed_out = site.send(with_id("/api/v1/auth/logout", &json!({}), &sign_out).header(COOKIE, cookie)).await;
    assert_eq!(signed_out.status, 204);
    assert_eq!(events_of(&site, &sign_out).await, ["session.ended"]);

    // An id that is none of ours: the events belong together all the same.
    let answer = site.send(with_id("/api/v1/auth/register", &registration("noah"), &"proxy-17".to_owned())).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (201, "proxy-17"));
    let correlated: HashSet<String> =
        sqlx::query_scalar("select metadata->>'correlation_id' from log.events order by position desc limit 2")
            .fetch_all(site.commands.pool())
            .await
            .unwrap()
            .into_iter()
            .collect();
    assert_eq!(correlated.len(), 1);
}

#[tokio::test]
async fn what_strangers_call_their_requests_is_not_in_the_log() {
    let site = Site::start().await;
    // That of somebody else, perhaps.
    let theirs = Uuid::now_v7().to_string();
    for username in ["mira", "noor"] {
        let body = registration(username);
        let answer = site.send(site.post("/api/v1/auth/register", &body).header("x-request-id", &theirs)).await;
        assert_eq!(answer.status, 201);
        let ours = answer.header("x-request-id");
        assert!(ours != theirs && Uuid::parse_str(ours).is_ok(), "{ours}");
        assert!(
            events_of(&site, ours).await.contains(&"account.registered".to_owned()),
            "it is the request in the log"
        );
    }
    assert_eq!(events_of(&site, &theirs).await, [""; 0]);
}
