//! What the media plane needs of the write side.

use commands::{CommandError, Commands, channels::PublisherRefusal, streams::StartStream};
use domain::{
    channels::Channel,
    ids::{NodeId, StreamId},
    streams::{AudioTrack, EndReason, Rendition, RenditionsReason, StreamRefusal, VideoTrack},
};
use futures::{FutureExt, future::BoxFuture};
use ingest::rights::ChannelRights;
use ingest::{OpenStream, PublishError, Publisher, Publishing, StartedStream};
use tracing::{debug, error};

use super::Elsewhere;

/// The write side, told by the media plane of one node.
pub struct WriteSide {
    pub commands: Commands,
    pub node_id: NodeId,
    /// From where encoders may publish.
    pub addresses: api::AddressList,
    /// Where an encoder may have been before.
    pub elsewhere: Elsewhere,
}

impl WriteSide {
    async fn authorise(&self, stream_key: &str) -> Result<Publisher, PublishError> {
        let publisher = commands::channels::authorise_publisher(&self.commands, stream_key)
            .await
            .map_err(|error| refusal("a stream key", error, key_refusal))?;
        let rights = ChannelRights {
            channel_id: publisher.channel_id,
            visibility: publisher.visibility,
            version: publisher.version,
            is_closed: false,
        };
        Ok(Publisher { channel_id: publisher.channel_id, channel_handle: publisher.handle, rights })
    }

    async fn start(&self, stream: StartedStream) -> Result<(), PublishError> {
        let channel = self.commands.load::<Channel>(&stream.channel_id.to_string()).await;
        let channel = channel.map_err(|error| refusal("a channel", error.into(), |never: Never| match never {}))?;
        if let Some((channel, _)) = &channel {
            let suspended = commands::channels::is_owner_suspended(&self.commands, channel).await;
            if suspended.map_err(|error| refusal("an account", error.into(), |never: Never| match never {}))? {
                return Err(PublishError::OwnerSuspended);
            }
        }
        // A channel that was closed since its key was accepted has no title.
        let title = channel.and_then(|(channel, _)| channel.title().map(|title| title.as_str().to_owned()));
        let start = StartStream {
            stream_id: stream.stream_id,
            channel_id: stream.channel_id,
            node_id: self.node_id,
            title: title.ok_or(PublishError::KeyUnknown)?,
            video: stream.video,
            audio: stream.audio,
            encoder: stream.encoder,
        };
        let channel_id = start.channel_id;
        let stored = commands::streams::start(&self.commands, start.clone()).await;
        if !matches!(stored, Err(CommandError::Refused(StreamRefusal::ChannelLive))) {
            return stored.map(drop).map_err(|error| refusal("a start", error, stream_refusal));
        }
        self.elsewhere.make_way(channel_id).await?;
        match commands::streams::start(&self.commands, start).await {
            // Somebody else was faster, on yet another node: whether an encoder is connected there is asked the next time.
            Err(CommandError::Refused(StreamRefusal::ChannelLive)) => Err(PublishError::Unavailable),
            stored => stored.map(drop).map_err(|error| refusal("a start", error, stream_refusal)),
        }
    }

    async fn end(&self, stream_id: StreamId, reason: EndReason) -> Result<(), PublishError> {
        commands::streams::end(&self.commands, stream_id, self.node_id, reason)
            .await
            .map_err(|error| refusal("an end", error, stream_refusal))?;
        Ok(())
    }

    async fn change_renditions(
        &self,
        stream_id: StreamId,
        renditions: Vec<Rendition>,
        reason: RenditionsReason,
    ) -> Result<(), PublishError> {
        commands::streams::change_renditions(&self.commands, stream_id, self.node_id, renditions, reason)
            .await
            .map_err(|error| refusal("renditions", error, stream_refusal))?;
        Ok(())
    }

    async fn change_tracks(
        &self,
        stream_id: StreamId,
        video: Option<VideoTrack>,
        audio: Option<AudioTrack>,
    ) -> Result<(), PublishError> {
        commands::streams::change_tracks(&self.commands, stream_id, self.node_id, video, audio)
            .await
            .map_err(|error| refusal("tracks", error, stream_refusal))?;
        Ok(())
    }

    async fn open(&self) -> Result<Vec<OpenStream>, PublishError> {
        let open = commands::streams::open_streams(&self.commands, self.node_id).await;
        let open = open.map_err(|error| refusal("open streams", error.into(), |never: Never| match never {}))?;
        let open = open.into_iter().map(|open| OpenStream {
            stream_id: open.stream_id,
            channel_id: open.channel_id,
            started_at: open.started_at,
        });
        Ok(open.collect())
    }
}

impl Publishing for WriteSide {
    fn admits(&self, address: std::net::IpAddr) -> bool {
        self.addresses.admits(Some(address))
    }

    fn authorise_publisher<'a>(&'a self, stream_key: &'a str) -> BoxFuture<'a, Result<Publisher, PublishError>> {
        self.authorise(stream_key).boxed()
    }

    fn stream_started(&self, stream: StartedStream) -> BoxFuture<'_, Result<(), PublishError>> {
        self.start(stream).boxed()
    }

    fn stream_ended(&self, stream_id: StreamId, reason: EndReason) -> BoxFuture<'_, Result<(), PublishError>> {
        self.end(stream_id, reason).boxed()
    }

    fn renditions_changed(
        &self,
        stream_id: StreamId,
        renditions: Vec<Rendition>,
        reason: RenditionsReason,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        self.change_renditions(stream_id, renditions, reason).boxed()
    }

    fn tracks_changed(
        &self,
        stream_id: StreamId,
        video: Option<VideoTrack>,
        audio: Option<AudioTrack>,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        self.change_tracks(stream_id, video, audio).boxed()
    }

    fn open_streams(&self) -> BoxFuture<'_, Result<Vec<OpenStream>, PublishError>> {
        self.open().boxed()
    }
}

/// A command that has nothing to refuse.
enum Never {}

fn key_refusal(refusal: PublisherRefusal) -> PublishError {
    match refusal {
        PublisherRefusal::KeyUnknown => PublishError::KeyUnknown,
        PublisherRefusal::OwnerSuspended => PublishError::OwnerSuspended,
    }
}

fn stream_refusal(refusal: StreamRefusal) -> PublishError {
    match refusal {
        StreamRefusal::ChannelLive | StreamRefusal::AlreadyStarted => PublishError::AlreadyLive,
        StreamRefusal::Unknown | StreamRefusal::AlreadyEnded | StreamRefusal::OtherNode => PublishError::StreamUnknown,
    }
}

/// What the media plane is told. It asks again when the write side is away, so that is not worth more than a debug line.
fn refusal<R>(what: &'static str, error: CommandError<R>, refused: impl FnOnce(R) -> PublishError) -> PublishError {
    match error {
        CommandError::Refused(refusal) => return refused(refusal),
        CommandError::Conflict | CommandError::Repeated | CommandError::Overloaded => {
            debug!(what, "the write side is busy");
        }
        CommandError::Unavailable(source) | CommandError::OutcomeUnknown(source) => {
            debug!(what, error = source.to_string(), "the write side does not answer");
        }
        CommandError::Unexpected(source) => {
            error!(what, error = source.to_string(), "the log cannot be read or written");
        }
    }
    PublishError::Unavailable
}
