//! What follows from suspensions and from what was decided of reports.

use std::sync::{Arc, Mutex};

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Register, sessions},
    channels::{self, CreateChannel},
    recordings,
    reports::{self, DecideReport, FileReport},
    streams::{self, StartStream},
};
use domain::{
    accounts::{Account, AccountCommand, SuspensionCommand},
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    recordings::{Recording, RecordingPolicy, RecordingState},
    reports::{ReportAction, ReportKind, ReportTarget, ReportVerdict},
    streams::{EndReason, VideoTrack},
};
use futures::{FutureExt, future::BoxFuture};
use processes::{Following, Media, following::BoxError, reports as decisions, suspension};
use tokio::task::JoinHandle;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::stage::{Stage, until};

fn node() -> NodeId {
    Uuid::from_u128(7).into()
}

/// A media plane that ends the live stream of a channel when it is told to.
struct Plane {
    commands: Commands,
    live: Mutex<Vec<(ChannelId, StreamId)>>,
    cut: Mutex<Vec<(ChannelId, EndReason)>>,
    pictures_deleted: Mutex<Vec<StreamId>>,
}

impl Plane {
    fn new(commands: &Commands) -> Arc<Self> {
        Arc::new(Self {
            commands: commands.clone(),
            live: Mutex::default(),
            cut: Mutex::default(),
            pictures_deleted: Mutex::default(),
        })
    }

    fn reasons(&self, channel_id: ChannelId) -> Vec<EndReason> {
        let cut = self.cut.lock().unwrap();
        cut.iter().filter(|(id, _)| *id == channel_id).map(|(_, reason)| *reason).collect()
    }
}

impl Media for Plane {
    fn cut(&self, channel_id: ChannelId, reason: EndReason) -> BoxFuture<'_, Result<(), BoxError>> {
        async move {
            self.cut.lock().unwrap().push((channel_id, reason));
            let live: Vec<_> = self.live.lock().unwrap().extract_if(.., |(id, _)| *id == channel_id).collect();
            for (_, stream_id) in live {
                streams::end(&self.commands, stream_id, node(), reason).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn delete_pictures(&self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<(), BoxError>> {
        self.pictures_deleted.lock().unwrap().extend(streams);
        std::future::ready(Ok(())).boxed()
    }
}

fn follow(commands: &Commands, plane: &Arc<Plane>) -> JoinHandle<()> {
    let (commands, media) = (commands.clone(), Arc::clone(plane) as Arc<dyn Media>);
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(
            following.listen(),
            suspension::run(&commands, &following, &media),
            decisions::run(&commands, &following, &media),
        );
    })
}

async fn register(commands: &Commands, username: &str) -> AccountId {
    let register = Register {
        username: username.to_owned(),
        email: format!("{username}@example.org"),
        password: Zeroizing::new("correct horse battery".to_owned()),
        setup_token: None,
        metadata: Metadata::new(Actor::System),
    };
    accounts::register(commands, register).await.unwrap().account_id
}

async fn channel(commands: &Commands, owner_id: AccountId, handle: &str) -> ChannelId {
    let create = CreateChannel {
        owner_id,
        handle: handle.to_owned(),
        title: "A channel".to_owned(),
        description: String::new(),
        metadata: Metadata::new(Actor::Account(owner_id)),
    };
    channels::create(commands, create).await.unwrap().channel_id
}

/// A stream that the plane has, and its recording, if the channel records.
async fn stream(plane: &Plane, channel_id: ChannelId) -> (StreamId, Option<RecordingId>) {
    let commands = &plane.commands;
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
    plane.live.lock().unwrap().push((channel_id, stream_id));
    let recording = recordings::start(commands, stream_id, channel_id, node()).await.unwrap();
    (stream_id, recording.map(|recording| recording.recording_id))
}

async fn record(commands: &Commands, owner: AccountId, channel_id: ChannelId) {
    let on = RecordingPolicy { is_on: true, ..RecordingPolicy::default() };
    recordings::change_policy(commands, channel_id, owner, on, Metadata::new(Actor::System)).await.unwrap();
}

async fn ended_as(stage: &Stage, stream_id: StreamId) -> Option<String> {
    sqlx::query_scalar(
        "select payload->'Ended'->>'reason' from log.events where event_type = 'stream.ended' and aggregate_id = $1",
    )
    .bind(stream_id.to_string())
    .fetch_optional(&stage.pool)
    .await
    .unwrap()
}

async fn suspended(commands: &Commands, account_id: AccountId) {
    let reason = commands.account_keys().seal(account_id, "Two warnings").await.unwrap();
    let command = SuspensionCommand::Suspend { by: None, reason, until: None };
    let command = AccountCommand::Suspension(command);
    commands.execute::<Account>(&account_id.to_string(), command, Metadata::new(Actor::System)).await.unwrap();
}

#[tokio::test]
async fn a_suspension_that_was_cut_off_after_its_event_is_finished() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let plane = Plane::new(commands);
    let (mira, noor) = (register(commands, "mira").await, register(commands, "noor").await);
    let (first, second) = (channel(commands, mira, "first").await, channel(commands, mira, "second").await);
    let kept = channel(commands, noor, "kept").await;
    let (live, _) = stream(&plane, second).await;
    let (other, _) = stream(&plane, kept).await;
    let session = sessions::open(commands, mira, "A browser", "::1").await.unwrap();
    let stays = sessions::open(commands, noor, "A browser", "::1").await.unwrap();
    // The event alone, as of somebody who was stopped after it.
    suspended(commands, mira).await;

