//! Accounts are erased when their time to think better of it is over, also after a restart.

use std::time::Duration;

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, due_erasures},
};
use domain::{accounts::ErasureCancelledReason, ids::AccountId};
use processes::Following;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::{
    people::register,
    stage::{Stage, start, until},
};

const DAYS: Duration = Duration::from_secs(14 * 86_400);

fn follow(commands: &Commands) -> JoinHandle<()> {
    let commands = commands.clone();
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), processes::due_erasures::run(&commands, &following));
    })
}

async fn request(commands: &Commands, id: AccountId, cooling_off: Duration) {
    let metadata = Metadata::new(Actor::Account(id));
    due_erasures::request(commands, id, cooling_off, metadata).await.unwrap();
}

async fn is_erased(commands: &Commands, id: AccountId) -> bool {
    accounts::is_erased(commands, id).await.unwrap()
}

#[tokio::test]
async fn it_is_carried_out_on_time_and_not_before() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let (soon, later) = (register(commands, "soon").await, register(commands, "later").await);
    let following = follow(commands);
    request(commands, later, DAYS).await;
    request(commands, soon, Duration::from_millis(500)).await;
    until("the erasure", async || is_erased(commands, soon).await).await;
    assert!(!is_erased(commands, later).await);
    stage.until_count("the row's end", "select count(*) from log.due_erasures", 1).await;
    following.abort();
}

#[tokio::test]
async fn a_restart_forgets_none() {
    let stage = Stage::new().await;
    let id = register(&stage.commands, "gone").await;
    // Asked for while no process ran; noted by one that ended before it was due; carried out by a third.
    request(&stage.commands, id, DAYS).await;
    let first = follow(&stage.commands);
    stage.until_count("the note", "select count(*) from log.due_erasures", 1).await;
    first.abort();
    let _ = first.await;
    // The account's time comes while nothing runs: as if the clock had gone on.
    sqlx::raw_sql(
        "alter table log.events disable trigger events_are_kept; \
         update log.events set payload = jsonb_set(payload::jsonb, '{ErasureRequested,due_at}', '\"2026-01-01T00:00:00Z\"')::json \
         where event_type = 'account.erasure_requested'; \
         alter table log.events enable trigger events_are_kept; \
         update log.due_erasures set due_at = '2026-01-01T00:00:00Z'",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    let restarted = start(&stage.pool).await;
    let second = follow(&restarted);
    until("the erasure after the restart", async || is_erased(&restarted, id).await).await;
    second.abort();
}

#[tokio::test]
async fn who_signs_in_in_time_stays() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let kept = register(commands, "kept").await;
    request(commands, kept, DAYS).await;
    let metadata = Metadata::new(Actor::Account(kept));
    assert!(due_erasures::cancel(commands, kept, ErasureCancelledReason::SignedIn, metadata).await.unwrap());
    // As if its time had come, and nobody had noted yet that it was called off.
    due_erasures::note(&stage.pool, kept, OffsetDateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(due_erasures::carry_out(commands).await.unwrap(), 0);
    assert!(!is_erased(commands, kept).await);
    stage.until_count("the row's end", "select count(*) from log.due_erasures", 0).await;
}
