//! What an erased person leaves behind goes, whoever did what when.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Erase},
    exports::{self, RequestExport},
    streams,
};
use domain::{
    Aggregate,
    accounts::{Account, AccountCommand},
    channels::{Channel, ChannelCommand, Description, Handle, Title},
    exports::{Export, ExportFilter, ExportFormat, ExportState, ExportWay},
    ids::{AccountId, ChannelId, ExportId, NodeId, SecretId, StreamId},
    streams::EndReason,
};
use futures::{FutureExt, future::BoxFuture};
use processes::{Following, Pictures, erasure, following::BoxError, pictures};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    people::{channel, register, stream},
    stage::{Stage, until},
};

fn node() -> NodeId {
    Uuid::from_u128(7).into()
}

/// Remembers whose pictures were deleted, while it is there.
#[derive(Default)]
pub(crate) struct Deleted {
    streams: Mutex<Vec<StreamId>>,
    is_away: AtomicBool,
}

impl Pictures for Deleted {
    fn delete(&self, streams: Vec<StreamId>) -> BoxFuture<'_, Result<(), BoxError>> {
        async move {
            if self.is_away.load(Ordering::SeqCst) {
                return Err("the nodes are away".into());
            }
            self.streams.lock().unwrap().extend(streams);
            Ok(())
        }
        .boxed()
    }
}

pub(crate) fn follow(commands: &Commands, deleted: &Arc<Deleted>) -> JoinHandle<()> {
    let (commands, deleted) = (commands.clone(), Arc::clone(deleted) as Arc<dyn Pictures>);
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(
            following.listen(),
            erasure::run(&commands, &following),
            pictures::run(&commands, &following, &deleted),
        );
    })
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
async fn channels_close_pictures_and_exports_go() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let deleted = Arc::new(Deleted::default());
    let (gone, stays) = (register(commands, "gone").await, register(commands, "stays").await);
    let (first, second) = (channel(commands, gone, "first").await, channel(commands, gone, "second").await);
    let kept = channel(commands, stays, "kept").await;
    let past = stream(commands, first, node()).await;
    streams::end(commands, past, node(), EndReason::Unpublished).await.unwrap();
    let live = stream(commands, first, node()).await;
    let elsewhere = stream(commands, kept, node()).await;
    let (export_gone, export_kept) = (export(commands, gone).await, export(commands, stays).await);

    let following = follow(commands, &deleted);
    stage.until_checkpoint("erasure", commands::events::head(&stage.pool).await.unwrap()).await;
    erase(commands, gone).await;
    until("closed channels", async || is_closed(commands, first).await && is_closed(commands, second).await).await;
    until("the export's end", async || state(commands, export_gone).await == Some(ExportState::Deleted)).await;
    until("the pictures' end", async || *deleted.streams.lock().unwrap() == [past, live]).await;
    // One that is live makes more until its node has ended it, and those go then.
    streams::end(commands, live, node(), EndReason::ChannelClosed).await.unwrap();
    until("the last pictures' end", async || *deleted.streams.lock().unwrap() == [past, live, live]).await;

    assert!(!is_closed(commands, kept).await);
    assert_eq!(state(commands, export_kept).await, Some(ExportState::Requested));
    assert!(streams::is_live(commands, kept).await.unwrap());
    assert!(!deleted.streams.lock().unwrap().contains(&elsewhere));
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
    let following = follow(commands, &Arc::default());
    for what in ["log.keys where wrapped is not null", "log.sessions", "log.vault where kind <> 'day_key'"] {
        stage.until_count(what, &format!("select count(*) from {what}"), 0).await;
    }
    following.abort();
}

#[tokio::test]
async fn what_an_erased_account_does_meanwhile_is_undone() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let id = register(commands, "gone").await;
    erase(commands, id).await;
    let following = follow(commands, &Arc::default());
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
async fn nodes_that_are_away_delete_pictures_when_they_are_back() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let deleted = Arc::new(Deleted::default());
    deleted.is_away.store(true, Ordering::SeqCst);
    let id = register(commands, "gone").await;
    let channel_id = channel(commands, id, "first").await;
    let past = stream(commands, channel_id, node()).await;
    streams::end(commands, past, node(), EndReason::Unpublished).await.unwrap();
    let following = follow(commands, &deleted);
    erase(commands, id).await;
    until("the closed channel", async || is_closed(commands, channel_id).await).await;
    assert!(deleted.streams.lock().unwrap().is_empty());
    deleted.is_away.store(false, Ordering::SeqCst);
    until("the pictures' end", async || *deleted.streams.lock().unwrap() == [past]).await;
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
