//! Objects that are too large for the memory: written and read piece by piece.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{Key, Operation, StorageError, disk};

/// Where what is written goes.
#[derive(Debug)]
pub(crate) enum Sink {
    Disk(disk::Writer),
}

/// An object that is being written. Nobody sees it before [`finish`](Self::finish); dropped before that, it was never there.
///
/// Writing blocks: use it off the async threads, or take a [`StreamWriter`].
#[derive(Debug)]
pub struct ObjectWriter {
    pub(crate) key: Key,
    pub(crate) sink: Sink,
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
        let Self { key, sink } = self;
        match sink {
            Sink::Disk(writer) => {
                writer.finish().map_err(|source| StorageError::new(Operation::Put, key.as_str(), source))
            }
        }
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Disk(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Disk(writer) => writer.flush(),
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
        match self.sink.take().ok_or_else(|| broken(&self.key))? {
            Sink::Disk(mut writer) => {
                let writer = disk::blocking(Operation::Put, self.key.as_str(), move || {
                    writer.write_all(&bytes)?;
                    Ok(writer)
                });
                self.sink = Some(Sink::Disk(writer.await?));
            }
        }
        Ok(())
    }

    /// Stores what was written, in place of the object that was there; its length in bytes. When this returns, the object
    /// survives a crash of the machine.
    ///
    /// # Errors
    /// As [`Storage::put`](crate::Storage::put).
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        match self.sink.take().ok_or_else(|| broken(&self.key))? {
            Sink::Disk(writer) => disk::blocking(Operation::Put, self.key.as_str(), move || writer.finish()).await,
        }
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
}

impl AsyncRead for ObjectReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.source {
            Source::Disk(reader) => Pin::new(reader).poll_read(context, buffer),
        }
    }
}
