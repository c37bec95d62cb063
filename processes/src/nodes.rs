//! Nodes that are gone: their streams end, and their recordings are finished from what of them is to be found.
//!
//! A node that takes streams in says every few seconds that it is there ([`commands::nodes`]). One that crashed ends its streams itself
//! when it is back; one that does not come back would leave them live for ever. So whoever leads looks at the nodes in rounds, and
//! counts for how many of them nothing new was heard of one. It counts its own rounds, not the hours of any clock: when Postgres was away,
//! or this process was suspended, no node is gone for that.
//!
//! A node that is cut off from Postgres alone still says over NATS that it has a stream: that one stays. It also says how one has
//! ended, which is stored for it, and finishes its recordings itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use commands::{
    Actor, Commands, Metadata, nodes,
    recordings::{self, UnderWay},
    streams::{self, OpenStream},
};
use domain::{
    ids::{NodeId, StreamId},
    recordings::RecordingState,
    streams::EndReason,
};
use futures::future::{BoxFuture, join_all};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{following::BoxError, leadership::Leadership};

/// Between two rounds, at most.
const LOOKED_EVERY: Duration = Duration::from_secs(5);
/// Every so many rounds it is asked which recordings are being made: that reads more of the log.
const RECORDINGS_EVERY: u32 = 12;
/// In so many rounds, one after the other, nobody must say that he has a stream before it ends: one question may get lost.
const UNCLAIMED_ROUNDS: u32 = 3;
/// How many streams are asked about at once.
const AT_ONCE: usize = 64;
/// How long a round may take: thousands of streams are asked about, a Postgres that says nothing is not waited for.
const ROUND_WITHIN: Duration = Duration::from_secs(5 * 60);
/// A node is forgotten when nothing was heard of it for so long.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two tries at a recording whose storage does not answer.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What other nodes say of a stream that has not ended as far as the log knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamElsewhere {
    /// None has it.
    Nowhere,
    /// One has it, and it goes on there.
    GoesOn,
    /// One has had it until it ended so, and could not store that.
    Ended(EndReason),
}

/// What other nodes are asked, and what is done about recordings.
pub trait OtherNodes: Send + Sync {
    /// What the other nodes say of a stream. Silence is [`StreamElsewhere::Nowhere`], where they could be asked.
    fn have(&self, stream_id: StreamId) -> BoxFuture<'_, Result<StreamElsewhere, BoxError>>;

    /// Finishes a recording that its node will not finish: publishes what there is of it, or says that it is lost with its node. What
    /// is finished already is fine.
    fn finish(&self, lost: UnderWay) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// When a node is gone, and who is asked.
#[derive(Clone)]
pub struct NodesOptions {
    /// For so long nothing may be heard of a node before it is gone.
    pub lost_after: Duration,
    /// The other nodes.
    pub others: Arc<dyn OtherNodes>,
}

/// Looks after nodes that are gone, for ever. Several nodes may. Cancel safe: what was under way is done again.
pub async fn run(commands: &Commands, options: &NodesOptions) {
    describe_metrics();
    let (found, to_finish) = mpsc::channel(1);
    let watch = Watch {
        commands,
        others: &*options.others,
        rounds_until_lost: rounds(options.lost_after),
        seen: HashMap::new(),
        unclaimed: HashMap::new(),
        claimed: HashSet::new(),
        is_silent: false,
        recording: BTreeSet::new(),
        found,
        is_due: 0,
    };
    tokio::join!(watch.look_on(every(options.lost_after)), finish_recordings(commands, &*options.others, to_finish));
}

/// Between two rounds, so that there are several before a node is gone.
fn every(lost_after: Duration) -> Duration {
    LOOKED_EVERY.min(lost_after / 5)
}

fn rounds(lost_after: Duration) -> u32 {
    let rounds = lost_after.as_millis().div_ceil(every(lost_after).as_millis().max(1));
    u32::try_from(rounds).unwrap_or(u32::MAX)
}

fn describe_metrics() {
    describe_gauge!("weir_nodes", "Nodes that take streams in and have not left, on the node that leads.");
    describe_gauge!("weir_nodes_unheard", "Those of them that have missed several beats, on the node that leads.");
    describe_counter!("weir_streams_given_up_total", "Streams that were ended because their node was gone.");
    gauge!("weir_nodes").set(0.0);
    gauge!("weir_nodes_unheard").set(0.0);
    counter!("weir_streams_given_up_total").increment(0);
}

/// What was last heard of a node, and for how many rounds that was all.
struct Seen {
    heard_at: Option<OffsetDateTime>,
    rounds: u32,
}

struct Watch<'a> {
    commands: &'a Commands,
    others: &'a dyn OtherNodes,
    rounds_until_lost: u32,
    seen: HashMap<NodeId, Seen>,
    /// Streams of nodes that are gone, and for how many rounds now nobody has said that he has them.
    unclaimed: HashMap<StreamId, u32>,
    /// Those of them of which it was said that somebody has them.
    claimed: HashSet<StreamId>,
    /// Whether they could not be asked in the last round.
    is_silent: bool,
    /// Who had a recording under way when that was last asked.
    recording: BTreeSet<NodeId>,
    found: mpsc::Sender<Vec<UnderWay>>,
    /// How many rounds until recordings are looked at.
    is_due: u32,
}

