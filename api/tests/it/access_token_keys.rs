//! The key of access tokens, replaced by hand as docs/operations.md says.

use reqwest::header::COOKIE;
use serde_json::Value;

use crate::site::Site;

#[tokio::test]
async fn who_is_signed_in_stays_so_when_the_key_of_access_tokens_is_replaced() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let after = site.with_another_token_key().await;
    let me = async |token: &str| {
        let answer = site.http.get(format!("{after}/api/v1/auth/me")).bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(me(&mira.token).await, 401, "what the former key signed is worth nothing");
    // As an open page does that is told so.
    let refreshed = site.http.post(format!("{after}/api/v1/auth/refresh")).header(COOKIE, &mira.cookie);
    let refreshed = refreshed.send().await.unwrap();
    assert_eq!(refreshed.status().as_u16(), 200);
    let refreshed: Value = refreshed.json().await.unwrap();
    assert_eq!(refreshed["account"]["id"], mira.account["id"]);
    assert_eq!(me(refreshed["access_token"].as_str().unwrap()).await, 200);
}
