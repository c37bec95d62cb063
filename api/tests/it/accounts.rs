use std::time::{Duration, Instant};

use commands::{CommandsOptions, accounts::PasswordCost};
use insta::assert_json_snapshot;
use reqwest::{
    Method,
    header::{COOKIE, ORIGIN, USER_AGENT},
};
use serde_json::json;

use crate::{
    redact::redact,
    site::{Answer, Options, PASSWORD, SignedIn, Site, registration},
};

async fn refresh(site: &Site, cookie: &str) -> Answer {
    site.send(site.request(Method::POST, "/api/v1/auth/refresh").header(COOKIE, cookie)).await
}

async fn logout(site: &Site, cookie: &str) -> Answer {
    site.send(site.request(Method::POST, "/api/v1/auth/logout").header(COOKIE, cookie)).await
}

async fn me(site: &Site, token: &str) -> Answer {
    site.send(site.get("/api/v1/auth/me").bearer_auth(token)).await
}

#[tokio::test]
async fn registering_signs_in() {
    let site = Site::start().await;
    let answer = site.send(site.post("/api/v1/auth/register", &registration("Mira"))).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), "/api/v1/auth/me");
    assert_json_snapshot!("registered", redact(answer.json()));
    let mira = SignedIn::from(&answer);
    assert_eq!(me(&site, &mira.token).await.json(), mira.account);
}

#[tokio::test]
async fn the_holder_of_the_setup_token_is_the_administrator() {
    let site = Site::start().await;
    let token = site.setup_token().await;
    let mut body = registration("keeper");
    body["setup_token"] = "weir-setup-wrong".into();
    let wrong = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!(wrong.problem(), (403, "setup_token_invalid".to_owned()));
    body["setup_token"] = token.clone().into();
    let right = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!((right.status, &right.json()["account"]["is_administrator"]), (201, &json!(true)));
    let mut again = registration("second");
    again["setup_token"] = token.into();
    let again = site.send(site.post("/api/v1/auth/register", &again)).await;
    assert_eq!(again.problem(), (403, "setup_token_invalid".to_owned()));
}

#[tokio::test]
async fn a_username_is_taken_whatever_its_case() {
    let site = Site::start().await;
    site.register("mira").await;
    let mut body = registration("MIRA");
    body["email"] = "other@example.org".into();
    let answer = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!(answer.status, 409);
    assert_json_snapshot!("username_taken", redact(answer.json()));
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let site = Site::start().await;
    let body = json!({"username": "a b", "email": "nowhere", "password": "password"});
    let answer = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!(answer.status, 422);
    assert_json_snapshot!("registration_invalid", redact(answer.json()));
}

#[tokio::test]
async fn signing_in_takes_the_username_in_any_case() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let answer = site.send(site.post("/api/v1/auth/login", &json!({"username": "Mira", "password": PASSWORD}))).await;
    assert_eq!(answer.status, 200);
    let again = SignedIn::from(&answer);
    assert_eq!(again.account, mira.account);
    assert_ne!(again.token, mira.token);
    assert_eq!(me(&site, &again.token).await.status, 200);
}

#[tokio::test]
async fn who_is_unknown_learns_no_more_than_who_mistypes() {
    // So dear that no machine is done sooner: 384 MiB are gone over. That it is not dearer than of a known name is told in
    // commands/src/accounts/passwords.rs.
    const WORK: Duration = Duration::from_millis(30);
    let commands = CommandsOptions { password_cost: PasswordCost::new(64, 6).unwrap(), ..CommandsOptions::default() };
    let site = Site::with(Options { commands, ..Options::default() }).await;
    site.register("mira").await;
    let attempt = async |username: &str| {
        let started = Instant::now();
        let body = json!({"username": username, "password": "not this one"});
        let answer = site.send(site.post("/api/v1/auth/login", &body)).await;
        (answer, started.elapsed())
    };
    let (wrong, known) = attempt("mira").await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("www-authenticate"), "Bearer");
    assert_json_snapshot!("credentials_wrong", redact(wrong.json()));
    assert!(known >= WORK, "{known:?}");
    for nobody in ["nobody", "no such name!"] {
        let (answer, unknown) = attempt(nobody).await;
        assert_eq!(redact(answer.json()), redact(wrong.json()));
        assert!(unknown >= WORK, "{nobody} is answered after {unknown:?}, without the work");
    }
}

#[tokio::test]
async fn the_refresh_cookie_is_out_of_reach() {
    let site = Site::start().await;
    let answer = site.send(site.post("/api/v1/auth/register", &registration("mira"))).await;
    let cookie = answer.set_cookie().to_owned();
    let (pair, flags) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("weir_refresh=") && pair.len() > 40, "{cookie}");
    assert_eq!(flags, "HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000");

    let site = Site::with(Options { public_url: "https://weir.test/", ..Options::default() }).await;
    let answer = site.send(site.post("/api/v1/auth/register", &registration("mira"))).await;
    let cookie = answer.set_cookie().to_owned();
    let (pair, flags) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-weir_refresh="), "{cookie}");
    assert_eq!(flags, "HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=2592000");
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
    let refreshed = refresh(&site, pair).await;
    assert_eq!(refreshed.status, 200);
    assert_eq!(refresh(&site, &pair.replace("__Host-", "")).await.problem(), (401, "session_ended".to_owned()));
}

