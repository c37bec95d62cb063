//! Changing the password, and the second factor: set up, asked for, used once, recovered from, taken off.

use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use time::OffsetDateTime;

use crate::{
    sessions,
    site::{Answer, PASSWORD, SignedIn, Site},
};

const FACTOR: &str = "/api/v1/auth/second-factor";
const CODES: &str = "/api/v1/auth/second-factor/recovery-codes";

/// What an authenticator shows, `steps` of 30 seconds from now. That of now and of the next are good for half a minute more at least; that of
/// before may be too old the moment it is made.
pub(crate) fn shown(secret: &str, steps: i64) -> String {
    shown_at(secret, step() + steps)
}

fn step() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp() / 30
}

fn shown_at(secret: &str, step: i64) -> String {
    let mut seed = Vec::new();
    let (mut bits, mut count) = (0_u64, 0);
    for letter in secret.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        bits = bits << 5 | value as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            seed.push((bits >> count & 255) as u8);
        }
    }
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(&seed).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

async fn call(site: &Site, who: &SignedIn, method: Method, path: &str, body: Value) -> Answer {
    site.send(site.request(method, path).json(&body).bearer_auth(&who.token)).await
}

/// What goes into the authenticator: id and secret.
async fn prepared(site: &Site, who: &SignedIn) -> (Value, String) {
    let answer = call(site, who, Method::POST, FACTOR, json!({"password": PASSWORD})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    let secret = body["secret"].as_str().unwrap().to_owned();
    assert!(body["qr_svg"].as_str().unwrap().contains("<svg"));
    let uri = body["uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/weir%2Etest:mira?") && uri.contains(&secret), "{uri}");
    (body["id"].clone(), secret)
}

/// As if no code had been used for long.
async fn free_the_codes(site: &Site) {
    sqlx::query("update log.second_factors set last_step = 0").execute(&site.pool).await.unwrap();
}

