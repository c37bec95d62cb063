//! A node that takes streams in and does not reach Postgres, while NATS, the other nodes and everybody else reach it: who watches sees
//! no difference, nobody ends its streams for it, and what becomes of them is stored once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    moving::{end_reason, keeps_something, recorded_channel, recording, rtmp, sharing},
    nodes::{Node, Servers},
    playlist::{MediaPlaylist, check_live},
    thread::on_air,
    way::Way,
    weir::{DataDir, eventually},
};

/// A round of who looks after nodes, at which one said that it has a stream.
const CLAIMED: &str = "a stream is claimed";
/// After so many without that, a stream ends.
const UNCLAIMED_ROUNDS: usize = 3;

const CUT_OFF: &str =
    "this node does not reach Postgres, and others do not hear of it; its streams go on while it answers over NATS";
const BACK: &str = "this node reaches Postgres again, and others hear of it";
const WAITS: &str = "the end of a stream cannot be stored yet; trying on";
const STORED: &str = "stream ended";

/// An install of two nodes: one that takes streams in, whose way to Postgres can be broken, and one that does everything, whose way
/// cannot. The channel `river` is recorded.
struct Install {
    node: Node,
    other: Node,
    /// Where each of them is asked.
    places: [String; 2],
    keeper: Caller,
    key: String,
    servers: Servers,
    way: Way,
}

/// What is on the air at the node, and kept there.
struct OnAir {
    encoder: Encoder,
    stream: Value,
    recording: String,
}

