//! What the recorder needs of the storage; tests have one that fails when told to.

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use storage::{Key, Storage, StorageError};

pub(crate) trait Shelf: Send + Sync {
    /// Stores an object for good, in place of the one that was there.
    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes) -> BoxFuture<'a, Result<(), StorageError>>;

    /// An object; `None` when there is none.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>>;

    /// The first `length` bytes of an object; `None` when there is none.
    fn beginning<'a>(&'a self, key: &'a Key, length: u64) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>>;

    /// Deletes everything below a folder.
    fn delete_below<'a>(&'a self, folder: &'a Key) -> BoxFuture<'a, Result<(), StorageError>>;
}

impl Shelf for Storage {
    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes) -> BoxFuture<'a, Result<(), StorageError>> {
        Storage::put(self, key, bytes).boxed()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        async move { Ok(Storage::get(self, key).await?.map(|object| object.bytes)) }.boxed()
    }

    fn beginning<'a>(&'a self, key: &'a Key, length: u64) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        self.get_range(key, 0, length).boxed()
    }

    fn delete_below<'a>(&'a self, folder: &'a Key) -> BoxFuture<'a, Result<(), StorageError>> {
        async move { self.delete_prefix(folder).await.map(drop) }.boxed()
    }
}
