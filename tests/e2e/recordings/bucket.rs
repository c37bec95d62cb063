//! Recordings whose objects are in S3: the server goes away and comes back, and Weir is killed in between.

use reqwest::{Client, Method, StatusCode, redirect};
use serde_json::Value;
use server::{BUCKET, Server};
use storage::{Key, Storage};

use super::{probe, recording, recording_channel};
use crate::{
    api::Caller,
    encoder::Encoder,
    thread::on_air,
    weir::{DataDir, Weir, command, eventually},
};

#[expect(dead_code, reason = "what the tests of the storage need of it")]
#[path = "../../../storage/tests/it/server.rs"]
mod server;

fn up(folder: &DataDir, server: &Server, addresses: &[&str]) -> Weir {
    let options = server.options();
    let mut command = command(folder);
    command
        .env("WEIR_STORAGE_BACKEND", "s3")
        .env("WEIR_STORAGE_BUCKET", BUCKET)
        .env("WEIR_STORAGE_ENDPOINT", options.endpoint.as_deref().unwrap())
        .env("WEIR_STORAGE_PREFIX", options.prefix.as_ref().unwrap().as_str())
        .env("WEIR_S3_ACCESS_KEY", &options.access_key)
        .env("WEIR_S3_SECRET_KEY", &options.secret_key);
    let grace = ["--reconnect-grace-seconds", "600"];
    Weir::up_from(&mut command, folder, &[addresses, &grace].concat())
}

/// The segments of a recording that wait on the disk, in no particular order.
fn waiting(folder: &DataDir, id: &str) -> Vec<String> {
    let source = folder.path().join(format!("data/objects/recordings/{id}/source"));
    let Ok(entries) = std::fs::read_dir(source) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".m4s")).collect()
}

async fn status(address: &str) -> StatusCode {
    reqwest::get(address).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_may_go_away_and_weir_be_killed_while_a_stream_is_recorded() {
    let mut server = Server::start().await;
    let folder = DataDir::new();
    let mut weir = up(&folder, &server, &Weir::ANYWHERE);
    let token = weir.setup_token();
    let caller = Caller::register(&weir.http, "mira", Some(&token)).await;
    let key = recording_channel(&weir, &caller, "river").await;
    let (encoder, _) = on_air(&caller, "river", &weir.rtmp, &key).await;
    let id = recording(&caller, "river", "recording").await["id"].as_str().unwrap().to_owned();
    let object = |name: &str| format!("recordings/{id}/{name}");
    let is_moved = |server: &Server, name: &str| server.has(&object(&format!("source/{name}")));
    eventually("segments are in S3, and one of them nowhere else", async || {
        let is_alone = !waiting(&folder, &id).iter().any(|name| name == "s0.m4s");
        (is_alone && is_moved(&server, "s0.m4s") && is_moved(&server, "s2.m4s")).then_some(())
    })
    .await;

    // What comes now waits on the disk, also for the next process. One that S3 has may wait, too: its answer was cut off.
    server.stop().await;
    let waits = || {
        let mut waiting = waiting(&folder, &id);
        waiting.retain(|name| !is_moved(&server, name));
        waiting
    };
    let wait_for = async |count: usize| {
        eventually("segments wait on the disk", async || (waits().len() >= count).then_some(())).await;
    };
    wait_for(3).await;
    weir.kill();
    encoder.kill();
    let (http, rtmp) = (weir.http.trim_start_matches("http://"), weir.rtmp.trim_start_matches("rtmp://"));
    let weir = up(&folder, &server, &["--http", http, "--rtmp", rtmp.trim_end_matches("/live")]);
    let caller = Caller::sign_in(&weir.http, "mira").await;
    let mut encoder = Encoder::publish(&weir.rtmp, &key);
    eventually("the encoder is back", async || {
        encoder.insist();
        (caller.get("channels/river/ingest").await["state"] == "live").then_some(())
    })
    .await;
    wait_for(8).await;
    encoder.stop();
    let finished = recording(&caller, "river", "ready").await;
    assert_eq!((&finished["id"], &finished["cut_short"]), (&Value::from(id.as_str()), &Value::Null), "{finished}");
    assert_eq!(finished["gap_count"], 1, "{finished}");
    let hls_url = finished["playback"]["hls_url"].as_str().unwrap().to_owned();
    let address = |name: &str| hls_url.replace("index.m3u8", name);

    // Meanwhile the playlist is there, and what waits on the disk plays from it; the rest is said to be away, and not to be gone.
    assert_eq!(status(&address("source/index.m3u8")).await, StatusCode::OK);
    let on_disk = waits();
    assert!(on_disk.len() >= 8, "{on_disk:?}");
    for name in &on_disk {
        assert_eq!(status(&address(&format!("source/{name}"))).await, StatusCode::OK, "{name}");
    }
    assert_eq!(status(&address("source/s0.m4s")).await, StatusCode::SERVICE_UNAVAILABLE);

    // Back again, it gets everything, and everything plays.
    server.start_again();
    let recorded = folder.path().join(format!("data/objects/recordings/{id}"));
    eventually("all of it is moved", async || (!recorded.exists()).then_some(())).await;
    assert!(on_disk.iter().all(|name| is_moved(&server, name)), "{on_disk:?}");
    let duration_ms = finished["duration_ms"].as_f64().unwrap();
    let is_whole = |seconds: f64| (seconds * 1_000.0 - duration_ms).abs() < 300.0;
    let played = probe(&hls_url).await;
    assert!(is_whole(played), "{played} s played of {duration_ms} ms");

    // The first download comes from Weir, and later ones from S3: the same file.
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let download_url = finished["download_url"].as_str().unwrap();
    let first = client.get(download_url).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let first = first.bytes().await.unwrap();
    let presigned = eventually("downloads are sent to S3", async || {
        let answer = client.get(download_url).send().await.unwrap();
        let location = answer.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
        // A copy is made by one download at a time.
        drop(answer.bytes().await);
        location
    })
    .await;
    let endpoint = server.options().endpoint.unwrap();
    assert!(presigned.starts_with(&endpoint) && presigned.contains("X-Amz-Signature="), "{presigned}");
    let downloaded = probe(&presigned).await;
    assert!(is_whole(downloaded), "{downloaded} s downloaded of {duration_ms} ms");
    assert!(client.get(&presigned).send().await.unwrap().bytes().await.unwrap() == first, "another file");

    // Deleted is deleted, in S3 too.
    let bucket = Storage::open_s3(server.options()).unwrap();
    let all = Key::new(format!("recordings/{id}")).unwrap();
    assert!(bucket.usage(&all).await.unwrap().objects > 10);
    let (answered, _) = caller.call(Method::DELETE, &format!("recordings/{id}"), None).await;
    assert_eq!(answered, StatusCode::NO_CONTENT);
    eventually("nothing is left in S3", async || {
        (bucket.usage(&all).await.unwrap().objects == 0 && !recorded.exists()).then_some(())
    })
    .await;
    assert_eq!(status(&presigned).await, StatusCode::NOT_FOUND);
    eventually("it plays no more", async || (status(&hls_url).await == StatusCode::NOT_FOUND).then_some(())).await;
}
