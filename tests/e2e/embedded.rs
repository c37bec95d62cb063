//! `weir up` and its own Postgres and NATS: up, down, again, and never two at once.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    api::{Caller, check_events},
    thread::{channel_when, on_air},
    weir::{DataDir, Weir, command, eventually},
};

async fn left_nothing(folder: &DataDir) {
    eventually("nothing is left running", async || folder.processes().is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_without_a_trace_and_finds_everything_again() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let token = weir.setup_token();
    let streamer = Caller::register(&weir.http, "keeper", Some(&token)).await;
    let key = streamer.channel("river").await;
    let status = weir.terminate();
    assert!(status.success(), "{status}\n{}", weir.log());
    left_nothing(&folder).await;

    let weir = Weir::up_again(&folder, &weir);
    assert!(weir.said.iter().all(|line| !line.contains("setup_token=")), "an administrator exists: {:?}", weir.said);
    let again = Caller::sign_in(&weir.http, "keeper").await;
    assert_eq!(again.get("channels/river/stream-key").await["stream_key"], key.as_str());
    check_events(&again.events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_live_streams_in_order() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    let streamer = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = streamer.channel("river").await;
    let (encoder, _) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    let status = weir.interrupt();
    assert!(status.success(), "{status}\n{}", weir.log());
    left_nothing(&folder).await;
    drop(encoder);

    let weir = Weir::up_again(&folder, &weir);
    let again = Caller::sign_in(&weir.http, "keeper").await;
    // What was told at the end of the former is read at the beginning of this one.
    let reason = eventually("the end of the stream", async || {
        let streams = again.get("streams?channel=river").await;
        (streams["items"][0]["is_live"] == false).then(|| streams["items"][0]["end_reason"].clone())
    });
    assert_eq!(reason.await, "shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_does_not_wait() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    // Stopping in order takes as long as Postgres takes, which now is for ever.
    let stopped = folder.suspend("postgres");
    weir.press_ctrl_c();
    eventually("it stops", async || weir.log().contains("told to stop").then_some(())).await;
    eventually("it is told again", async || {
        weir.press_ctrl_c();
        weir.log().contains("told to stop again: ending at once").then_some(())
    })
    .await;
    let status = weir.wait();
    assert!(!status.success(), "{status}");
    assert!(weir.log().contains("told to stop twice"), "{}", weir.log());
    // What could not be waited for was told all the same.
    drop(stopped);
    left_nothing(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_starting_leaves_nothing_behind() {
    let folder = DataDir::new();
    for name in ["nats-server", "postgres"] {
        let mut starting = command(&folder)
            .args(["up", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually(&format!("{name} is started"), async || folder.child_if_any(name)).await;
        kill_process(Pid::from_child(&starting), Signal::TERM).unwrap();
        let status = starting.wait().unwrap();
        assert!(status.success(), "{status}");
        left_nothing(&folder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_any_more_does_not_keep_it_from_stopping_in_order() {
    let folder = DataDir::new();
    let mut child = command(&folder)
        .args(["up", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As of `weir up 2>&1 | tee log`, when Ctrl-C has ended tee.
    drop((child.stdout.take(), child.stderr.take()));
    eventually("the set-up token", async || folder.path().join("data/setup-token").exists().then_some(())).await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    left_nothing(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_has_room_for_the_connections_that_are_asked_for() {
    let folder = DataDir::new();
    let arguments = ["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--database-connections", "200"];
    let _weir = Weir::up_with(&folder, &arguments);
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&folder.database_url()).await.unwrap();
    let room: String = sqlx::query_scalar("show max_connections").fetch_one(&mut connection).await.unwrap();
    assert!(room.parse::<u32>().unwrap() > 200, "{room}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_folder_is_refused() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let second = command(&folder)
        .args(["up", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    let pid = weir.pid().as_raw_nonzero().to_string();
    assert!(said.contains("in use") && said.contains(&pid), "{said}");
    Caller::anonymous(&weir.http).get("streams").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_of_a_kill_are_stopped_at_the_next_start() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    weir.kill();
    let weir = Weir::up_again(&folder, &weir);
    folder.child("postgres");
    folder.child("nats-server");
    Caller::sign_in(&weir.http, "keeper").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_servers_are_used_when_named() {
    let database = ::embedded::testing::database().await;
    let nats = ::embedded::testing::nats().await;
    let folder = DataDir::new();
    let weir = Weir::up_with(
        &folder,
        &["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--database-url", &database.url, "--nats-url", &nats],
    );
    eventually("it has no servers of its own", async || (folder.processes().len() == 1).then_some(())).await;
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, _) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    encoder.stop();
    channel_when(&streamer, "river", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_child_is_started_again() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    for name in ["postgres", "nats-server"] {
        let before = folder.child(name);
        kill_process(Pid::from_raw(before).unwrap(), Signal::KILL).unwrap();
        eventually(&format!("a new {name}"), async || {
            let ready = reqwest::get(format!("{}/readyz", weir.http)).await.ok()?.status().is_success();
            (ready && folder.child_if_any(name).is_some_and(|pid| pid != before)).then_some(())
        })
        .await;
    }
    Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    assert!(weir.log().contains("postgres") && weir.log().contains("nats"), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_not_taken_with_other_keys() {
    let folder = DataDir::new();
    let mut weir = Weir::up(&folder);
    weir.terminate();
    std::fs::remove_file(folder.path().join("data/secrets.toml")).unwrap();
    let output = command(&folder)
        .args(["up", "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("put back the secrets file"), "{said}");
    left_nothing(&folder).await;
}
