//! Objects that are too large for the memory: written and read piece by piece.

use std::{
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, ReadBuf},
    runtime::Handle,
};

use crate::{
    Key, Operation, StorageError, disk,
    s3::{self, Upload},
    spool::Spool,
};

/// Where what is written goes.
#[derive(Debug)]
pub(crate) enum Sink {
    Disk(disk::Writer),
    S3(Upload),
    /// Into the folder.
    Spool(disk::Writer, Arc<Spool>),
    /// Past the folder.
    Direct(Upload, Arc<Spool>),
}

impl Sink {
    async fn write(self, key: &Key, bytes: Bytes) -> Result<Self, StorageError> {
        match self {
            Self::Disk(writer) => Ok(Self::Disk(write_file(writer, key, bytes).await?)),
            Self::Spool(writer, spool) => Ok(Self::Spool(write_file(writer, key, bytes).await?, spool)),
            Self::S3(mut upload) => upload.write(&bytes).await.map(|()| Self::S3(upload)),
            Self::Direct(mut upload, spool) => upload.write(&bytes).await.map(|()| Self::Direct(upload, spool)),
        }
    }

    async fn finish(self, key: &Key) -> Result<u64, StorageError> {
        match self {
            Self::Disk(writer) => disk::blocking(Operation::Put, key.as_str(), move || writer.finish()).await,
            Self::Spool(writer, spool) => {
                let name = key.clone();
                disk::blocking(Operation::Put, key.as_str(), move || spool.finish(writer, &name)).await
            }
            Self::S3(upload) => upload.finish().await,
            Self::Direct(upload, spool) => spool.finish_direct(upload, key).await,
        }
    }
}

async fn write_file(mut writer: disk::Writer, key: &Key, bytes: Bytes) -> Result<disk::Writer, StorageError> {
    let write = move || writer.write_all(&bytes).map(|()| writer);
    disk::blocking(Operation::Put, key.as_str(), write).await
}

/// An object that is being written. Nobody sees it before [`finish`](Self::finish); dropped before that, it was never there.
///
/// Writing blocks: use it off the async threads, where it panics, or take a [`StreamWriter`].
#[derive(Debug)]
pub struct ObjectWriter {
    pub(crate) key: Key,
    pub(crate) sink: Sink,
    /// Where the requests of a server run.
    pub(crate) runtime: Handle,
}

impl ObjectWriter {
    /// Stores what was written, in place of the object that was there; its length in bytes. When this returns, the object
    /// survives a crash of the machine.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] when there is no room, and the old object stays; otherwise as [`Storage::put`].
    ///
    /// [`Storage::put`]: crate::Storage::put
    pub fn finish(self) -> Result<u64, StorageError> {
        let Self { key, sink, runtime } = self;
        let failed = |source| StorageError::new(Operation::Put, key.as_str(), source);
        match sink {
            Sink::Disk(writer) => writer.finish().map_err(failed),
            Sink::Spool(writer, spool) => spool.finish(writer, &key).map_err(failed),
            sink => runtime.block_on(sink.finish(&key)),
        }
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Disk(writer) | Sink::Spool(writer, _) => writer.write(bytes),
            Sink::S3(upload) | Sink::Direct(upload, _) => {
                self.runtime.block_on(upload.write(bytes))?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Disk(writer) | Sink::Spool(writer, _) => writer.flush(),
            // A part is sent when it is full.
            Sink::S3(_) | Sink::Direct(..) => Ok(()),
        }
    }
}

/// An object that is being written by async code, in whatever pieces there are. Nobody sees it before
/// [`finish`](Self::finish); dropped before that, it was never there.
#[derive(Debug)]
pub struct StreamWriter {
    pub(crate) key: Key,
    /// `None` once a write failed or was abandoned: what was written then is not known.
    pub(crate) sink: Option<Sink>,
}

impl StreamWriter {
    /// Writes a piece; memory is bounded however many there are. After an error, or when the future was dropped, the object
    /// cannot be finished any more.
    ///
    /// # Errors
    /// As [`Storage::put`](crate::Storage::put).
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        let sink = self.sink.take().ok_or_else(|| broken(&self.key))?;
        self.sink = Some(sink.write(&self.key, bytes).await?);
        Ok(())
    }

    /// Stores what was written, in place of the object that was there; its length in bytes. When this returns, the object
    /// survives a crash of the machine.
    ///
    /// # Errors
    /// As [`Storage::put`](crate::Storage::put).
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        let sink = self.sink.take().ok_or_else(|| broken(&self.key))?;
        sink.finish(&self.key).await
    }
}

fn broken(key: &Key) -> StorageError {
    StorageError::new(Operation::Put, key.as_str(), io::ErrorKind::BrokenPipe.into())
}

/// The content of an object, or a part of it. It stays whole when the object is replaced or deleted meanwhile.
#[derive(Debug)]
pub struct ObjectReader {
    pub(crate) source: Source,
}

/// Where what is read comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Disk(disk::Reader),
    S3(s3::Reader),
}

impl AsyncRead for ObjectReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.source {
            Source::Disk(reader) => Pin::new(reader).poll_read(context, buffer),
            Source::S3(reader) => Pin::new(reader).poll_read(context, buffer),
        }
    }
}
