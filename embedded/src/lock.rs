//! One Weir per data directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::{EmbeddedError, error::IoContext};

const LOCK_FILE: &str = "weir.lock";

/// The right to work in a data directory, held until dropped or until the process ends in whatever way.
#[derive(Debug)]
#[must_use = "the directory is free again as soon as this is dropped"]
pub struct DataDirLock {
    file: File,
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread is just starting has a copy of it until it executes its
        // program.
        let _ = self.file.unlock();
    }
}

impl DataDirLock {
    /// Takes the directory, which is made if it does not exist.
    ///
    /// # Errors
    /// [`EmbeddedError::Locked`] with the holder's pid when another process has it.
    pub fn acquire(folder: &Path) -> Result<Self, EmbeddedError> {
        // Children under another account must pass through, nobody need list it.
        let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        DirBuilder::new().recursive(true).mode(mode).create(folder).context("make the folder", folder)?;
        let path = folder.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .context("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
                let holder = holder.map_or_else(|| "process not known".to_owned(), |pid| format!("process {pid}"));
                return Err(EmbeddedError::Locked { folder: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(source).context("lock", &path),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .context("write", &path)?;
        Ok(Self { file })
    }
}
