//! Stream keys: seen and replaced by who has shown lately who they are, and by programs that were made for it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    second_factor::{enabled, shown},
    sessions::token,
    site::{Answer, PASSWORD, SignedIn, Site},
};

const KEY: &str = "/api/v1/channels/river/stream-key";
const ROTATE: &str = "/api/v1/channels/river/stream-key/rotate";
const PROOF: &str = "/api/v1/auth/session/proof";

async fn get(site: &Site, token: &str) -> Answer {
    site.send(site.get(KEY).bearer_auth(token)).await
}

async fn rotate(site: &Site, token: &str) -> Answer {
    site.send(site.request(Method::POST, ROTATE).bearer_auth(token)).await
}

async fn prove(site: &Site, who: &SignedIn, body: Value) -> Answer {
    site.send(site.post(PROOF, &body).bearer_auth(&who.token)).await
}

/// As if all sessions had been opened and proved `minutes` before.
async fn pass(site: &Site, minutes: i32) {
    sqlx::query(
        "update log.sessions set opened_at = opened_at - make_interval(mins => $1), \
             proved_at = proved_at - make_interval(mins => $1)",
    )
    .bind(minutes)
    .execute(&site.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_session_of_before_shows_no_key_until_it_is_proved() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    site.channel(&mira, "river").await;
    assert_eq!(get(&site, &mira.token).await.status, 200, "who has just signed in is known");
    pass(&site, 9).await;
    let first = get(&site, &mira.token).await;
    assert_eq!((first.status, first.header("cache-control")), (200, "no-store"));
    pass(&site, 2).await;
    for answer in [get(&site, &mira.token).await, rotate(&site, &mira.token).await] {
        assert_eq!(answer.problem(), (403, "reauthentication_required".to_owned()));
    }
    for answer in [get(&site, &noor.token).await, rotate(&site, &noor.token).await] {
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "whom no proof would help");
    }
    assert!(site.media.cut.lock().unwrap().is_empty());

    let wrong = prove(&site, &mira, json!({"password": "not this one"})).await;
    assert_eq!(wrong.problem(), (403, "password_wrong".to_owned()));
    assert_eq!(get(&site, &mira.token).await.status, 403);
    assert_eq!(prove(&site, &mira, json!({"password": PASSWORD})).await.status, 204);
    let second = rotate(&site, &mira.token).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.json()["stream_key"], first.json()["stream_key"]);
    assert_eq!(get(&site, &mira.token).await.json()["stream_key"], second.json()["stream_key"]);
    pass(&site, 11).await;
    assert_eq!(get(&site, &mira.token).await.status, 403, "it does not last");
}

/// A key that was sent for once is not shown again by the same request.
#[tokio::test]
async fn a_repeat_takes_a_proof_as_well() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let rotate = || {
        let request = site.request(Method::POST, ROTATE).bearer_auth(&mira.token);
        site.send(request.header("idempotency-key", "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00"))
    };
    assert_eq!(rotate().await.status, 200);
    pass(&site, 11).await;
    assert_eq!(rotate().await.problem(), (403, "reauthentication_required".to_owned()));
}

#[tokio::test]
async fn a_proof_takes_the_code_and_one_session_proves_no_other() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let (secret, _) = enabled(&site, &mira).await;
    let body = json!({"username": "mira", "password": PASSWORD, "code": shown(&secret, 0)});
    let other = SignedIn::from(&site.send(site.post("/api/v1/auth/login", &body)).await);
    pass(&site, 11).await;
    let missing = prove(&site, &mira, json!({"password": PASSWORD})).await;
    assert_eq!(missing.problem(), (403, "second_factor_required".to_owned()));
    let proof = json!({"password": PASSWORD, "code": shown(&secret, 1)});
    assert_eq!(prove(&site, &mira, proof).await.status, 204);
    assert_eq!(get(&site, &mira.token).await.status, 200);
    assert_eq!(get(&site, &other.token).await.status, 403);
}

#[tokio::test]
async fn a_program_that_was_made_for_it_needs_no_proof() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let (program, _) = token(&site, &mira, &["stream_keys"]).await;
    pass(&site, 60).await;
    assert_eq!(get(&site, &program).await.status, 200);
    assert_eq!(rotate(&site, &program).await.status, 200);
    let proof = site.post(PROOF, &json!({"password": PASSWORD})).bearer_auth(&program);
    assert_eq!(site.send(proof).await.problem(), (403, "scope_missing".to_owned()));
}
