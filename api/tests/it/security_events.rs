//! What people and administrators see of what happened to accounts.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{Answer, PASSWORD, PATIENCE, SignedIn, Site};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

async fn look(site: &Site, by: &SignedIn, path: &str) -> Answer {
    site.send(site.get(path).bearer_auth(&by.token)).await
}

fn kinds(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect()
}

async fn sign_in(site: &Site, username: &str, password: &str) -> Answer {
    let body = json!({"username": username, "password": password});
    site.send(site.post("/api/v1/auth/login", &body).header("user-agent", FIREFOX)).await
}

/// Waits until somebody is shown an event of this kind.
async fn until_shown(site: &Site, by: &SignedIn, path: &str, kind: &str) -> Value {
    let look = async {
        loop {
            let page = look(site, by, path).await.json();
            if kinds(&page).contains(&kind) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{kind} is not shown"))
}

#[tokio::test]
async fn people_see_their_own_and_failures_among_them() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let ann = site.register("ann").await;
    for _ in 0..3 {
        assert_eq!(sign_in(&site, "mira", "a wrong one").await.status, 401);
    }
    assert_eq!(sign_in(&site, "nobody", "a wrong one").await.status, 401);
    let page = until_shown(&site, &mira, "/api/v1/me/security-events", "sign_in.failed").await;
    let failed = page["items"].as_array().unwrap().iter().find(|item| item["kind"] == "sign_in.failed").unwrap();
    assert_eq!((&failed["reason"], &failed["count"]), (&json!("wrong_password"), &json!(1)), "the rest is told later");
    assert_eq!((&failed["browser"], &failed["system"]), (&json!("Firefox"), &json!("Linux")));
    assert_eq!(failed["network"], "127.0.0.0/24");
    assert_eq!(failed["account"]["username"], "mira");
    let anns = look(&site, &ann, "/api/v1/me/security-events").await.json();
    assert!(!kinds(&anns).contains(&"sign_in.failed"), "{anns}");

    let first = look(&site, &mira, "/api/v1/me/security-events?limit=1").await;
    assert!(first.header("link").contains("rel=\"next\""));
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let rest = look(&site, &mira, &format!("/api/v1/me/security-events?after={cursor}")).await.json();
    assert_eq!(kinds(&rest).len() + 1, kinds(&page).len());
    let wrong = look(&site, &mira, "/api/v1/me/security-events?after=x").await;
    assert_eq!(wrong.problem(), (400, "cursor_invalid".to_owned()));
}

#[tokio::test]
async fn administrators_see_all_and_choose() {
    let site = Site::start().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    let path = "/api/v1/admin/security-events";
    assert_eq!(look(&site, &mira, path).await.problem(), (403, "forbidden".to_owned()));
    site.caught_up().await;
    let all = look(&site, &keeper, path).await.json();
    assert_eq!(kinds(&all).iter().filter(|kind| **kind == "account.registered").count(), 2);
    for account in ["mira", mira.account["id"].as_str().unwrap()] {
        let hers = look(&site, &keeper, &format!("{path}?account={account}&kind=account.registered")).await.json();
        assert_eq!(kinds(&hers), ["account.registered"]);
        assert_eq!(hers["items"][0]["account"]["id"], mira.account["id"]);
    }
    assert_eq!(look(&site, &keeper, &format!("{path}?account=nobody")).await.json()["items"], json!([]));
    let past = look(&site, &keeper, &format!("{path}?to=2026-01-01T00:00:00Z")).await.json();
    assert_eq!(past["items"], json!([]));
    let next = look(&site, &keeper, &format!("{path}?kind=account.registered&limit=1")).await;
    assert!(next.header("link").contains("kind=account.registered"), "{}", next.header("link"));
    for wrong in ["kind=account.made", "from=yesterday", "acount=mira"] {
        assert_eq!(look(&site, &keeper, &format!("{path}?{wrong}")).await.problem(), (400, "query_invalid".to_owned()));
    }
}

#[tokio::test]
async fn where_somebody_was_is_forgotten_after_its_time() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let again = sign_in(&site, "mira", PASSWORD).await;
    assert_eq!(again.status, 200);
    let path = "/api/v1/me/security-events";
    site.caught_up().await;
    let before = look(&site, &mira, path).await.json();
    assert!(before["items"].as_array().unwrap().iter().any(|item| item["browser"] == "Firefox"), "{before}");
    sqlx::query("update log.vault set created_at = created_at - interval '91 days' where kind = 'day_key'")
        .execute(&site.pool)
        .await
        .unwrap();
    let kept = Duration::from_secs(90 * 86_400);
    // A key a day, and one may have ended meanwhile.
    assert!((1..=2).contains(&site.commands.account_keys().forget_days(kept).await.unwrap()));
    let after = look(&site, &mira, path).await.json();
    for item in after["items"].as_array().unwrap() {
        assert_eq!((&item["browser"], &item["network"]), (&Value::Null, &Value::Null), "{item}");
    }
    let sessions = look(&site, &mira, "/api/v1/auth/sessions").await.json();
    assert_eq!(sessions["items"].as_array().unwrap().len(), 2, "they go on");
    assert_eq!(sessions["items"][0]["network"], Value::Null);
    assert_eq!(
        site.send(site.request(Method::DELETE, "/api/v1/auth/sessions").bearer_auth(&mira.token)).await.status,
        204
    );
}
