//! Nodes that are gone, and encoders that come back to another: nothing stays live for ever, and nobody is kept out.

use std::{fs, os::unix::fs::symlink, path::Path};

use reqwest::Method;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::{
    api::Caller,
    browser::{comes_back, reaches, watch_at},
    encoder::Encoder,
    nodes::{Node, Servers},
    thread::{channel_when, on_air},
    weir::{DataDir, eventually},
};

/// An install of three nodes: one that answers people and looks after the others, and two that take streams in.
struct Install {
    servers: Servers,
    _api: Node,
    first: Node,
    second: Node,
    http: String,
    keeper: Caller,
}

/// The channel `river`, which records; its stream key.
pub async fn recorded_channel(keeper: &Caller) -> String {
    let key = keeper.channel("river").await;
    let settings = json!({ "is_on": true });
    let (status, answer) = keeper.call(Method::PUT, "channels/river/recording-settings", Some(settings)).await;
    assert!(status.is_success(), "{answer}");
    key
}

/// A recording of `river`, once it is so.
pub async fn recording(keeper: &Caller, status: &str) -> Value {
    eventually(&format!("a recording that is {status}"), async || {
        let page = keeper.get("channels/river/recordings").await;
        page["items"].as_array()?.iter().find(|one| one["status"] == status).cloned()
    })
    .await
}

/// Waits until `objects` has the first segment of a recording, and its name in the index: a folder of that name comes before.
pub async fn keeps_something(objects: &Path, recording: &str) {
    let index = objects.join(format!("recordings/{recording}/source/index/000000.jsonl"));
    eventually("something that is kept", async || index.exists().then_some(())).await;
}

/// As what a stream has ended, once it has.
pub async fn end_reason(keeper: &Caller, stream: &Value) -> Value {
    let path = format!("streams/{}", stream.as_str().unwrap());
    eventually("the end of a stream", async || {
        let stream = keeper.get(&path).await;
        (stream["is_live"] == false).then(|| stream["end_reason"].clone())
    })
    .await
}

/// A node is gone soon, and one that is only held up for ten seconds is not.
const GONE_SOON: [&str; 2] = ["--node-lost-after-seconds", "15"];
/// Streams wait for ever.
const WAITS: [&str; 2] = ["--reconnect-grace-seconds", "3600"];