#[tokio::test]
async fn refreshing_replaces_the_cookie() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let answer = refresh(&site, &mira.cookie).await;
    assert_eq!(answer.status, 200);
    assert_json_snapshot!("refreshed", redact(answer.json()));
    let next = SignedIn::from(&answer);
    assert_ne!(next.cookie, mira.cookie);
    assert_eq!(me(&site, &next.token).await.status, 200);
    assert_eq!(refresh(&site, &next.cookie).await.status, 200);
}

#[tokio::test]
async fn two_tabs_may_refresh_at_once() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    // The ten seconds in which that may be are not over, however long it takes here.
    sqlx::raw_sql(
        "create function log.just_now() returns trigger language plpgsql as $$ \
             begin new.rotated_at := now() + interval '1 hour'; return new; end $$; \
         create trigger just_now before update on log.sessions for each row execute function log.just_now()",
    )
    .execute(&site.pool)
    .await
    .unwrap();
    let (one, other) = tokio::join!(refresh(&site, &mira.cookie), refresh(&site, &mira.cookie));
    assert_eq!((one.status, other.status), (200, 200), "{} {}", one.text(), other.text());
    for tab in [one, other] {
        let tab = SignedIn::from(&tab);
        assert_eq!(me(&site, &tab.token).await.status, 200);
        assert_eq!(refresh(&site, &tab.cookie).await.status, 200);
    }
}