impl Watch<'_> {
    async fn look_on(mut self, every: Duration) {
        let mut leadership = Leadership::new("lost nodes", self.commands.pool().clone());
        let mut rounds = interval(every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let looked = match leadership.is_ours().await {
                Ok(true) => timeout(ROUND_WITHIN, self.look()).await.unwrap_or_else(|elapsed| Err(elapsed.into())),
                Ok(false) => {
                    self.begin_anew();
                    gauge!("weir_nodes").set(0.0);
                    gauge!("weir_nodes_unheard").set(0.0);
                    continue;
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = looked {
                // Who was not looked at was not silent.
                self.begin_anew();
                tracing::warn!(
                    error = &*error as &dyn Error,
                    "nobody knows which nodes are gone; they are looked at anew"
                );
            }
        }
    }

    fn begin_anew(&mut self) {
        self.seen.clear();
        self.unclaimed.clear();
        self.claimed.clear();
        self.is_due = 0;
    }

    async fn look(&mut self) -> Result<(), BoxError> {
        let pool = self.commands.pool();
        let heard = nodes::all(pool).await?;
        let unheard = heard.iter().filter(|node| node.is_unheard()).count();
        gauge!("weir_nodes").set(figure(heard.len()));
        gauge!("weir_nodes_unheard").set(figure(unheard));

        let open = streams::all_open(self.commands).await?;
        let mut under_way = Vec::new();
        if self.is_due == 0 {
            under_way = recordings::under_way(self.commands).await?;
            self.recording = under_way.iter().map(|recording| recording.node_id).collect();
            self.is_due = RECORDINGS_EVERY;
        }
        self.is_due -= 1;

        let heard_at: BTreeMap<NodeId, OffsetDateTime> =
            heard.into_iter().map(|node| (node.node_id, node.heard_at)).collect();
        let mut concerned: BTreeSet<NodeId> = heard_at.keys().copied().collect();
        concerned.extend(open.iter().map(|stream| stream.node_id));
        concerned.extend(&self.recording);
        if self.count(&concerned, &heard_at) {
            // What is lost with it need not wait for its round.
            self.is_due = 0;
        }
        let of_lost: Vec<_> = open.iter().filter(|stream| self.is_lost(stream.node_id)).collect();
        self.claimed.retain(|stream_id| of_lost.iter().any(|stream| stream.stream_id == *stream_id));
        let before = std::mem::take(&mut self.unclaimed);
        let (mut ending, mut silence) = (Vec::new(), None);
        for some in of_lost.chunks(AT_ONCE) {
            let answers = join_all(some.iter().map(|stream| self.others.have(stream.stream_id))).await;
            for (stream, answer) in some.iter().zip(answers) {
                let unclaimed = before.get(&stream.stream_id).copied().unwrap_or(0);
                match answer {
                    Ok(answer) => ending.extend(self.hear(stream, answer, unclaimed).map(|reason| (*stream, reason))),
                    Err(error) => silence = Some(error),
                }
            }
        }
        let had_silence = std::mem::replace(&mut self.is_silent, silence.is_some());
        if let Some(error) = silence.filter(|_| !had_silence) {
            let (error, streams) = (&*error as &dyn Error, of_lost.len());
            tracing::warn!(
                streams,
                error,
                "nobody knows whether nodes that are gone have their streams; they stay for now"
            );
        }
        for some in ending.chunks(AT_ONCE) {
            let ended = join_all(some.iter().map(|(stream, reason)| self.end(stream, *reason))).await;
            if ended.contains(&true) {
                // Their recordings need not wait for their round either.
                self.is_due = 0;
            }
        }
        let lost: Vec<_> = under_way.into_iter().filter(|recording| self.is_lost(recording.node_id)).collect();
        if !lost.is_empty() {
            // Those that are being finished are found again, if they are not by then.
            let _ = self.found.try_send(lost);
        }
        nodes::forget(pool, REMEMBERED_FOR).await?;
        Ok(())
    }

    /// Counts this round; whether there is a node that is gone from now on.
    fn count(&mut self, concerned: &BTreeSet<NodeId>, heard_at: &BTreeMap<NodeId, OffsetDateTime>) -> bool {
        self.seen.retain(|node_id, _| concerned.contains(node_id));
        let mut is_news = false;
        for node_id in concerned {
            let heard_at = heard_at.get(node_id).copied();
            let seen = self.seen.entry(*node_id).or_insert(Seen { heard_at, rounds: 0 });
            if seen.heard_at == heard_at {
                seen.rounds = seen.rounds.saturating_add(1);
            } else {
                *seen = Seen { heard_at, rounds: 1 };
            }
            // The first round has only seen where it stands.
            if seen.rounds == self.rounds_until_lost + 1 {
                let heard_at = heard_at.map(tracing::field::display);
                tracing::warn!(node.id = %node_id, heard_at, "a node is gone: nothing was heard of it for too long");
                is_news = true;
            }
        }
        is_news
    }

    fn is_lost(&self, node_id: NodeId) -> bool {
        self.seen.get(&node_id).is_some_and(|seen| seen.rounds > self.rounds_until_lost)
    }

    /// As what a stream of a node that is gone ends now, after what the others say of it; before that, they had said nothing in so many
    /// rounds.
    fn hear(&mut self, stream: &OpenStream, answer: StreamElsewhere, unclaimed: u32) -> Option<EndReason> {
        let OpenStream { stream_id, node_id, .. } = *stream;
        match answer {
            StreamElsewhere::Nowhere => {
                let rounds = unclaimed.saturating_add(1);
                self.unclaimed.insert(stream_id, rounds);
                (rounds >= UNCLAIMED_ROUNDS).then_some(EndReason::Crashed)
            }
            StreamElsewhere::GoesOn => {
                if self.claimed.insert(stream_id) {
                    tracing::warn!(
                        stream.id = %stream_id, node.id = %node_id,
                        "a node does not reach Postgres but answers over NATS; its stream goes on"
                    );
                }
                tracing::debug!(stream.id = %stream_id, "a stream is claimed");
                None
            }
            StreamElsewhere::Ended(reason) => Some(reason),
        }
    }

    /// Ends a stream; whether that was stored. One that cannot be ended, by an event that cannot be read, holds up no other.
    async fn end(&self, stream: &OpenStream, reason: EndReason) -> bool {
        let OpenStream { stream_id, node_id, .. } = *stream;
        if let Err(error) = streams::give_up(self.commands, stream_id, reason, Metadata::new(Actor::System)).await {
            let error = &error as &dyn Error;
            tracing::warn!(stream.id = %stream_id, error, "the stream of a node that is gone cannot be ended");
            return false;
        }
        counter!("weir_streams_given_up_total").increment(1);
        let reason = reason.as_str();
        tracing::info!(stream.id = %stream_id, node.id = %node_id, reason, "the stream of a node that is gone was ended");
        true
    }
}

/// Finishes what is found, one after the other: pictures for seeking are made of each, which may take a while.
async fn finish_recordings(commands: &Commands, others: &dyn OtherNodes, mut found: mpsc::Receiver<Vec<UnderWay>>) {
    while let Some(lost) = found.recv().await {
        for one in lost {
            let finished = finish_recording(commands, others, one).await;
            if let Err(error) = &finished {
                let (error, recording_id) = (&**error as &dyn Error, one.recording.recording_id);
                tracing::warn!(recording.id = %recording_id, error, "a recording of a node that is gone is not finished yet");
            }
            if finished.is_err() {
                sleep(TRY_AGAIN).await;
            }
        }
    }
}

async fn finish_recording(commands: &Commands, others: &dyn OtherNodes, lost: UnderWay) -> Result<(), BoxError> {
    // It was found a while ago.
    let kept = recordings::kept_by(commands, lost.recording.recording_id).await?;
    if kept.is_none_or(|(_, state)| state != RecordingState::Recording)
        || streams::is_open(commands, lost.recording.stream_id).await?
    {
        return Ok(());
    }
    // Its node may be back by now, or still be at it, cut off from Postgres alone.
    let node = nodes::by_id(commands.pool(), lost.node_id).await?;
    if node.is_some_and(|node| !node.is_unheard())
        || others.have(lost.recording.stream_id).await? != StreamElsewhere::Nowhere
    {
        tracing::debug!(recording.id = %lost.recording.recording_id, "a recording is left to its node");
        return Ok(());
    }
    others.finish(lost).await
}

#[expect(clippy::cast_precision_loss, reason = "a metric, of few")]
fn figure(count: usize) -> f64 {
    count as f64
}
