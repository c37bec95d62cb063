//! Requests that are sent twice.

use std::time::Duration;

use commands::CommandsOptions;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};

use crate::site::{Answer, Options, PATIENCE, SignedIn, Site};

const KEY: &str = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00";

fn create(site: &Site, who: &SignedIn, key: &str, body: &Value) -> RequestBuilder {
    site.post("/api/v1/channels", body).bearer_auth(&who.token).header("idempotency-key", key)
}

fn rotate(site: &Site, who: &SignedIn, key: &str) -> RequestBuilder {
    let request = site.request(Method::POST, "/api/v1/channels/river/stream-key/rotate");
    request.bearer_auth(&who.token).header("idempotency-key", key)
}

fn river() -> Value {
    json!({"handle": "River", "title": "The river"})
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

/// Keeps every append waiting until it is dropped.
async fn hold_the_log(site: &Site) -> Transaction<'static, Postgres> {
    let mut transaction = site.pool.begin().await.unwrap();
    sqlx::query("select position from log.head for update").execute(&mut *transaction).await.unwrap();
    transaction
}

/// Waits until an append waits.
async fn until_an_append_waits(site: &Site) {
    let look = async {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
            )
            .fetch_one(&site.pool)
            .await
            .unwrap();
            if waiting > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("no append waits");
}

async fn event_count(site: &Site) -> i64 {
    sqlx::query_scalar("select position from log.head").fetch_one(&site.pool).await.unwrap()
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let first = site.send(create(&site, &mira, KEY, &river())).await;
    assert_eq!((first.status, is_replayed(&first)), (201, false));
    let count = event_count(&site).await;
    // Whatever has happened to the channel since.
    let edit = site.patch("/api/v1/channels/river", &json!({"title": "The sea"})).bearer_auth(&mira.token);
    assert_eq!(site.send(edit).await.status, 200);
    for _ in 0..2 {
        let again = site.send(create(&site, &mira, KEY, &river())).await;
        assert_eq!((again.status, again.body.clone()), (201, first.body.clone()), "byte for byte");
        assert_eq!((again.kind(), again.header("location")), (first.kind(), first.header("location")));
        assert!(is_replayed(&again));
    }
    assert_eq!(event_count(&site).await, count + 1, "only the edit is new");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_account() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    assert_eq!(site.send(create(&site, &mira, KEY, &river())).await.status, 201);
    for body in [
        json!({"handle": "sea", "title": "The sea"}),
        json!({"handle": "River", "title": "The river", "description": null}),
    ] {
        let answer = site.send(create(&site, &mira, KEY, &body)).await;
        assert_eq!(answer.problem(), (422, "idempotency_key_reused".to_owned()), "{body}");
    }
    let elsewhere = site.send(rotate(&site, &mira, KEY)).await;
    assert_eq!(elsewhere.problem(), (422, "idempotency_key_reused".to_owned()));
    let hers = site.send(create(&site, &noor, KEY, &json!({"handle": "sea", "title": "The sea"}))).await;
    assert_eq!((hers.status, is_replayed(&hers)), (201, false), "somebody else's key is another");
}

#[tokio::test]
async fn a_refusal_is_decided_anew() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    site.channel(&noor, "river").await;
    for _ in 0..2 {
        let answer = site.send(create(&site, &mira, KEY, &river())).await;
        assert_eq!((answer.problem(), is_replayed(&answer)), ((409, "handle_taken".to_owned()), false));
    }
    let body = json!({"handle": "sea", "title": "The sea"});
    assert_eq!(site.send(create(&site, &mira, KEY, &body)).await.status, 201, "the key was not used up");
}

#[tokio::test]
async fn a_repeat_while_the_first_is_under_way_is_told_to_wait() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let held = hold_the_log(&site).await;
    let first = site.send(create(&site, &mira, KEY, &river()));
    let meanwhile = async {
        until_an_append_waits(&site).await;
        let second = site.send(create(&site, &mira, KEY, &river())).await;
        assert_eq!(second.problem(), (409, "idempotency_in_flight".to_owned()));
        assert_eq!(second.header("retry-after"), "1");
        held.rollback().await.unwrap();
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert_eq!(first.status, 201);
    let third = site.send(create(&site, &mira, KEY, &river())).await;
    assert_eq!((third.status, is_replayed(&third), &third.body), (201, true, &first.body));
}

#[tokio::test]
async fn an_answer_that_was_not_kept_is_made_anew() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let first = site.send(create(&site, &mira, KEY, &river())).await;
    // As if the process had died before it answered.
    let forgotten = sqlx::query("update log.commands set response = null").execute(&site.pool).await.unwrap();
    assert_eq!(forgotten.rows_affected(), 1);
    let again = site.send(create(&site, &mira, KEY, &river())).await;
    assert_eq!((again.status, is_replayed(&again)), (201, true));
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
}

#[tokio::test]
async fn a_rotation_happens_once_and_its_answer_is_not_kept() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let first = site.send(rotate(&site, &mira, KEY)).await;
    let again = site.send(rotate(&site, &mira, KEY)).await;
    assert_eq!((first.status, again.status, is_replayed(&again)), (200, 200, true));
    assert_eq!(first.json(), again.json());
    assert_eq!(site.media.cut.lock().unwrap().len(), 1, "the encoder is cut once");
    let kept: Option<Vec<u8>> = sqlx::query_scalar("select response from log.commands where key = $1")
        .bind(KEY)
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(kept, None, "a secret is not kept");
    // A repeat shows the key of that moment.
    let other = site.send(rotate(&site, &mira, "other")).await;
    let last = site.send(rotate(&site, &mira, KEY)).await;
    assert_eq!(last.json(), other.json());
    assert_eq!(site.media.cut.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_queue_that_is_full_is_said_to_be() {
    let commands = CommandsOptions { queue_len: 1, ..CommandsOptions::default() };
    let site = Site::with(Options { commands, ..Options::default() }).await;
    let mira = site.register("mira").await;
    let held = hold_the_log(&site).await;
    let first = site.send(site.post("/api/v1/channels", &river()).bearer_auth(&mira.token));
    let meanwhile = async {
        until_an_append_waits(&site).await;
        let body = json!({"handle": "sea", "title": "The sea"});
        let second = site.send(create(&site, &mira, KEY, &body)).await;
        assert_eq!(second.problem(), (503, "overloaded".to_owned()));
        assert_eq!(second.header("retry-after"), "1");
        held.rollback().await.unwrap();
        body
    };
    let (first, body) = tokio::join!(first, meanwhile);
    assert_eq!(first.status, 201);
    let again = site.send(create(&site, &mira, KEY, &body)).await;
    assert_eq!((again.status, is_replayed(&again)), (201, false), "nothing was done, and the key was not used up");
}
