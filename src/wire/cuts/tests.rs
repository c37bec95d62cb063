#[path = "../../../processes/tests/it/people.rs"]
mod people;

use std::{future::Future, net::SocketAddr};

use commands::{
    Actor, CommandsOptions, MasterKeys, Metadata,
    reports::{self, DecideReport, FileReport},
};
use domain::{
    accounts::{Account, AccountCommand, SuspensionCommand},
    channels::ChannelClosedReason,
    ids::{AccountId, ChannelId, NodeId, StreamId},
    reports::{ReportKind, ReportVerdict},
    streams::Stream,
};
use ingest::{IngestConfig, PublishState};
use serde_json::{Value, json};
use storage::Storage;
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

use self::people::{channel, register, stream};
use super::*;
use crate::wire::WriteSide;

const LONG: Duration = Duration::from_secs(120);

async fn write_side() -> Commands {
    let url = embedded::testing::database().await.url;
    commands::migrate(&url).await.unwrap();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let keys = MasterKeys::new([1; 32].into(), [2; 32].into());
    Commands::start(pool, keys, CommandsOptions::default()).await.unwrap()
}

/// Somebody with a channel that is live on a node.
struct Streamer {
    account_id: AccountId,
    channel_id: ChannelId,
    stream_id: StreamId,
}

impl Streamer {
    async fn live(commands: &Commands, username: &str, node_id: NodeId) -> Self {
        let account_id = register(commands, username).await;
        let channel_id = channel(commands, account_id, username).await;
        let stream_id = stream(commands, channel_id, node_id).await;
        Self { account_id, channel_id, stream_id }
    }

    async fn suspend(&self, commands: &Commands) {
        let reason = commands.account_keys().seal(self.account_id, "Two warnings").await.unwrap();
        self.command(commands, SuspensionCommand::Suspend { by: None, reason, until: None }).await;
    }

    async fn command(&self, commands: &Commands, command: SuspensionCommand) {
        let (id, metadata) = (self.account_id.to_string(), Metadata::new(Actor::System));
        commands.execute::<Account>(&id, AccountCommand::Suspension(command), metadata).await.unwrap();
    }

    async fn take_down(&self, commands: &Commands, keeper: AccountId) {
        let (target, metadata) = (ReportTarget::Stream { id: self.stream_id }, Metadata::new(Actor::System));
        let (kind, text) = (ReportKind::Copyright, "My film".to_owned());
        let file = FileReport { by: keeper, target, kind, text, at_ms: None, metadata: metadata.clone() };
        let decide = DecideReport {
            report_id: reports::file(commands, file).await.unwrap().report_id,
            by: keeper,
            verdict: ReportVerdict::Upheld,
            action: ReportAction::TakeDown,
            answer: String::new(),
            reason: String::new(),
            until: None,
            metadata,
        };
        reports::decide(commands, decide).await.unwrap();
    }

    async fn is_live(&self, commands: &Commands) -> bool {
        let stream = commands.load::<Stream>(&self.stream_id.to_string()).await.unwrap();
        stream.unwrap().0.is_live()
    }