#[tokio::test]
async fn a_cookie_that_comes_back_too_late_ends_the_session() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let next = SignedIn::from(&refresh(&site, &mira.cookie).await);
    let last = SignedIn::from(&refresh(&site, &next.cookie).await);
    // The first one is two generations old: no tab has it, a thief may.
    let stolen = refresh(&site, &mira.cookie).await;
    assert_eq!(stolen.problem(), (401, "session_ended".to_owned()));
    assert_json_snapshot!("session_ended", redact(stolen.json()));
    assert!(stolen.set_cookie().starts_with("weir_refresh=;"), "{}", stolen.set_cookie());
    assert_eq!(refresh(&site, &last.cookie).await.problem(), (401, "session_ended".to_owned()));
    assert_eq!(me(&site, &last.token).await.problem(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn without_a_good_cookie_there_is_no_session() {
    let site = Site::start().await;
    for cookie in ["", "other=1", "weir_refresh=", "weir_refresh=nonsense", "weir_refresh=%00"] {
        assert_eq!(refresh(&site, cookie).await.problem(), (401, "session_ended".to_owned()), "{cookie}");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_for_good() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let elsewhere =
        site.send(site.post("/api/v1/auth/login", &json!({"username": "mira", "password": PASSWORD}))).await;
    let elsewhere = SignedIn::from(&elsewhere);
    let answer = logout(&site, &mira.cookie).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.set_cookie(), "weir_refresh=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    let refused = me(&site, &mira.token).await;
    assert_eq!(refused.problem(), (401, "unauthenticated".to_owned()));
    assert_eq!(refused.json()["detail"], "The session has ended; sign in again.");
    assert_eq!(refresh(&site, &mira.cookie).await.problem(), (401, "session_ended".to_owned()));
    // Signing out twice is no mistake, and the other device stays.
    assert_eq!(logout(&site, &mira.cookie).await.status, 204);
    assert_eq!(logout(&site, "").await.status, 204);
    assert_eq!(me(&site, &elsewhere.token).await.status, 200);
}

#[tokio::test]
async fn other_sites_may_neither_refresh_nor_sign_out() {
    let site = Site::start().await;
    let mut mira = site.register("mira").await;
    let cases = [
        (Some("cross-site"), None, false),
        (Some("same-site"), Some("http://weir.test"), false),
        (Some("something-new"), None, false),
        (None, Some("http://evil.test"), false),
        (None, Some("null"), false),
        (None, Some("http://weir.test"), true),
        (Some("same-origin"), Some("http://localhost:8080"), true),
        (Some("none"), None, true),
        (None, None, true),
    ];
    for (fetch_site, origin, is_ours) in cases {
        for path in ["/api/v1/auth/logout", "/api/v1/auth/refresh"] {
            if is_ours && path.ends_with("logout") {
                continue;
            }
            let mut request = site.request(Method::POST, path).header(COOKIE, &mira.cookie);
            if let Some(value) = fetch_site {
                request = request.header("sec-fetch-site", value);
            }
            if let Some(value) = origin {
                request = request.header(ORIGIN, value);
            }
            let answer = site.send(request).await;
            if is_ours {
                assert_eq!(answer.status, 200, "{fetch_site:?} {origin:?}");
                mira = SignedIn::from(&answer);
            } else {
                assert_eq!(answer.problem(), (403, "cross_site".to_owned()), "{path} {fetch_site:?} {origin:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_has_to_be_ours_and_whole() {
    let site = Site::start().await;
    let other = Site::with(Options { public_url: "http://other.test", ..Options::default() }).await;
    let mira = site.register("mira").await;
    let stranger = other.register("mira").await;
    for token in ["", "x", "a.b.c", &mira.token[1..], &stranger.token, "\u{e9}"] {
        let request = site.get("/api/v1/auth/me");
        let request = request.header("authorization", format!("Bearer {token}").into_bytes());
        let answer = site.send(request).await;
        assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()), "{token}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for value in [format!("Basic {}", mira.token), mira.token.clone(), "Bearer".to_owned()] {
        let answer = site.send(site.get("/api/v1/auth/me").header("authorization", value)).await;
        assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()));
    }
}

#[tokio::test]
async fn the_scheme_may_be_in_any_case() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request = site.get("/api/v1/auth/me").header("authorization", format!("{scheme} {}", mira.token));
        assert_eq!(site.send(request).await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn who_signs_in_from_anything_may() {
    let site = Site::start().await;
    for agent in [b"caf\xe9 \xff".to_vec(), vec![b'x'; 4_000]] {
        let body = registration(&format!("mira_{}", agent.len()));
        let answer = site.send(site.post("/api/v1/auth/register", &body).header(USER_AGENT, agent)).await;
        assert_eq!(answer.status, 201);
    }
}

#[tokio::test]
async fn what_cannot_be_read_back_in_time_is_accepted() {
    let site = Site::start().await;
    let site = site.stop_projecting().await;
    let answer = site.send(site.post("/api/v1/auth/register", &registration("mira"))).await;
    assert_eq!((answer.status, answer.header("location")), (202, "/api/v1/auth/me"));
    assert_eq!(answer.json()["location"], "/api/v1/auth/me");
    assert!(answer.set_cookie().starts_with("weir_refresh="));
}

#[tokio::test]
async fn a_refresh_that_fails_half_way_keeps_the_session() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    sqlx::query("alter table read.accounts_v1 rename to hidden").execute(&site.pool).await.unwrap();
    let failed = refresh(&site, &mira.cookie).await;
    assert!(failed.status >= 500, "{}", failed.text());
    let next = failed.set_cookie().split(';').next().unwrap().to_owned();
    assert_ne!(next, mira.cookie);
    sqlx::query("alter table read.hidden rename to accounts_v1").execute(&site.pool).await.unwrap();
    // Later than two tabs could explain.
    sqlx::query("update log.sessions set rotated_at = now() - interval '1 minute'").execute(&site.pool).await.unwrap();
    assert_eq!(refresh(&site, &next).await.status, 200);
}

#[tokio::test]
async fn an_account_that_could_not_be_signed_in_is_not_said_to_be_missing() {
    let site = Site::start().await;
    sqlx::query("alter table log.sessions rename to hidden").execute(&site.pool).await.unwrap();
    let answer = site.send(site.post("/api/v1/auth/register", &registration("mira"))).await;
    assert_eq!(answer.problem(), (503, "outcome_unknown".to_owned()));
    sqlx::query("alter table log.hidden rename to sessions").execute(&site.pool).await.unwrap();
    let credentials = json!({"username": "mira", "password": PASSWORD});
    assert_eq!(site.send(site.post("/api/v1/auth/login", &credentials)).await.status, 200);
}

async fn erase(site: &Site, token: &str, password: &str) -> Answer {
    let request = site.request(Method::DELETE, "/api/v1/auth/me").json(&json!({"password": password}));
    site.send(request.bearer_auth(token)).await
}

#[tokio::test]
async fn whoever_erases_themselves_is_gone() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    let elsewhere = site.sign_in("mira").await;
    let wrong = erase(&site, &mira.token, "a wrong one").await;
    assert_eq!(wrong.problem(), (403, "password_wrong".to_owned()));
    assert_eq!(me(&site, &mira.token).await.status, 200);

    let gone = erase(&site, &mira.token, PASSWORD).await;
    assert_eq!(gone.status, 204);
    assert!(gone.header("set-cookie").contains("Max-Age=0"), "{}", gone.header("set-cookie"));
    for device in [&mira, &elsewhere] {
        assert_eq!(me(&site, &device.token).await.problem(), (401, "unauthenticated".to_owned()));
        assert_eq!(refresh(&site, &device.cookie).await.problem(), (401, "session_ended".to_owned()));
        assert_eq!(erase(&site, &device.token, PASSWORD).await.problem(), (401, "unauthenticated".to_owned()));
    }
    let body = json!({"username": "mira", "password": PASSWORD});
    let answer = site.send(site.post("/api/v1/auth/login", &body)).await;
    assert_eq!(answer.problem(), (401, "credentials_wrong".to_owned()));
    // Nobody else is touched, and the name is free.
    assert_eq!(me(&site, &noor.token).await.status, 200);
    let next = site.register("mira").await;
    assert_ne!(next.account["id"], mira.account["id"]);
}

#[tokio::test]
async fn the_only_administrator_stays() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let answer = erase(&site, &keeper.token, PASSWORD).await;
    assert_eq!(answer.problem(), (409, "only_administrator".to_owned()));
    assert_eq!(me(&site, &keeper.token).await.status, 200);
}
