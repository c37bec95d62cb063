//! What an erased person leaves behind goes, whoever did what when.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Erase, Register},
    channels::{self, CreateChannel},
    exports::{self, RequestExport},
    streams::{self, StartStream},
};
use domain::{
    Aggregate,
    accounts::{Account, AccountCommand},
    channels::{Channel, ChannelCommand, Description, Handle, Title},
    exports::{Export, ExportFilter, ExportFormat, ExportState, ExportWay},
    ids::{AccountId, ChannelId, ExportId, NodeId, SecretId, StreamId},
    streams::{EndReason, VideoTrack},
};
use futures::{FutureExt, future::BoxFuture};
use processes::{Following, Media, erasure, following::BoxError};
use tokio::task::JoinHandle;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::stage::{Stage, until};

fn node() -> NodeId {
    Uuid::from_u128(7).into()
}

/// A media plane that ends streams when it is told to cut their encoder.
pub(crate) struct Plane {
    commands: Commands,
    cut: Mutex<Vec<ChannelId>>,
    deleted: Mutex<Vec<StreamId>>,
    live: Mutex<Option<StreamId>>,
    is_away: AtomicBool,
}

impl Plane {
    pub(crate) fn new(commands: &Commands) -> Arc<Self> {
        Arc::new(Self {
            commands: commands.clone(),
            cut: Mutex::default(),
            deleted: Mutex::default(),
            live: Mutex::default(),
            is_away: AtomicBool::new(false),
        })
    }
}

impl Media for Plane {
    fn cut(&self, channel_id: ChannelId, reason: EndReason) -> BoxFuture<'_, Result<(), BoxError>> {
        async move {
            if self.is_away.load(Ordering::SeqCst) {
                return Err("the media plane is away".into());
            }
            self.cut.lock().unwrap().push(channel_id);
            let live = self.live.lock().unwrap().take();
            if let Some(stream_id) = live {
                streams::end(&self.commands, stream_id, node(), reason).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn delete_pictures(&self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<(), BoxError>> {
        self.deleted.lock().unwrap().extend(streams);
        std::future::ready(Ok(())).boxed()
    }
}

pub(crate) fn follow(commands: &Commands, plane: &Arc<Plane>) -> JoinHandle<()> {
    let (commands, media) = (commands.clone(), Arc::clone(plane) as Arc<dyn Media>);
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), erasure::run(&commands, &following, &media));
    })
}

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

async fn export(commands: &Commands, by: AccountId) -> ExportId {
    let request = RequestExport {
        by: Some(by),
        way: ExportWay::Job,
        format: ExportFormat::Ndjson,
        filter: ExportFilter { until: 1, ..ExportFilter::default() },
        names_accounts: false,
        metadata: Metadata::new(Actor::Account(by)),
    };
    exports::request(commands, request).await.unwrap().export_id
}

async fn stream(commands: &Commands, channel_id: ChannelId) -> StreamId {
    let stream_id = StreamId::from(Uuid::now_v7());
    let start = StartStream {
        stream_id,
        channel_id,
        node_id: node(),
        title: "A title".to_owned(),
        video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }),
        audio: None,
        encoder: None,
    };
    streams::start(commands, start).await.unwrap();
    stream_id
}

pub(crate) async fn erase(commands: &Commands, account_id: AccountId) {
    let metadata = Metadata::new(Actor::Account(account_id));
    let erase = Erase { account_id, by: Some(account_id), even_administrator: false, metadata };
    accounts::erase(commands, erase).await.unwrap();
}

async fn is_closed(commands: &Commands, id: ChannelId) -> bool {
    commands.load::<Channel>(&id.to_string()).await.unwrap().unwrap().0.is_closed()
}

async fn state(commands: &Commands, id: ExportId) -> Option<ExportState> {
    commands.load::<Export>(&id.to_string()).await.unwrap().and_then(|(export, _)| export.state())
}

