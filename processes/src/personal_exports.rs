//! Copies of everything that is kept of a person: made, and deleted when their time is over or the person is erased.
//!
//! What is asked for (`personal_export.requested`) goes on a list in the database, from which the nodes take one after the
//! other. Whoever writes one says so every second; when that stops, because the node died, another begins it from scratch. A file
//! is there whole or not at all.

mod archive;
mod contents;
mod events;
mod job;

use std::{error::Error, time::Duration};

use commands::{
    Actor, Commands, Metadata,
    accounts::personal_exports::{self as exports, jobs},
};
use domain::{
    DomainEvent,
    accounts::{AccountEvent, PersonalExportDeletedReason, PersonalExportEvent},
    ids::PersonalExportId,
};
use storage::Key;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    ExportsOptions,
    following::{Begin, BoxError, Followed, Following, Handler, Process, caused_by},
};

const PROCESS: Process = Process {
    name: "personal_exports",
    types: &[
        "personal_export.requested",
        "personal_export.completed",
        "personal_export.failed",
        "personal_export.deleted",
        "account.erased",
    ],
    begin: Begin::Start,
};
/// How often the list is looked at when nothing wakes the worker.
const POLLED_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked for files whose time is over.
const SWEPT_EVERY: Duration = Duration::from_secs(300);
/// How many are deleted in one go.
const SWEPT_AT_ONCE: i64 = 100;

/// Where the file of an export is.
///
/// # Panics
/// Never: an id is a storage key.
#[must_use]
pub fn key(export_id: PersonalExportId) -> Key {
    Key::new(format!("personal-exports/{export_id}")).expect("an id has letters, digits and hyphens")
}

/// Writes and deletes personal exports, for ever. Several nodes may. Cancel safe: what was under way is begun anew by
/// whoever is next.
pub async fn run(commands: &Commands, following: &Following, options: &ExportsOptions) {
    let woken = Notify::new();
    let list = List { commands, options, woken: &woken };
    tokio::join!(following.follow(PROCESS, &list), work(commands, options, &woken), expire(commands));
}

/// Keeps the list of what is to be written, and of what is there, as the events say.
struct List<'a> {
    commands: &'a Commands,
    options: &'a ExportsOptions,
    woken: &'a Notify,
}

impl Handler for List<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        let pool = self.commands.pool();
        match &followed.event {
            DomainEvent::PersonalExport(PersonalExportEvent::Requested { export_id, account_id, .. }) => {
                // Of the two events the later one finds the other.
                if commands::accounts::is_erased(self.commands, *account_id).await? {
                    let reason = PersonalExportDeletedReason::AccountErased;
                    exports::delete(self.commands, (*account_id, *export_id), reason, caused_by(followed)).await?;
                    return Ok(());
                }
                jobs::enqueue(pool, *export_id, *account_id).await?;
                self.woken.notify_one();
            }
            DomainEvent::PersonalExport(PersonalExportEvent::Completed {
                export_id, account_id, expires_at, ..
            }) => {
                jobs::keep(pool, *export_id, *account_id, *expires_at).await?;
            }
            DomainEvent::PersonalExport(PersonalExportEvent::Failed { export_id, .. }) => {
                jobs::remove(pool, *export_id).await?;
            }
            DomainEvent::PersonalExport(PersonalExportEvent::Deleted { export_id, .. }) => {
                jobs::remove(pool, *export_id).await?;
                self.options.storage.delete(&key(*export_id)).await?;
            }
            DomainEvent::Account(AccountEvent::Erased { account_id, .. }) => {
                for export_id in jobs::of_account(pool, *account_id).await? {
                    let reason = PersonalExportDeletedReason::AccountErased;
                    exports::delete(self.commands, (*account_id, export_id), reason, caused_by(followed)).await?;
                }
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
            Ok(Some(job)) => Box::pin(job::run(commands, options, worker, job)).await,
            Ok(None) => {
                let _ = timeout(POLLED_EVERY, woken.notified()).await;
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "the list of personal exports cannot be read");
                sleep(POLLED_EVERY).await;
            }
        }
    }
}

/// Deletes files whose time is over. Every node does: the second finds nothing to do.
async fn expire(commands: &Commands) {
    let mut rounds = interval(SWEPT_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match delete_expired(commands).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "personal exports whose time was over were deleted"),
            Err(error) => {
                tracing::warn!(
                    error = &*error as &(dyn Error + 'static),
                    "personal exports whose time is over stay for now"
                );
            }
        }
    }
}

/// Deletes the files whose time is over by the clock of the database; how many.
///
/// # Errors
/// When the log does not answer; the rest is for the next time.
pub async fn delete_expired(commands: &Commands) -> Result<u64, BoxError> {
    let mut deleted = 0;
    for of in jobs::expired(commands.pool(), SWEPT_AT_ONCE).await? {
        let reason = PersonalExportDeletedReason::Expired;
        exports::delete(commands, of, reason, Metadata::new(Actor::System)).await?;
        deleted += 1;
    }
    Ok(deleted)
}
