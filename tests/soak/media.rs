//! The media plane for long: a Weir of its own, two encoders of different kinds, and all that they send watched at each
//! second, live, in the past, as DASH, and part by part. One of them goes away now and then and comes back with another size.
//!
//! `make soak-media` runs it for an hour; `WEIR_SOAK_MINUTES` makes it shorter, and what lasts longer than the whole is
//! shortened with it. What cannot be hurried is the machine's time: an hour of media in minutes is
//! `ingest/tests/packager_hours.rs`.

use std::{
    thread,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    api::Caller,
    encoder::{Encoder, Shape},
    live, setting,
    weir::{DataDir, Weir, eventually},
};

/// With reordered pictures, and sound as most send it.
const FIRST: Shape = Shape { profile: "high", channels: "2", ..Shape::USUAL };
/// The rate of films, mono at the rate of discs.
const SECOND: Shape =
    Shape { size: "1280x720", frame_rate: "24000/1001", profile: "baseline", sound_hz: "44100", channels: "1" };
/// What the second one comes back with, in turn with what it was.
const OTHER: Shape = Shape { size: "640x360", frame_rate: "30", profile: "high", sound_hz: "48000", channels: "2" };
/// How often it goes away in all.
const ABSENCES: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes as long as it is told to, an hour unless set: make soak-media"]
async fn two_streams_are_valid_at_each_second() {
    let minutes: u32 = setting("WEIR_SOAK_MINUTES").unwrap_or(60);
    let rewind_minutes = (minutes / 2).clamp(1, 30).to_string();
    let length = Duration::from_secs(u64::from(minutes) * 60);
    let folder = DataDir::new();
    let arguments = ["--rewind-minutes", &rewind_minutes, "--ladder-rungs", "180p:180:30:200"];
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &arguments].concat());
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let mut addresses = Vec::new();
    let mut encoders = Vec::new();
    for (handle, shape) in [("river", FIRST), ("spring", SECOND)] {
        let key = streamer.channel(handle).await;
        if handle == "river" {
            let path = format!("channels/{handle}/recording-settings");
            let (status, answer) = streamer.call(Method::PUT, &path, Some(json!({ "is_on": true }))).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
        }
        let encoder = Encoder::publish_as(&weir.rtmp, &key, shape);
        let stream = live_stream(&streamer, handle).await;
        let folder = format!("{}/live/{stream}", weir.http);
        addresses.extend(["index.m3u8", "rewind.m3u8", "index.mpd"].map(|name| format!("{folder}/{name}")));
        encoders.push((key, encoder));
    }
    eventually("all of it can be watched", async || {
        for address in &addresses {
            let answer = reqwest::get(address).await.ok()?;
            if !answer.status().is_success() {
                return None;
            }
        }
        Some(())
    })
    .await;

    let process = weir.pid().as_raw_nonzero().get().unsigned_abs().into();
    let (key, comes_and_goes) = encoders.pop().expect("there are two");
    let rtmp = weir.rtmp.clone();
    let until = Instant::now() + length;
    let absences = thread::spawn(move || come_and_go(comes_and_goes, &rtmp, &key, until));
    let watching = tokio::task::spawn_blocking(move || live::watch(addresses, length, Some(process)));
    watching.await.expect("what was found is above");
    let absences = absences.join().expect("an encoder does what it is told");
    println!("the second encoder was away {absences} times");
    assert!(absences > 0);
    assert!(!weir.log().contains("panicked"), "{}", weir.log());
}

async fn live_stream(streamer: &Caller, handle: &str) -> String {
    let path = format!("channels/{handle}");
    eventually(&format!("{handle} is live"), async || {
        let (_, channel): (_, Value) = streamer.try_call(Method::GET, &path, None).await.ok()?;
        Some(channel["live_stream_id"].as_str()?.to_owned())
    })
    .await
}

/// Takes the encoder away so often in the time that there is, and brings it back as another one.
fn come_and_go(mut encoder: Encoder, rtmp: &str, key: &str, until: Instant) -> u32 {
    let every = until.saturating_duration_since(Instant::now()) / (ABSENCES + 1);
    for absence in 0..ABSENCES {
        thread::sleep(every);
        encoder.kill();
        thread::sleep(Duration::from_secs(5));
        let shape = if absence.is_multiple_of(2) { OTHER } else { SECOND };
        encoder = Encoder::publish_as(rtmp, key, shape);
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    encoder.stop();
    ABSENCES
}
