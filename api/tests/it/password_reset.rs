//! Another password for who has lost theirs: the same answer for all who ask, one code, once, and never around the second factor.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    email::confirmed,
    mailed::{a_minute_later, another, last_code, mailed, until_mailed},
    redact::redact,
    second_factor, sessions,
    site::{Answer, PASSWORD, SignedIn, Site},
};

const RESET: &str = "/api/v1/auth/password/reset";
const NEW: &str = "and then into the sea";

async fn ask(site: &Site, account: &str) -> Answer {
    site.send(site.post(RESET, &json!({"account": account}))).await
}

async fn reset(site: &Site, account: &str, code: &str, more: Value) -> Answer {
    let mut body = json!({"account": account, "code": code, "new_password": NEW});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    site.send(site.request(Method::PUT, RESET).json(&body)).await
}

async fn sign_in(site: &Site, password: &str) -> u16 {
    let body = json!({"username": "mira", "password": password});
    site.send(site.post("/api/v1/auth/login", &body)).await.status
}

async fn me(site: &Site, who: &SignedIn) -> u16 {
    site.send(site.get("/api/v1/auth/me").bearer_auth(&who.token)).await.status
}

#[tokio::test]
async fn a_lost_password_is_replaced_by_a_mailed_code_and_all_sessions_end() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    let phone = site.sign_in("mira").await;
    let (program, _) = sessions::token(&site, &mira, &["read"]).await;
    for (count, account) in [(2, "MIRA"), (3, "Mira@Example.ORG ")] {
        a_minute_later(&site).await;
        assert_eq!(ask(&site, account).await.status, 204);
        let mails = until_mailed(&site, count).await;
        assert_eq!((mails.len(), mails[count - 1].to.as_str()), (count, "mira@example.org"), "{account}");
    }
    let first = mailed(&site).await[1].code.clone();
    let code = last_code(&site, "mira@example.org").await;
    for wrong in [&another(&code), &first, ""] {
        assert_eq!(reset(&site, "mira", wrong, json!({})).await.problem(), (403, "mail_code_wrong".to_owned()));
    }
    let common = reset(&site, "mira", &code, json!({"new_password": "password1"})).await;
    assert_eq!((common.problem().0, &common.json()["errors"][0]["pointer"]), (422, &json!("/new_password")));
    let done = reset(&site, "mira", &code.to_uppercase().replace('-', ""), json!({})).await;
    assert_eq!(done.status, 204, "{}", done.text());
    assert_eq!((me(&site, &mira).await, me(&site, &phone).await), (401, 401));
    assert_eq!(site.send(site.get("/api/v1/auth/me").bearer_auth(&program)).await.status, 401);
    assert_eq!((sign_in(&site, PASSWORD).await, sign_in(&site, NEW).await), (401, 200));
    let again = reset(&site, "mira", &code, json!({"new_password": "and back up again"})).await;
    assert_eq!(again.problem(), (403, "mail_code_wrong".to_owned()), "once");
    let reason: String = sqlx::query_scalar(
        "select payload->'PasswordChanged'->>'reason' from log.events where event_type = 'account.password_changed'",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    assert_eq!(reason, "reset");
    let hashes: i64 = sqlx::query_scalar("select count(*) from log.vault where kind = 'password'")
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(hashes, 1, "the hash of before is destroyed");
}

#[tokio::test]
async fn whoever_asks_learns_nothing_of_who_has_an_account() {
    let site = Site::start().await;
    confirmed(&site, "mira").await;
    site.register("noor").await;
    let mails = mailed(&site).await.len();
    let known = ask(&site, "mira").await;
    for nobody in ["noor", "noor@example.org", "nobody", "nobody@example.org", "no such name!", "", "@", "a@b@c"] {
        let answer = ask(&site, nobody).await;
        assert_eq!((answer.status, answer.text()), (known.status, known.text()), "{nobody}");
        let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&answer), names(&known), "{nobody}");
    }
    assert_eq!(until_mailed(&site, mails + 1).await.len(), mails + 1, "to a confirmed address alone");
    let wrong = reset(&site, "mira", "aaaa-aaaa", json!({})).await;
    for nobody in ["noor", "nobody", "nobody@example.org", "no such name!"] {
        let answer = reset(&site, nobody, "aaaa-aaaa", json!({})).await;
        assert_eq!((answer.status, redact(answer.json())), (wrong.status, redact(wrong.json())), "{nobody}");
    }
}

#[tokio::test]
async fn a_reset_takes_the_second_factor_as_well() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    let (secret, codes) = second_factor::enabled(&site, &mira).await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 2).await;
    let code = last_code(&site, "mira@example.org").await;
    let with = async |code: &str, factor: Option<&str>| {
        let more = factor.map_or(json!({}), |factor| json!({"second_factor_code": factor}));
        reset(&site, "mira", code, more).await
    };
    // Who does not read the mail does not learn that there is a second factor, and has no try at it.
    let guess = with(&another(&code), Some(&codes[0])).await;
    assert_eq!(guess.problem(), (403, "mail_code_wrong".to_owned()));
    assert_eq!(with(&code, None).await.problem(), (403, "second_factor_required".to_owned()));
    assert_eq!(with(&code, Some("000000")).await.problem(), (403, "code_wrong".to_owned()));
    assert_eq!(with(&code, Some("aaaaa-aaaaa")).await.problem(), (403, "code_wrong".to_owned()));
    assert_eq!(sign_in(&site, PASSWORD).await, 401, "a code is asked for, and the password is as it was");
    let done = with(&code, Some(&second_factor::shown(&secret, 1))).await;
    assert_eq!(done.status, 204, "{}", done.text());
    let body = json!({"username": "mira", "password": NEW});
    let still = site.send(site.post("/api/v1/auth/login", &body)).await;
    assert_eq!(still.problem(), (401, "second_factor_required".to_owned()));

    a_minute_later(&site).await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 3).await;
    let code = last_code(&site, "mira@example.org").await;
    let done = with(&code, Some(&codes[1])).await;
    assert_eq!(done.status, 204, "a recovery code does: {}", done.text());
    let login = json!({"username": "mira", "password": NEW, "code": codes[1]});
    let used = site.send(site.post("/api/v1/auth/login", &login)).await;
    assert_eq!(used.problem(), (401, "code_wrong".to_owned()), "and is used up");
}

