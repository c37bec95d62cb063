//! Events that this Weir cannot read: of a version that is yet to come, or damaged. They are kept, everybody is told, what
//! needs them stops there, and all else goes on.

use std::process::{Output, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::{
    api::{Caller, check_events},
    weir::{DataDir, Weir, command, eventually},
};

/// Puts an event of the channel `handle` into the log, as another version of Weir would. Where it is.
async fn append(log: &mut PgConnection, handle: &str, version: &str, payload: &Value) -> i64 {
    let mut transaction = log.begin().await.unwrap();
    let position: i64 = sqlx::query_scalar(
        "update log.head set position = position + 1, recorded_at = clock_timestamp() returning position",
    )
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    sqlx::query(
        "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
             metadata, recorded_at)
         select $1, aggregate_type, aggregate_id, sequence + 1, 'channel.details_changed', $2, $3, metadata,
             clock_timestamp()
         from log.events where aggregate_type = 'channel' and aggregate_id =
             (select aggregate_id from log.reservations where kind = 'handle' and name = $4)
         order by sequence desc limit 1",
    )
    .bind(position)
    .bind(version)
    .bind(sqlx::types::Json(payload))
    .bind(handle)
    .execute(&mut *transaction)
    .await
    .unwrap();
    sqlx::query("select pg_notify('weir_log', $1::text)").bind(position).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    position
}

/// The same of a session, which ends by it.
async fn append_end_of_session(log: &mut PgConnection, session_id: &str, payload: &Value) -> i64 {
    let mut transaction = log.begin().await.unwrap();
    let position: i64 = sqlx::query_scalar(
        "update log.head set position = position + 1, recorded_at = clock_timestamp() returning position",
    )
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    sqlx::query(
        "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
             metadata, recorded_at)
         select $1, aggregate_type, aggregate_id, sequence + 1, 'session.ended', '9', $2, metadata, clock_timestamp()
         from log.events where aggregate_type = 'session' and aggregate_id = $3 order by sequence desc limit 1",
    )
    .bind(position)
    .bind(sqlx::types::Json(payload))
    .bind(session_id)
    .execute(&mut *transaction)
    .await
    .unwrap();
    sqlx::query("select pg_notify('weir_log', $1::text)").bind(position).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    position
}