#[tokio::test]
async fn channels_close_streams_end_and_exports_go() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let plane = Plane::new(commands);
    let (gone, stays) = (register(commands, "gone").await, register(commands, "stays").await);
    let (first, second) = (channel(commands, gone, "first").await, channel(commands, gone, "second").await);
    let kept = channel(commands, stays, "kept").await;
    let past = stream(commands, first).await;
    streams::end(commands, past, node(), EndReason::Unpublished).await.unwrap();
    let live = stream(commands, first).await;
    *plane.live.lock().unwrap() = Some(live);
    let elsewhere = stream(commands, kept).await;
    let (export_gone, export_kept) = (export(commands, gone).await, export(commands, stays).await);

    let following = follow(commands, &plane);
    stage.until_checkpoint("erasure", commands::events::head(&stage.pool).await.unwrap()).await;
    erase(commands, gone).await;
    until("closed channels", async || is_closed(commands, first).await && is_closed(commands, second).await).await;
    until("the end of the stream", async || !streams::is_live(commands, first).await.unwrap()).await;
    until("the export's end", async || state(commands, export_gone).await == Some(ExportState::Deleted)).await;
    until("the pictures' end", async || plane.deleted.lock().unwrap().len() == 2).await;
    assert_eq!(*plane.deleted.lock().unwrap(), [past, live]);
    until("the second cut", async || plane.cut.lock().unwrap().contains(&second)).await;

    assert!(!is_closed(commands, kept).await);
    assert_eq!(state(commands, export_kept).await, Some(ExportState::Requested));
    assert!(streams::is_live(commands, kept).await.unwrap());
    assert!(!plane.deleted.lock().unwrap().contains(&elsewhere));
    // What was done belongs to the request that it came from.
    let correlated: i64 = sqlx::query_scalar(
        "select count(distinct metadata->>'correlation_id') from log.events
         where event_type in ('account.erased', 'channel.closed', 'export.deleted')",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(correlated, 1);
    following.abort();
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_after_its_event_is_finished() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let id = register(commands, "gone").await;
    accounts::sessions::open(commands, id, "A browser", "::1").await.unwrap();
    let command = AccountCommand::Erase { by: None, even_administrator: false };
    commands.execute::<Account>(&id.to_string(), command, Metadata::new(Actor::System)).await.unwrap();
    let following = follow(commands, &Plane::new(commands));
    for what in ["log.keys where wrapped is not null", "log.sessions", "log.vault where kind <> 'day_key'"] {
        stage.until_count(what, &format!("select count(*) from {what}"), 0).await;
    }
    following.abort();
}

#[tokio::test]
async fn what_an_erased_account_does_meanwhile_is_undone() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let plane = Plane::new(commands);
    let id = register(commands, "gone").await;
    erase(commands, id).await;
    let following = follow(commands, &plane);
    // Both were decided before the erasure and come into the log after it.
    let channel_id = ChannelId::from(Uuid::now_v7());
    let create = ChannelCommand::Create {
        channel_id,
        owner_id: id,
        handle: Handle::parse("late").unwrap(),
        title: Title::parse("Late").unwrap(),
        description: Description::default(),
        stream_key: SecretId::from(Uuid::now_v7()),
    };
    commands.execute::<Channel>(&channel_id.to_string(), create, Metadata::new(Actor::Account(id))).await.unwrap();
    let export_id = export(commands, id).await;
    until("the late channel's end", async || is_closed(commands, channel_id).await).await;
    until("the late export's end", async || state(commands, export_id).await == Some(ExportState::Deleted)).await;
    following.abort();
}

#[tokio::test]
async fn a_media_plane_that_is_away_is_told_when_it_is_back() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let plane = Plane::new(commands);
    plane.is_away.store(true, Ordering::SeqCst);
    let id = register(commands, "gone").await;
    let channel_id = channel(commands, id, "first").await;
    let live = stream(commands, channel_id).await;
    *plane.live.lock().unwrap() = Some(live);
    let following = follow(commands, &plane);
    erase(commands, id).await;
    until("the closed channel", async || is_closed(commands, channel_id).await).await;
    assert!(streams::is_live(commands, channel_id).await.unwrap());
    plane.is_away.store(false, Ordering::SeqCst);
    until("the end of the stream", async || !streams::is_live(commands, channel_id).await.unwrap()).await;
    until("the pictures' end", async || *plane.deleted.lock().unwrap() == [live]).await;
    following.abort();
}

#[tokio::test]
async fn what_is_an_accounts_is_found_by_index() {
    let stage = Stage::new().await;
    let id = AccountId::from(Uuid::now_v7());
    for (owner, what) in [("owner_id", Channel::TYPE), ("by", Export::TYPE)] {
        let event = if what == Channel::TYPE { "channel.created" } else { "export.requested" };
        let mut connection = stage.pool.acquire().await.unwrap();
        sqlx::raw_sql("set enable_seqscan = off").execute(&mut *connection).await.unwrap();
        let explain = format!(
            "explain select aggregate_id from log.events where event_type = '{event}' and aggregate_type = '{what}'
             and substring(payload::text from '\"{owner}\": *\"([0-9a-f-]{{36}})\"') = '{id}' order by position"
        );
        let plan: Vec<String> = sqlx::query_scalar(&explain).fetch_all(&mut *connection).await.unwrap();
        assert!(plan.join("\n").contains("events_of_"), "{plan:?}");
    }
}
