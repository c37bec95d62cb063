//! Whether what stands in front keeps what is not public to those who have a right, whatever kind of address it has.

use std::time::{Duration, Instant};

use domain::ids::{ChannelId, SessionId};
use ingest::{origin::Kind, rights::Bearer};
use reqwest::{Client, RequestBuilder, StatusCode, redirect::Policy};
use uuid::Uuid;

use crate::{
    Front, LONG,
    addresses::{self, Row, Shown},
    node::{self, Origin, token},
    position,
};

/// The session of whoever has a right.
pub(crate) fn session() -> SessionId {
    SessionId::from(Uuid::from_u128(1_000))
}

/// Nothing without a right, right after somebody who has one filled the cache by `good`; and nothing by that once the session
/// is over.
pub(crate) async fn keeps(origin: &Origin, front: &Front, good: &str) {
    let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let rows = rows(origin, front, &client, good).await;
    for row in &rows {
        let filled = if row.grows { None } else { Some(fill(front, &client, row, good).await) };
        for wrong in wrong_tokens(origin) {
            let asked = client.get(address(front, row, wrong.as_deref()));
            refused(front, row, wrong.is_some(), asked, filled.as_deref()).await;
        }
        // The name of a token, or of what says that there is one, is no way around it.
        let forged = client.get(address(front, row, None)).header("authorization", "Bearer nonsense");
        let forged = forged.header("weir-relay", "nonsense").header("x-weir-allowed", "1");
        refused(front, row, true, forged, filled.as_deref()).await;
    }
    origin.end(session());
    let began = Instant::now();
    let mut last = (Duration::ZERO, Kind::Multivariant);
    for row in &rows {
        while is_shown(client.get(address(front, row, Some(good))).send().await.unwrap().status()) {
            assert!(began.elapsed() < LONG, "{} goes on: {row:?}", front.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
            last = (began.elapsed(), row.kind);
        }
    }
    println!("|  | {} addresses, the last ({:?}) shown {} ms after |", rows.len(), last.1, last.0.as_millis());
}

async fn rows(origin: &Origin, front: &Front, client: &Client, good: &str) -> Vec<Row> {
    let stream_id = origin.broadcast.stream_id();
    let playlist = origin.path("source/index.m3u8");
    let (status, _, body) = node::get(&origin.straight, &format!("/live{playlist}")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{}", String::from_utf8_lossy(&body));
    let url = format!("http://{}/live/t/{good}{playlist}", front.address);
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    let (growing, _, newest) = position(&text);
    let newest = newest.unwrap();
    let part = newest.trim_start_matches('p').trim_end_matches(".m4s").parse().unwrap();
    let mut rows = addresses::all(&Shown {
        stream: stream_id.to_string(),
        channel: origin.channel_id.to_string(),
        recording: origin.recording.recording_id.to_string(),
        finished: growing - 1,
        growing,
        part,
    });
    // That is what the cache asks for, not its viewers.
    rows.retain(|row| row.kind != Kind::Authorise);
    rows
}

fn wrong_tokens(origin: &Origin) -> [Option<String>; 5] {
    let elsewhere = ChannelId::from(Uuid::from_u128(5));
    [
        None,
        Some("nonsense".to_owned()),
        Some(token(Bearer::Session(elsewhere, session()), 2, 600)),
        Some(token(Bearer::Session(origin.channel_id, session()), 1, 600)),
        Some(token(Bearer::Anybody(origin.channel_id), 2, 600)),
    ]
}

fn address(front: &Front, row: &Row, token: Option<&str>) -> String {
    format!("http://{}{}", front.address, row.path(token))
}

fn is_shown(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::FOUND)
}

/// What is there, asked for with a right.
async fn fill(front: &Front, client: &Client, row: &Row, good: &str) -> Vec<u8> {
    let filled = client.get(address(front, row, Some(good))).send().await.unwrap();
    assert!(is_shown(filled.status()), "{} {row:?}: {}", front.name, filled.status());
    let cache = filled.headers()["cache-control"].to_str().unwrap().to_owned();
    assert!(!cache.starts_with("public"), "{} {row:?}: {cache}", front.name);
    filled.bytes().await.unwrap().to_vec()
}

async fn refused(front: &Front, row: &Row, has_token: bool, asked: RequestBuilder, secret: Option<&[u8]>) {
    let answer = asked.send().await.unwrap();
    // Of a recording nobody hears without a token that it is there.
    let expected: &[StatusCode] = match (row.area, has_token) {
        ("vod", false) => &[StatusCode::NOT_FOUND],
        ("vod", true) => &[StatusCode::FORBIDDEN, StatusCode::NOT_FOUND],
        _ => &[StatusCode::FORBIDDEN],
    };
    assert!(expected.contains(&answer.status()), "{} {row:?}: {}", front.name, answer.status());
    let body = answer.bytes().await.unwrap();
    let is_told =
        secret.is_some_and(|secret| !secret.is_empty() && body.windows(secret.len()).any(|part| part == secret));
    let has = |word: &[u8]| body.windows(word.len()).any(|part| part == word);
    assert!(!is_told && !has(b"#EXT") && !has(b"moof") && !has(b"<MPD"), "{} {row:?}", front.name);
}
