//! Nodes that are gone: what they had live ends, and what they recorded is handed on, however Postgres and the others are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use commands::{
    Actor, Commands, Metadata, nodes,
    recordings::{self, UnderWay},
    streams,
};
use domain::{
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    recordings::{FinishedRecording, RecordingFailure, RecordingPolicy, RecordingState},
    streams::EndReason,
};
use futures::{FutureExt, future::BoxFuture};
use processes::{NodesOptions, OtherNodes, StreamElsewhere, following::BoxError};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    people::{channel, stream},
    stage::{Stage, until},
};

const GONE: u128 = 1;
const HERE: u128 = 2;

fn node(number: u128) -> NodeId {
    Uuid::from_u128(number).into()
}

/// The other nodes: some streams are somewhere, and recordings are lost with their nodes.
#[derive(Default)]
struct Others {
    commands: Mutex<Option<Commands>>,
    somewhere: Mutex<HashMap<StreamId, StreamElsewhere>>,
    /// So many of the next questions get lost: nobody answers them.
    lost_questions: Mutex<u32>,
    asked: Mutex<Vec<StreamId>>,
    cannot_be_asked: Mutex<bool>,
    finished: Mutex<Vec<UnderWay>>,
}

impl OtherNodes for Others {
    fn have(&self, stream_id: StreamId) -> BoxFuture<'_, Result<StreamElsewhere, BoxError>> {
        self.asked.lock().unwrap().push(stream_id);
        let answer = match *self.cannot_be_asked.lock().unwrap() {
            true => Err("NATS is away".into()),
            false if self.loses_this() => Ok(StreamElsewhere::Nowhere),
            false => Ok(self.standing_of(stream_id)),
        };
        std::future::ready(answer).boxed()
    }

    fn finish(&self, lost: UnderWay) -> BoxFuture<'_, Result<(), BoxError>> {
        self.finished.lock().unwrap().push(lost);
        let commands = self.commands.lock().unwrap().clone().unwrap();
        async move {
            let reason = RecordingFailure::NodeLost;
            recordings::fail(&commands, lost.recording.recording_id, lost.node_id, reason).await?;
            Ok(())
        }
        .boxed()
    }
}

impl Others {
    fn standing_of(&self, stream_id: StreamId) -> StreamElsewhere {
        self.somewhere.lock().unwrap().get(&stream_id).copied().unwrap_or(StreamElsewhere::Nowhere)
    }

    fn loses_this(&self) -> bool {
        let mut left = self.lost_questions.lock().unwrap();
        let is_lost = *left > 0;
        *left = left.saturating_sub(1);
        is_lost
    }
}

struct Watched {
    stage: Stage,
    others: Arc<Others>,
    running: JoinHandle<()>,
    beating: JoinHandle<()>,
}

