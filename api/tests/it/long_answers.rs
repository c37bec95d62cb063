//! Long answers end with the session that asked for them, also when nobody reads.

use std::time::Duration;

use api::FeedOptions;
use bytes::Bytes;
use commands::accounts::personal_exports::tokens;
use domain::ids::PersonalExportId;
use reqwest::{Method, header::COOKIE};
use serde_json::Value;
use storage::Key;
use time::OffsetDateTime;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    exports,
    listener::{LONG, begun, rest_of},
    site::{Options, SignedIn, Site},
};

const NDJSON: &str = "/api/v1/events?format=ndjson";
const SUBSCRIBE: &str = "/api/v1/events/subscribe";
/// More than all buffers between two ends hold.
const FILE_BYTES: usize = 48 * 1024 * 1024;

/// Nobody is cut because they take nothing.
async fn patient() -> Site {
    let feed = FeedOptions {
        stalled: Duration::from_secs(3_600),
        transfers_per_account: 1,
        subscriptions_per_account: 1,
        ..FeedOptions::default()
    };
    Site::with(Options { feed, ..Options::default() }).await
}

async fn sign_out(site: &Site, who: &SignedIn) {
    let answer = site.send(site.request(Method::POST, "/api/v1/auth/logout").header(COOKIE, &who.cookie)).await;
    assert_eq!(answer.status, 204);
}

async fn events(site: &Site, who: &SignedIn, kind: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?types={kind}&limit=1000");
    let answer = site.send(site.get(&path).bearer_auth(&who.token)).await;
    answer.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_transfer_that_nobody_reads_ends_with_its_session() {
    let site = patient().await;
    let keeper = site.administrator().await;
    let guest = site.sign_in("keeper").await;
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let mut stream = site.unread(&guest, NDJSON, "Accept-Encoding: identity\r\n").await;
    begun(&mut stream).await;
    sign_out(&site, &guest).await;
    let failed = async {
        loop {
            if let Some(failed) = events(&site, &keeper, "export.failed").await.pop() {
                return failed;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let failed = timeout(LONG, failed).await.expect("the transfer goes on");
    assert!(failed["data"]["reason"].as_str().unwrap().contains("session ended"), "{failed}");
    site.until_transferring(&keeper).await;
    assert!(!rest_of(stream).await.ends_with(b"0\r\n\r\n"), "what was cut must not look whole");
}

#[tokio::test]
async fn a_subscription_that_nobody_reads_ends_with_its_session() {
    let site = patient().await;
    let keeper = site.administrator().await;
    let guest = site.sign_in("keeper").await;
    let site = site.stop_projecting().await;
    site.fill_log(30_000).await;
    let mut stream = site.unread(&guest, SUBSCRIBE, "").await;
    begun(&mut stream).await;
    let full = site.send(site.get(SUBSCRIBE).bearer_auth(&keeper.token)).await;
    assert_eq!(full.problem(), (429, "too_many_feeds".to_owned()));
    sign_out(&site, &guest).await;
    site.until_subscribed(&keeper).await;
    let rest = rest_of(stream).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("\n: ended: the session is over"), "{:.300}", rest.rsplit("\n\n").nth(1).unwrap_or_default());
    assert!(!rest.contains("event: caught_up"), "all of it came");
}

/// A connection on which a file is asked for, of which little is taken.
async fn unread_file(site: &Site, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(site.url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    begun(&mut stream).await;
    stream
}

async fn put(site: &Site, key: String) {
    site.storage.put(&Key::new(key).unwrap(), Bytes::from(vec![b'~'; FILE_BYTES])).await.unwrap();
}

#[tokio::test]
async fn the_download_of_an_export_ends_with_the_session_that_was_given_its_address() {
    let site = Site::start().await;
    let keeper = site.administrator().await;
    let guest = site.sign_in("keeper").await;
    let export = exports::ready(&site, &keeper, "csv").await;
    put(&site, format!("exports/{}", export.rsplit('/').next().unwrap())).await;
    let (own, guests) =
        (exports::download_path(&site, &keeper, &export).await, exports::download_path(&site, &guest, &export).await);
    let (kept, cut) = (unread_file(&site, &own).await, unread_file(&site, &guests).await);
    sign_out(&site, &guest).await;
    let refused = site.send(site.get(&guests)).await;
    assert_eq!(refused.problem(), (403, "download_refused".to_owned()));
    let cut = rest_of(cut).await.len();
    assert!(cut < FILE_BYTES - 1, "{cut}");
    // But for the byte by which it was seen to begin.
    assert_eq!(rest_of(kept).await.len(), FILE_BYTES - 1, "another's goes on");
}

#[tokio::test]
async fn the_download_of_ones_data_ends_with_the_session() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    let export_id = PersonalExportId::from(Uuid::now_v7());
    put(&site, format!("personal-exports/{export_id}")).await;
    let session: Uuid = sqlx::query_scalar("select session_id from log.sessions").fetch_one(&site.pool).await.unwrap();
    let until = OffsetDateTime::now_utc() + time::Duration::HOUR;
    let token = tokens::token(&site.commands, export_id, session.into(), until);
    let stream = unread_file(&site, &format!("/api/v1/me/export/download?token={token}")).await;
    sign_out(&site, &mira).await;
    let cut = rest_of(stream).await.len();
    assert!(cut < FILE_BYTES - 1, "{cut}");
}
