//! Administrators who are made and unmade: who may, what it takes, and when it counts.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    second_factor::{enabled, shown},
    site::{Answer, PASSWORD, PATIENCE, SignedIn, Site},
};

fn address(who: &SignedIn) -> String {
    format!("/api/v1/admin/accounts/{}/administrator", who.account["id"].as_str().unwrap())
}

async fn call(site: &Site, by: &SignedIn, method: Method, path: &str, body: &Value) -> Answer {
    site.send(site.request(method, path).json(body).bearer_auth(&by.token)).await
}

async fn grant(site: &Site, by: &SignedIn, who: &SignedIn) -> Answer {
    call(site, by, Method::PUT, &address(who), &json!({"password": PASSWORD})).await
}

async fn revoke(site: &Site, by: &SignedIn, who: &SignedIn) -> Answer {
    call(site, by, Method::DELETE, &address(who), &json!({"password": PASSWORD})).await
}

async fn get(site: &Site, by: &SignedIn, path: &str) -> Answer {
    site.send(site.get(path).bearer_auth(&by.token)).await
}

/// The security events at `path`, once there is one of `kind` among them.
async fn listed(site: &Site, by: &SignedIn, path: &str, kind: &str) -> Vec<Value> {
    let look = async {
        loop {
            let answer = get(site, by, path).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let events = answer.json()["items"].as_array().unwrap().clone();
            if events.iter().any(|event| event["kind"] == kind) {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the event is shown")
}

async fn sign_in(site: &Site, username: &str) -> String {
    let body = json!({"username": username, "password": PASSWORD});
    let answer = site.send(site.post("/api/v1/auth/login", &body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_second_administrator_may_all_and_may_go_again() {
    let site = Site::start().await;
    let (keeper, mira, noor) = (site.administrator().await, site.register("mira").await, site.register("noor").await);
    assert_eq!(grant(&site, &mira, &mira).await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(revoke(&site, &mira, &keeper).await.problem(), (403, "forbidden".to_owned()));
    let last = revoke(&site, &keeper, &keeper).await;
    assert_eq!(last.problem(), (409, "last_administrator".to_owned()));

    for _ in 0..2 {
        let granted = grant(&site, &keeper, &mira).await;
        assert_eq!((granted.status, &granted.json()["is_administrator"]), (200, &json!(true)), "{}", granted.text());
    }
    assert_eq!(get(&site, &mira, "/api/v1/auth/me").await.json()["is_administrator"], json!(true));
    assert_eq!(get(&site, &mira, "/api/v1/admin/accounts").await.status, 200);
    // An administrator is not erased, not even one of two.
    let erased = call(&site, &mira, Method::DELETE, "/api/v1/auth/me", &json!({"password": PASSWORD})).await;
    assert_eq!(erased.problem(), (409, "only_administrator".to_owned()));

    // Each may unmake the other, and the other is signed out by it.
    let revoked = revoke(&site, &mira, &keeper).await;
    assert_eq!((revoked.status, &revoked.json()["is_administrator"]), (200, &json!(false)), "{}", revoked.text());
    assert_eq!(get(&site, &keeper, "/api/v1/admin/accounts").await.status, 401);
    let former = SignedIn { token: sign_in(&site, "keeper").await, ..keeper.clone() };
    assert_eq!(get(&site, &former, "/api/v1/admin/accounts").await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(revoke(&site, &mira, &noor).await.status, 200, "that they are none is fine");

    // Who did it stands in both lists.
    for path in ["/api/v1/me/security-events", "/api/v1/admin/security-events?account=keeper"] {
        let by = if path.contains("/me/") { &former } else { &mira };
        let events = listed(&site, by, path, "session.ended").await;
        let found = events.iter().find(|event| event["kind"] == "account.administrator_revoked").unwrap();
        assert_eq!(found["by"]["username"], "mira", "{path}");
        assert!(events.iter().any(|event| event["reason"] == "administrator_revoked"), "{path}: the session's end");
    }
    let kind = "account.administrator_granted";
    let mut mine = listed(&site, &mira, "/api/v1/me/security-events", kind).await;
    mine.retain(|event| event["kind"] == kind);
    assert_eq!(mine.iter().map(|event| event["by"]["username"].clone()).collect::<Vec<_>>(), [json!("keeper")]);
}

#[tokio::test]
async fn it_takes_the_password_and_the_code() {
    let site = Site::start().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    for method in [Method::PUT, Method::DELETE] {
        let wrong = call(&site, &keeper, method.clone(), &address(&mira), &json!({"password": "not this one"})).await;
        assert_eq!(wrong.problem(), (403, "password_wrong".to_owned()));
        let missing = call(&site, &keeper, method, &address(&mira), &json!({})).await;
        assert_eq!(missing.problem().0, 422);
    }
    let noor = site.register("noor").await;
    assert_eq!(grant(&site, &keeper, &mira).await.status, 200);
    let (secret, _) = enabled(&site, &mira).await;
    let without = grant(&site, &mira, &noor).await;
    assert_eq!(without.problem(), (403, "second_factor_required".to_owned()));
    let body = json!({"password": PASSWORD, "code": shown(&secret, 0)});
    assert_eq!(call(&site, &mira, Method::PUT, &address(&noor), &body).await.status, 200);
}

#[tokio::test]
async fn whoever_is_kept_out_or_is_nobody_does_not_become_one() {
    let site = Site::start().await;
    let (keeper, mira, noor) = (site.administrator().await, site.register("mira").await, site.register("noor").await);
    let suspension = address(&mira).replace("/administrator", "/suspension");
    let suspended = call(&site, &keeper, Method::PUT, &suspension, &json!({"reason": "Two warnings"})).await;
    assert_eq!(suspended.status, 200, "{}", suspended.text());
    assert_eq!(grant(&site, &keeper, &mira).await.problem(), (409, "not_while_suspended".to_owned()));
    let leaving = call(&site, &noor, Method::DELETE, "/api/v1/auth/me", &json!({"password": PASSWORD})).await;
    assert!(leaving.status < 300, "{}", leaving.text());
    let refused = grant(&site, &keeper, &noor).await;
    assert!([(409, "not_while_leaving".to_owned()), (404, "not_found".to_owned())].contains(&refused.problem()));
    let nobody = format!("/api/v1/admin/accounts/{}/administrator", uuid::Uuid::now_v7());
    for path in [nobody.as_str(), "/api/v1/admin/accounts/mira/administrator"] {
        let unknown = call(&site, &keeper, Method::PUT, path, &json!({"password": PASSWORD})).await;
        assert_eq!(unknown.problem(), (404, "not_found".to_owned()), "{path}");
    }
}

/// Another node refuses within moments, by the log.
#[tokio::test]
async fn the_right_ends_on_every_node() {
    let site = Site::start().await;
    let other = site.another_node().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    assert_eq!(grant(&site, &keeper, &mira).await.status, 200);
    let there = async |token: &str| {
        let asked = site.http.get(format!("{other}/api/v1/admin/accounts")).bearer_auth(token);
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(there(&mira.token).await, 200, "made here, known there");
    assert_eq!(revoke(&site, &keeper, &mira).await.status, 200);
    // The right is asked of the log for each call, whether or not the end of the session has come there.
    assert!([401, 403].contains(&there(&mira.token).await));
    let signed_out = async {
        while there(&mira.token).await != 401 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, signed_out).await.expect("the session ends there, too");
    assert_eq!(there(&sign_in(&site, "mira").await).await, 403);
}
