//! The log as files: over HTTP, over a crash, and from the command line of a Weir that is up.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    api::{Caller, check_events},
    weir::{DataDir, Weir, command, eventually},
};

async fn asked_for(caller: &Caller, format: &str) -> String {
    let (status, export) = caller.call(Method::POST, "exports", Some(json!({ "format": format }))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{export}");
    format!("exports/{}", export["id"].as_str().unwrap())
}

async fn ready(caller: &Caller, path: &str) -> Value {
    eventually("the export", async || {
        let (_, export) = caller.try_call(Method::GET, path, None).await.ok()?;
        assert!(export["error"].is_null(), "{export}");
        (export["status"] == "ready").then_some(export)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_made_fetched_by_anybody_with_its_address_and_survives_a_crash() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    keeper.channel("river").await;
    let path = asked_for(&keeper, "ndjson").await;
    let export = ready(&keeper, &path).await;
    let answer = reqwest::get(export["download_url"].as_str().unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    check_events(&events);
    assert_eq!(export["event_count"], events.len());
    assert_eq!(export["size_bytes"], text.len());
    assert_eq!(events, keeper.events().await[..events.len()], "the same as the feed");

    // Killed just when it was asked for: it is made all the same.
    let path = asked_for(&keeper, "parquet").await;
    weir.kill();
    let weir = Weir::up_again(&folder, &weir);
    let keeper = Caller::sign_in(&weir.http, "keeper").await;
    let export = ready(&keeper, &path).await;
    let answer = reqwest::get(export["download_url"].as_str().unwrap()).await.unwrap();
    let file = answer.bytes().await.unwrap();
    assert_eq!((&file[..4], &file[file.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    assert!(!weir.log().contains("token="), "the log shows addresses that open files");

    let (status, _) = keeper.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let file = folder.path().join("data/objects").join(&path);
    eventually("the file's end", async || (!file.exists()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_the_log_out_is_on_record_whichever_way() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let answer = keeper.request(Method::GET, "events?format=ndjson&actors=plain").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap();
    let path = asked_for(&keeper, "ndjson").await;
    ready(&keeper, &path).await;
    let output = folder.path().join("events.csv");
    let exported = command(&folder).args(["events", "export", "-o"]).arg(&output).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");

    // These pages are read, and leave none.
    let events = keeper.events().await;
    let exports: Vec<_> =
        events.iter().filter(|event| event["type"].as_str().unwrap().starts_with("export.")).collect();
    let keeper_is = &events.iter().find(|event| event["type"] == "account.registered").unwrap()["data"]["account_id"];
    for (way, by, names_accounts) in
        [("feed", keeper_is, true), ("job", keeper_is, false), ("command_line", &Value::Null, false)]
    {
        let of_way: Vec<_> = exports.iter().filter(|event| event["data"]["way"] == way).collect();
        let [requested] = of_way[..] else { panic!("{way}: {of_way:?}") };
        assert_eq!((&requested["data"]["by"], &requested["data"]["names_accounts"]), (by, &json!(names_accounts)));
        let of_one = exports.iter().filter(|event| event["subject"] == requested["subject"]);
        let types: Vec<_> = of_one.map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["export.requested", "export.completed"], "{way}");
    }
    assert_eq!(exports.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_exported_and_printed_beside_a_weir_that_is_up() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let output = folder.path().join("events.csv");
    let exported = command(&folder).args(["events", "export", "-o"]).arg(&output).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    assert!(fs::read_to_string(&output).unwrap().starts_with("position,id,time,type,"));

    let mut tail = command(&folder).args(["events", "tail", "--after", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["type"], "account.registered");
    assert_eq!(next()["position"], 2);
    keeper.channel("river").await;
    while next()["type"] != "channel.created" {}
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    assert!(tail.wait().unwrap().success());
}
