//! Accounts, their channels, and streams of those.

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Register},
    channels::{self, CreateChannel},
    streams::{self, StartStream},
};
use domain::{
    ids::{AccountId, ChannelId, NodeId, StreamId},
    streams::VideoTrack,
};
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) async fn register(commands: &Commands, username: &str) -> AccountId {
    let register = Register {
        username: username.to_owned(),
        email: format!("{username}@example.org"),
        password: Zeroizing::new("correct horse battery".to_owned()),
        setup_token: None,
        metadata: Metadata::new(Actor::System),
    };
    accounts::register(commands, register).await.unwrap().account_id
}

pub(crate) async fn channel(commands: &Commands, owner_id: AccountId, handle: &str) -> ChannelId {
    let create = CreateChannel {
        owner_id,
        handle: handle.to_owned(),
        title: "A channel".to_owned(),
        description: String::new(),
        metadata: Metadata::new(Actor::Account(owner_id)),
    };
    channels::create(commands, create).await.unwrap().channel_id
}

/// A stream that is live on a node, whether there is such a channel or not.
pub(crate) async fn stream(commands: &Commands, channel_id: ChannelId, node_id: NodeId) -> StreamId {
    let stream_id = StreamId::from(Uuid::now_v7());
    let start = StartStream {
        stream_id,
        channel_id,
        node_id,
        title: "A title".to_owned(),
        video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }),
        audio: None,
        encoder: None,
    };
    streams::start(commands, start).await.unwrap();
    stream_id
}
