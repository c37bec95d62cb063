//! Where the suite is run.

use std::{
    env, fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use storage::{Key, S3Options, Storage};
use tokio::task::JoinHandle;

use crate::server::{Server, until};

pub(crate) struct Place {
    pub(crate) storage: Storage,
    /// Whether an object may be fetched straight from the server.
    pub(crate) has_addresses: bool,
    is_spooled: bool,
    server: Option<Server>,
    folder: tempfile::TempDir,
    mover: Option<JoinHandle<()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mover) = &self.mover {
            mover.abort();
        }
    }
}

impl Place {
    pub(crate) async fn disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        Self { storage, has_addresses: false, is_spooled: false, server: None, folder, mover: None }
    }

    pub(crate) async fn s3() -> Self {
        let server = Server::start().await;
        let storage = Storage::open_s3(server.options()).unwrap();
        storage.check().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { storage, has_addresses: true, is_spooled: false, server: Some(server), folder, mover: None }
    }

    pub(crate) async fn spooled() -> Self {
        let mut place = Self::s3().await;
        let options = place.server.as_ref().unwrap().options();
        let (storage, mover) = Storage::open_spooled(place.folder.path(), options).await.unwrap();
        place.storage = storage;
        place.is_spooled = true;
        place.mover = Some(tokio::spawn(mover.run()));
        place
    }

    pub(crate) async fn direct() -> Self {
        let mut place = Self::spooled().await;
        place.storage = place.storage.direct();
        place
    }

    /// Some other server, in a part of the bucket that nobody has used before.
    pub(crate) async fn elsewhere() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let setting = |name: &str| {
            let name = format!("WEIR_TEST_S3_{name}");
            env::var(&name).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let endpoint = setting("ENDPOINT");
        let unique = format!("weir-test/{}-{}", uuid::Uuid::new_v4(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut options = S3Options::new(setting("BUCKET"), setting("REGION"));
        options.endpoint = Some(endpoint);
        options.prefix = Some(Key::new(unique).unwrap());
        options.access_key = setting("ACCESS_KEY");
        options.secret_key = setting("SECRET_KEY");
        let storage = Storage::open_s3(options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { storage, has_addresses: true, is_spooled: false, server: None, folder, mover: None }
    }

    pub(crate) fn key(&self, text: &str) -> Key {
        Key::new(text).unwrap()
    }

    /// Waits until what was put is where it is to stay.
    pub(crate) async fn is_settled(&self) {
        if self.is_spooled {
            until("all is moved", async || files_in(self.folder.path()) == 0).await;
        }
    }

    /// Parts of uploads that nobody has ended.
    pub(crate) async fn nothing_is_left_half_uploaded(&self) {
        if let Some(server) = &self.server {
            until("no upload is left", async || server.unfinished_uploads() == 0).await;
        }
    }
}

/// Objects in a folder.
fn files_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_in(&entry.path()),
            _ => usize::from(!entry.file_name().to_string_lossy().starts_with('.')),
        })
        .sum()
}
