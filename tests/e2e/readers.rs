//! Those who read the log from outside: they may ask for nonsense and read as slowly as they like, at nobody's cost but
//! their own.

use std::{fs, io::Write, net::TcpStream};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::{
    api::Caller,
    faults::Load,
    weir::{DataDir, Weir, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_the_end_of_numbers_is_an_empty_page() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    keeper.channel("river").await;
    let last = i64::MAX.to_string();
    for path in ["events", "events/subscribe"] {
        for query in [
            "after=-1",
            "after=9223372036854775808",
            "after=99999999999999999999999999999999",
            "after=x",
            "after=1.5",
            "after=%00",
            "types=channel.exploded",
            "types=%27%3B%20drop%20table%20log.events",
            "subject=channel",
            "subject=planet/1",
            "frm=2026-01-01T00:00:00Z",
        ] {
            let (status, answer) = keeper.call(Method::GET, &format!("{path}?{query}"), None).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}?{query}: {answer}");
            assert!(answer["detail"].is_string() && answer["code"].is_string(), "it says what to do: {answer}");
        }
    }
    for query in ["limit=0", "limit=1000000", "limit=-1", "from=yesterday", "to=9999999999", "format=xml"] {
        let (status, answer) = keeper.call(Method::GET, &format!("events?{query}"), None).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
    }
    let page = keeper.get(&format!("events?after={last}")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next_cursor"]), (0, &Value::Null), "{page}");
    for id in ["-1", "x", "9223372036854775808"] {
        let answer = keeper.request(Method::GET, "events/subscribe").header("last-event-id", id).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{id}");
    }
    for cursor in ["x", "%00", "MDE5MzVhM2M", "////"] {
        let (status, answer) = keeper.call(Method::GET, &format!("channels?after={cursor}"), None).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &"cursor_invalid".into()), "{cursor}");
    }
    assert!(keeper.events().await.len() > 2, "it goes on");
}

/// Many events that no read model wants, 1 kB each.
async fn fill(folder: &DataDir, count: i64) {
    let mut log = PgConnection::connect(&folder.database_url()).await.unwrap();
    let mut transaction = log.begin().await.unwrap();
    sqlx::query("update log.head set position = position + $1").bind(count).execute(&mut *transaction).await.unwrap();
    sqlx::query(
        "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
             metadata)
         select head.position - $1 + number, 'session', gen_random_uuid()::text, 1, 'session.opened', '1',
             json_build_object('Opened', json_build_object('note', repeat('x', 1000))), '{\"actor\": \"system\"}'
         from log.head, generate_series(1, $1) number",
    )
    .bind(count)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
}

/// What of the process is in memory, in kB.
fn memory_kb(weir: &Weir) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", weir.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_holds_up_nobody() {
    const EVENTS: i64 = 60_000;
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    fill(&folder, EVENTS).await;
    eventually("the read models are past it", async || {
        let position = weir.metric("weir_projection_position", "channels_v1").await?;
        (position >= EVENTS as f64).then_some(())
    })
    .await;
    let before = memory_kb(&weir);

    // They ask, and then take nothing.
    let address = weir.http.trim_start_matches("http://");
    let stalled: Vec<TcpStream> = ["events?format=ndjson", "events/subscribe?after=0"]
        .iter()
        .map(|path| {
            let mut socket = TcpStream::connect(address).unwrap();
            let token = keeper.token();
            write!(socket, "GET /api/v1/{path} HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {token}\r\n\r\n")
                .unwrap();
            socket
        })
        .collect();
    let load = Load::start(keeper.clone());
    load.goes_on(20).await;
    // Others read all of it meanwhile.
    let mut answer = keeper.request(Method::GET, "events?format=ndjson").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (mut lines, mut bytes) = (0, 0);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        bytes += chunk.len();
    }
    assert!(lines as i64 >= EVENTS && bytes > 60_000_000, "{lines} events in {bytes} bytes");
    load.goes_on(20).await;
    let grown_kb = memory_kb(&weir).saturating_sub(before);
    assert!(grown_kb < 60_000, "it grew by {grown_kb} kB for answers of {bytes} bytes");
    drop(load.stop().await);

    // That one of them did not read to the end is in the log.
    drop(stalled);
    eventually("the broken export is booked", async || {
        let events = keeper.get(&format!("events?after={EVENTS}&types=export.*&limit=100")).await;
        let events = events["items"].as_array().unwrap().clone();
        let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        (of("export.completed") == 1 && of("export.failed") == 1).then_some(())
    })
    .await;
}
