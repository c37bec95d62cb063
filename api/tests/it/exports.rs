use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use commands::{
    Actor, Metadata,
    exports::{self, WrittenExport, downloads, jobs, jobs::JobProgress},
};
use domain::{exports::ExportEvent, ids::ExportId};
use reqwest::{Method, header::RANGE};
use serde_json::{Value, json};
use storage::Key;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::site::{Answer, PASSWORD, SignedIn, Site};

const CONTENT: &str = "0123456789";

async fn ask(site: &Site, by: &SignedIn, body: Value) -> Answer {
    site.send(site.post("/api/v1/exports", &body).bearer_auth(&by.token)).await
}

async fn look(site: &Site, by: &SignedIn, path: &str) -> Answer {
    site.send(site.get(path).bearer_auth(&by.token)).await
}

async fn delete(site: &Site, by: &SignedIn, path: &str) -> Answer {
    site.send(site.request(Method::DELETE, path).bearer_auth(&by.token)).await
}

/// Asks for an export that waits; its address.
pub(crate) async fn waiting(site: &Site, by: &SignedIn, format: &str) -> String {
    let answer = ask(site, by, json!({"format": format})).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.header("location").to_owned()
}

fn id(path: &str) -> ExportId {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

/// Asks for an export and writes it, as the processes do; its address.
pub(crate) async fn ready(site: &Site, by: &SignedIn, format: &str) -> String {
    let path = waiting(site, by, format).await;
    let key = Key::new(format!("exports/{}", id(&path))).unwrap();
    site.storage.put(&key, CONTENT.into()).await.unwrap();
    let expires_at = Some(OffsetDateTime::now_utc() + Duration::DAY);
    let written = WrittenExport { event_count: 3, size_bytes: 10, expires_at };
    let metadata = Metadata::new(Actor::System);
    let position = exports::complete(&site.commands, id(&path), written, metadata).await.unwrap();
    site.readable(position).await;
    path
}

/// The address to download from, within the site.
fn download(export: &Value) -> String {
    let url = export["download_url"].as_str().unwrap();
    url.strip_prefix("http://weir.test").unwrap().to_owned()
}

/// The address to download from of an export that is [`ready`].
pub(crate) async fn download_path(site: &Site, by: &SignedIn, path: &str) -> String {
    download(&look(site, by, path).await.json())
}

#[tokio::test]
async fn an_export_goes_from_waiting_to_ready_to_deleted() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let answer = ask(
        &site,
        &keeper,
        json!({"format": "parquet", "types": ["account.*", "session.opened"], "after": 1, "from": "2026-01-01T00:00:00Z"}),
    )
    .await;
    assert_eq!(answer.status, 202);
    let (path, asked) = (answer.header("location").to_owned(), answer.json());
    assert_eq!(path, format!("/api/v1/exports/{}", asked["id"].as_str().unwrap()));
    assert_eq!((&asked["status"], &asked["download_url"]), (&json!("waiting"), &Value::Null));
    assert_eq!(asked["filter"]["types"], json!(["account.*", "session.opened"]));
    assert_eq!((&asked["filter"]["after"], &asked["filter"]["from"]), (&json!(1), &json!("2026-01-01T00:00:00Z")));
    // What was in the log before it was asked for.
    let until = asked["filter"]["until"].as_i64().unwrap();
    let seen = look(&site, &keeper, &path).await.json();
    assert_eq!((&seen["status"], &seen["created_at"]), (&asked["status"], &asked["created_at"]));

    let worker = Uuid::now_v7();
    jobs::enqueue(&site.pool, id(&path)).await.unwrap();
    assert_eq!(jobs::claim(&site.pool, worker).await.unwrap().unwrap().export_id, id(&path));
    let progress = JobProgress { events_done: 7, events_total: None, position: 1 + (until - 1) / 2 };
    assert!(jobs::beat(&site.pool, id(&path), worker, progress).await.unwrap());
    let running = look(&site, &keeper, &path).await.json();
    assert_eq!((&running["status"], &running["progress"]["events_done"]), (&json!("running"), &json!(7)));
    let fraction = running["progress"]["fraction"].as_f64().unwrap();
    assert!((0.0..=0.5).contains(&fraction), "{fraction}");

    let ready = ready(&site, &keeper, "csv").await;
    let export = look(&site, &keeper, &ready).await.json();
    assert_eq!((&export["status"], &export["progress"]["fraction"]), (&json!("ready"), &json!(1.0)));
    assert_eq!((&export["event_count"], &export["size_bytes"]), (&json!(3), &json!(10)));
    let list = look(&site, &keeper, "/api/v1/exports?limit=1").await;
    assert_eq!(list.json()["items"][0]["id"], export["id"]);
    assert!(list.header("link").contains("rel=\"next\""));
    let next = list.json()["next_cursor"].as_str().unwrap().to_owned();
    let rest = look(&site, &keeper, &format!("/api/v1/exports?after={next}")).await.json();
    assert_eq!((&rest["items"][0]["status"], &rest["next_cursor"]), (&json!("running"), &Value::Null));

    let file = site.send(site.get(&download(&export))).await;
    assert_eq!((file.status, file.text().as_str()), (200, CONTENT));
    assert_eq!(delete(&site, &keeper, &ready).await.status, 204);
    assert_eq!(look(&site, &keeper, &ready).await.json()["status"], "deleted");
    assert_eq!(delete(&site, &keeper, &ready).await.status, 204, "the same again");
    assert_eq!(site.send(site.get(&download(&export))).await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_failed_export_says_why() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let path = waiting(&site, &keeper, "ndjson").await;
    let reason = "The server has no room left for the file.".to_owned();
    let position =
        exports::fail(&site.commands, id(&path), reason.clone(), Metadata::new(Actor::System)).await.unwrap();
    site.readable(position).await;
    let export = look(&site, &keeper, &path).await.json();
    assert_eq!((&export["status"], &export["error"]), (&json!("failed"), &json!(reason)));
    assert_eq!((&export["progress"], &export["download_url"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn files_come_with_a_name_and_in_parts() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    for (format, kind) in [("parquet", "application/vnd.apache.parquet"), ("csv", "text/csv; charset=utf-8")] {
        let path = ready(&site, &keeper, format).await;
        let path = download_path(&site, &keeper, &path).await;
        let file = site.send(site.get(&path)).await;
        assert_eq!((file.status, file.kind(), file.header("content-length")), (200, kind, "10"));
        let name = file.header("content-disposition").to_owned();
        assert!(name.starts_with("attachment; filename=\"weir-events-2"), "{name}");
        assert!(name.ends_with(&format!("Z.{format}\"")), "{name}");
        assert!(file.header("cache-control").contains("private"));
        let part = site.send(site.get(&path).header(RANGE, "bytes=7-")).await;
        assert_eq!((part.status, part.text().as_str()), (206, "789"));
        assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 7-9/10", "3"));
        let beyond = site.send(site.get(&path).header(RANGE, "bytes=10-")).await;
        assert_eq!(beyond.problem(), (416, "range_not_satisfiable".to_owned()));
        assert_eq!(beyond.header("content-range"), "bytes */10");
        let head = site.send(site.request(Method::HEAD, &path)).await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "10", 0));
    }
    let path = ready(&site, &keeper, "ndjson").await;
    let path = download_path(&site, &keeper, &path).await;
    let head = site.send(site.request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.kind()), (200, "application/x-ndjson"));
}

#[tokio::test]
async fn an_address_opens_its_own_file_for_a_while() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let (one, other) = (ready(&site, &keeper, "csv").await, ready(&site, &keeper, "csv").await);
    let path = download_path(&site, &keeper, &one).await;
    let token = path.split_once("token=").unwrap().1.to_owned();
    let refused = async |path: String| {
        let answer = site.send(site.get(&path)).await;
        assert_eq!(answer.problem(), (403, "download_refused".to_owned()), "{path}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    refused(format!("{other}/download?token={token}")).await;
    refused(format!("{one}/download?token={}", token.to_ascii_uppercase())).await;
    refused(format!("{one}/download?token=")).await;
    refused(format!("{one}/download?token=AAAA")).await;
    refused("/api/v1/exports/nothing/download?token=AAAA".to_owned()).await;
    let session = Uuid::now_v7().into();
    let past = downloads::token(&site.commands, id(&one), session, OffsetDateTime::now_utc() - Duration::SECOND);
    assert!(refused(format!("{one}/download?token={past}")).await.contains("15 minutes"));
    let missing = site.send(site.get(&format!("{one}/download"))).await;
    assert_eq!(missing.problem(), (400, "query_invalid".to_owned()));
    // A file that is not where it should be.
    site.storage.delete(&Key::new(format!("exports/{}", id(&one))).unwrap()).await.unwrap();
    assert_eq!(site.send(site.get(&path)).await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn rights_are_those_of_the_feed_and_an_export_is_its_requesters() {
    let site = Site::start().await;
    let (keeper, mira, noor) = (site.administrator().await, site.register("mira").await, site.register("noor").await);
    site.channel(&mira, "river").await;
    let all = json!({"format": "csv"});
    assert_eq!(ask(&site, &mira, all).await.problem(), (403, "forbidden".to_owned()));
    let river = json!({"format": "csv", "channel": "River"});
    assert_eq!(ask(&site, &noor, river.clone()).await.problem(), (403, "forbidden".to_owned()));
    let nothing = json!({"format": "csv", "channel": "nothing"});
    assert_eq!(ask(&site, &mira, nothing).await.problem(), (404, "not_found".to_owned()));

    let answer = ask(&site, &mira, river.clone()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(answer.json()["filter"]["channel_id"].is_string());
    let path = answer.header("location").to_owned();
    assert_eq!(look(&site, &noor, &path).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(delete(&site, &noor, &path).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(look(&site, &keeper, &path).await.status, 200);
    let listed = async |by| look(&site, by, "/api/v1/exports").await.json()["items"].as_array().unwrap().len();
    assert_eq!((listed(&mira).await, listed(&noor).await, listed(&keeper).await), (1, 0, 1));
    assert_eq!(look(&site, &mira, "/api/v1/exports/not-an-id").await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn an_account_waits_for_a_few_at_once() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let first = waiting(&site, &keeper, "csv").await;
    for _ in 1..5 {
        waiting(&site, &keeper, "csv").await;
    }
    let answer = ask(&site, &keeper, json!({"format": "csv"})).await;
    assert_eq!(answer.problem(), (429, "too_many_exports".to_owned()));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(delete(&site, &keeper, &first).await.status, 204);
    waiting(&site, &keeper, "csv").await;
}

#[tokio::test]
async fn the_same_request_twice_is_one_export() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let ask =
        |body: Value| site.post("/api/v1/exports", &body).bearer_auth(&keeper.token).header("Idempotency-Key", "k1");
    let first = site.send(ask(json!({"format": "csv"}))).await;
    let second = site.send(ask(json!({"format": "csv"}))).await;
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    assert_eq!(first.header("location"), second.header("location"));
    let other = site.send(ask(json!({"format": "parquet"}))).await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused".to_owned()));
    let list = look(&site, &keeper, "/api/v1/exports").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    for (body, pointer) in [
        (json!({}), "/format"),
        (json!({"format": "xls"}), "/format"),
        (json!({"format": "csv", "types": ["channel.create"]}), "/types"),
        (json!({"format": "csv", "types": "channel.created"}), "/types"),
        (json!({"format": "csv", "subject": "channel"}), "/subject"),
        (json!({"format": "csv", "from": "yesterday"}), "/from"),
        (json!({"format": "csv", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}), "/to"),
        (json!({"format": "csv", "after": -1}), "/after"),
        (json!({"format": "csv", "until": 1}), "/until"),
    ] {
        let answer = ask(&site, &keeper, body.clone()).await;
        assert_eq!(answer.problem(), (422, "validation_failed".to_owned()), "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn who_asks_for_what_is_in_the_log() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let path = waiting(&site, &keeper, "parquet").await;
    let (actor, payload): (String, String) = sqlx::query_as(
        "select metadata->>'actor', payload::text from log.events where event_type = 'export.requested'",
    )
    .fetch_one(&site.pool)
    .await
    .unwrap();
    let account_id = keeper.account["id"].as_str().unwrap();
    assert_eq!(actor, format!("account:{account_id}"));
    let ExportEvent::Requested { export_id, by, .. } = serde_json::from_str(&payload).unwrap() else {
        panic!("{payload}");
    };
    assert_eq!((export_id, by.unwrap().to_string()), (id(&path), account_id.to_owned()));
}

#[tokio::test]
async fn who_is_no_administrator_any_more_has_no_export_of_the_whole_log() {
    let site = Site::start().await;
    let (keeper, mira) = (site.administrator().await, site.register("mira").await);
    site.channel(&mira, "river").await;
    let right = format!("/api/v1/admin/accounts/{}/administrator", mira.account["id"].as_str().unwrap());
    let change = async |method| {
        let body = json!({"password": PASSWORD});
        let answer = site.send(site.request(method, &right).json(&body).bearer_auth(&keeper.token)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    change(Method::PUT).await;
    let path = ready(&site, &mira, "csv").await;
    let river = ask(&site, &mira, json!({"format": "csv", "channel": "river"})).await.header("location").to_owned();
    let open = |who: &SignedIn| {
        let payload = who.token.split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let session = claims["sid"].as_str().unwrap().parse().unwrap();
        let until = OffsetDateTime::now_utc() + Duration::minutes(5);
        format!("{path}/download?token={}", downloads::token(&site.commands, id(&path), session, until))
    };
    assert_eq!(site.send(site.get(&open(&mira))).await.status, 200);
    change(Method::DELETE).await;
    let mira = site.sign_in("mira").await;
    assert_eq!(look(&site, &mira, &path).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(delete(&site, &mira, &path).await.problem(), (404, "not_found".to_owned()));
    assert_eq!(site.send(site.get(&open(&mira))).await.problem(), (403, "download_refused".to_owned()));
    let listed = look(&site, &mira, "/api/v1/exports").await.json();
    let listed: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [river.rsplit('/').next().unwrap()], "that of one's own channel stays");
    assert_eq!(look(&site, &keeper, &path).await.status, 200);
}
