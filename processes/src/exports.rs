//! Exports: writes the files that were asked for, and deletes them when their time is over.
//!
//! What is asked for (`export.requested`) goes on a list in the database, and the nodes take from it, so many at once
//! each. Whoever writes one says so every second; when that stops, because the node died, another begins it from scratch. A
//! file is there whole or not at all. What is deleted (`export.deleted`) is taken off the list, its file goes, and whoever
//! writes it stops.
//!
//! To add a form: a module beside `csv`, and a line in each function of `write::Writer`.

mod columns;
mod csv;
mod job;
mod ndjson;
mod parquet;
mod write;

use std::{error::Error, time::Duration};

use commands::{
    Actor, CommandError, Commands, Metadata,
    exports::{self, jobs},
};
use domain::{
    DomainEvent,
    exports::{ExportDeletedReason, ExportEvent, ExportRefusal, ExportWay},
    ids::ExportId,
};
use projections::ReadModels;
use storage::{Key, Storage};
use time::OffsetDateTime;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

pub use write::{Wanted, WriteError, write};

use crate::following::{Begin, BoxError, Followed, Following, Handler, Process};

const PROCESS: Process =
    Process { name: "exports", types: &["export.requested", "export.deleted"], begin: Begin::Start };
/// How often the list is looked at when nothing wakes the worker.
const POLLED_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked for exports whose time is over.
const SWEPT_EVERY: Duration = Duration::from_secs(300);
/// How many are deleted in one go.
const SWEPT_AT_ONCE: i64 = 100;

/// How exports are written.
#[derive(Debug, Clone)]
pub struct ExportsOptions {
    /// Where the files go; the nodes that serve the API read them there.
    pub storage: Storage,
    /// The install's public address, which events name as their source.
    pub public_url: String,
    /// How many are written at once on a node.
    pub at_once: usize,
}

/// Where the file of an export is.
///
/// # Panics
/// Never: an id is a storage key.
#[must_use]
pub fn key(export_id: ExportId) -> Key {
    Key::new(format!("exports/{export_id}")).expect("an id has letters, digits and hyphens")
}

/// Writes and deletes exports, for ever. Several nodes may. Cancel safe: what was under way is begun anew by whoever is
/// next.
pub async fn run(commands: &Commands, following: &Following, options: &ExportsOptions) {
    let woken = Notify::new();
    let list = List { commands, options, woken: &woken };
    let workers = (0..options.at_once.max(1)).map(|_| work(commands, options, &woken));
    tokio::join!(following.follow(PROCESS, &list), futures::future::join_all(workers), expire(commands));
}

/// Keeps the list of what is to be written as the events say.
struct List<'a> {
    commands: &'a Commands,
    options: &'a ExportsOptions,
    woken: &'a Notify,
}

impl Handler for List<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        match &followed.event {
            DomainEvent::Export(ExportEvent::Requested { export_id, way: ExportWay::Job, .. }) => {
                // When it has ended long ago, whoever takes it on sees that.
                jobs::enqueue(self.commands.pool(), *export_id).await?;
                self.woken.notify_one();
            }
            DomainEvent::Export(ExportEvent::Deleted { export_id, .. }) => {
                jobs::remove(self.commands.pool(), *export_id).await?;
                self.options.storage.delete(&key(*export_id)).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Writes one export after the other.
async fn work(commands: &Commands, options: &ExportsOptions, woken: &Notify) {
    let worker = Uuid::now_v7();
    loop {
        match jobs::claim(commands.pool(), worker).await {
            Ok(Some(job)) => job::run(commands, options, worker, job).await,
            Ok(None) => {
                let _ = timeout(POLLED_EVERY, woken.notified()).await;
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "the list of exports cannot be read");
                sleep(POLLED_EVERY).await;
            }
        }
    }
}

/// Deletes exports whose time is over. Every node does: whoever comes second is refused, and that is no harm.
async fn expire(commands: &Commands) {
    let mut rounds = interval(SWEPT_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match delete_expired(commands, OffsetDateTime::now_utc()).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "exports whose time was over were deleted"),
            Err(error) => tracing::warn!(error = &*error, "exports whose time is over could not be deleted"),
        }
    }
}

/// Deletes the exports whose time is over at `now`; how many.
///
/// # Errors
/// When the log or the read models do not answer; the rest is for the next time.
pub async fn delete_expired(commands: &Commands, now: OffsetDateTime) -> Result<u64, BoxError> {
    let read = ReadModels::new(commands.pool().clone());
    let mut deleted = 0;
    for export_id in read.exports().expired(now, SWEPT_AT_ONCE).await? {
        let metadata = Metadata::new(Actor::System);
        match exports::delete(commands, export_id, ExportDeletedReason::Expired, metadata).await {
            Ok(_) => deleted += 1,
            // The read model has not seen it yet.
            Err(CommandError::Refused(ExportRefusal::Deleted | ExportRefusal::Unknown)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(deleted)
}