impl Install {
    async fn new(arguments: &[&str]) -> Self {
        let servers = Servers::new().await;
        let migrated = servers.operate(&["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let api = Node::serve_with("api,relay,projections,processes", &servers, arguments);
        let first = Node::serve_with("ingest", &servers, arguments);
        let second = Node::serve_with("ingest", &servers, arguments);
        let http = format!("http://{}", api.serves("http").await);
        let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
        Self { servers, _api: api, first, second, http, keeper }
    }

    /// What `weir streams list --json` says.
    fn streams(&self) -> Vec<Value> {
        let listed = self.servers.operate(&["streams", "list", "--json"]);
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        serde_json::from_slice(&listed.stdout).unwrap()
    }

    /// The channel once it has another live stream than this one.
    async fn live_beside(&self, handle: &str, stream: &Value) -> Value {
        eventually("another stream", async || {
            let channel = self.keeper.get(&format!("channels/{handle}")).await;
            let found = channel["live_stream_id"].clone();
            (channel["is_live"] == true && found != *stream).then_some(found)
        })
        .await
    }

    async fn end_reason(&self, stream: &Value) -> Value {
        end_reason(&self.keeper, stream).await
    }

    /// Another encoder with the key is refused at a node, and the one that is connected goes on.
    async fn lets_nobody_in_beside(&self, encoder: &mut Encoder, rtmp: &str, key: &str, live: &Value) {
        let refused = Encoder::publish(rtmp, key).refused();
        assert!(!refused.is_empty());
        assert!(encoder.is_running(), "the first goes on");
        assert_eq!(self.keeper.get("channels/river").await["live_stream_id"], *live);
    }

    async fn ingest_state(&self, handle: &str, state: &str) {
        let path = format!("channels/{handle}/ingest");
        eventually(state, async || (self.keeper.get(&path).await["state"] == state).then_some(())).await;
    }
}

pub async fn rtmp(node: &Node) -> String {
    format!("rtmp://{}/live", node.serves("rtmp").await)
}

/// An encoder that tries again and again, as OBS does, until its channel has another stream than `before`.
async fn insist(install: &Install, server: &str, key: &str, before: &Value) -> (Encoder, Value) {
    let mut encoder = Encoder::publish(server, key);
    let stream = eventually("a place for the encoder", async || {
        encoder.insist();
        let channel = install.keeper.get("channels/river").await;
        let found = channel["live_stream_id"].clone();
        (channel["is_live"] == true && found != *before).then_some(found)
    })
    .await;
    (encoder, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_leaves_nothing_live_and_loses_nothing_that_it_kept() {
    let install = Install::new(&GONE_SOON).await;
    let keeper = install.keeper.clone();
    let key = recorded_channel(&keeper).await;
    let (encoder, live) = on_air(&keeper, "river", &rtmp(&install.first).await, &key).await;
    let live = live["live_stream_id"].clone();
    let listed = install.streams();
    assert_eq!((&listed[0]["stream_id"], &listed[0]["handle"]), (&live, &json!("river")), "{listed:?}");
    eventually("its node is heard of", async || (install.streams()[0]["is_node_heard"] == true).then_some(())).await;
    let id = recording(&keeper, "recording").await["id"].as_str().unwrap().to_owned();
    keeps_something(&install.first.path().join("data/objects"), &id).await;

    // It is gone, and its disk with it; nobody else has anything of it.
    let folder = install.first.kill();
    drop(encoder);
    channel_when(&keeper, "river", false).await;
    let rest = Install { first: install.second, second: Node::serve_with("ingest", &install.servers, &[]), ..install };
    assert_eq!(rest.end_reason(&live).await, "crashed");
    let lost = recording(&keeper, "failed").await;
    assert_eq!((&lost["id"], &lost["failure"]), (&json!(id), &json!("node_lost")), "{lost}");
    assert_eq!(rest.streams(), Vec::<Value>::new());

    // The channel is free, and the node finds no stream of its own when it is back; what it kept is published.
    let (encoder, again) = insist(&rest, &rtmp(&rest.first).await, &key, &live).await;
    let back = Node::serve_on(folder, "ingest", &rest.servers, &[]);
    back.serves("rtmp").await;
    let ready = recording(&keeper, "ready").await;
    assert_eq!((&ready["id"], &ready["failure"], &ready["cut_short"]), (&json!(id), &json!(null), &json!("crashed")));
    assert_eq!(keeper.get("channels/river").await["live_stream_id"], again);
    encoder.stop();
}

/// A data directory whose objects are where other nodes find them.
pub fn sharing(objects: &DataDir) -> DataDir {
    let folder = DataDir::new();
    fs::create_dir(folder.path().join("data")).unwrap();
    symlink(objects.path(), folder.path().join("data/objects")).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_kept_where_others_find_it_is_published_without_it() {
    let (servers, objects) = (Servers::new().await, DataDir::new());
    assert!(servers.operate(&["migrate"]).status.success());
    let api = Node::serve_on(sharing(&objects), "api,relay,projections,processes", &servers, &GONE_SOON);
    let node = Node::serve_on(sharing(&objects), "ingest", &servers, &GONE_SOON);
    let http = format!("http://{}", api.serves("http").await);
    let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
    let key = recorded_channel(&keeper).await;
    let (encoder, _) = on_air(&keeper, "river", &rtmp(&node).await, &key).await;
    let id = recording(&keeper, "recording").await["id"].as_str().unwrap().to_owned();
    keeps_something(objects.path(), &id).await;

    let folder = node.kill();
    drop(encoder);
    let ready = recording(&keeper, "ready").await;
    assert_eq!((&ready["id"], &ready["cut_short"]), (&json!(id), &json!("crashed")), "{ready}");
    let address: reqwest::Url = ready["playback"]["hls_url"].as_str().unwrap().parse().unwrap();
    let playlist = reqwest::get(format!("{http}{}", address.path())).await.unwrap();
    assert!(playlist.status().is_success(), "{address}: {}", playlist.status());

    // Its node is back, and has nothing to add.
    let back = Node::serve_on(folder, "ingest", &servers, &GONE_SOON);
    // Who is let in there comes after it has looked at what it left.
    let (encoder, _) = on_air(&keeper, "river", &rtmp(&back).await, &key).await;
    recording(&keeper, "recording").await;
    let events = keeper.events().await;
    let subject = format!("recording/{id}");
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind && event["subject"] == subject).count();
    assert_eq!((of("recording.started"), of("recording.published"), of("recording.failed")), (1, 1, 0));
    encoder.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_comes_back_to_another_node_goes_on_at_once() {
    let install = Install::new(&WAITS).await;
    let key = install.keeper.channel("river").await;
    let (first, second) = (rtmp(&install.first).await, rtmp(&install.second).await);
    let (mut encoder, channel) = on_air(&install.keeper, "river", &first, &key).await;
    let live = channel["live_stream_id"].clone();
    let address = format!("{}/live/channels/{}/index.m3u8", install.http, channel["id"].as_str().unwrap());
    crate::playlist::check_live(&address, 2).await;
    let (state, mut page) = watch_at(&install.http, "another-node");
    reaches(&state, &mut page, "playing").await;

    // Beside one that is connected nobody is let in, on whichever node.
    install.lets_nobody_in_beside(&mut encoder, &second, &key, &live).await;

    encoder.kill();
    install.ingest_state("river", "reconnecting").await;
    reaches(&state, &mut page, "interrupted").await;
    let mut encoder = Encoder::publish(&second, &key);
    // A page that was left open goes over by itself.
    comes_back(&state, &mut page, &mut encoder).await;
    page.passes().await;
    let again = install.live_beside("river", &live).await;
    assert_eq!(install.end_reason(&live).await, "moved");
    // The address of the channel plays the new stream, at a node that knew the former one.
    let played = eventually("the new stream at the channel's address", async || {
        let answer = reqwest::get(&address).await.ok()?;
        answer.url().path().contains(again.as_str().unwrap()).then_some(())
    });
    played.await;
    crate::playlist::check_live(&address, 2).await;
    // What is left of the former says that it is over.
    let former = format!("{}/live/{}/source/index.m3u8", install.http, live.as_str().unwrap());
    eventually("the end of the former", async || {
        reqwest::get(&former).await.ok()?.text().await.ok()?.contains("#EXT-X-ENDLIST").then_some(())
    })
    .await;

    // An operator ends what does not end by itself, and the node that has it sends the encoder away.
    let ended = install.servers.operate(&["streams", "end", "river"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(install.end_reason(&again).await, "taken_down");
    encoder.refused();
    let nothing = install.servers.operate(&["streams", "end", "river"]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("river is not live"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_keeps_nobody_out_and_both_never_have_the_channel() {
    let install = Install::new(&WAITS).await;
    let key = install.keeper.channel("river").await;
    let (first, second) = (rtmp(&install.first).await, rtmp(&install.second).await);
    let (mut stuck, live) = on_air(&install.keeper, "river", &first, &key).await;
    let live = live["live_stream_id"].clone();

    // Stopped, it answers nobody and is not heard of; its connections are open.
    kill_process(install.first.pid(), Signal::STOP).unwrap();
    let (mut encoder, again) = insist(&install, &second, &key, &live).await;
    assert_eq!(install.end_reason(&live).await, "crashed");
    // When it goes on it reads that it has lost the stream, and sends its encoder away.
    kill_process(install.first.pid(), Signal::CONT).unwrap();
    eventually("the former encoder is sent away", async || (!stuck.is_running()).then_some(())).await;
    assert!(encoder.is_running());
    assert_eq!(install.keeper.get("channels/river").await["live_stream_id"], again);

    // Two encoders come to two nodes at the same moment, for a stream that waits on one of them.
    encoder.kill();
    install.ingest_state("river", "reconnecting").await;
    let mut both = [Encoder::publish(&first, &key), Encoder::publish(&second, &key)];
    eventually("one of them is sent away", async || both.iter_mut().any(|encoder| !encoder.is_running()).then_some(()))
        .await;
    install.ingest_state("river", "live").await;
    assert_eq!(both.iter_mut().filter_map(|encoder| encoder.is_running().then_some(())).count(), 1);
    eventually("one stream", async || {
        let streams = install.streams();
        assert!(streams.len() < 2, "{streams:?}");
        (streams.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_heard_of_but_answers_keeps_a_stream_whose_encoder_speaks() {
    let install = Install::new(&WAITS).await;
    let key = install.keeper.channel("river").await;
    let (first, second) = (rtmp(&install.first).await, rtmp(&install.second).await);
    let (mut encoder, live) = on_air(&install.keeper, "river", &first, &key).await;
    let live = live["live_stream_id"].clone();

    // Every beat is an hour old, as the last ones are after an outage of Postgres.
    let mut database = PgConnection::connect(&install.servers.database).await.unwrap();
    let late = "create function public.late() returns trigger language plpgsql as \
        $$ begin new.heard_at := clock_timestamp() - interval '1 hour'; return new; end $$";
    sqlx::query(late).execute(&mut database).await.unwrap();
    let beats = "create trigger late before insert or update on log.nodes for each row execute function public.late()";
    sqlx::query(beats).execute(&mut database).await.unwrap();
    eventually("a node that is not heard of", async || (install.streams()[0]["is_node_heard"] == false).then_some(()))
        .await;

    install.lets_nobody_in_beside(&mut encoder, &second, &key, &live).await;

    // Its stream waits for its encoder: then it is ended for it.
    encoder.kill();
    install.ingest_state("river", "reconnecting").await;
    let (encoder, _) = insist(&install, &second, &key, &live).await;
    assert_eq!(install.end_reason(&live).await, "moved");
    encoder.stop();
}