/// Sets a second factor up, and has all codes free again; the secret and the recovery codes.
pub(crate) async fn enabled(site: &Site, who: &SignedIn) -> (String, Vec<String>) {
    let (id, secret) = prepared(site, who).await;
    let answer = call(site, who, Method::PUT, FACTOR, json!({"id": id, "code": shown(&secret, 0)})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    free_the_codes(site).await;
    let codes: Vec<String> =
        answer.json()["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    (secret, codes)
}

async fn sign_in(site: &Site, password: &str, code: Option<&str>) -> Answer {
    let mut body = json!({"username": "mira", "password": password});
    if let Some(code) = code {
        body["code"] = code.into();
    }
    site.send(site.post("/api/v1/auth/login", &body)).await
}

#[tokio::test]
async fn signing_in_takes_a_code_that_works_once() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (secret, codes) = enabled(&site, &mira).await;
    assert_eq!(codes.len(), 10);
    let me = site.send(site.get("/api/v1/auth/me").bearer_auth(&mira.token)).await;
    assert_eq!(me.json()["has_second_factor"], true);
    assert_eq!(sign_in(&site, PASSWORD, None).await.problem(), (401, "second_factor_required".to_owned()));
    assert_eq!(sign_in(&site, "wrong", None).await.problem(), (401, "credentials_wrong".to_owned()));
    assert_eq!(
        sign_in(&site, "wrong", Some(&shown(&secret, 0))).await.problem(),
        (401, "credentials_wrong".to_owned())
    );
    assert_eq!(sign_in(&site, PASSWORD, Some("000000")).await.problem(), (401, "code_wrong".to_owned()));
    // The step may turn between making a code and using it, so the next one is used: a clock may be a step off.
    let step = step();
    let code = shown_at(&secret, step + 1);
    assert_eq!(sign_in(&site, PASSWORD, Some(&format!(" {} {} ", &code[..3], &code[3..]))).await.status, 200);
    assert_eq!(sign_in(&site, PASSWORD, Some(&code)).await.problem(), (401, "code_wrong".to_owned()), "once");
    for older in [step - 1, step] {
        let older = shown_at(&secret, older);
        assert_eq!(sign_in(&site, PASSWORD, Some(&older)).await.problem(), (401, "code_wrong".to_owned()));
    }
    let seed: i64 = sqlx::query_scalar("select count(*) from log.events where payload::text like '%' || $1 || '%'")
        .bind(&secret)
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(seed, 0);
}

#[tokio::test]
async fn a_recovery_code_stands_in_once() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (_, codes) = enabled(&site, &mira).await;
    assert_eq!(sign_in(&site, PASSWORD, Some(&codes[3].to_uppercase())).await.status, 200);
    assert_eq!(sign_in(&site, PASSWORD, Some(&codes[3])).await.problem(), (401, "code_wrong".to_owned()));
    let left: String = sqlx::query_scalar(
        "select payload->'RecoveryCodeUsed'->>'left' from log.events where event_type = 'account.recovery_code_used'",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    assert_eq!(left, "9");
    let body = json!({"password": PASSWORD, "code": codes[4]});
    let replaced = call(&site, &mira, Method::PUT, CODES, body).await;
    assert_eq!((replaced.status, replaced.json()["codes"].as_array().unwrap().len()), (200, 10));
    assert_eq!(sign_in(&site, PASSWORD, Some(&codes[5])).await.problem(), (401, "code_wrong".to_owned()));
}

#[tokio::test]
async fn what_changes_how_one_signs_in_takes_a_code_too() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (_, codes) = enabled(&site, &mira).await;
    let token = json!({"name": "A program", "scopes": ["read"], "expires_in_days": 9, "password": PASSWORD});
    let password = json!({"password": PASSWORD, "new_password": "and then into the sea"});
    let plain = json!({"password": PASSWORD});
    for (method, path, body) in [
        (Method::DELETE, FACTOR, plain.clone()),
        (Method::PUT, CODES, plain.clone()),
        (Method::POST, "/api/v1/auth/tokens", token),
        (Method::PUT, "/api/v1/auth/password", password),
        (Method::DELETE, "/api/v1/auth/me", plain),
    ] {
        let answer = call(&site, &mira, method, path, body).await;
        assert_eq!(answer.problem(), (403, "second_factor_required".to_owned()), "{path}");
    }
    let again = call(&site, &mira, Method::POST, FACTOR, json!({"password": PASSWORD})).await;
    assert_eq!(again.problem(), (409, "second_factor_there".to_owned()));
    let off = call(&site, &mira, Method::DELETE, FACTOR, json!({"password": PASSWORD, "code": codes[0]})).await;
    assert_eq!(off.status, 204);
    assert_eq!(sign_in(&site, PASSWORD, None).await.status, 200);
    let none = call(&site, &mira, Method::PUT, CODES, json!({"password": PASSWORD})).await;
    assert_eq!(none.problem(), (409, "second_factor_missing".to_owned()));
    let kept = "select (select count(*) from log.recovery_codes) + (select count(*) from log.second_factors) \
                + (select count(*) from log.code_attempts) + (select count(*) from log.vault where kind = 'totp_seed')";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&site.pool).await.unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn guessing_codes_comes_to_an_end() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (secret, _) = enabled(&site, &mira).await;
    for _ in 0..10 {
        assert_eq!(sign_in(&site, PASSWORD, Some("000000")).await.problem(), (401, "code_wrong".to_owned()));
    }
    let right = sign_in(&site, PASSWORD, Some(&shown(&secret, 1))).await;
    assert_eq!((right.problem(), right.header("retry-after")), ((429, "too_many_codes".to_owned()), "900"));
    // Who is signed in goes on meanwhile.
    let code = shown(&secret, 0);
    let token =
        json!({"name": "A program", "scopes": ["read"], "expires_in_days": 9, "password": PASSWORD, "code": code});
    let made = call(&site, &mira, Method::POST, "/api/v1/auth/tokens", token).await;
    assert_eq!(made.status, 201, "{}", made.text());
    sqlx::query("update log.code_attempts set failed_at = failed_at - interval '16 minutes'")
        .execute(&site.pool)
        .await
        .unwrap();
    assert_eq!(sign_in(&site, PASSWORD, Some(&shown(&secret, 1))).await.status, 200);
}

#[tokio::test]
async fn only_ones_own_seed_can_be_enabled_and_only_with_its_code() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let other = site.register("other").await;
    let wrong = call(&site, &mira, Method::POST, FACTOR, json!({"password": "wrong"})).await;
    assert_eq!(wrong.problem(), (403, "password_wrong".to_owned()));
    let (id, secret) = prepared(&site, &mira).await;
    let stolen = json!({"id": id, "code": shown(&secret, 0)});
    assert_eq!(
        call(&site, &other, Method::PUT, FACTOR, stolen).await.problem(),
        (409, "second_factor_unknown".to_owned())
    );
    let wrong = call(&site, &mira, Method::PUT, FACTOR, json!({"id": id, "code": "000000"})).await;
    assert_eq!(wrong.problem(), (403, "code_wrong".to_owned()));
    assert_eq!(sign_in(&site, PASSWORD, None).await.status, 200, "nothing is asked for yet");
}

