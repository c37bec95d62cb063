//! What the API and the processes need of the media plane: in the same process, or on whichever node has the channel's
//! encoder.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use api::{
    Advice, BoxFuture, IngestRefusal, IngestRendition, IngestSample, IngestState, IngestStatus, LiveStreams,
    PortUnavailable, Publishers,
};
use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
};
use futures::{FutureExt, StreamExt};
use ingest::Ingest;
use processes::{Pictures, following::BoxError};
use storage::Storage;
use tokio_util::sync::CancellationToken;
use tracing::debug;

const STATUS_SUBJECT: &str = "weir.ingest.status";
const CUT_SUBJECT: &str = "weir.ingest.cut";
const PICTURES_SUBJECT: &str = "weir.ingest.delete_pictures";
/// How many streams are named in one message.
const STREAMS_AT_ONCE: usize = 1_000;
/// How long other nodes have to say that an encoder is theirs; those that have none say nothing.
const REMOTE_PATIENCE: Duration = Duration::from_millis(300);

/// The media plane of this process, and of this process alone.
pub struct LocalMedia(pub Arc<Ingest>);

impl LiveStreams for LocalMedia {
    fn status(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<IngestStatus, PortUnavailable>> {
        std::future::ready(Ok(status(&self.0, channel_id))).boxed()
    }
}

impl Publishers for LocalMedia {
    fn cut(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<(), PortUnavailable>> {
        self.0.cut(channel_id, EndReason::KeyRotated);
        std::future::ready(Ok(())).boxed()
    }
}

/// The media planes of all nodes, this one's first.
pub struct RemoteMedia {
    pub local: Option<Arc<Ingest>>,
    pub nats: async_nats::Client,
}

/// The pictures of streams, of this node and of the others.
pub struct NodePictures {
    pub storage: Storage,
    /// How other nodes are reached, where there may be some.
    pub nats: Option<async_nats::Client>,
}

impl NodePictures {
    async fn delete_everywhere(&self, streams: Vec<StreamId>) -> Result<(), BoxError> {
        for stream_id in &streams {
            ingest::thumbnails::delete(&self.storage, *stream_id).await?;
        }
        let Some(nats) = &self.nats else { return Ok(()) };
        for some in streams.chunks(STREAMS_AT_ONCE) {
            say(nats, PICTURES_SUBJECT, serde_json::to_string(some)?).await?;
        }
        Ok(())
    }
}

impl Pictures for NodePictures {
    fn delete(&self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<(), BoxError>> {
        self.delete_everywhere(streams).boxed()
    }
}

async fn say(nats: &async_nats::Client, subject: &'static str, payload: String) -> anyhow::Result<()> {
    let said = async {
        nats.publish(subject, payload.into()).await?;
        nats.flush().await?;
        anyhow::Ok(())
    };
    tokio::time::timeout(REMOTE_PATIENCE, said).await.context("the other nodes cannot be told; is NATS away?")?
}

impl RemoteMedia {
    async fn ask(&self, channel_id: ChannelId) -> Result<IngestStatus, PortUnavailable> {
        if let Some(ingest) = &self.local {
            let status = status(ingest, channel_id);
            if status.state != IngestState::Waiting {
                return Ok(status);
            }
        }
        let asked = self.nats.request(STATUS_SUBJECT, channel_id.to_string().into());
        match tokio::time::timeout(REMOTE_PATIENCE, asked).await {
            Ok(Ok(message)) => serde_json::from_slice(&message.payload).map_err(|error| {
                debug!(%error, "a node's answer about an encoder cannot be read");
                PortUnavailable
            }),
            // Nobody has one.
            Err(_) => Ok(IngestStatus::default()),
            Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(IngestStatus::default()),
            Ok(Err(error)) => {
                debug!(%error, "the nodes cannot be asked about an encoder");
                Err(PortUnavailable)
            }
        }
    }

