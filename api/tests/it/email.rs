//! The address of an account: confirmed by a mailed code, changed by codes to both addresses, free once its account is erased.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mailed::{a_minute_later, another, last_code, mailed},
    site::{Answer, PASSWORD, SignedIn, Site, registration},
};

const CONFIRMATION: &str = "/api/v1/auth/email/confirmation";
const CHANGE: &str = "/api/v1/auth/email/change";
const NEW: &str = "mira@example.net";

async fn call(site: &Site, who: &SignedIn, method: Method, path: &str, body: Value) -> Answer {
    site.send(site.request(method, path).json(&body).bearer_auth(&who.token)).await
}

async fn confirm(site: &Site, who: &SignedIn, code: &str) -> Answer {
    call(site, who, Method::PUT, CONFIRMATION, json!({"code": code})).await
}

/// Registers somebody with an address of their own and confirms it.
pub(crate) async fn confirmed(site: &Site, username: &str) -> SignedIn {
    let who = site.register(username).await;
    let code = last_code(site, &format!("{username}@example.org")).await;
    let answer = confirm(site, &who, &code).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    who
}

async fn ask_change(site: &Site, who: &SignedIn, email: &str) -> Answer {
    call(site, who, Method::POST, CHANGE, json!({"email": email, "password": PASSWORD})).await
}

#[tokio::test]
async fn a_new_account_confirms_its_address_by_the_code_that_was_mailed() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    assert_eq!(mira.account["is_email_confirmed"], false);
    let mails = mailed(&site).await;
    assert_eq!((mails.len(), mails[0].to.as_str(), mails[0].language), (1, "mira@example.org", "en"));
    let code = &mails[0].code;
    assert_eq!(code.len(), 9, "two groups of four");
    let wrong = confirm(&site, &mira, &another(code)).await;
    assert_eq!(wrong.problem(), (403, "mail_code_wrong".to_owned()));
    // However it is typed.
    let answer = confirm(&site, &mira, &format!(" {} ", code.replace('-', " ").to_uppercase())).await;
    assert_eq!((answer.status, &answer.json()["is_email_confirmed"]), (200, &json!(true)));
    let again = confirm(&site, &mira, code).await;
    assert_eq!(again.problem(), (409, "email_confirmed".to_owned()));
    let resend = call(&site, &mira, Method::POST, CONFIRMATION, json!({})).await;
    assert_eq!(resend.problem(), (409, "email_confirmed".to_owned()));
    // Neither address nor code is anywhere in plain text.
    let plain: i64 = sqlx::query_scalar(
        "select count(*) from log.events where payload::text like '%mira@%' or payload::text like '%' || $1 || '%'",
    )
    .bind(code)
    .fetch_one(&site.pool)
    .await
    .unwrap();
    assert_eq!(plain, 0);
}

#[tokio::test]
async fn a_new_account_is_written_to_in_its_language() {
    let site = Site::start().await;
    let mut body = registration("mira");
    body["language"] = "uk".into();
    let answer = site.send(site.post("/api/v1/auth/register", &body).header("accept-language", "fr")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let accepted = site.post("/api/v1/auth/register", &registration("noor")).header("accept-language", "de, fr;q=0.7");
    let noor = SignedIn::from(&site.send(accepted).await);
    site.register("olga").await;
    let languages: Vec<_> = mailed(&site).await.iter().map(|mailed| mailed.language).collect();
    assert_eq!(languages, ["uk", "fr", "en"]);
    body["language"] = "tlh".into();
    assert_eq!(site.send(site.post("/api/v1/auth/register", &body)).await.status, 422);
    // It stays that of the account, until the account says another one.
    a_minute_later(&site).await;
    assert_eq!(call(&site, &noor, Method::POST, CONFIRMATION, json!({})).await.status, 200);
    a_minute_later(&site).await;
    assert_eq!(call(&site, &noor, Method::POST, CONFIRMATION, json!({"language": "ru"})).await.status, 200);
    let languages: Vec<_> = mailed(&site).await.iter().skip(3).map(|mailed| mailed.language).collect();
    assert_eq!(languages, ["fr", "ru"]);
}

#[tokio::test]
async fn another_code_can_be_asked_for_now_and_then_and_the_last_one_alone_is_good() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let resend = async || call(&site, &mira, Method::POST, CONFIRMATION, json!({})).await;
    let first = last_code(&site, "mira@example.org").await;
    let early = resend().await;
    assert_eq!(early.status, 200, "{}", early.text());
    assert_eq!(mailed(&site).await.len(), 1, "nothing is mailed twice within a minute");
    for count in 2..=5 {
        a_minute_later(&site).await;
        assert_eq!(resend().await.status, 200);
        assert_eq!(mailed(&site).await.len(), count);
    }
    a_minute_later(&site).await;
    let many = resend().await;
    assert_eq!((many.problem(), many.header("retry-after")), ((429, "too_many_mails".to_owned()), "900"));
    assert_eq!(confirm(&site, &mira, &first).await.problem(), (403, "mail_code_wrong".to_owned()));
    let last = last_code(&site, "mira@example.org").await;
    assert_eq!(confirm(&site, &mira, &last).await.status, 200);
}

