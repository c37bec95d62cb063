//! A copy of what is kept of a person, and erasure with a time to think better of it.

use std::time::Duration;

use commands::{
    Actor, Metadata,
    accounts::{due_erasures, personal_exports as exports},
};
use domain::{accounts::PersonalExportFailure, ids::AccountId};
use reqwest::{Method, header::COOKIE};
use serde_json::{Value, json};
use storage::Key;
use time::OffsetDateTime;

use crate::site::{Answer, Options, PASSWORD, SignedIn, Site};

const EXPORT: &str = "/api/v1/me/export";
const CONTENT: &str = "as if it were a zip";

fn id(who: &SignedIn) -> AccountId {
    who.account["id"].as_str().unwrap().parse().unwrap()
}

async fn ask(site: &Site, by: &SignedIn, password: &str) -> Answer {
    site.send(site.post(EXPORT, &json!({"password": password})).bearer_auth(&by.token)).await
}

/// Where the copy is, as its owner is told.
async fn locate(site: &Site, by: &SignedIn, password: &str) -> Answer {
    site.send(site.post(&format!("{EXPORT}/download"), &json!({"password": password})).bearer_auth(&by.token)).await
}

async fn look(site: &Site, by: &SignedIn, path: &str) -> Answer {
    site.send(site.get(path).bearer_auth(&by.token)).await
}

/// Writes what was asked for, as the processes do.
async fn write(site: &Site, by: &SignedIn) {
    let newest = exports::newest(&site.commands, id(by)).await.unwrap().unwrap();
    let key = Key::new(format!("personal-exports/{}", newest.export_id)).unwrap();
    site.storage.put(&key, CONTENT.into()).await.unwrap();
    let expires_at = OffsetDateTime::now_utc() + time::Duration::DAY;
    let metadata = Metadata::new(Actor::System);
    exports::complete(&site.commands, (id(by), newest.export_id), 19, expires_at, metadata).await.unwrap();
}

async fn erase(site: &Site, by: &SignedIn) -> Answer {
    let request = site.request(Method::DELETE, "/api/v1/auth/me").json(&json!({"password": PASSWORD}));
    site.send(request.bearer_auth(&by.token)).await
}

async fn patient() -> Site {
    let erasure_after = Duration::from_secs(14 * 86_400);
    Site::with(Options { erasure_after, ..Options::default() }).await
}

