//! Objects that are too large for the memory: written and read piece by piece.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::{Key, Operation, StorageError, disk};

/// An object that is being written. Nobody sees it before [`finish`](Self::finish); dropped before that, it was never there.
///
/// Writing blocks: use it off the async threads.
#[derive(Debug)]
pub struct ObjectWriter {
    pub(crate) key: Key,
    pub(crate) back_end: disk::Writer,
}

impl ObjectWriter {
    /// Stores what was written, in place of the object that was there; its length in bytes. When this returns, the object
    /// survives a crash of the machine.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] when there is no room, and the old object stays; otherwise [`StorageError::Io`].
    pub fn finish(self) -> Result<u64, StorageError> {
        let Self { key, back_end } = self;
        back_end.finish().map_err(|source| StorageError::new(Operation::Put, key.as_str(), source))
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.back_end.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.back_end.flush()
    }
}

/// The content of an object, or a part of it. It stays whole when the object is replaced or deleted meanwhile.
#[derive(Debug)]
pub struct ObjectReader {
    pub(crate) back_end: disk::Reader,
}

impl AsyncRead for ObjectReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.back_end).poll_read(context, buffer)
    }
}
