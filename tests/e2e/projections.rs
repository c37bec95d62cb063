//! `weir projections` beside a Weir that runs: listing, rebuilding, and rebuilds that are killed.

use std::{
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};

use crate::{
    api::Caller,
    weir::{DataDir, Weir, command, eventually},
};

/// How many channels there are before anybody makes one.
const CHANNELS: i64 = 30_000;

fn projections(folder: &DataDir, arguments: &[&str]) -> Command {
    let mut command = command(folder);
    command.arg("projections").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &DataDir, arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = projections(folder, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// A log in which much has happened, without waiting until it has.
async fn fill(pool: &PgPool) {
    let fill = format!(
        "begin;
         create temporary table made on commit drop as
             select position, gen_random_uuid() as id, format('made_%s', number) as handle
             from log.head, generate_series(1, {CHANNELS}) number;
         insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                 metadata)
             select position + row_number() over (), 'channel', id, 1, 'channel.created', '1',
                 json_build_object('Created', json_build_object('channel_id', id, 'owner_id', id, 'handle', handle,
                     'title', 'Made', 'description', '', 'stream_key', id, 'created_at', '2026-11-21T10:00:00.123456Z')),
                 '{{\"actor\": \"system\"}}'
             from made;
         update log.head set position = position + {CHANNELS};
         commit"
    );
    pool.execute(fill.as_str()).await.unwrap();
}

async fn standing(folder: &DataDir, name: &str) -> Value {
    let (is_well, out, err) = run(folder, &["list", "--json"]);
    assert!(is_well, "{err}");
    let listed: Vec<Value> = serde_json::from_str(&out).unwrap();
    listed.into_iter().find(|listed| listed["name"] == name).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn read_models_are_listed_compared_and_rebuilt_while_weir_runs() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let pool = PgPool::connect(&folder.database_url()).await.unwrap();
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    fill(&pool).await;
    let channel = json!({ "handle": "harbour", "title": "Harbour" });
    // It waits until all read models have it.
    let made = eventually("the channel", async || {
        let (status, _) = keeper.call(Method::POST, "channels", Some(channel.clone())).await;
        matches!(status, StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::CONFLICT).then_some(status)
    });
    made.await;
    eventually("it is caught up", async || (standing(&folder, "channels_v1").await["lag_events"] == 0).then_some(()))
        .await;

    let (is_well, out, _) = run(&folder, &["list"]);
    assert!(is_well && out.lines().count() == 1 + projections::ALL.len() && out.contains("caught up"), "{out}");
    for arguments in [["rebuild", "rockets_v1"], ["retry", "rockets_v1"]] {
        let (is_well, _, err) = run(&folder, &arguments);
        assert!(!is_well && err.contains("channels_v1, exports_v1"), "{err}");
    }
    let (is_well, out, _) = run(&folder, &["retry", "channels_v1"]);
    assert!(is_well && out.contains("does not stand still"), "{out}");

    let (is_well, out, err) = run(&folder, &["rebuild", "all", "--dry-run"]);
    assert!(is_well, "{err}");
    assert!(out.contains("channels_v1: all 30,001 rows are as the log says"), "{out}");
    // A bug, or somebody's hand.
    pool.execute("update read.channels_v1 set title = 'Mine' where handle in ('harbour', 'made_7')").await.unwrap();
    let (is_well, out, err) = run(&folder, &["rebuild", "channels_v1", "--dry-run"]);
    assert!(!is_well && err.contains("rows differ in channels_v1"), "{err}");
    assert!(out.contains("2 have another content") && out.contains("in title") && out.contains(r#"{"id""#), "{out}");

    let (is_well, out, err) = run(&folder, &["rebuild", "channels_v1"]);
    assert!(is_well && out.contains("channels_v1 is rebuilt up to position"), "{out}{err}");
    let (status, harbour) = keeper.call(Method::GET, "channels/harbour", None).await;
    assert_eq!((status, &harbour["title"]), (StatusCode::OK, &json!("Harbour")));
    // The worker in `weir up` goes on with the new table.
    let changed = json!({ "title": "Harbour at night", "description": "" });
    let path = format!("channels/{}", harbour["handle"].as_str().unwrap());
    let (status, answer) = keeper.call(Method::PATCH, &path, Some(changed)).await;
    assert_eq!((status, &answer["title"]), (StatusCode::OK, &json!("Harbour at night")));
    let (is_well, out, err) = run(&folder, &["rebuild", "all", "--dry-run"]);
    assert!(is_well, "{out}{err}");

    let (is_well, out, err) = run(&folder, &["rebuild", "channels_v1", "--to-position", "1001"]);
    assert!(is_well && out.contains("read_at_1001"), "{out}{err}");
    let count: i64 =
        sqlx::query_scalar("select count(*) from read_at_1001.channels_v1").fetch_one(&pool).await.unwrap();
    let before: i64 =
        sqlx::query_scalar("select count(*) from log.events where event_type = 'channel.created' and position <= 1001")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(count, before);
    let (is_well, _, err) = run(&folder, &["rebuild", "channels_v1", "--to-position", "1000000"]);
    assert!(!is_well && err.contains("there is no position 1000000"), "{err}");
    let (is_well, ..) = run(&folder, &["rebuild", "channels_v1", "--to-position", "-1"]);
    assert!(!is_well);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_killed_anywhere_does_no_harm_and_is_gone_on_with() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let pool = PgPool::connect(&folder.database_url()).await.unwrap();
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    fill(&pool).await;
    eventually("it is caught up", async || {
        let (status, _) = keeper.call(Method::GET, "channels/made_29999", None).await;
        status.is_success().then_some(())
    })
    .await;

    // Ctrl-C: an end in order.
    let mut child = projections(&folder, &["rebuild", "channels_v1"]).spawn().unwrap();
    eventually("something is built", async || {
        let built: Result<i64, _> =
            sqlx::query_scalar("select position from read_build.checkpoints where position > 0").fetch_one(&pool).await;
        (built.is_ok() || child.try_wait().unwrap().is_some()).then_some(())
    })
    .await;
    if child.try_wait().unwrap().is_none() {
        signal(&child, Signal::INT);
    }
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() || said.contains("the same command goes on from there"), "{said}");

    let mut delay = Duration::from_millis(40);
    for number in 0..12 {
        let mut child = projections(&folder, &["rebuild", "all"]).spawn().unwrap();
        tokio::time::sleep(delay).await;
        delay = delay * 5 / 4;
        child.kill().unwrap();
        child.wait().unwrap();
        // Everything goes on, and is as it was.
        let handle = format!("new_{number}");
        let channel = json!({ "handle": handle, "title": "New" });
        let (status, _) = keeper.call(Method::POST, "channels", Some(channel)).await;
        assert_eq!(status, StatusCode::CREATED);
        let (status, _) = keeper.call(Method::GET, "channels/made_29999", None).await;
        assert_eq!(status, StatusCode::OK);
    }
    // At once after the last was killed.
    let (is_well, _, err) = run(&folder, &["rebuild", "all"]);
    assert!(is_well, "{err}");
    let (is_well, out, err) = run(&folder, &["rebuild", "all", "--dry-run"]);
    assert!(is_well, "{out}{err}");
    let left: i64 = sqlx::query_scalar("select count(*) from pg_namespace where nspname like 'read\\_%'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_stopped_is_retried_without_a_restart() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let pool = PgPool::connect(&folder.database_url()).await.unwrap();
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    // A mistake in the table, which a migration will have put right.
    pool.execute("alter table read.channels_v1 add constraint short check (length(title) < 10)").await.unwrap();
    let channel = json!({ "handle": "harbour", "title": "The harbour of all harbours" });
    let (status, _) = keeper.call(Method::POST, "channels", Some(channel)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "the log has it, the read model has not");
    eventually("it stands", async || (standing(&folder, "channels_v1").await["state"] == "stopped").then_some(()))
        .await;
    let (is_well, out, _) = run(&folder, &["list"]);
    assert!(is_well && out.contains("stopped at position"), "{out}");

    eventually("it is tried again", async || {
        let (is_well, out, err) = run(&folder, &["retry", "channels_v1"]);
        assert!(!is_well, "{out}");
        err.contains("was tried again and stands").then_some(())
    })
    .await;
    pool.execute("alter table read.channels_v1 drop constraint short").await.unwrap();
    eventually("it goes on", async || {
        let (is_well, out, _) = run(&folder, &["retry", "channels_v1"]);
        // On a busy machine it may do so after the command has given up.
        (is_well && (out.contains("goes on") || out.contains("does not stand still"))).then_some(())
    })
    .await;
    eventually("what it stood at is shown", async || {
        (keeper.call(Method::GET, "channels/harbour", None).await.0 == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(standing(&folder, "channels_v1").await["failed_events"], 0);
}