#[tokio::test]
async fn a_code_is_good_for_a_day_and_for_five_tries() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let code = last_code(&site, "mira@example.org").await;
    let expire = "update log.mailed_codes set expires_at = expires_at - interval '1 day'";
    sqlx::query(expire).execute(&site.pool).await.unwrap();
    assert_eq!(confirm(&site, &mira, &code).await.problem(), (403, "mail_code_wrong".to_owned()));
    a_minute_later(&site).await;
    assert_eq!(call(&site, &mira, Method::POST, CONFIRMATION, json!({})).await.status, 200);
    let code = last_code(&site, "mira@example.org").await;
    for _ in 0..5 {
        assert_eq!(confirm(&site, &mira, &another(&code)).await.problem(), (403, "mail_code_wrong".to_owned()));
    }
    assert_eq!(confirm(&site, &mira, &code).await.problem(), (403, "mail_code_wrong".to_owned()), "the sixth");
    let other = site.register("other").await;
    assert_eq!(confirm(&site, &other, &code).await.problem(), (403, "mail_code_wrong".to_owned()), "another's");
}

#[tokio::test]
async fn an_address_belongs_to_whoever_confirms_it_first() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let mut body = registration("impostor");
    body["email"] = "MIRA@example.org".into();
    let answer = site.send(site.post("/api/v1/auth/register", &body)).await;
    assert_eq!(answer.status, 201, "nobody is told that the address is known");
    let impostor = SignedIn::from(&answer);
    let (of_mira, of_impostor) =
        (last_code(&site, "mira@example.org").await, last_code(&site, "MIRA@example.org").await);
    assert_eq!(confirm(&site, &mira, &of_mira).await.status, 200);
    let late = confirm(&site, &impostor, &of_impostor).await;
    assert_eq!(late.problem(), (409, "email_taken".to_owned()));
    // Once its account is erased, it is anybody's again.
    site.erase(&mira).await;
    a_minute_later(&site).await;
    assert_eq!(call(&site, &impostor, Method::POST, CONFIRMATION, json!({})).await.status, 200);
    let code = last_code(&site, "MIRA@example.org").await;
    assert_eq!(confirm(&site, &impostor, &code).await.status, 200);
    assert!(mailed(&site).await.iter().any(|mailed| mailed.to == "[erased]" && mailed.code == "[erased]"));
    let kept: i64 = sqlx::query_scalar("select count(*) from log.mailed_codes where account_id = $1::uuid")
        .bind(mira.account["id"].as_str().unwrap())
        .fetch_one(&site.pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn an_address_changes_with_a_code_from_both_sides() {
    let site = Site::start().await;
    let mira = confirmed(&site, "mira").await;
    let plain = json!({"email": NEW, "password": "a wrong one"});
    let wrong = call(&site, &mira, Method::POST, CHANGE, plain).await;
    assert_eq!(wrong.problem(), (403, "password_wrong".to_owned()));
    let invalid = ask_change(&site, &mira, "nowhere").await;
    assert_eq!((invalid.problem().0, &invalid.json()["errors"][0]["pointer"]), (422, &json!("/email")));
    let same = ask_change(&site, &mira, "Mira@Example.org").await;
    assert_eq!(same.problem(), (409, "email_unchanged".to_owned()));
    let none = call(&site, &mira, Method::PUT, CHANGE, json!({"new_code": "aaaa-aaaa"})).await;
    assert_eq!(none.problem(), (403, "mail_code_wrong".to_owned()), "nothing was asked for");

    let asked = ask_change(&site, &mira, NEW).await;
    assert_eq!((asked.status, &asked.json()["needs_present_code"]), (200, &json!(true)), "{}", asked.text());
    let (present, new) = (last_code(&site, "mira@example.org").await, last_code(&site, NEW).await);
    assert_ne!(present, new);
    let me = site.send(site.get("/api/v1/auth/me").bearer_auth(&mira.token)).await;
    assert_eq!(me.json()["email"], "mira@example.org", "nothing has changed yet");
    for (body, pointers) in [
        (json!({"new_code": new}), vec!["/present_code"]),
        (json!({"new_code": new, "present_code": new}), vec!["/present_code"]),
        (json!({"new_code": another(&new), "present_code": present}), vec!["/new_code"]),
        (json!({"new_code": present, "present_code": new}), vec!["/present_code", "/new_code"]),
    ] {
        let answer = call(&site, &mira, Method::PUT, CHANGE, body).await;
        assert_eq!(answer.problem(), (403, "mail_code_wrong".to_owned()));
        let told = answer.json();
        let told: Vec<_> =
            told["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(told, pointers);
    }
    let right = json!({"new_code": new, "present_code": present});
    let changed = call(&site, &mira, Method::PUT, CHANGE, right.clone()).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!((&changed.json()["email"], &changed.json()["is_email_confirmed"]), (&json!(NEW), &json!(true)));
    let again = call(&site, &mira, Method::PUT, CHANGE, right).await;
    assert_eq!(again.problem(), (403, "mail_code_wrong".to_owned()), "once");
    // The one of before is free.
    let mut body = registration("heir");
    body["email"] = "mira@example.org".into();
    let heir = SignedIn::from(&site.send(site.post("/api/v1/auth/register", &body)).await);
    let code = last_code(&site, "mira@example.org").await;
    assert_eq!(confirm(&site, &heir, &code).await.status, 200);
}

#[tokio::test]
async fn an_address_that_was_never_confirmed_is_changed_by_the_new_one_alone() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let asked = ask_change(&site, &mira, NEW).await;
    assert_eq!((asked.status, &asked.json()["needs_present_code"]), (200, &json!(false)));
    assert_eq!(mailed(&site).await.len(), 2, "nothing goes to what may be a slip");
    let again = ask_change(&site, &mira, NEW).await;
    assert_eq!((again.status, mailed(&site).await.len()), (200, 2), "not twice within a minute");
    let other = ask_change(&site, &mira, "slip@example.net").await;
    assert_eq!(other.problem(), (429, "too_many_mails".to_owned()));
    let code = last_code(&site, NEW).await;
    let changed = call(&site, &mira, Method::PUT, CHANGE, json!({"new_code": code})).await;
    assert_eq!((changed.status, &changed.json()["email"]), (200, &json!(NEW)));
    assert_eq!(changed.json()["is_email_confirmed"], true);
}

#[tokio::test]
async fn a_taken_address_is_refused_only_to_whoever_reads_mail_there() {
    let site = Site::start().await;
    let (mira, noor) = (confirmed(&site, "mira").await, confirmed(&site, "noor").await);
    let asked = ask_change(&site, &noor, "mira@example.org").await;
    assert_eq!(asked.status, 200, "nobody is told that the address is known");
    // The mail there has no code in it; but were it guessed:
    let mails = mailed(&site).await;
    let (new, present) = (&mails[mails.len() - 2], &mails[mails.len() - 1]);
    assert_eq!((new.to.as_str(), present.to.as_str()), ("mira@example.org", "noor@example.org"));
    let body = json!({"new_code": new.code, "present_code": present.code});
    let answer = call(&site, &noor, Method::PUT, CHANGE, body).await;
    assert_eq!(answer.problem(), (409, "email_taken".to_owned()));
    let me = site.send(site.get("/api/v1/auth/me").bearer_auth(&mira.token)).await;
    assert_eq!(me.json()["email"], "mira@example.org");
}