    async fn ended_as(&self, commands: &Commands) -> String {
        until("the end of a stream", || async { !self.is_live(commands).await }).await;
        sqlx::query_scalar(
            "select payload->'Ended'->>'reason' from log.events where event_type = 'stream.ended' and aggregate_id = $1",
        )
        .bind(self.stream_id.to_string())
        .fetch_one(commands.pool())
        .await
        .unwrap()
    }
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let poll = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, poll).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A node that has nobody to tell it anything but the log.
struct Node {
    ingest: Arc<Ingest>,
    following: JoinHandle<()>,
    cancel: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Node {
    async fn start(commands: &Commands, node_id: NodeId) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let cuts = Cuts::open(commands).await.unwrap();
        let mut config = IngestConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        // Streams of before the crash wait for their encoders for as long as the test takes.
        config.grace = Duration::from_secs(3_600);
        let elsewhere = crate::wire::Elsewhere { commands: commands.clone(), node_id, nats: None };
        let addresses = api::AddressList::default();
        let write_side = WriteSide { commands: commands.clone(), node_id, addresses, elsewhere };
        let ingest = Arc::new(Ingest::start(config, Arc::new(write_side), storage).await.unwrap());
        let cancel = CancellationToken::new();
        let following = tokio::spawn(cuts.follow(Arc::clone(&ingest), cancel.clone()));
        Self { ingest, following, cancel, _folder: folder }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.following.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_decided_while_a_node_was_away_is_done_when_it_is_back() {
    let (commands, node_id) = (write_side().await, NodeId::from(Uuid::from_u128(7)));
    let keeper = register(&commands, "keeper").await;
    let before = Streamer::live(&commands, "before", node_id).await;
    let suspended = Streamer::live(&commands, "suspended", node_id).await;
    let closed = Streamer::live(&commands, "closed", node_id).await;
    let taken_down = Streamer::live(&commands, "taken_down", node_id).await;
    let reinstated = Streamer::live(&commands, "reinstated", node_id).await;
    let elsewhere = Streamer::live(&commands, "elsewhere", NodeId::from(Uuid::from_u128(8))).await;
    let rotated = Streamer::live(&commands, "rotated", node_id).await;
    // The node has crashed: nobody hears of what follows.
    suspended.suspend(&commands).await;
    elsewhere.suspend(&commands).await;
    reinstated.suspend(&commands).await;
    reinstated.command(&commands, SuspensionCommand::Reinstate { by: None }).await;
    taken_down.take_down(&commands, keeper).await;
    let by = Metadata::new(Actor::Account(rotated.account_id));
    channels::rotate_stream_key(&commands, rotated.account_id, rotated.channel_id, by).await.unwrap();
    let by = Metadata::new(Actor::System);
    channels::close(&commands, closed.channel_id, None, ChannelClosedReason::OwnerErased, by).await.unwrap();

    let node = Node::start(&commands, node_id).await;
    assert_eq!(suspended.ended_as(&commands).await, "account_suspended");
    assert_eq!(taken_down.ended_as(&commands).await, "taken_down");
    assert_eq!(closed.ended_as(&commands).await, "channel_closed");
    // What is decided from then on, too; and by then all of before is done.
    before.take_down(&commands, keeper).await;
    assert_eq!(before.ended_as(&commands).await, "taken_down");
    // Whoever comes back to the last of these shows the new key.
    for other in [&reinstated, &elsewhere, &rotated] {
        assert!(other.is_live(&commands).await);
    }
    assert_eq!(node.ingest.status(reinstated.channel_id).state, PublishState::Reconnecting);
    node.stop().await;
}

/// As another version of Weir would, of something that has `sequence` events then.
async fn append(commands: &Commands, (id, sequence): (Uuid, i64), event_type: &str, version: &str, payload: Value) {
    sqlx::query(
        "with head as (update log.head set position = position + 1 returning position)
         insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
         select position, split_part($2, '.', 1), $1, $3, $2, $4, $5::json, '{}' from head",
    )
    .bind(id.to_string())
    .bind(event_type)
    .bind(sequence)
    .bind(version)
    .bind(payload.to_string())
    .execute(commands.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_ends_what_it_names_and_no_more() {
    let (commands, node_id) = (write_side().await, NodeId::from(Uuid::from_u128(7)));
    let unread = Streamer::live(&commands, "unread", NodeId::from(Uuid::from_u128(8))).await;
    let [over, open, down] = [
        Streamer::live(&commands, "over", node_id).await,
        Streamer::live(&commands, "open", node_id).await,
        Streamer::live(&commands, "down", node_id).await,
    ];
    // The start of another node's stream, which keeps nobody from starting.
    let newer = format!(
        "alter table log.events disable trigger events_are_kept;
         update log.events set event_version = '9' where aggregate_id = '{}';
         alter table log.events enable trigger events_are_kept",
        unread.stream_id
    );
    sqlx::raw_sql(&newer).execute(commands.pool()).await.unwrap();
    for (streamer, hours) in [(&over, -1), (&open, 1)] {
        let id = streamer.account_id;
        let now = OffsetDateTime::now_utc();
        let suspended = AccountSuspended {
            account_id: id,
            by: None,
            reason: commands.account_keys().seal(id, "Two warnings").await.unwrap(),
            until: Some(now + time::Duration::hours(hours)),
            suspended_at: now,
        };
        append(&commands, (id.uuid(), 1_000), "account.mended", "1", json!({})).await;
        let suspended = serde_json::to_value(AccountEvent::Suspended(suspended)).unwrap();
        append(&commands, (id.uuid(), 1_001), "account.suspended", "1", suspended).await;
    }
    let node = Node::start(&commands, node_id).await;
    assert_eq!(open.ended_as(&commands).await, "account_suspended");
    let target = json!({ "kind": "stream", "id": down.stream_id });
    let decided = json!({ "Decided": { "action": "take_down", "target": target } });
    append(&commands, (Uuid::now_v7(), 2), "report.decided", "9", decided).await;
    assert_eq!(down.ended_as(&commands).await, "taken_down");
    assert!(over.is_live(&commands).await);
    node.stop().await;
}