    let following = follow(commands, &plane);
    until("the end of the stream", async || ended_as(&stage, live).await.is_some()).await;
    assert_eq!(ended_as(&stage, live).await.as_deref(), Some("account_suspended"));
    until("the end of the session", async || !sessions::is_open(commands, session.session_id).await.unwrap()).await;
    // An encoder that has not begun yet goes, too.
    assert_eq!(plane.reasons(first), [EndReason::AccountSuspended]);
    assert!(plane.reasons(kept).is_empty());
    assert_eq!(ended_as(&stage, other).await, None);
    assert!(sessions::is_open(commands, stays.session_id).await.unwrap());
    following.abort();
}

#[tokio::test]
async fn what_is_over_by_the_time_it_is_heard_of_harms_nobody() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let plane = Plane::new(commands);
    let mira = register(commands, "mira").await;
    let river = channel(commands, mira, "river").await;
    suspended(commands, mira).await;
    let position = commands::events::head(&stage.pool).await.unwrap();
    let lift = AccountCommand::Suspension(SuspensionCommand::Reinstate { by: None });
    commands.execute::<Account>(&mira.to_string(), lift, Metadata::new(Actor::System)).await.unwrap();
    let session = sessions::open(commands, mira, "A browser", "::1").await.unwrap();
    let (live, _) = stream(&plane, river).await;
    let following = follow(commands, &plane);
    let heard = format!("select count(*) from log.processes where name = 'suspension' and position >= {position}");
    stage.until_count("the event", &heard, 1).await;
    assert!(sessions::is_open(commands, session.session_id).await.unwrap());
    assert_eq!((plane.reasons(river), ended_as(&stage, live).await), (Vec::new(), None));
    following.abort();
}

async fn upheld(commands: &Commands, by: AccountId, target: ReportTarget) {
    let (kind, text, metadata) = (ReportKind::Copyright, "My film".to_owned(), Metadata::new(Actor::System));
    let file = FileReport { by, target, kind, text, at_ms: None, metadata: metadata.clone() };
    let report_id = reports::file(commands, file).await.unwrap().report_id;
    let decide = DecideReport {
        report_id,
        by,
        verdict: ReportVerdict::Upheld,
        action: ReportAction::TakeDown,
        answer: String::new(),
        reason: String::new(),
        until: None,
        metadata,
    };
    reports::decide(commands, decide).await.unwrap();
}

async fn state(commands: &Commands, id: RecordingId) -> Option<RecordingState> {
    commands.load::<Recording>(&id.to_string()).await.unwrap().and_then(|(recording, _)| recording.state())
}

#[tokio::test]
async fn what_is_taken_down_ends_and_its_recording_goes() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let plane = Plane::new(commands);
    let (mira, keeper) = (register(commands, "mira").await, register(commands, "keeper").await);
    let river = channel(commands, mira, "river").await;
    record(commands, mira, river).await;
    let (past, old) = stream(&plane, river).await;
    streams::end(commands, past, node(), EndReason::Unpublished).await.unwrap();
    plane.live.lock().unwrap().clear();
    let (live, new) = stream(&plane, river).await;
    let (old, new) = (old.unwrap(), new.unwrap());

    let following = follow(commands, &plane);
    // Of a stream that is over the recording goes, and what the channel shows now goes on.
    upheld(commands, keeper, ReportTarget::Stream { id: past }).await;
    until("the old recording's end", async || state(commands, old).await == Some(RecordingState::Deleted)).await;
    assert_eq!((ended_as(&stage, live).await, plane.reasons(river)), (None, Vec::new()));
    assert_eq!(state(commands, new).await, Some(RecordingState::Recording));

    upheld(commands, keeper, ReportTarget::Stream { id: live }).await;
    until("the new recording's end", async || state(commands, new).await == Some(RecordingState::Deleted)).await;
    assert_eq!(ended_as(&stage, live).await.as_deref(), Some("taken_down"));
    let reason: String = sqlx::query_scalar(
        "select payload->'Deleted'->>'reason' from log.events where event_type = 'recording.deleted' order by position desc limit 1",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(reason, "taken_down");
    assert_eq!(*plane.pictures_deleted.lock().unwrap(), [past, live]);
    following.abort();
}
