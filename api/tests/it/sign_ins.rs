//! Signing in where somebody is signed in already, what it costs, and what is left of it when the client hangs up.

use std::time::Duration;

use api::AccessOptions;
use reqwest::{Method, RequestBuilder, header::COOKIE};
use serde_json::{Value, json};

use crate::{
    limits::timeless,
    second_factor::enabled,
    site::{Answer, Options, PASSWORD, PATIENCE, SignedIn, Site, registration},
};

const LOGIN: &str = "/api/v1/auth/login";
const SESSIONS: &str = "/api/v1/auth/sessions";

fn login(site: &Site, username: &str, password: &str) -> RequestBuilder {
    site.post(LOGIN, &json!({"username": username, "password": password}))
}

async fn status(site: &Site, who: &SignedIn) -> u16 {
    site.send(site.get("/api/v1/auth/me").bearer_auth(&who.token)).await.status
}

/// The sessions of somebody once the read model has the one that they ask by, and nothing before that.
async fn sessions(site: &Site, who: &SignedIn) -> Vec<Value> {
    let head = commands::events::head(&site.pool).await.unwrap();
    site.readable(head).await;
    let answer = site.send(site.get(SESSIONS).bearer_auth(&who.token)).await;
    answer.json()["items"].as_array().unwrap().clone()
}

/// Signs in with the cookie of `who`, as their browser would from a page of this install.
async fn again(site: &Site, who: &SignedIn, username: &str) -> SignedIn {
    let request = login(site, username, PASSWORD).header(COOKIE, &who.cookie).header("sec-fetch-site", "same-origin");
    let answer = site.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    SignedIn::from(&answer)
}

#[tokio::test]
async fn who_signs_in_again_has_one_session() {
    let site = Site::start().await;
    let first = site.register("mira").await;
    let second = again(&site, &first, "mira").await;
    assert_eq!(status(&site, &first).await, 401, "at once, on this node");
    let listed = sessions(&site, &second).await;
    assert_eq!((listed.len(), &listed[0]["is_current"]), (1, &json!(true)), "{listed:?}");
    let refresh = site.request(Method::POST, "/api/v1/auth/refresh").header(COOKIE, &first.cookie);
    assert_eq!(site.send(refresh).await.problem(), (401, "session_ended".to_owned()));
    // Another account in the same browser: neither the one before nor a third device of it is touched.
    let device = site.sign_in("mira").await;
    site.register("noor").await;
    let noor = again(&site, &second, "noor").await;
    assert_eq!(
        (status(&site, &second).await, status(&site, &device).await, status(&site, &noor).await),
        (401, 200, 200)
    );
    let reason: String = sqlx::query_scalar(
        "select payload->'Ended'->>'reason' from log.events where event_type = 'session.ended' order by position limit 1",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    assert_eq!(reason, "signed_out");
}

#[tokio::test]
async fn registering_ends_the_session_that_is_there() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let request = site.post("/api/v1/auth/register", &registration("noor")).header(COOKIE, &mira.cookie);
    let noor = SignedIn::from(&site.send(request).await);
    assert_eq!((status(&site, &mira).await, status(&site, &noor).await), (401, 200));
}

#[tokio::test]
async fn only_a_sign_in_that_succeeds_and_is_ours_ends_a_session() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let wrong = site.send(login(&site, "mira", "a wrong one").header(COOKIE, &mira.cookie)).await;
    assert_eq!(wrong.problem(), (401, "credentials_wrong".to_owned()));
    let elsewhere = login(&site, "mira", PASSWORD).header(COOKIE, &mira.cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(site.send(elsewhere).await.status, 200);
    let origin = login(&site, "mira", PASSWORD).header(COOKIE, &mira.cookie).header("origin", "https://other.test");
    assert_eq!(site.send(origin).await.status, 200);
    for cookie in ["weir_refresh=nothing", "weir_refresh=", "weir_refresh=%00"] {
        assert_eq!(site.send(login(&site, "mira", PASSWORD).header(COOKIE, cookie)).await.status, 200, "{cookie}");
    }
    assert_eq!(status(&site, &mira).await, 200);
}

#[tokio::test]
async fn what_the_right_password_is_answered_costs_the_address_nothing() {
    let access = AccessOptions {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        rate_limits: Some(timeless()),
        ..AccessOptions::default()
    };
    let site = Site::with(Options { access, ..Options::default() }).await;
    let keeper = site.administrator().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    enabled(&site, &mira).await;
    let id = noor.account["id"].as_str().unwrap();
    let suspend = site.request(Method::PUT, &format!("/api/v1/admin/accounts/{id}/suspension"));
    let suspended = site.send(suspend.json(&json!({"reason": "Two warnings"})).bearer_auth(&keeper.token)).await;
    assert!((200..300).contains(&suspended.status), "{}", suspended.text());
    let ask = async |username: &str, password: &str| -> Answer {
        site.send(login(&site, username, password).header("x-forwarded-for", "203.0.113.7")).await
    };
    // More than an address may guess in a minute.
    for _ in 0..25 {
        assert_eq!(ask("mira", PASSWORD).await.problem(), (401, "second_factor_required".to_owned()));
        assert_eq!(ask("noor", PASSWORD).await.problem(), (403, "account_suspended".to_owned()));
    }
    for wrong in 0..20 {
        let answer = ask(&format!("nobody_{wrong}"), "a wrong password").await;
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.text());
    }
    assert_eq!(ask("nobody_20", "a wrong password").await.problem(), (429, "rate_limited".to_owned()));
}

#[tokio::test]
async fn a_wrong_guess_whose_client_hangs_up_is_told_to_the_owner() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    // The password is looked up, and that takes until this is let go.
    let mut held = site.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table log.vault in access exclusive mode").execute(&mut *held).await.unwrap();
    let guessing = tokio::spawn(login(&site, "mira", "a wrong password").send());
    site.until_waits_for_a_lock().await;
    guessing.abort();
    assert!(guessing.await.unwrap_err().is_cancelled());
    held.rollback().await.unwrap();
    let told = async {
        loop {
            let answer = site.send(site.get("/api/v1/me/security-events").bearer_auth(&mira.token)).await;
            let page = answer.json();
            if page["items"].as_array().unwrap().iter().any(|event| event["kind"] == "sign_in.failed") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("nobody is told of the guess");
}