impl Watched {
    /// The node [`HERE`] is heard of for as long as this is kept.
    async fn new() -> Self {
        let stage = Stage::new().await;
        let others = Arc::new(Others::default());
        *others.commands.lock().unwrap() = Some(stage.commands.clone());
        let beating = {
            let pool = stage.pool.clone();
            tokio::spawn(async move {
                loop {
                    nodes::beat(&pool, node(HERE), None).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let running = watch(&stage.commands, &others);
        Self { stage, others, running, beating }
    }

    async fn is_live(&self, channel_id: ChannelId) -> bool {
        streams::is_live(&self.stage.commands, channel_id).await.unwrap()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.running.abort();
        self.beating.abort();
    }
}

fn watch(commands: &Commands, others: &Arc<Others>) -> JoinHandle<()> {
    let commands = commands.clone();
    // Rounds of two seconds, far apart for a node that beats every 20 ms.
    let options = NodesOptions { lost_after: Duration::from_secs(10), others: Arc::clone(others) as _ };
    tokio::spawn(async move { processes::nodes::run(&commands, &options).await })
}

/// A stream of a channel that records, and its recording.
async fn recorded(commands: &Commands, node_id: NodeId) -> (ChannelId, StreamId, RecordingId) {
    let owner_id = AccountId::from(Uuid::now_v7());
    let handle = format!("c{}", &Uuid::new_v4().simple().to_string()[..20]);
    let channel_id = channel(commands, owner_id, &handle).await;
    let metadata = Metadata::new(Actor::Account(owner_id));
    let policy = RecordingPolicy { is_on: true, ..RecordingPolicy::default() };
    recordings::change_policy(commands, channel_id, owner_id, policy, metadata).await.unwrap();
    let stream_id = stream(commands, channel_id, node_id).await;
    let begun = recordings::start(commands, stream_id, channel_id, node_id).await.unwrap().unwrap();
    (channel_id, stream_id, begun.recording_id)
}

async fn state(commands: &Commands, recording_id: RecordingId) -> RecordingState {
    recordings::kept_by(commands, recording_id).await.unwrap().unwrap().1
}

#[tokio::test]
async fn a_node_that_never_returns_leaves_nothing_live_and_nothing_unfinished() {
    let watched = Watched::new().await;
    let commands = &watched.stage.commands;
    // One was heard of once; of the other there never was a word.
    nodes::beat(&watched.stage.pool, node(GONE), None).await.unwrap();
    // One that nobody can end holds up nothing: a newer version has written of it.
    let unreadable = ChannelId::from(Uuid::now_v7());
    let of_newer = stream(commands, unreadable, node(GONE)).await;
    let (newer, payload) = ((of_newer.to_string(), 2), serde_json::json!({}));
    watched.stage.append_raw(newer, "stream.dreamt_of", "1", &payload, "system").await;
    let (first, _, recording) = recorded(commands, node(GONE)).await;
    let second = ChannelId::from(Uuid::now_v7());
    stream(commands, second, node(3)).await;
    let (kept, _, goes_on) = recorded(commands, node(HERE)).await;
    until("the ends of both", async || !watched.is_live(first).await && !watched.is_live(second).await).await;
    until("the recording's end", async || state(commands, recording).await == RecordingState::Failed).await;
    assert!(watched.is_live(kept).await && watched.is_live(unreadable).await);
    assert_eq!(state(commands, goes_on).await, RecordingState::Recording);
    let lost = watched.others.finished.lock().unwrap().clone();
    assert!(lost.iter().all(|one| one.node_id == node(GONE) && one.recording.recording_id == recording), "{lost:?}");
    // Nobody finishes it again.
    let under_way = recordings::under_way(commands).await.unwrap();
    assert_eq!(under_way.iter().map(|one| one.recording.recording_id).collect::<Vec<_>>(), [goes_on]);

    // It is back after all, with the recording on its disk.
    let open = recordings::open_recordings(commands, node(GONE)).await.unwrap();
    assert_eq!(open.iter().map(|one| one.recording_id).collect::<Vec<_>>(), [recording]);
    let open = streams::open_streams(commands, node(GONE)).await.unwrap();
    assert_eq!(open.iter().map(|one| one.stream_id).collect::<Vec<_>>(), [of_newer]);
    let (renditions, gap_count, cut_short) = (Vec::new(), 0, None);
    let finished = FinishedRecording { duration_ms: 1_000, size_bytes: 100, renditions, gap_count, cut_short };
    recordings::publish(commands, recording, node(GONE), finished).await.unwrap();
    assert_eq!(state(commands, recording).await, RecordingState::Published);
    assert_eq!(recordings::open_recordings(commands, node(GONE)).await.unwrap(), []);
}

#[tokio::test]
async fn a_node_that_is_cut_off_from_postgres_alone_keeps_its_stream() {
    let watched = Watched::new().await;
    let commands = &watched.stage.commands;
    let channel_id = ChannelId::from(Uuid::now_v7());
    *watched.others.cannot_be_asked.lock().unwrap() = true;
    let stream_id = stream(commands, channel_id, node(GONE)).await;
    let asked = async |count: usize| {
        let before = watched.others.asked.lock().unwrap().len();
        until("a question", async || watched.others.asked.lock().unwrap().len() >= before + count).await;
    };
    // While nobody can be asked, and while somebody has it.
    asked(2).await;
    assert!(watched.is_live(channel_id).await);
    watched.others.somewhere.lock().unwrap().insert(stream_id, StreamElsewhere::GoesOn);
    *watched.others.cannot_be_asked.lock().unwrap() = false;
    asked(2).await;
    assert!(watched.is_live(channel_id).await);
    // It is asked again before it ends.
    *watched.others.lost_questions.lock().unwrap() = 2;
    asked(3).await;
    assert!(watched.is_live(channel_id).await);
    watched.others.somewhere.lock().unwrap().clear();
    until("its end", async || !watched.is_live(channel_id).await).await;
}

#[tokio::test]
async fn what_has_ended_at_a_node_that_is_cut_off_ends_as_it_says_and_its_recording_is_left_to_it() {
    let watched = Watched::new().await;
    let commands = &watched.stage.commands;
    nodes::beat(&watched.stage.pool, node(GONE), None).await.unwrap();
    let (channel, stream_id, recording) = recorded(commands, node(GONE)).await;
    let ended = StreamElsewhere::Ended(EndReason::Unpublished);
    watched.others.somewhere.lock().unwrap().insert(stream_id, ended);
    until("its end", async || !watched.is_live(channel).await).await;
    let reason = "select count(*) from log.events where event_type = 'stream.ended' and payload->'Ended'->>'reason' = 'unpublished'";
    watched.stage.until_count("an end as it was", reason, 1).await;
    // Once for its end, and at least once for its recording.
    until("a question after it", async || watched.others.asked.lock().unwrap().len() >= 2).await;
    assert_eq!(state(commands, recording).await, RecordingState::Recording);
    // It dies before it reaches the log.
    watched.others.somewhere.lock().unwrap().clear();
    until("the recording's end", async || state(commands, recording).await == RecordingState::Failed).await;
}

#[tokio::test]
async fn a_recording_whose_node_is_still_at_it_is_left_to_it() {
    let watched = Watched::new().await;
    let commands = &watched.stage.commands;
    // Heard of once: with a node that never said a word, recordings are looked at in one round of twelve alone.
    nodes::beat(&watched.stage.pool, node(GONE), None).await.unwrap();
    // The log says that both streams are over; one is still going on where the log cannot be read.
    let (_, kept, at_it) = recorded(commands, node(GONE)).await;
    let (_, over, lost) = recorded(commands, node(GONE)).await;
    watched.others.somewhere.lock().unwrap().insert(kept, StreamElsewhere::GoesOn);
    for stream_id in [kept, over] {
        streams::end(commands, stream_id, node(GONE), EndReason::Crashed).await.unwrap();
    }
    // The older one is looked at first.
    until("the other one's end", async || state(commands, lost).await == RecordingState::Failed).await;
    assert_eq!(state(commands, at_it).await, RecordingState::Recording);
}

#[tokio::test]
async fn no_node_is_gone_because_nobody_could_look() {
    let watched = Watched::new().await;
    let commands = &watched.stage.commands;
    let [channel_id, of_gone] = [(); 2].map(|()| ChannelId::from(Uuid::now_v7()));
    stream(commands, channel_id, node(HERE)).await;
    // What all have written is old, as after a night without Postgres.
    let old = "update log.nodes set heard_at = heard_at - interval '8 hours'";
    watched.beating.abort();
    until("the last beat", async || watched.beating.is_finished()).await;
    sqlx::query(old).execute(&watched.stage.pool).await.unwrap();
    watched.running.abort();
    until("the end of the one that led", async || watched.running.is_finished()).await;
    let again = watch(commands, &watched.others);
    // It beats again, late but before so many rounds are over as it takes for one that is gone.
    let gone = stream(commands, of_gone, node(GONE)).await;
    until("the end of another", async || {
        nodes::beat(&watched.stage.pool, node(HERE), None).await.unwrap();
        !watched.is_live(of_gone).await
    })
    .await;
    assert!(watched.is_live(channel_id).await);
    assert!(watched.others.asked.lock().unwrap().iter().all(|asked| *asked == gone));
    again.abort();
}
