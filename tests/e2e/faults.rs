//! What is killed comes back, and nothing acknowledged is lost or happens twice.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    thread::{channel_when, on_air},
    weir::{DataDir, Weir, eventually},
};

/// Someone who creates one channel after the other until told to stop, and keeps what became of it.
pub struct Load {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

/// The handles of channels, by what was answered.
#[derive(Default)]
pub struct Told {
    acknowledged: Vec<String>,
    /// With certainty.
    refused: Vec<String>,
}

impl Load {
    pub fn start(caller: Caller) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let kept = Arc::clone(&told);
        let task = tokio::spawn(async move {
            for number in 0.. {
                let handle = format!("brook_{number}");
                let body = json!({ "handle": handle, "title": "A brook" });
                match caller.try_call(Method::POST, "channels", Some(body)).await {
                    Ok((StatusCode::CREATED | StatusCode::ACCEPTED, _)) => {
                        kept.lock().unwrap().acknowledged.push(handle);
                    }
                    Ok((status, answer)) => {
                        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nothing but a clean refusal: {answer}");
                        if answer["code"] != "outcome_unknown" {
                            kept.lock().unwrap().refused.push(handle);
                        }
                    }
                    // Weir itself is down.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Self { told, task }
    }

    /// Waits until so many more are acknowledged.
    pub async fn goes_on(&self, more: usize) {
        let acknowledged = || self.told.lock().unwrap().acknowledged.len();
        let before = acknowledged();
        eventually("commands are acknowledged", async || {
            assert!(!self.task.is_finished(), "the load failed; why is above");
            (acknowledged() >= before + more).then_some(())
        })
        .await;
    }

    pub async fn stop(self) -> Told {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "the load failed; why is above");
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

/// Every acknowledged channel is in the log exactly once and readable, and none that was refused is.
pub async fn check_channels(administrator: &Caller, told: &Told) {
    let events = administrator.events().await;
    check_events(&events);
    let created = |handle: &String| {
        let is_it = |event: &&Value| event["type"] == "channel.created" && event["data"]["handle"] == handle.as_str();
        events.iter().filter(is_it).count()
    };
    for handle in &told.acknowledged {
        assert_eq!(created(handle), 1, "{handle} was acknowledged");
    }
    for handle in &told.refused {
        assert_eq!(created(handle), 0, "{handle} was refused");
    }
    eventually("the read model has all of it", async || {
        for handle in &told.acknowledged {
            let (status, _) = administrator.call(Method::GET, &format!("channels/{handle}"), None).await;
            if status != StatusCode::OK {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_nats_are_killed_under_load() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = administrator.channel("river").await;
    let (mut encoder, live) = on_air(&administrator, "river", &weir.rtmp, &key).await;
    let load = Load::start(administrator.clone());
    load.goes_on(20).await;
    for name in ["postgres", "nats-server", "postgres"] {
        let before = folder.child(name);
        kill_process(Pid::from_raw(before).unwrap(), Signal::KILL).unwrap();
        eventually(&format!("{name} is back"), async || {
            let ready = reqwest::get(format!("{}/readyz", weir.http)).await.ok()?.status().is_success();
            (ready && folder.child_if_any(name).is_some_and(|pid| pid != before)).then_some(())
        })
        .await;
        load.goes_on(20).await;
    }
    let told = load.stop().await;
    check_channels(&administrator, &told).await;
    assert!(encoder.is_running(), "the broadcast does not need Postgres or NATS");
    assert_eq!(administrator.get("channels/river").await["live_stream_id"], live["live_stream_id"]);
    encoder.stop();
    channel_when(&administrator, "river", false).await;
    check_events(&administrator.events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_weir_goes_on_in_the_same_stream() {
    let folder = DataDir::new();
    let mut weir = Weir::up_with(&folder, &WAITS);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = administrator.channel("river").await;
    let (encoder, live) = on_air(&administrator, "river", &weir.rtmp, &key).await;
    let load = Load::start(administrator.clone());
    load.goes_on(20).await;
    let before = crate::playlist::check_live(live["playback"]["hls_url"].as_str().unwrap(), 4).await;
    weir.kill();
    let told = load.stop().await;
    drop(encoder);

    let (http, rtmp) = (weir.http.trim_start_matches("http://"), weir.rtmp.trim_start_matches("rtmp://"));
    let at = ["--http", http, "--rtmp", rtmp.trim_end_matches("/live")];
    let weir = Weir::up_with(&folder, &[&at[..], &WAITS[4..]].concat());
    let administrator = Caller::sign_in(&weir.http, "keeper").await;
    check_channels(&administrator, &told).await;
    eventually("its stream waits", async || {
        (administrator.get("channels/river/ingest").await["state"] == "reconnecting").then_some(())
    })
    .await;
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    eventually("the picture is back", async || {
        encoder.insist();
        (administrator.get("channels/river/ingest").await["state"] == "live").then_some(())
    })
    .await;
    let after = administrator.get("channels/river").await;
    assert_eq!(after["live_stream_id"], live["live_stream_id"], "within the grace time it is the same stream");
    let again = crate::playlist::check_live(after["playback"]["hls_url"].as_str().unwrap(), 4).await;
    assert!(again.first_sequence() > before.first_sequence(), "numbers never go backwards: {before:?} {again:?}");
    encoder.stop();
    channel_when(&administrator, "river", false).await;
    check_events(&administrator.events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_crash_left_open_is_ended() {
    let folder = DataDir::new();
    let arguments = ["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--reconnect-grace-seconds", "2"];
    let mut weir = Weir::up_with(&folder, &arguments);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, _) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    weir.kill();
    drop(encoder);
    let weir = Weir::up_with(&folder, &arguments);
    let viewer = Caller::anonymous(&weir.http);
    channel_when(&viewer, "river", false).await;
    let streams = viewer.get("streams?channel=river").await;
    assert_eq!(streams["items"][0]["end_reason"], "crashed", "{streams}");
}

/// Streams wait for longer than a machine can keep an encoder from coming back.
const WAITS: [&str; 6] = ["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--reconnect-grace-seconds", "600"];

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_encoder_is_waited_for() {
    let folder = DataDir::new();
    let mut weir = Weir::up_with(&folder, &WAITS);
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, live) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    encoder.kill();
    eventually("it is waited for", async || {
        (streamer.get("channels/river/ingest").await["state"] == "reconnecting").then_some(())
    })
    .await;
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    eventually("it is live again", async || {
        encoder.insist();
        (streamer.get("channels/river/ingest").await["state"] == "live").then_some(())
    })
    .await;
    assert_eq!(streamer.get("channels/river").await["live_stream_id"], live["live_stream_id"]);
    drop(encoder);
    weir.terminate();

    // And not for ever.
    let weir = Weir::up_with(&folder, &[&WAITS[..5], &["5"]].concat());
    let streamer = Caller::sign_in(&weir.http, "streamer").await;
    let (encoder, _) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    encoder.kill();
    channel_when(&streamer, "river", false).await;
    let streams = streamer.get("streams?channel=river").await;
    assert_eq!(streams["items"][0]["end_reason"], "connection_lost", "{streams}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_refused_loudly_and_corrupts_nothing() {
    let folder = DataDir::new();
    let _disk = SmallDisk::mount(&folder);
    let weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let key = administrator.channel("river").await;
    let (mut encoder, live) = on_air(&administrator, "river", &weir.rtmp, &key).await;
    let load = Load::start(administrator.clone());
    load.goes_on(20).await;

    let filler = folder.path().join("data/filler");
    let filled = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap());
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    // What fits into the last page is taken, and then its answer waits for a read model that has no room.
    let mut number = 0;
    let refused = eventually("a command is refused", async || {
        let asked = (0..16).map(|_| {
            number += 1;
            let handle = format!("one_more_{number}");
            let body = json!({ "handle": handle, "title": "x".repeat(140), "description": "x".repeat(2_000) });
            administrator.try_call(Method::POST, "channels", Some(body))
        });
        let asked: Vec<_> = asked.collect();
        let answers = futures::future::join_all(asked).await;
        answers.into_iter().find_map(|answer| match answer {
            Ok((StatusCode::SERVICE_UNAVAILABLE, answer)) => Some(answer),
            _ => None,
        })
    })
    .await;
    assert_eq!(refused["status"], 503, "{refused}");
    // Viewers notice nothing of it: media is served from memory.
    crate::playlist::check_live(live["playback"]["hls_url"].as_str().unwrap(), 6).await;
    assert!(encoder.is_running());

    // There is room again: all of it goes on, and nobody had to start anything.
    std::fs::remove_file(&filler).unwrap();
    load.goes_on(20).await;
    let told = load.stop().await;
    check_channels(&administrator, &told).await;
    let log = weir.log();
    assert!(log.contains("No space left on device"), "the operator is told why:\n{log}");
    encoder.stop();
    channel_when(&administrator, "river", false).await;
}

/// A disk of its own for a data directory, small enough to fill.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &DataDir) -> Self {
        let place = folder.path().join("data");
        std::fs::create_dir(&place).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=420m,mode=0755", "tmpfs"])
            .arg(&place)
            .output()
            .unwrap();
        assert!(
            mounted.status.success(),
            "no disk can be mounted here; run this test as root, in a container with the capability SYS_ADMIN: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(place)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still has a file open there must not keep the mount.
        drop(std::process::Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