impl Install {
    /// A node is gone when nothing was heard of it for `lost_after_seconds`. The data directories are those of the two.
    async fn new(lost_after_seconds: &str, [of_node, of_other]: [DataDir; 2]) -> Self {
        let servers = Servers::new().await;
        let migrated = servers.operate(&["migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let way = Way::to(&servers.database).await;
        let roles = "api,ingest,relay,projections,processes";
        let told = ["--node-lost-after-seconds", lost_after_seconds, "--log", "info,processes::nodes=debug"];
        let other = Node::serve_on(of_other, roles, &servers, &told);
        let node = Node::serve_on(of_node, "ingest", &servers.by(&way.url), &[]);
        let [here, there] =
            [node.serves("http").await, other.serves("http").await].map(|http| format!("http://{http}"));
        let keeper = Caller::register(&there, "keeper", Some(&servers.setup_token())).await;
        let key = recorded_channel(&keeper).await;
        Self { node, other, places: [here, there], keeper, key, servers, way }
    }

    async fn publish(&self) -> OnAir {
        let (encoder, channel) = on_air(&self.keeper, "river", &rtmp(&self.node).await, &self.key).await;
        let stream = channel["live_stream_id"].clone();
        let recording = recording(&self.keeper, "recording").await["id"].as_str().unwrap().to_owned();
        keeps_something(&self.node.path().join("data/objects"), &recording).await;
        OnAir { encoder, stream, recording }
    }

    /// At both nodes there are always new parts to be had of a stream.
    async fn shows_new_parts_of(&self, stream: &Value) {
        for place in &self.places {
            let address = format!("{place}/live/{}/source", stream.as_str().unwrap());
            let playlist = async || {
                let answer = reqwest::get(format!("{address}/index.m3u8")).await.ok()?;
                MediaPlaylist::parse(&answer.text().await.ok()?).ok()
            };
            let (before, _) = eventually("a playlist", playlist).await.next_position();
            eventually("new parts", async || {
                let playlist = playlist().await?;
                assert!(!playlist.is_ended, "{place}: the stream goes on");
                let part = playlist.segments.iter().rev().find_map(|segment| segment.parts.last())?;
                let is_new = playlist.next_position().0 >= before + 2;
                let answer = reqwest::get(format!("{address}/{}", part.uri)).await.ok()?;
                (is_new && answer.status().is_success()).then_some(())
            })
            .await;
        }
    }

    /// What the log says of something, in order, as far as it is about its beginning and its end.
    async fn events_of(&self, subject: String) -> Vec<Value> {
        let events = self.keeper.events().await;
        check_events(&events);
        let is_wanted = |kind: &Value| {
            ["started", "ended", "published", "failed"].iter().any(|end| kind.as_str().unwrap().ends_with(end))
        };
        events
            .iter()
            .filter(|event| event["subject"] == subject)
            .map(|event| event["type"].clone())
            .filter(is_wanted)
            .collect()
    }

    /// The stream has ended as it did, and its recording is whole: each was stored, once.
    async fn is_stored_once(&self, stream: &Value, id: &str) {
        assert_eq!(end_reason(&self.keeper, stream).await, "unpublished");
        let ready = recording(&self.keeper, "ready").await;
        assert_eq!((&ready["id"], &ready["cut_short"]), (&json!(id), &json!(null)), "{ready}");
        // Whatever the node had to say of it, it has.
        self.node.logs(STORED).await;
        let of_stream = self.events_of(format!("stream/{}", stream.as_str().unwrap())).await;
        assert_eq!(of_stream, ["stream.started", "stream.ended"]);
        let of_recording = self.events_of(format!("recording/{id}")).await;
        assert_eq!(of_recording, ["recording.started", "recording.published"]);
    }
}

/// What has happened to a node since its log had so many lines: each thing is said, and nothing again and again.
async fn says_enough_and_no_more(node: &Node, since: usize) {
    for told in [CUT_OFF, "rights to watch wait for the log", "streams that are to end wait for the log", WAITS] {
        assert_eq!(node.logs(told).await["level"], "WARN");
    }
    let log = node.log();
    let mut counts = BTreeMap::<&str, usize>::new();
    // These tell of a machine that is slow, each time.
    let of_slowness = ["sqlx::query", "ingest::thumbnails"];
    let is_of_slowness = |line: &Value| of_slowness.iter().any(|target| line["target"] == *target);
    for line in log[since..].iter().filter(|line| !is_of_slowness(line)) {
        *counts.entry(line["message"].as_str().unwrap_or_default()).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count <= 2), "{counts:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_postgres_refuses_keeps_its_viewers_and_tells_others_how_its_stream_ended() {
    let install = Install::new("10", [DataDir::new(), DataDir::new()]).await;
    let OnAir { encoder, stream, recording } = install.publish().await;
    let [here, there] =
        install.places.each_ref().map(|place| format!("{place}/live/{}/index.m3u8", stream.as_str().unwrap()));
    let cut_off = async {
        install.way.refuse().await;
        let since = install.node.log().len();
        install.node.logs(CUT_OFF).await;
        install.other.logs("a node is gone: nothing was heard of it for too long").await;
        eventually("more rounds than it takes to end a stream", async || {
            let log = install.other.log();
            (log.iter().filter(|line| line["message"] == CLAIMED).count() > UNCLAIMED_ROUNDS).then_some(())
        })
        .await;
        install.other.logs("a node does not reach Postgres but answers over NATS; its stream goes on").await;
        since
    };
    // Who is watching there and elsewhere, strictly.
    let (_, _, since) = tokio::join!(check_live(&here, 15), check_live(&there, 15), cut_off);
    install.shows_new_parts_of(&stream).await;
    assert_eq!(install.keeper.get("channels/river").await["live_stream_id"], stream);

    // What has ended is not live for as long as its node cannot say so; its recording is left to it.
    encoder.stop();
    install.node.logs(WAITS).await;
    assert_eq!(end_reason(&install.keeper, &stream).await, "unpublished");
    install.other.logs("a recording is left to its node").await;
    says_enough_and_no_more(&install.node, since).await;
    let of_recording = install.events_of(format!("recording/{recording}")).await;
    assert_eq!(of_recording, ["recording.started"]);

    install.way.open().await;
    install.node.logs(BACK).await;
    install.is_stored_once(&stream, &recording).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_to_which_postgres_says_nothing_stores_the_end_of_its_stream_once_it_answers() {
    // Nobody stores it for the node.
    let install = Install::new("3600", [DataDir::new(), DataDir::new()]).await;
    let OnAir { encoder, stream, recording } = install.publish().await;
    install.way.fall_silent().await;
    let since = install.node.log().len();
    install.node.logs(CUT_OFF).await;
    install.shows_new_parts_of(&stream).await;
    encoder.stop();
    install.node.logs(WAITS).await;
    says_enough_and_no_more(&install.node, since).await;
    let of_stream = install.events_of(format!("stream/{}", stream.as_str().unwrap())).await;
    assert_eq!(of_stream, ["stream.started"]);

    // What was connected before stays dead.
    install.way.open().await;
    install.node.logs(BACK).await;
    install.is_stored_once(&stream, &recording).await;

    // It is as before: what is decided elsewhere is heard of.
    let OnAir { encoder, stream, .. } = install.publish().await;
    let ended = install.servers.operate(&["streams", "end", "river"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    encoder.refused();
    assert_eq!(end_reason(&install.keeper, &stream).await, "taken_down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_could_not_store_before_it_died_is_stored_by_another() {
    let objects = DataDir::new();
    let install = Install::new("10", [sharing(&objects), sharing(&objects)]).await;
    let OnAir { encoder, stream, recording: id } = install.publish().await;
    install.way.refuse().await;
    encoder.stop();
    install.node.logs(WAITS).await;
    let Install { node, other, keeper, key, servers, way, .. } = install;
    let folder = node.kill();
    // Where all that took long, it has told how it ended, before.
    let reason = end_reason(&keeper, &stream).await;
    assert!(["crashed", "unpublished"].contains(&reason.as_str().unwrap()), "{reason}");
    let ready = recording(&keeper, "ready").await;
    assert_eq!((&ready["id"], &ready["cut_short"]), (&json!(id), &json!("crashed")), "{ready}");

    // It is back, and has nothing to add.
    way.open().await;
    let node = Node::serve_on(folder, "ingest", &servers.by(&way.url), &[]);
    let places = [format!("http://{}", node.serves("http").await), format!("http://{}", other.serves("http").await)];
    let install = Install { node, other, places, keeper, key, servers, way };
    // Who is let in there comes after it has looked at what it left.
    let again = install.publish().await;
    let of_stream = install.events_of(format!("stream/{}", stream.as_str().unwrap())).await;
    assert_eq!(of_stream, ["stream.started", "stream.ended"]);
    let of_recording = install.events_of(format!("recording/{id}")).await;
    assert_eq!(of_recording, ["recording.started", "recording.published"]);
    again.encoder.stop();
}
