//! A zip of files that come piece by piece, written off the async threads.

use std::io::{self, BufWriter, Write};

use storage::{ObjectWriter, StorageError};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle, spawn_blocking},
};
use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions};

/// Pieces on their way to the writer.
const WAITING: usize = 8;
const BUFFER_BYTES: usize = 64 * 1024;

/// Why an archive was not written.
#[derive(Debug, Error)]
pub(super) enum ArchiveError {
    #[error("the file could not be written")]
    Io(#[from] io::Error),
    #[error("the file could not be stored")]
    Storage(#[from] StorageError),
    #[error("the archive could not be put together")]
    Zip(#[source] ZipError),
    #[error("whoever writes the archive panicked")]
    Panicked(#[from] JoinError),
}

impl From<ZipError> for ArchiveError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::Io(error),
            error => Self::Zip(error),
        }
    }
}

enum Piece {
    File(String),
    Bytes(Vec<u8>),
    End,
}

/// A zip that is being written. Dropped before [`Archive::finish`], nothing is kept of it.
pub(super) struct Archive {
    pieces: mpsc::Sender<Piece>,
    writing: JoinHandle<Result<u64, ArchiveError>>,
    buffer: Vec<u8>,
}

impl Archive {
    pub(super) fn new(out: ObjectWriter) -> Self {
        let (pieces, waiting) = mpsc::channel(WAITING);
        Self { pieces, writing: spawn_blocking(move || write(out, waiting)), buffer: Vec::new() }
    }

    /// What is added from now on goes into a file of this name.
    pub(super) async fn file(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.flush().await?;
        self.hand_on(Piece::File(name.to_owned())).await
    }

    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Stores the archive; how long it is, in bytes.
    pub(super) async fn finish(mut self) -> Result<u64, ArchiveError> {
        self.flush().await?;
        self.hand_on(Piece::End).await?;
        self.writing.await?
    }

    async fn flush(&mut self) -> Result<(), ArchiveError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Piece::Bytes(std::mem::take(&mut self.buffer));
        self.hand_on(piece).await
    }

    async fn hand_on(&mut self, piece: Piece) -> Result<(), ArchiveError> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // It has ended before the end, and says why.
        match (&mut self.writing).await? {
            Ok(_) => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            Err(error) => Err(error),
        }
    }
}

fn write(out: ObjectWriter, mut waiting: mpsc::Receiver<Piece>) -> Result<u64, ArchiveError> {
    let mut zip = ZipWriter::new_stream(BufWriter::with_capacity(BUFFER_BYTES, out));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    loop {
        match waiting.blocking_recv() {
            Some(Piece::File(name)) => zip.start_file(name, options)?,
            Some(Piece::Bytes(bytes)) => zip.write_all(&bytes)?,
            Some(Piece::End) => break,
            // Given up: what is dropped unfinished is not stored.
            None => return Err(io::Error::from(io::ErrorKind::Interrupted).into()),
        }
    }
    let out = zip.finish()?.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(out.finish()?)
}
