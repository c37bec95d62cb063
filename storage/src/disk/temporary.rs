//! A file that is still being written: locked by whoever writes it, so that what a crash left is told from it even when
//! several processes share the folder.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Marks a file that is still being written.
pub(super) const PREFIX: &str = ".put-";

/// Gone when it is dropped before it was [kept](Temporary::keep).
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    /// `None` once it was kept.
    file: Option<File>,
}

impl Temporary {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        loop {
            let path = folder.join(format!("{PREFIX}{}", Uuid::new_v4().simple()));
            let temporary = Self { file: Some(create(&path)?), path };
            let file = temporary.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
            // Where the file system knows no locks, nothing is swept either.
            let _ = file.lock();
            // A sweep may have come between the two and taken it for a leftover.
            if file.metadata()?.nlink() > 0 {
                return Ok(temporary);
            }
        }
    }

    pub(super) fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Makes it the file at `path`, in place of the one that was there. It survives a crash of the machine then.
    ///
    /// `exchange` is handed the renaming alone, once the content is safe, with the length.
    pub(super) fn keep(
        mut self,
        path: &Path,
        exchange: impl FnOnce(u64, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<u64> {
        let file = self.file()?;
        file.flush()?;
        file.sync_all()?;
        let size_bytes = file.metadata()?.len();
        exchange(size_bytes, &mut || fs::rename(&self.path, path))?;
        self.file = None;
        match File::open(path.parent().unwrap_or(path)) {
            Ok(folder) => folder.sync_all()?,
            // It was deleted again already, and its folder with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(size_bytes)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.file.is_some() {
            // A full disk must not stay full of our own leftovers; whatever led here is the error to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Nobody else on the machine need read what is stored here.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Removes what a crash left half written below `folder`.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if kind.is_dir() {
            sweep(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            sweep_one(&entry.path())?;
        }
    }
    Ok(())
}

fn sweep_one(path: &Path) -> io::Result<()> {
    let swept = File::open(path).and_then(|file| match file.try_lock() {
        Ok(()) => fs::remove_file(path),
        // Somebody writes it, or nobody can say.
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => Ok(()),
    });
    match swept {
        // Its writer was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        swept => swept,
    }
}
