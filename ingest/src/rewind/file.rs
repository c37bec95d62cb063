//! Writing a segment past the page cache.
//!
//! Of hours of segments hardly anybody reads one again. In the page cache they would push out what is read, and filling
//! pages that are new to it was a third of what a passthrough stream costs (ADR 28).

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rustix::{fs::OFlags, io::Errno};

/// What addresses, places and lengths are multiples of: a page, which no common file system or disk asks more than.
const ALIGNMENT: usize = 4096;
/// Most segments go out in one call.
const BUFFER_BYTES: usize = 1024 * 1024;
/// So many writers at once find a buffer ready.
const KEPT_BUFFERS: usize = 4;

static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Writes a new file, through the page cache where the file system knows no other way. A file that could not be written
/// whole stays.
///
/// # Errors
/// Those of the file system.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match write_directly(path, bytes) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => std::fs::write(path, bytes),
        written => written,
    }
}

fn write_directly(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let direct = OFlags::DIRECT.bits().cast_signed();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(direct).open(path)?;
    let mut buffer = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    buffer.resize(BUFFER_BYTES + ALIGNMENT, 0);
    let begin = buffer.as_ptr().align_offset(ALIGNMENT);
    let mut written = Ok(());
    for piece in bytes.chunks(BUFFER_BYTES) {
        let end = begin + piece.len();
        let padded_end = begin + piece.len().next_multiple_of(ALIGNMENT);
        buffer[begin..end].copy_from_slice(piece);
        buffer[end..padded_end].fill(0);
        written = file.write_all(&buffer[begin..padded_end]);
        if written.is_err() {
            break;
        }
    }
    let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    if buffers.len() < KEPT_BUFFERS {
        buffers.push(buffer);
    }
    drop(buffers);
    written?;
    // What the last page was filled up with goes again.
    file.set_len(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s1.m4s");
        let bytes: Vec<u8> = (0..2 * BUFFER_BYTES + 4097).map(|index| (index % 251) as u8).collect();
        // A longer one is replaced by a shorter one.
        for length in [bytes.len(), BUFFER_BYTES + 1, BUFFER_BYTES, 4097, 4096, 4095, 1, 0] {
            write(&path, &bytes[..length]).unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes[..length], "{length} bytes");
        }
    }

    #[test]
    fn a_file_system_that_knows_only_the_cache_is_written_through_it() {
        // Memory has no way past itself on the kernels of today, and a newer one that has takes it: either way it is there.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = folder.path().join("s1.m4s");
        write(&path, b"segment").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"segment");
    }

    #[test]
    fn a_folder_that_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("gone/s1.m4s"), b"segment").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
