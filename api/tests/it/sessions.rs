//! Sessions and personal tokens: listed, ended, and refused from then on, on every node.

use std::time::Duration;

use reqwest::{
    Method,
    header::{COOKIE, USER_AGENT},
};
use serde_json::{Value, json};

use crate::site::{PASSWORD, PATIENCE, SignedIn, Site};

const SESSIONS: &str = "/api/v1/auth/sessions";
const TOKENS: &str = "/api/v1/auth/tokens";
const WATCH: &str = "/api/v1/auth/session";

async fn list(site: &Site, who: &SignedIn, path: &str) -> Vec<Value> {
    let answer = site.send(site.get(path).bearer_auth(&who.token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

/// The same as soon as there are `count` or more: signing in does not wait for the read model.
async fn list_of(site: &Site, who: &SignedIn, count: usize) -> Vec<Value> {
    let look = async {
        loop {
            let sessions = list(site, who, SESSIONS).await;
            if sessions.len() >= count {
                return sessions;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the sessions are listed")
}

async fn status(site: &Site, token: &str) -> u16 {
    site.send(site.get("/api/v1/auth/me").bearer_auth(token)).await.status
}

/// What another node says to a token, until it says 401.
async fn is_refused_elsewhere(site: &Site, node: &str, token: &str) {
    let look = async {
        loop {
            let answer = site.http.get(format!("{node}/api/v1/auth/me")).bearer_auth(token).send().await.unwrap();
            if answer.status() == 401 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the other node goes on as before");
}

fn wanted(scopes: &[&str]) -> Value {
    json!({"name": "A program", "scopes": scopes, "expires_in_days": 90, "password": PASSWORD})
}

pub(crate) async fn token(site: &Site, who: &SignedIn, scopes: &[&str]) -> (String, String) {
    let answer = site.send(site.post(TOKENS, &wanted(scopes)).bearer_auth(&who.token)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    (answer.json()["token"].as_str().unwrap().to_owned(), answer.header("location").to_owned())
}

/// The id of a session of somebody who is signed in elsewhere too, and the address of a personal token.
pub(crate) async fn one_of_each(site: &Site, who: &SignedIn) -> (String, String) {
    let username = who.account["username"].as_str().unwrap();
    site.sign_in(username).await;
    let sessions = list_of(site, who, 2).await;
    let other = sessions.iter().find(|session| session["is_current"] == false).unwrap();
    (other["id"].as_str().unwrap().to_owned(), token(site, who, &["read"]).await.1)
}

#[tokio::test]
async fn an_end_that_was_interrupted_is_one() {
    let site = Site::start().await;
    let other = site.another_node().await;
    let mira = site.register("mira").await;
    let token = token(&site, &mira, &["read"]).await.0;
    assert_eq!((status(&site, &mira.token).await, status(&site, &token).await), (200, 200));
    // As of somebody who was stopped before the events were stored; nobody keeps house here.
    sqlx::raw_sql(
        "update log.sessions set end_reason = 'signed_out'; update log.personal_tokens set revoke_reason = 'revoked'",
    )
    .execute(&site.pool)
    .await
    .unwrap();
    for token in [&mira.token, &token] {
        is_refused_elsewhere(&site, &other, token).await;
        is_refused_elsewhere(&site, &site.url, token).await;
    }
    let ended: i64 = sqlx::query_scalar(
        "select count(*) from log.events where event_type in ('session.ended', 'personal_token.revoked')",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    assert_eq!(ended, 0);
}

/// What a page hears that waits for the end of its session, until the answer is over.
async fn heard(answer: reqwest::Response) -> String {
    tokio::time::timeout(PATIENCE, answer.text()).await.expect("the answer ends").unwrap()
}

#[tokio::test]
async fn an_open_page_hears_that_its_session_has_ended() {
    let site = Site::start().await;
    let other = site.another_node().await;
    let mira = site.register("mira").await;
    let phone = site.sign_in("mira").await;
    let watch = async |node: &str, who: &SignedIn| {
        let answer = site.http.get(format!("{node}{WATCH}")).bearer_auth(&who.token).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!((answer.status().as_u16(), kind), (200, "text/event-stream"));
        answer
    };
    let mut mine = watch(&site.url, &mira).await;
    let (here, there) = (watch(&site.url, &phone).await, watch(&other, &phone).await);
    let ended = site.send(site.request(Method::DELETE, SESSIONS).bearer_auth(&mira.token)).await;
    assert_eq!(ended.status, 204);
    for answer in [here, there] {
        let heard = heard(answer).await;
        assert!(heard.starts_with(": ") && heard.ends_with("event: ended\ndata: {}\n\n"), "{heard:?}");
    }
    // The one that was kept goes on, until it is signed out or the node stops.
    assert!(mine.chunk().await.unwrap().unwrap().starts_with(b": it goes on\n\n"));
    let refused = site.send(site.get(WATCH).bearer_auth(&phone.token)).await;
    assert_eq!(refused.problem(), (401, "unauthenticated".to_owned()));
    site.stop();
    assert!(!heard(mine).await.contains("ended"));
}

#[tokio::test]
async fn a_page_that_hangs_up_gives_its_place_back() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let watch = async || site.http.get(format!("{}{WATCH}", site.url)).bearer_auth(&mira.token).send().await.unwrap();
    let mut pages = Vec::new();
    for _ in 0..32 {
        pages.push(watch().await);
        assert_eq!(pages.last().unwrap().status(), 200);
    }
    let refused = site.send(site.get(WATCH).bearer_auth(&mira.token)).await;
    assert_eq!((refused.problem(), refused.header("retry-after")), ((429, "too_many_open_pages".to_owned()), "60"));
    drop(pages);
    let again = async {
        while watch().await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("places come back");
}

#[tokio::test]
async fn people_see_where_they_are_signed_in() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let body = json!({"username": "mira", "password": PASSWORD});
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
    let phone = SignedIn::from(&site.send(site.post("/api/v1/auth/login", &body).header(USER_AGENT, firefox)).await);
    let sessions = list_of(&site, &phone, 2).await;
    let seen: Vec<_> = sessions
        .iter()
        .map(|session| {
            let text = |name: &str| session[name].as_str().map(str::to_owned);
            (session["is_current"].as_bool().unwrap(), text("browser"), text("system"), text("network"))
        })
        .collect();
    let here = Some("127.0.0.0/24".to_owned());
    assert_eq!(
        seen,
        [(true, Some("Firefox".to_owned()), Some("Linux".to_owned()), here.clone()), (false, None, None, here)]
    );
    assert_eq!(list(&site, &mira, SESSIONS).await.len(), 2);
    let kept: i64 = sqlx::query_scalar("select count(*) from read.sessions_v1 where user_agent::text like '%Firefox%'")
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(kept, 0, "what is personal is sealed in the rows, too");
}

#[tokio::test]
async fn an_ended_session_is_refused_here_at_once_and_elsewhere_soon() {
    let site = Site::start().await;
    let other = site.another_node().await;
    let mira = site.register("mira").await;
    let lost = site.sign_in("mira").await;
    let third = site.sign_in("mira").await;
    let stranger = site.register("stranger").await;
    let sessions = list_of(&site, &lost, 3).await;
    let of_lost = sessions.iter().find(|session| session["is_current"] == true).unwrap()["id"].as_str().unwrap();
    let path = format!("{SESSIONS}/{of_lost}");
    let by_stranger = site.send(site.request(Method::DELETE, &path).bearer_auth(&stranger.token)).await;
    assert_eq!(by_stranger.problem(), (404, "not_found".to_owned()));
    assert_eq!(status(&site, &lost.token).await, 200);
    assert_eq!(
        site.http.get(format!("{other}/api/v1/auth/me")).bearer_auth(&lost.token).send().await.unwrap().status(),
        200
    );

    for _ in 0..2 {
        let ended = site.send(site.request(Method::DELETE, &path).bearer_auth(&mira.token)).await;
        assert_eq!(ended.status, 204, "again is fine");
    }
    assert_eq!(status(&site, &lost.token).await, 401);
    is_refused_elsewhere(&site, &other, &lost.token).await;
    let refreshed = site.request(Method::POST, "/api/v1/auth/refresh").header(COOKIE, &lost.cookie);
    assert_eq!(site.send(refreshed).await.problem(), (401, "session_ended".to_owned()));
    assert_eq!(list(&site, &mira, SESSIONS).await.len(), 2);

    let ended = site.send(site.request(Method::DELETE, SESSIONS).bearer_auth(&mira.token)).await;
    assert_eq!(ended.status, 204);
    assert_eq!((status(&site, &third.token).await, status(&site, &mira.token).await), (401, 200));
    is_refused_elsewhere(&site, &other, &third.token).await;
    assert_eq!(list(&site, &mira, SESSIONS).await.len(), 1);
    assert_eq!(status(&site, &stranger.token).await, 200);
}

#[tokio::test]
async fn a_personal_token_does_what_it_was_made_for_and_no_more() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    let (read, _) = token(&site, &mira, &["read"]).await;
    assert!(read.starts_with("weir_") && read.len() == 48, "{read}");
    assert_eq!(status(&site, &read).await, 200);
    let edit = |token: &str| site.patch("/api/v1/channels/river", &json!({"title": "By a program"})).bearer_auth(token);
    let key = |token: &str| site.get("/api/v1/channels/river/stream-key").bearer_auth(token);
    for request in [
        edit(&read),
        key(&read),
        site.get(SESSIONS).bearer_auth(&read),
        site.get(TOKENS).bearer_auth(&read),
        site.post(TOKENS, &wanted(&["read"])).bearer_auth(&read),
        site.request(Method::DELETE, "/api/v1/auth/me").json(&json!({"password": PASSWORD})).bearer_auth(&read),
    ] {
        assert_eq!(site.send(request).await.problem(), (403, "scope_missing".to_owned()));
    }
    let (all, _) = token(&site, &mira, &["channels:write", "stream_keys", "exports:write", "read"]).await;
    assert_eq!(site.send(edit(&all)).await.status, 200);
    assert_eq!(site.send(key(&all)).await.status, 200);
    let erase = site.request(Method::DELETE, "/api/v1/auth/me").json(&json!({"password": PASSWORD})).bearer_auth(&all);
    assert_eq!(site.send(erase).await.problem(), (403, "scope_missing".to_owned()));

    let listed = list(&site, &mira, TOKENS).await;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|token| token["name"] == "A program" && token["last_used_at"].is_string()), "{listed:?}");
    assert!(!serde_json::to_string(&listed).unwrap().contains("weir_"));
    let digests: i64 = sqlx::query_scalar("select count(*) from log.events where payload::text like '%' || $1 || '%'")
        .bind(&all[5..])
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(digests, 0);
}

#[tokio::test]
async fn a_revoked_or_expired_token_is_refused_on_every_node() {
    let site = Site::start().await;
    let other = site.another_node().await;
    let mira = site.register("mira").await;
    let stranger = site.register("stranger").await;
    let (secret, path) = token(&site, &mira, &["read"]).await;
    let elsewhere =
        async || site.http.get(format!("{other}/api/v1/auth/me")).bearer_auth(&secret).send().await.unwrap();
    assert_eq!((status(&site, &secret).await, elsewhere().await.status().as_u16()), (200, 200));
    let by_stranger = site.send(site.request(Method::DELETE, &path).bearer_auth(&stranger.token)).await;
    assert_eq!(by_stranger.problem(), (404, "not_found".to_owned()));
    let revoked = site.send(site.request(Method::DELETE, &path).bearer_auth(&mira.token)).await;
    assert_eq!(revoked.status, 204);
    assert_eq!(status(&site, &secret).await, 401);
    is_refused_elsewhere(&site, &other, &secret).await;
    assert_eq!(list(&site, &mira, TOKENS).await.len(), 0);

    let (secret, _) = token(&site, &mira, &["read"]).await;
    sqlx::query("update log.personal_tokens set expires_at = now() - interval '1 second'")
        .execute(&site.pool)
        .await
        .unwrap();
    assert_eq!(status(&site, &secret).await, 401);
    assert_eq!(commands::accounts::personal_tokens::revoke_expired(&site.commands).await.unwrap(), 1);
}

#[tokio::test]
async fn a_token_is_not_made_without_the_password_or_for_nothing() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let attempt = async |change: fn(&mut Value)| {
        let mut body = wanted(&["read"]);
        change(&mut body);
        site.send(site.post(TOKENS, &body).bearer_auth(&mira.token)).await
    };
    assert_eq!(attempt(|body| body["password"] = "wrong".into()).await.problem(), (403, "password_wrong".to_owned()));
    for change in [
        (|body| body["scopes"] = json!([])) as fn(&mut Value),
        |body| body["scopes"] = json!(["administration"]),
        |body| body["expires_in_days"] = 0.into(),
        |body| body["expires_in_days"] = 367.into(),
        |body| body["name"] = " ".into(),
    ] {
        assert_eq!(attempt(change).await.problem(), (422, "validation_failed".to_owned()));
    }
}

#[tokio::test]
async fn tokens_go_with_the_person() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (secret, _) = token(&site, &mira, &["read"]).await;
    let body = json!({"password": PASSWORD});
    let erased = site.send(site.request(Method::DELETE, "/api/v1/auth/me").json(&body).bearer_auth(&mira.token)).await;
    assert_eq!(erased.status, 204);
    assert_eq!((status(&site, &secret).await, status(&site, &mira.token).await), (401, 401));
    let left: i64 = sqlx::query_scalar("select count(*) from log.personal_tokens").fetch_one(&site.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn who_cannot_be_signed_in_anew_stays_signed_in() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let refuse = "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; \
                  create trigger refuse before insert on log.sessions for each row execute function log.refuse()";
    sqlx::raw_sql(refuse).execute(&site.pool).await.unwrap();
    let body = json!({"username": "mira", "password": PASSWORD});
    let login = async || site.send(site.post("/api/v1/auth/login", &body).header(COOKIE, &mira.cookie)).await;
    assert_eq!(login().await.problem(), (503, "unavailable".to_owned()));
    assert_eq!(status(&site, &mira.token).await, 200);
    sqlx::raw_sql("drop trigger refuse on log.sessions").execute(&site.pool).await.unwrap();
    assert_eq!(login().await.status, 200);
    assert_eq!(status(&site, &mira.token).await, 401, "the cookie is another's now");
}
