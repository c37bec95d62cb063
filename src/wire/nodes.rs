//! What nodes have to do with each other where one of them is gone, or an encoder changes from one to another.

use std::{sync::Arc, time::Duration};

use commands::{
    Actor, Commands, Metadata,
    nodes::{self, BEAT_EVERY},
    recordings::UnderWay,
    streams::{self, OpenStream},
};
use domain::{
    ids::{ChannelId, NodeId, StreamId},
    recordings::RecordingLimits,
    streams::EndReason,
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use ingest::{Ingest, LetGo, OpenRecording, PublishError, recorder::Recorder};
use processes::{OtherNodes, StreamElsewhere, following::BoxError};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use storage::{DiskWatch, Storage};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::RecordingsSide;
use crate::origins::Owners;

/// How long Postgres may take for a beat.
const BEAT_WITHIN: Duration = Duration::from_secs(5);
/// How long a node may take to say what becomes of a stream: it may have to wait until its own encoder has been silent for a while.
const LET_GO_WITHIN: Duration = Duration::from_secs(4);
/// The same of a node that has missed its beats. It may be cut off from Postgres alone: one whose encoder is connected can say so only
/// once that has spoken for more than a second since. A node that is dead need not be waited for: nobody listens for it.
const UNHEARD_LET_GO_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at the log.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Says that a node is there, which others find at `address`, until `leaving`; then that it has left.
pub async fn beat(pool: PgPool, node_id: NodeId, address: Option<String>, leaving: CancellationToken) {
    let beating = async {
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unheard_since: Option<Instant> = None;
        loop {
            beats.tick().await;
            let error = match timeout(BEAT_WITHIN, nodes::beat(&pool, node_id, address.as_deref())).await {
                Ok(Ok(())) => {
                    if let Some(since) = unheard_since.take() {
                        let away_s = since.elapsed().as_secs();
                        info!(away_s, "this node reaches Postgres again, and others hear of it");
                    }
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", BEAT_WITHIN.as_secs()),
            };
            if unheard_since.is_none() {
                unheard_since = Some(Instant::now());
                warn!(
                    error,
                    "this node does not reach Postgres, and others do not hear of it; its streams go on while it answers over NATS"
                );
            }
        }
    };
    leaving.run_until_cancelled(beating).await;
    if !matches!(timeout(BEAT_WITHIN, nodes::leave(&pool, node_id)).await, Ok(Ok(()))) {
        debug!("nobody was told that this node has left");
    }
}

/// The subject on which a node is asked for its streams.
fn subject(node_id: NodeId) -> String {
    format!("weir.ingest.let_go.{node_id}")
}

/// A question for a node: its stream is wanted elsewhere.
#[derive(Debug, Serialize, Deserialize)]
struct Wanted {
    channel_id: ChannelId,
    stream_id: StreamId,
}

/// Its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ending,
    Taken,
    /// It has ended so, which could not be stored yet. Nodes of a version before this one say that they do not know it.
    Ended(EndReason),
    Unknown,
}

/// Answers other nodes to which an encoder of this one has come, until `cancel`.
pub async fn let_go(ingest: Arc<Ingest>, node_id: NodeId, nats: async_nats::Client, cancel: CancellationToken) {
    let answering = async {
        loop {
            match nats.subscribe(subject(node_id)).await {
                // The client keeps the subscription over reconnections; it ends when the client is closed.
                Ok(mut questions) => {
                    while let Some(message) = questions.next().await {
                        let (Ok(wanted), Some(reply)) = (serde_json::from_slice(&message.payload), message.reply)
                        else {
                            continue;
                        };
                        let (ingest, nats) = (Arc::clone(&ingest), nats.clone());
                        tokio::spawn(async move { answer(&ingest, &nats, wanted, reply).await });
                    }
                }
                Err(error) => debug!(%error, "other nodes cannot be listened to yet"),
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    cancel.run_until_cancelled(answering).await;
}

async fn answer(ingest: &Ingest, nats: &async_nats::Client, wanted: Wanted, reply: async_nats::Subject) {
    // What a crash left open may be wanted before it is in the table.
    ingest.recovered().await;
    let answer = match ingest.let_go(wanted.channel_id, wanted.stream_id).await {
        LetGo::Ending => Answer::Ending,
        LetGo::Taken => Answer::Taken,
        LetGo::Unknown => ingest.unstored_end(wanted.stream_id).map_or(Answer::Unknown, Answer::Ended),
    };
    if let Ok(payload) = serde_json::to_vec(&answer) {
        drop(nats.publish(reply, payload.into()).await);
    }
}

/// Makes way for an encoder that has come to this node while its channel has a stream on another.
pub struct Elsewhere {
    pub commands: Commands,
    pub node_id: NodeId,
    /// How other nodes are asked, where there may be some.
    pub nats: Option<async_nats::Client>,
}

impl Elsewhere {
    /// Waits until the channel has no stream on another node. A node whose stream waits for its encoder is told to end it; if it has
    /// missed its beats, its stream is ended for it, and that of one that does not answer as well.
    ///
    /// Cancel safe: what was asked for is asked again.
    ///
    /// # Errors
    /// [`PublishError::AlreadyLive`] when an encoder is connected there, or the stream is this node's own; [`PublishError::Unavailable`]
    /// when that cannot be found out, or not yet.
    pub async fn make_way(&self, channel_id: ChannelId) -> Result<(), PublishError> {
        loop {
            let open = streams::open_of_channel(&self.commands, channel_id).await.map_err(unavailable)?;
            let Some(open) = open else { return Ok(()) };
            if open.node_id == self.node_id {
                return Err(PublishError::AlreadyLive);
            }
            let node = nodes::by_id(self.commands.pool(), open.node_id).await.map_err(unavailable)?;
            // Of one that was never heard of there is nothing to be said; whoever leads looks after it.
            let is_unheard = node.is_some_and(|node| node.is_unheard());
            match self.ask(&open, is_unheard).await {
                Some(Answer::Taken) => return Err(PublishError::AlreadyLive),
                // It ends the stream, or has, but cannot store that while it does not reach Postgres.
                Some(Answer::Ending) if is_unheard => self.give_up(&open, EndReason::Moved).await?,
                Some(Answer::Ended(reason)) if is_unheard => self.give_up(&open, reason).await?,
                Some(Answer::Unknown) | None if is_unheard => self.give_up(&open, EndReason::Crashed).await?,
                Some(Answer::Ending | Answer::Ended(_) | Answer::Unknown) => {}
                None => {
                    debug!(stream.id = %open.stream_id, node.id = %open.node_id, "a node does not answer for its stream");
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn give_up(&self, open: &OpenStream, reason: EndReason) -> Result<(), PublishError> {
        let metadata = Metadata::new(Actor::Ingest(self.node_id));
        streams::give_up(&self.commands, open.stream_id, reason, metadata).await.map_err(unavailable)?;
        info!(
            stream.id = %open.stream_id, node.id = %open.node_id, reason = reason.as_str(),
            "the stream of a node that is not heard of was ended; its encoder is here"
        );
        Ok(())
    }

    async fn ask(&self, open: &OpenStream, is_unheard: bool) -> Option<Answer> {
        let nats = self.nats.as_ref()?;
        let wanted = Wanted { channel_id: open.channel_id, stream_id: open.stream_id };
        let question = nats.request(subject(open.node_id), serde_json::to_vec(&wanted).ok()?.into());
        let within = if is_unheard { UNHEARD_LET_GO_WITHIN } else { LET_GO_WITHIN };
        let answer = timeout(within, question).await.ok()?.ok()?;
        serde_json::from_slice(&answer.payload).ok()
    }
}

fn unavailable(error: impl std::error::Error) -> PublishError {
    debug!(error = error.to_string(), "nobody knows whether a channel is live on another node");
    PublishError::Unavailable
}

/// What the process that looks after nodes needs of them, and of what they leave.
pub struct LostNodes {
    pub commands: Commands,
    pub storage: Storage,
    pub disk: DiskWatch,
    pub limits: RecordingLimits,
    /// Who is asked, where there may be other nodes.
    pub owners: Option<Owners>,
}

impl OtherNodes for LostNodes {
    fn have(&self, stream_id: StreamId) -> BoxFuture<'_, Result<StreamElsewhere, BoxError>> {
        async move {
            match &self.owners {
                None => Ok(StreamElsewhere::Nowhere),
                Some(owners) => Ok(owners.ask_for_open(stream_id).await?),
            }
        }
        .boxed()
    }

    fn finish(&self, lost: UnderWay) -> BoxFuture<'_, Result<(), BoxError>> {
        let UnderWay { node_id, recording } = lost;
        let side = RecordingsSide { commands: self.commands.clone(), node_id, limits: self.limits };
        let recorder = Recorder::new(Arc::new(side), self.disk.clone());
        let commands::recordings::OpenRecording { recording_id, stream_id, channel_id } = recording;
        let begun = OpenRecording { recording_id, stream_id, channel_id };
        async move { recorder.finish_lost(begun, self.storage.clone()).await }.boxed()
    }
}