    async fn tell(&self, channel_id: ChannelId) -> Result<(), PortUnavailable> {
        if let Some(ingest) = &self.local {
            ingest.cut(channel_id, EndReason::KeyRotated);
        }
        say(&self.nats, CUT_SUBJECT, channel_id.to_string()).await.map_err(|_| PortUnavailable)
    }
}

impl LiveStreams for RemoteMedia {
    fn status(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<IngestStatus, PortUnavailable>> {
        self.ask(channel_id).boxed()
    }
}

impl Publishers for RemoteMedia {
    fn cut(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<(), PortUnavailable>> {
        self.tell(channel_id).boxed()
    }
}

/// Answers other nodes about the encoders of this one, cuts those whose key was rotated, and deletes the pictures of streams that
/// nobody may see any more, until `cancel`.
pub async fn answer_remote(ingest: Arc<Ingest>, storage: Storage, nats: async_nats::Client, cancel: CancellationToken) {
    loop {
        let subscribed = async {
            Ok::<_, async_nats::SubscribeError>((
                nats.subscribe(STATUS_SUBJECT).await?,
                nats.subscribe(CUT_SUBJECT).await?,
                nats.subscribe(PICTURES_SUBJECT).await?,
            ))
        };
        let (mut asked, mut cuts, mut pictures) = match subscribed.await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                debug!(%error, "other nodes cannot be listened to yet");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => continue,
                    () = cancel.cancelled() => return,
                }
            }
        };
        loop {
            // The client keeps subscriptions over reconnections; they end when it is closed.
            tokio::select! {
                message = asked.next() => {
                    let Some(message) = message else { break };
                    let (Some(channel_id), Some(reply)) = (channel_id(&message.payload), message.reply) else { continue };
                    let status = status(&ingest, channel_id);
                    if status.state == IngestState::Waiting && status.last_refusal.is_none() {
                        continue;
                    }
                    match serde_json::to_vec(&status) {
                        // The first answer counts: who has an encoder is not to be too late beside who has refused one.
                        Ok(answer) if status.state == IngestState::Waiting => drop(tokio::spawn({
                            let nats = nats.clone();
                            async move {
                                tokio::time::sleep(REMOTE_PATIENCE / 2).await;
                                nats.publish(reply, answer.into()).await
                            }
                        })),
                        Ok(answer) => drop(nats.publish(reply, answer.into()).await),
                        Err(error) => debug!(%error, "an encoder's status cannot be written"),
                    }
                }
                message = cuts.next() => {
                    let Some(message) = message else { break };
                    if let Some(channel_id) = channel_id(&message.payload) {
                        ingest.cut(channel_id, EndReason::KeyRotated);
                    }
                }
                message = pictures.next() => {
                    let Some(message) = message else { break };
                    delete_pictures(&storage, &message.payload).await;
                }
                () = cancel.cancelled() => return,
            }
        }
    }
}

async fn delete_pictures(storage: &Storage, payload: &[u8]) {
    let Ok(streams) = serde_json::from_slice::<Vec<StreamId>>(payload) else { return };
    for stream_id in streams {
        if let Err(error) = ingest::thumbnails::delete(storage, stream_id).await {
            tracing::warn!(%error, stream.id = %stream_id, "the pictures of a stream that nobody may see could not be deleted");
        }
    }
}

fn channel_id(payload: &[u8]) -> Option<ChannelId> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

fn status(ingest: &Ingest, channel_id: ChannelId) -> IngestStatus {
    use ingest::PublishState;
    let status = ingest.status(channel_id);
    let (video, audio) = status.tracks.map_or((None, None), |tracks| (tracks.video, tracks.audio));
    let health = status.health;
    // Of pictures that do not come there is nothing to say.
    let pictures = health.filter(|_| video.is_some());
    IngestStatus {
        state: match status.state {
            PublishState::Waiting => IngestState::Waiting,
            PublishState::Receiving => IngestState::Receiving,
            PublishState::Live => IngestState::Live,
            PublishState::Reconnecting => IngestState::Reconnecting,
        },
        stream_id: status.stream_id,
        connected_since: status.connected_since,
        video,
        audio,
        encoder: status.encoder,
        bitrate_kbps: health.map(|health| health.bitrate_kbps),
        keyframe_interval_ms: health.map(|health| health.key_frame_interval_ms).filter(|interval_ms| *interval_ms > 0),
        frame_rate: pictures.map(|health| health.frame_rate),
        jitter_ms: health.map(|health| health.jitter_ms),
        missing_frames: pictures.map(|health| health.missing_frames),
        sound_ahead_ms: health.and_then(|health| health.sound_ahead_ms),
        silent_ms: health.map(|_| u32::try_from(status.silent_ms).unwrap_or(u32::MAX)),
        waits_ms: status.waits_ms.map(|waits_ms| u32::try_from(waits_ms).unwrap_or(u32::MAX)),
        history: status.history.iter().map(sample).collect(),
        renditions: status.ladder.renditions.into_iter().map(rendition).collect(),
        renditions_remark: status
            .ladder
            .reason
            .map(|reason| Advice { code: reason.code().into(), message: reason.message().into() }),
        advice: status
            .advice
            .into_iter()
            .map(|advice| Advice { code: advice.code().into(), message: advice.message().into() })
            .collect(),
        last_refusal: status.last_refusal.map(|refusal| IngestRefusal {
            code: refusal.code.into(),
            message: refusal.message.into(),
            at: refusal.at,
        }),
    }
}

fn sample(health: &ingest::packager::Health) -> IngestSample {
    IngestSample {
        bitrate_kbps: health.bitrate_kbps,
        frame_rate: health.frame_rate,
        jitter_ms: health.jitter_ms,
        missing_frames: health.missing_frames,
    }
}

fn rendition(rendition: ingest::LadderRendition) -> IngestRendition {
    let ingest::LadderRendition { name, width, height, frame_rate, bitrate_kbps, lag_ms } = rendition;
    IngestRendition { name, width, height, frame_rate, bitrate_kbps, lag_ms }
}