#[tokio::test]
async fn a_copy_is_asked_for_with_the_password_one_at_a_time_and_fetched_by_its_owner() {
    let site = Site::start().await;
    let (mira, ann) = (site.register("mira").await, site.register("ann").await);
    assert_eq!(look(&site, &mira, EXPORT).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(ask(&site, &mira, "a wrong one").await.problem(), (403, "password_wrong".to_owned()));
    let asked = ask(&site, &mira, PASSWORD).await;
    assert_eq!((asked.status, asked.header("location")), (201, EXPORT));
    assert_eq!(asked.json()["status"], json!("waiting"));
    assert_eq!(locate(&site, &mira, PASSWORD).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(ask(&site, &mira, PASSWORD).await.problem(), (409, "export_under_way".to_owned()));
    assert_eq!(look(&site, &ann, EXPORT).await.status, 404, "it is nobody else's");

    write(&site, &mira).await;
    let ready = look(&site, &mira, EXPORT).await.json();
    assert_eq!(
        (&ready["status"], &ready["progress"], &ready["size_bytes"]),
        (&json!("ready"), &json!(1.0), &json!(19))
    );
    assert_eq!(ready.get("download_url"), None, "who has but a session does not get the file");
    assert_eq!(locate(&site, &mira, "a wrong one").await.problem(), (403, "password_wrong".to_owned()));
    assert_eq!(locate(&site, &ann, PASSWORD).await.status, 404, "it is nobody else's");
    let url = locate(&site, &mira, PASSWORD).await.json()["download_url"].as_str().unwrap().to_owned();
    let file = site.send(site.get(&url)).await;
    assert_eq!((file.status, file.kind(), file.text().as_str()), (200, "application/zip", CONTENT));
    assert!(file.header("content-disposition").contains("weir-my-data-"), "{}", file.header("content-disposition"));
    assert!(file.header("cache-control").contains("no-store"));
    let too_soon = ask(&site, &mira, PASSWORD).await;
    assert_eq!(too_soon.problem(), (429, "export_too_soon".to_owned()));
    assert!(too_soon.header("retry-after").parse::<u32>().unwrap() > 3_000);

    let cut = &url[..url.len() - 2];
    for wrong in [cut.to_owned(), format!("{EXPORT}/download?token=none")] {
        assert_eq!(site.send(site.get(&wrong)).await.problem(), (403, "download_refused".to_owned()), "{wrong}");
    }
    // The address ends with the session that it was given to.
    let logout = site.request(Method::POST, "/api/v1/auth/logout").header(COOKIE, &mira.cookie);
    assert_eq!(site.send(logout).await.status, 204);
    assert_eq!(site.send(site.get(&url)).await.problem(), (403, "download_refused".to_owned()));
    let again = site.sign_in("mira").await;
    let fresh = locate(&site, &again, PASSWORD).await.json()["download_url"].as_str().unwrap().to_owned();
    assert_eq!(site.send(site.get(&fresh)).await.status, 200);
}

#[tokio::test]
async fn why_there_is_no_copy_is_told_by_a_word_and_another_one_may_be_asked_for() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    for (failure, code) in [
        (PersonalExportFailure::StorageFull, "storage_full"),
        (PersonalExportFailure::Interrupted, "interrupted"),
        (PersonalExportFailure::Unwritable, "unwritable"),
    ] {
        let asked = ask(&site, &mira, PASSWORD).await;
        assert_eq!((asked.status, &asked.json()["error_code"]), (201, &json!(null)));
        let newest = exports::newest(&site.commands, id(&mira)).await.unwrap().unwrap();
        let (of, metadata) = ((id(&mira), newest.export_id), Metadata::new(Actor::System));
        exports::fail(&site.commands, of, failure, metadata).await.unwrap();
        let failed = look(&site, &mira, EXPORT).await.json();
        assert_eq!((&failed["status"], &failed["error_code"]), (&json!("failed"), &json!(code)));
        assert!(failed["error"].as_str().unwrap().contains("ask again"), "{failed}");
    }
}

#[tokio::test]
async fn no_personal_token_gets_a_copy() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let body = json!({
        "name": "All", "scopes": ["read", "channels:write", "stream_keys", "exports:write"], "expires_in_days": 9,
        "password": PASSWORD,
    });
    let made = site.send(site.post("/api/v1/auth/tokens", &body).bearer_auth(&mira.token)).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    for path in [EXPORT, "/api/v1/me/erasure", "/api/v1/me/security-events"] {
        let answer = site.send(site.get(path).bearer_auth(&token)).await;
        assert_eq!(answer.problem(), (403, "scope_missing".to_owned()), "{path}");
    }
    for path in [EXPORT.to_owned(), format!("{EXPORT}/download")] {
        let ask = site.post(&path, &json!({"password": PASSWORD})).bearer_auth(&token);
        assert_eq!(site.send(ask).await.problem(), (403, "scope_missing".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn erasure_waits_and_signing_in_calls_it_off() {
    let site = patient().await;
    let mira = site.register("mira").await;
    let other = site.sign_in("mira").await;
    let state = look(&site, &mira, "/api/v1/me/erasure").await.json();
    assert_eq!((&state["after_days"], &state["erased_at"]), (&json!(14), &Value::Null));
    let answer = erase(&site, &mira).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["erased_at"].as_str().unwrap().starts_with("20"));
    assert!(answer.set_cookie().contains("Max-Age=0"), "{}", answer.set_cookie());
    for session in [&mira, &other] {
        assert_eq!(look(&site, session, "/api/v1/auth/me").await.status, 401, "all sessions have ended");
    }
    let login = json!({"username": "mira", "password": "a wrong one"});
    assert_eq!(site.send(site.post("/api/v1/auth/login", &login)).await.status, 401);
    let login = json!({"username": "mira", "password": PASSWORD});
    let back = site.send(site.post("/api/v1/auth/login", &login)).await;
    assert_eq!((back.status, &back.json()["has_cancelled_erasure"]), (200, &json!(true)));
    let back = SignedIn::from(&back);
    assert_eq!(look(&site, &back, "/api/v1/me/erasure").await.json()["erased_at"], Value::Null);
    let next = site.send(site.post("/api/v1/auth/login", &login)).await;
    assert_eq!(next.json().get("has_cancelled_erasure"), None);
    site.caught_up().await;
    let page = look(&site, &back, "/api/v1/me/security-events").await.json();
    let kinds: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["kind"].clone()).collect();
    for kind in ["account.erasure_requested", "account.erasure_cancelled"] {
        assert!(kinds.contains(&json!(kind)), "{kinds:?}");
    }
}

#[tokio::test]
async fn who_does_not_come_back_is_erased() {
    let site = patient().await;
    let mira = site.register("mira").await;
    assert_eq!(erase(&site, &mira).await.status, 200);
    // The time comes: the aggregate has it from its event, so the event of the test says so.
    let metadata = Metadata::new(Actor::System);
    due_erasures::cancel(&site.commands, id(&mira), domain::accounts::ErasureCancelledReason::SignedIn, metadata)
        .await
        .unwrap();
    let requested =
        due_erasures::request(&site.commands, id(&mira), Duration::ZERO, Metadata::new(Actor::System)).await.unwrap();
    due_erasures::note(&site.pool, id(&mira), requested.due_at).await.unwrap();
    assert_eq!(due_erasures::carry_out(&site.commands).await.unwrap(), 1);
    let login = json!({"username": "mira", "password": PASSWORD});
    let refused = site.send(site.post("/api/v1/auth/login", &login)).await;
    assert_eq!(refused.problem(), (401, "credentials_wrong".to_owned()));
    // The name is free for others.
    site.register("mira").await;
}

#[tokio::test]
async fn the_only_administrator_is_refused_at_once() {
    let site = patient().await;
    let keeper = site.administrator().await;
    assert_eq!(erase(&site, &keeper).await.problem(), (409, "only_administrator".to_owned()));
    assert_eq!(look(&site, &keeper, "/api/v1/auth/me").await.status, 200);
}