#[tokio::test]
async fn a_changed_password_is_the_only_one_and_signs_out_the_others_on_wish() {
    const NEW: &str = "and then into the sea";
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let phone = site.sign_in("mira").await;
    let change = async |body: Value| call(&site, &mira, Method::PUT, "/api/v1/auth/password", body).await;
    let me = async |who: &SignedIn| site.send(site.get("/api/v1/auth/me").bearer_auth(&who.token)).await.status;
    let (program, _) = sessions::token(&site, &mira, &["read"]).await;
    let with_token = async || site.send(site.get("/api/v1/auth/me").bearer_auth(&program)).await.status;
    let wrong = change(json!({"password": "wrong", "new_password": NEW})).await;
    assert_eq!(wrong.problem(), (403, "password_wrong".to_owned()));
    for common in ["password1", "Qwertyuiop", "iloveyou", "short"] {
        let refused = change(json!({"password": PASSWORD, "new_password": common})).await;
        assert_eq!(refused.problem(), (422, "validation_failed".to_owned()));
        assert_eq!(refused.json()["errors"][0]["pointer"], "/new_password");
    }
    assert_eq!(change(json!({"password": PASSWORD, "new_password": NEW})).await.status, 204);
    assert_eq!((me(&mira).await, me(&phone).await), (200, 200));
    assert_eq!(with_token().await, 200, "not everybody who changes a password wants programs to end");
    assert_eq!(sign_in(&site, PASSWORD, None).await.problem(), (401, "credentials_wrong".to_owned()));
    assert_eq!(sign_in(&site, NEW, None).await.status, 200);
    let back = json!({"password": NEW, "new_password": PASSWORD, "end_other_sessions": true});
    assert_eq!(change(back).await.status, 204);
    assert_eq!((me(&mira).await, me(&phone).await), (200, 401));
    assert_eq!(with_token().await, 401, "a program of somebody else may be among those of the owner");
    let hashes: i64 = sqlx::query_scalar("select count(*) from log.vault where kind = 'password'")
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(hashes, 1, "hashes of before are destroyed");
}

#[tokio::test]
async fn where_codes_cannot_be_made_it_is_not_said_that_nothing_was_changed() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let (id, secret) = prepared(&site, &mira).await;
    let refuse = "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; \
                  create trigger refuse before insert on log.recovery_codes for each row execute function log.refuse()";
    sqlx::raw_sql(refuse).execute(&site.pool).await.unwrap();
    let detail = |answer: &Answer| {
        assert_eq!(answer.problem(), (503, "outcome_unknown".to_owned()));
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let body = json!({"id": id, "code": shown(&secret, 0)});
    let enabled = detail(&call(&site, &mira, Method::PUT, FACTOR, body).await);
    assert!(enabled.starts_with("The second factor is on"), "{enabled}");
    free_the_codes(&site).await;
    let again = |steps| json!({"password": PASSWORD, "code": shown(&secret, steps)});
    let replaced = detail(&call(&site, &mira, Method::PUT, CODES, again(0)).await);
    assert!(replaced.starts_with("The old codes are worth nothing"), "{replaced}");
    sqlx::raw_sql("drop trigger refuse on log.recovery_codes").execute(&site.pool).await.unwrap();
    let replaced = call(&site, &mira, Method::PUT, CODES, again(1)).await;
    assert_eq!((replaced.status, replaced.json()["codes"].as_array().unwrap().len()), (200, 10));
}

#[tokio::test]
async fn what_fails_after_a_code_is_used_up_is_not_said_to_have_changed_nothing() {
    let site = Site::start().await;
    let (mira, plain) = (site.register("mira").await, site.register("plain").await);
    let (_, codes) = enabled(&site, &mira).await;
    let refuse = "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; \
                  create trigger refuse before insert on log.personal_tokens for each row execute function log.refuse(); \
                  create trigger refuse before insert on log.sessions for each row execute function log.refuse()";
    sqlx::raw_sql(refuse).execute(&site.pool).await.unwrap();
    let token = json!({"name": "A program", "scopes": ["read"], "expires_in_days": 9, "password": PASSWORD});
    let refused = call(&site, &plain, Method::POST, "/api/v1/auth/tokens", token.clone()).await;
    assert_eq!(refused.problem(), (503, "unavailable".to_owned()), "nobody's code was used");
    let mut with_code = token;
    with_code["code"] = codes[0].as_str().into();
    let refused = call(&site, &mira, Method::POST, "/api/v1/auth/tokens", with_code).await;
    assert_eq!(refused.problem(), (503, "outcome_unknown".to_owned()));
    assert_eq!(sign_in(&site, PASSWORD, Some(&codes[1])).await.problem(), (503, "outcome_unknown".to_owned()));
    sqlx::raw_sql("drop trigger refuse on log.sessions").execute(&site.pool).await.unwrap();
    assert_eq!(sign_in(&site, PASSWORD, Some(&codes[1])).await.problem(), (401, "code_wrong".to_owned()));
    assert_eq!(sign_in(&site, PASSWORD, Some(&codes[2])).await.status, 200);
}
