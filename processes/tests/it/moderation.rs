//! What follows from suspensions and from what was decided of reports.

use std::sync::{Arc, Mutex};

use commands::{
    Actor, Commands, Metadata,
    accounts::sessions,
    recordings,
    reports::{self, DecideReport, FileReport},
    streams,
};
use domain::{
    accounts::{Account, AccountCommand, SuspensionCommand},
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    recordings::{Recording, RecordingPolicy, RecordingState},
    reports::{ReportAction, ReportKind, ReportTarget, ReportVerdict},
    streams::EndReason,
};
use futures::{FutureExt, future::BoxFuture};
use processes::{Following, Pictures, following::BoxError, pictures, reports as decisions, suspension};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    people::{channel, register, stream},
    stage::{Stage, until},
};

fn node() -> NodeId {
    Uuid::from_u128(7).into()
}

/// Remembers whose pictures were deleted.
#[derive(Default)]
struct Deleted(Mutex<Vec<StreamId>>);

impl Deleted {
    fn has(&self, streams: &[StreamId]) -> bool {
        *self.0.lock().unwrap() == streams
    }
}

impl Pictures for Deleted {
    fn delete(&self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<(), BoxError>> {
        self.0.lock().unwrap().extend(streams);
        std::future::ready(Ok(())).boxed()
    }
}

fn follow(commands: &Commands, deleted: &Arc<Deleted>) -> JoinHandle<()> {
    let (commands, deleted) = (commands.clone(), Arc::clone(deleted) as Arc<dyn Pictures>);
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(
            following.listen(),
            suspension::run(&commands, &following),
            decisions::run(&commands, &following),
            pictures::run(&commands, &following, &deleted),
        );
    })
}

/// A live stream, and its recording, if the channel records.
async fn recorded(commands: &Commands, channel_id: ChannelId) -> (StreamId, Option<RecordingId>) {
    let stream_id = stream(commands, channel_id, node()).await;
    let recording = recordings::start(commands, stream_id, channel_id, node()).await.unwrap();
    (stream_id, recording.map(|recording| recording.recording_id))
}

async fn record(commands: &Commands, owner: AccountId, channel_id: ChannelId) {
    let on = RecordingPolicy { is_on: true, ..RecordingPolicy::default() };
    recordings::change_policy(commands, channel_id, owner, on, Metadata::new(Actor::System)).await.unwrap();
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
    let (mira, noor) = (register(commands, "mira").await, register(commands, "noor").await);
    let session = sessions::open(commands, mira, "A browser", "::1").await.unwrap();
    let stays = sessions::open(commands, noor, "A browser", "::1").await.unwrap();
    // The event alone, as of somebody who was stopped after it.
    suspended(commands, mira).await;

    let following = follow(commands, &Arc::default());
    until("the end of the session", async || !sessions::is_open(commands, session.session_id).await.unwrap()).await;
    assert!(sessions::is_open(commands, stays.session_id).await.unwrap());
    following.abort();
}

#[tokio::test]
async fn what_is_over_by_the_time_it_is_heard_of_harms_nobody() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let mira = register(commands, "mira").await;
    suspended(commands, mira).await;
    let position = commands::events::head(&stage.pool).await.unwrap();
    let lift = AccountCommand::Suspension(SuspensionCommand::Reinstate { by: None });
    commands.execute::<Account>(&mira.to_string(), lift, Metadata::new(Actor::System)).await.unwrap();
    let session = sessions::open(commands, mira, "A browser", "::1").await.unwrap();
    let following = follow(commands, &Arc::default());
    let heard = format!("select count(*) from log.processes where name = 'suspension' and position >= {position}");
    stage.until_count("the event", &heard, 1).await;
    assert!(sessions::is_open(commands, session.session_id).await.unwrap());
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
async fn what_is_taken_down_loses_its_recording_and_its_pictures() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let deleted = Arc::new(Deleted::default());
    let (mira, keeper) = (register(commands, "mira").await, register(commands, "keeper").await);
    let river = channel(commands, mira, "river").await;
    record(commands, mira, river).await;
    let (past, old) = recorded(commands, river).await;
    streams::end(commands, past, node(), EndReason::Unpublished).await.unwrap();
    let (between, middle) = recorded(commands, river).await;
    streams::end(commands, between, node(), EndReason::Unpublished).await.unwrap();
    let (live, new) = recorded(commands, river).await;
    let (old, middle, new) = (old.unwrap(), middle.unwrap(), new.unwrap());

    let following = follow(commands, &deleted);
    upheld(commands, keeper, ReportTarget::Stream { id: past }).await;
    until("the old recording's end", async || state(commands, old).await == Some(RecordingState::Deleted)).await;
    until("the end of its pictures", async || deleted.has(&[past, past])).await;
    assert_eq!(state(commands, new).await, Some(RecordingState::Recording));

    // The pictures of a recording are those of its stream.
    upheld(commands, keeper, ReportTarget::Recording { id: middle }).await;
    until("the recording's end", async || state(commands, middle).await == Some(RecordingState::Deleted)).await;
    until("the end of its pictures", async || deleted.has(&[past, past, between, between])).await;

    // One that is live makes more until its node has ended it, and those go then.
    upheld(commands, keeper, ReportTarget::Stream { id: live }).await;
    until("the new recording's end", async || state(commands, new).await == Some(RecordingState::Deleted)).await;
    let gone = [past, past, between, between, live, live, live];
    until("the end of its pictures", async || deleted.has(&gone[..6])).await;
    streams::end(commands, live, node(), EndReason::TakenDown).await.unwrap();
    until("the end of its last pictures", async || deleted.has(&gone)).await;
    let reason: String = sqlx::query_scalar(
        "select payload->'Deleted'->>'reason' from log.events where event_type = 'recording.deleted' order by position desc limit 1",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(reason, "taken_down");
    following.abort();
}

#[tokio::test]
async fn a_stream_leaves_no_pictures_when_a_suspension_ended_it_or_its_recording_was_taken_down() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let deleted = Arc::new(Deleted::default());
    let (mira, keeper) = (register(commands, "mira").await, register(commands, "keeper").await);
    let river = channel(commands, mira, "river").await;
    let (kept, _) = recorded(commands, river).await;
    streams::end(commands, kept, node(), EndReason::Unpublished).await.unwrap();
    let (suspended, _) = recorded(commands, river).await;
    streams::end(commands, suspended, node(), EndReason::AccountSuspended).await.unwrap();
    let following = follow(commands, &deleted);
    until("the end of its pictures", async || deleted.has(&[suspended])).await;

    record(commands, mira, river).await;
    let (live, recording) = recorded(commands, river).await;
    let recording = recording.unwrap();
    upheld(commands, keeper, ReportTarget::Recording { id: recording }).await;
    until("the recording's end", async || state(commands, recording).await == Some(RecordingState::Deleted)).await;
    until("the end of its pictures", async || deleted.has(&[suspended, live, live])).await;
    streams::end(commands, live, node(), EndReason::Unpublished).await.unwrap();
    until("the end of its last pictures", async || deleted.has(&[suspended, live, live, live])).await;
    following.abort();
}