fn operate(folder: &DataDir, arguments: &[&str]) -> Output {
    command(folder).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What `weir projections list` says of each.
fn listed(folder: &DataDir, name: &str) -> Value {
    let output = operate(folder, &["projections", "list", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    listed.as_array().unwrap().iter().find(|listed| listed["name"] == name).expect("it is listed").clone()
}

async fn readiness(weir: &Weir) -> (StatusCode, Value) {
    let answer = reqwest::get(format!("{}/readyz", weir.http)).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn what_cannot_be_read_is_kept_and_told(version: &str, payload: Value) {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    keeper.channel("river").await;
    keeper.channel("brook").await;
    let mut log = PgConnection::connect(&folder.database_url()).await.unwrap();
    let position = append(&mut log, "river", version, &payload).await;

    // Everybody is told.
    let stopped = eventually("the read model stops", async || {
        let listed = listed(&folder, "channels_v1");
        (listed["state"] == "stopped").then_some(listed)
    })
    .await;
    assert_eq!((&stopped["stopped"]["position"], &stopped["position"]), (&position.into(), &(position - 1).into()));
    eventually("readiness says so", async || {
        let (status, report) = readiness(&weir).await;
        (status == StatusCode::SERVICE_UNAVAILABLE && report.to_string().contains("channels_v1")).then_some(())
    })
    .await;
    eventually("the metric says so", async || {
        (weir.metric("weir_projection_is_healthy", "channels_v1").await == Some(0.0)).then_some(())
    })
    .await;
    eventually("the log says so", async || {
        let logged = weir.log();
        let line = logged.lines().find(|line| line.contains("ERROR") && line.contains("channels_v1"))?;
        line.contains(&position.to_string()).then_some(())
    })
    .await;

    // All else goes on: people register and sign in, other channels are edited, and the feed has all of it.
    let body = json!({ "username": "guest", "email": "guest@example.org", "password": "a river runs through it" });
    let (status, answer) = Caller::anonymous(&weir.http).call(Method::POST, "auth/register", Some(body)).await;
    // The one that stands still keeps nobody waiting who is not shown from it.
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let guest = Caller::sign_in(&weir.http, "guest").await;
    assert_eq!(guest.get("auth/me").await["username"], "guest");
    assert_eq!(listed(&folder, "accounts_v1")["stopped"], Value::Null);
    eventually("another is well", async || {
        (weir.metric("weir_projection_is_healthy", "accounts_v1").await == Some(1.0)).then_some(())
    })
    .await;
    let (status, answer) = keeper.edit("brook", "It babbles", None).await;
    assert!(matches!(status, StatusCode::OK | StatusCode::ACCEPTED), "{status} {answer}");
    assert_eq!(keeper.get("channels/river").await["title"], "The channel river", "as it was before");
    let (status, answer) = keeper.edit("river", "Not to be decided", None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &"internal".into()), "{answer}");
    let events = keeper.events().await;
    check_events(&events);
    let kept = events.iter().find(|event| event["position"] == position).unwrap();
    assert_eq!((&kept["version"], &kept["type"]), (&version.into(), &"channel.details_changed".into()));
    assert_eq!(kept["data"], payload["DetailsChanged"]);
    let deleted = sqlx::query("delete from log.events where position = $1").bind(position).execute(&mut log).await;
    assert!(deleted.unwrap_err().to_string().contains("never changed or deleted"));

    // It is tried again when somebody asks for it, and a rebuild does not get past it either, and harms nothing.
    let attempts = |listed: &Value| listed["stopped"]["attempts"].as_i64().unwrap();
    eventually("it was tried again", async || {
        let retried = operate(&folder, &["projections", "retry", "channels_v1"]);
        assert!(!retried.status.success(), "{}", said(&retried));
        // It says so, too, where the worker takes its time.
        said(&retried).contains(&format!("position {position}")).then_some(())
    })
    .await;
    assert!(attempts(&listed(&folder, "channels_v1")) > attempts(&stopped));
    let rebuilt = operate(&folder, &["projections", "rebuild", "channels_v1"]);
    assert!(!rebuilt.status.success(), "{}", said(&rebuilt));
    for part in ["channel.details_changed", &format!("position {position}"), "channels_v1", "rebuild again"] {
        assert!(said(&rebuilt).contains(part), "{part}: {}", said(&rebuilt));
    }
    let compared = operate(&folder, &["projections", "rebuild", "channels_v1", "--dry-run"]);
    assert!(compared.status.success(), "as far as it is, it is right: {}", said(&compared));
    let until = (position - 1).to_string();
    let before = operate(&folder, &["projections", "rebuild", "channels_v1", "--to-position", &until]);
    assert!(before.status.success(), "what came before it can be had: {}", said(&before));
    assert_eq!(keeper.get("channels/river").await["title"], "The channel river");

    // Starting again changes nothing about it.
    weir.terminate();
    let weir = Weir::up_again(&folder, &weir);
    eventually("it stops there again", async || {
        (listed(&folder, "channels_v1")["state"] == "stopped" && readiness(&weir).await.0 != StatusCode::OK)
            .then_some(())
    })
    .await;
    let keeper = Caller::sign_in(&weir.http, "keeper").await;
    assert_eq!(keeper.get("channels/river").await["title"], "The channel river");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_version_to_come() {
    let payload = json!({ "DetailsChanged": { "title": "Rivers", "colour": "blue" } });
    what_cannot_be_read_is_kept_and_told("9", payload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_payload() {
    what_cannot_be_read_is_kept_and_told("1", json!({ "DetailsChanged": { "title": 7 } })).await;
}

/// Whoever may watch what is known on past it: see the tests beside `src/wire/rights/unread.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_session_that_cannot_be_read_is_told_by_who_shows_streams() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    eventually("it is ready", async || (readiness(&weir).await.0 == StatusCode::OK).then_some(())).await;
    let unread = async |weir: &Weir| weir.metric("weir_rights_unread_events", "").await;
    assert_eq!(unread(&weir).await, Some(0.0));
    Caller::register(&weir.http, "guest", None).await;
    let events = keeper.events().await;
    let opened = events.iter().rfind(|event| event["type"] == "session.opened").unwrap();
    let session_id = opened["subject"].as_str().unwrap().strip_prefix("session/").unwrap();
    let mut log = PgConnection::connect(&folder.database_url()).await.unwrap();
    let position = append_end_of_session(&mut log, session_id, &json!({ "Ended": { "how": "quietly" } })).await;

    let is_told = async |weir: &Weir| {
        let (status, report) = readiness(weir).await;
        let words = [format!("Event {position} (session.ended)"), "closed".to_owned()];
        let is_named = words.iter().all(|word| report.to_string().contains(word));
        (status == StatusCode::SERVICE_UNAVAILABLE && is_named && unread(weir).await == Some(1.0)).then_some(())
    };
    eventually("readiness and the metric say so", async || is_told(&weir).await).await;
    eventually("the log says so, once", async || {
        let logged = weir.log();
        let told = logged.lines().filter(|line| {
            line.contains("ERROR") && line.contains("who may watch what") && line.contains(&position.to_string())
        });
        let count = told.count();
        assert!(count < 2, "{logged}");
        (count == 1).then_some(())
    })
    .await;

    // And so does a node that starts after it.
    weir.terminate();
    let weir = Weir::up_again(&folder, &weir);
    eventually("it is told again", async || is_told(&weir).await).await;
}