#[tokio::test]
async fn guessing_a_second_factor_by_resets_comes_to_an_end() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    second_factor::enabled(&site, &mira).await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 2).await;
    let code = last_code(&site, "mira@example.org").await;
    let guess = async || reset(&site, "mira", &code, json!({"second_factor_code": "000000"})).await.problem();
    for _ in 0..10 {
        assert_eq!(guess().await, (403, "code_wrong".to_owned()));
    }
    assert_eq!(guess().await, (429, "too_many_codes".to_owned()));
}

#[tokio::test]
async fn a_code_of_a_reset_is_good_for_an_hour_and_250_tries_and_few_are_mailed() {
    let site = Site::start().await;
    confirmed(&site, "mira").await;
    let wrong = (403, "mail_code_wrong".to_owned());
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 2).await;
    let code = last_code(&site, "mira@example.org").await;
    let life: bool = sqlx::query_scalar(
        "select expires_at <= now() + interval '1 hour' from log.mailed_codes where purpose = 'password_reset'",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    assert!(life);
    let expire = "update log.mailed_codes set expires_at = now() where purpose = 'password_reset'";
    sqlx::query(expire).execute(&site.pool).await.unwrap();
    assert_eq!(reset(&site, "mira", &code, json!({})).await.problem(), wrong);
    a_minute_later(&site).await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 3).await;
    let code = last_code(&site, "mira@example.org").await;
    let fail = async |failures: i32| {
        let fail = "update log.mailed_codes set failures = $1 where purpose = 'password_reset'";
        sqlx::query(fail).bind(failures).execute(&site.pool).await.unwrap();
    };
    fail(250).await;
    assert_eq!(reset(&site, "mira", &code, json!({})).await.problem(), wrong, "the 251st");
    for count in 4..=6 {
        a_minute_later(&site).await;
        assert_eq!(ask(&site, "mira").await.status, 204);
        until_mailed(&site, count).await;
    }
    a_minute_later(&site).await;
    assert_eq!(ask(&site, "mira").await.status, 204, "nobody is told");
    let asked: i32 = sqlx::query_scalar("select asked from log.mailed_codes where purpose = 'password_reset'")
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(asked, 5);
    // However often others ask and try, the last that was mailed is good.
    let code = last_code(&site, "mira@example.org").await;
    fail(243).await;
    for _ in 0..6 {
        assert_eq!(reset(&site, "mira", &another(&code), json!({})).await.problem(), wrong);
    }
    assert_eq!(reset(&site, "mira", &code, json!({})).await.status, 204);
}

#[tokio::test]
async fn a_recovery_code_is_not_used_up_by_a_reset_that_cannot_keep_the_password() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    let (_, codes) = second_factor::enabled(&site, &mira).await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 2).await;
    let code = last_code(&site, "mira@example.org").await;
    let refuse = "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; \
                  create trigger refuse before insert on log.vault for each row execute function log.refuse()";
    sqlx::raw_sql(refuse).execute(&site.pool).await.unwrap();
    let with = async || reset(&site, "mira", &code, json!({"second_factor_code": codes[0]})).await.status;
    assert!(with().await >= 500);
    sqlx::raw_sql("drop trigger refuse on log.vault").execute(&site.pool).await.unwrap();
    assert_eq!(with().await, 204, "both codes are still good");
}

#[tokio::test]
async fn all_ways_in_are_closed_even_where_the_former_hash_cannot_be_destroyed() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 2).await;
    let code = last_code(&site, "mira@example.org").await;
    let refuse = "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; \
                  create trigger refuse before delete on log.vault for each row execute function log.refuse()";
    sqlx::raw_sql(refuse).execute(&site.pool).await.unwrap();
    assert_eq!(reset(&site, "mira", &code, json!({})).await.status, 204);
    assert_eq!(me(&site, &mira).await, 401);
    let open: i64 = sqlx::query_scalar("select count(*) from log.sessions").fetch_one(&site.pool).await.unwrap();
    assert_eq!(open, 0);
}

#[tokio::test]
async fn a_reset_that_was_asked_for_before_the_address_changed_is_worth_nothing() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    assert_eq!(ask(&site, "mira").await.status, 204);
    until_mailed(&site, 2).await;
    let code = last_code(&site, "mira@example.org").await;
    let change = site.post("/api/v1/auth/email/change", &json!({"email": "mira@example.net", "password": PASSWORD}));
    assert_eq!(site.send(change.bearer_auth(&mira.token)).await.status, 200);
    let codes = json!({
        "new_code": last_code(&site, "mira@example.net").await,
        "present_code": last_code(&site, "mira@example.org").await,
    });
    let change = site.request(Method::PUT, "/api/v1/auth/email/change").json(&codes);
    assert_eq!(site.send(change.bearer_auth(&mira.token)).await.status, 200);
    assert_eq!(reset(&site, "mira", &code, json!({})).await.problem(), (403, "mail_code_wrong".to_owned()));
}
