//! The storage of a process as its settings want it, what moves objects to S3, and what watches the room for them.

mod leftovers;

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use futures::FutureExt as _;
use storage::{DiskWatch, Key, Storage};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use leftovers::drop_deleted;

use crate::{
    config::{Config, StorageBackend},
    node::Role,
    secrets::Secrets,
};

/// What is counted, by the first name of its keys.
const KINDS: [&str; 3] = ["recordings", "thumbnails", "exports"];
/// How often files are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(300);
/// After so long an upload is one that nobody will complete.
const UPLOADS_LAST_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a bucket is counted: a thousand objects are one request, which some have to pay for.
const COUNTED_EVERY_IN_S3: Duration = Duration::from_secs(3_600);

/// What a process has of the storage.
pub struct Objects {
    /// For whatever there is to keep.
    pub storage: Storage,
    /// Whether there is room.
    pub disk: DiskWatch,
    /// What waited on this node's disk, before anything of it was moved.
    pub waiting: Vec<Key>,
    /// What goes on until the process stops.
    pub tasks: Vec<(&'static str, JoinHandle<()>)>,
}

/// Whether the settings can be right, before anything is started.
///
/// # Errors
/// When they never can.
pub fn check(config: &Config, secrets: &Secrets) -> anyhow::Result<()> {
    match config.storage.s3(secrets.s3_keys())? {
        Some(options) => Storage::open_s3(options).map(drop).context("the storage cannot be opened"),
        None => Ok(()),
    }
}

/// Opens the storage. A server that is away is no error.
///
/// # Errors
/// When the folder cannot be used, or the settings can never be right.
pub async fn open(
    config: &Config,
    secrets: &Secrets,
    roles: &BTreeSet<Role>,
    background: &CancellationToken,
) -> anyhow::Result<Objects> {
    let mut tasks = Vec::new();
    let until_stopped = |work: futures::future::BoxFuture<'static, ()>| {
        tokio::spawn(background.clone().run_until_cancelled_owned(work).map(drop))
    };
    let folder = config.data_dir.join("objects");
    let mut waiting = Vec::new();
    let storage = match config.storage.s3(secrets.s3_keys())? {
        None => Storage::open_disk(&folder).await.context("the storage cannot be opened")?,
        // Whoever takes streams in needs a place for what is written while S3 is away.
        Some(options) if roles.contains(&Role::Ingest) => {
            let (storage, mover) =
                Storage::open_spooled(&folder, options).await.context("the storage cannot be opened")?;
            waiting = storage.waiting(&Key::new("recordings")?);
            tasks.push(("the mover to S3", until_stopped(mover.run().boxed())));
            storage
        }
        Some(options) => Storage::open_s3(options).context("the storage cannot be opened")?,
    };
    if config.storage.backend == StorageBackend::S3 {
        // Nothing waits for it: a process starts without S3 as well.
        let told = storage.clone();
        drop(until_stopped(async move { tell(&told).await }.boxed()));
        let tidied = storage.clone();
        tasks.push(("the end of old uploads", until_stopped(tidy(tidied).boxed())));
    }
    let (disk, watcher) = DiskWatch::new(&config.data_dir, config.storage.thresholds());
    tasks.push(("the watch on the disk", until_stopped(watcher.run().boxed())));
    if roles.contains(&Role::Processes) {
        let every = match config.storage.backend {
            StorageBackend::Disk => COUNTED_EVERY,
            StorageBackend::S3 => COUNTED_EVERY_IN_S3,
        };
        tasks.push(("the count of objects", until_stopped(count(storage.clone(), every).boxed())));
    }
    Ok(Objects { storage, disk, waiting, tasks })
}

/// The storage of the nodes for a command that only reads: what waits on the disk of another node until it is moved to S3 is not in
/// it yet.
///
/// # Errors
/// As of [`open`].
pub async fn to_read(config: &Config, secrets: &Secrets) -> anyhow::Result<Storage> {
    match config.storage.s3(secrets.s3_keys())? {
        None => Storage::open_disk(config.data_dir.join("objects")).await.context("the storage cannot be opened"),
        Some(options) => Storage::open_s3(options).context("the storage cannot be opened"),
    }
}

async fn tell(storage: &Storage) {
    match storage.check().await {
        Ok(()) => info!("objects are kept in S3"),
        Err(error) if error.is_retryable() => {
            warn!(error = &error as &dyn std::error::Error, "S3 does not answer; what is written waits on disk");
        }
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "S3 cannot be used; what is written waits on disk");
        }
    }
}

/// Ends uploads that a killed process has left in S3, at the start and every day. None of ours takes as long.
async fn tidy(storage: Storage) {
    let mut ticks = interval(UPLOADS_LAST_AT_MOST);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for kind in KINDS {
            let Ok(folder) = Key::new(kind) else { continue };
            match storage.abort_stale_uploads(&folder, UPLOADS_LAST_AT_MOST).await {
                Ok(0) => {}
                Ok(uploads) => info!(uploads, kind, "uploads that were never completed are gone from S3"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    debug!(error, kind, "S3 does not say which uploads were never completed");
                }
            }
        }
    }
}

/// Says how much there is of each kind.
async fn count(storage: Storage, every: Duration) {
    metrics::describe_gauge!(
        "weir_storage_bytes",
        metrics::Unit::Bytes,
        "How long the objects of a kind are together."
    );
    metrics::describe_gauge!("weir_storage_objects", "How many objects of a kind there are.");
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for kind in KINDS {
            let Ok(folder) = Key::new(kind) else { continue };
            match storage.usage(&folder).await {
                Ok(usage) => {
                    metrics::gauge!("weir_storage_bytes", "kind" => kind).set(precise(usage.size_bytes));
                    metrics::gauge!("weir_storage_objects", "kind" => kind).set(precise(usage.objects));
                }
                Err(error) => debug!(kind, %error, "objects cannot be counted"),
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric, exact up to 8 PiB")]
fn precise(number: u64) -> f64 {
    number as f64
}
