//! A file that begins anew when it is large or old enough.
//!
//! tracing-appender and its kin rotate by the clock or by size, not by both, so this is our own. Lines are written at once
//! and by whoever has them, as to stderr: what was said before a crash is there after it.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// When a file begins anew, and how many are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    pub(super) max_bytes: u64,
    pub(super) max_age: Duration,
    /// Beside the one that is written.
    pub(super) keep: u32,
}

/// The file, and what is known of it.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
    begun_at: SystemTime,
    /// A rotation that failed is tried again after this; lines go on into the file as it is.
    not_before: SystemTime,
}

impl RotatingFile {
    /// Adds to what is there, with its folder made if need be.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append_to(path)?;
        let metadata = file.metadata()?;
        // A file system that knows no birth times has an old file begin when it was last written.
        let begun_at = metadata.created().or_else(|_| metadata.modified())?;
        let not_before = SystemTime::UNIX_EPOCH;
        Ok(Self { path: path.to_owned(), rotation, file, size: metadata.len(), begun_at, not_before })
    }

    fn write_at(&mut self, line: &[u8], now: SystemTime) -> io::Result<usize> {
        let is_full = self.size > 0 && self.size + line.len() as u64 > self.rotation.max_bytes;
        let is_old = now.duration_since(self.begun_at).is_ok_and(|age| age >= self.rotation.max_age);
        if (is_full || is_old) && self.size > 0 && now >= self.not_before && self.rotate(now).is_err() {
            self.not_before = now + Duration::from_secs(60);
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let name = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        // The oldest first, so that none is overwritten before it has moved.
        let there = (1..=self.rotation.keep).take_while(|number| name(*number).exists()).last().unwrap_or(0);
        for number in (1..=there.min(self.rotation.keep.saturating_sub(1))).rev() {
            fs::rename(name(number), name(number + 1))?;
        }
        let moved = match self.rotation.keep {
            0 => fs::remove_file(&self.path),
            _ => fs::rename(&self.path, name(1)),
        };
        match moved {
            // Somebody took it away; what was written since went with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        self.file = append_to(&self.path)?;
        (self.size, self.begun_at) = (0, now);
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // Who did what is for the operator alone.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    // One that was there before, made by a shell or by a Weir of before. A pipe or a terminal is somebody else's.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_at(line, SystemTime::now())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn rotation(max_bytes: u64, keep: u32) -> Rotation {
        Rotation { max_bytes, max_age: HOUR, keep }
    }

    fn all(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_full_file_begins_anew_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/weir.log");
        let mut file = RotatingFile::open(&path, rotation(8, 2)).unwrap();
        for line in ["one\n", "two\n", "three\n", "four, longer than all\n", "five\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let logs = folder.path().join("logs");
        let now = [("weir.log", "five\n"), ("weir.log.1", "four, longer than all\n"), ("weir.log.2", "three\n")];
        assert_eq!(all(&logs), named(&now));
        // Opened again it goes on.
        drop(file);
        RotatingFile::open(&path, rotation(8, 2)).unwrap().write_all(b"6\n").unwrap();
        assert_eq!(all(&logs)[0].1, "five\n6\n");
    }

    #[test]
    fn an_old_file_begins_anew_unless_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.log");
        let mut file = RotatingFile::open(&path, rotation(1_000, 0)).unwrap();
        let now = SystemTime::now();
        file.write_at(b"one\n", now + 2 * HOUR).unwrap();
        assert_eq!(all(folder.path()), named(&[("weir.log", "one\n")]), "an empty one stays");
        file.write_at(b"two\n", now + 2 * HOUR).unwrap();
        assert_eq!(all(folder.path()), named(&[("weir.log", "two\n")]), "none is kept");
        file.write_at(b"three\n", now + 2 * HOUR + HOUR / 2).unwrap();
        assert_eq!(all(folder.path()), named(&[("weir.log", "two\nthree\n")]));
        // A clock that went back is no reason.
        file.write_at(b"four\n", SystemTime::UNIX_EPOCH + HOUR).unwrap();
        assert_eq!(all(folder.path())[0].1, "two\nthree\nfour\n");
    }

    #[test]
    fn lines_are_not_lost_when_it_cannot_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.log");
        let mut file = RotatingFile::open(&path, rotation(4, 1)).unwrap();
        file.write_all(b"one\n").unwrap();
        // A folder where the former file should be, with something in it.
        fs::create_dir_all(folder.path().join("weir.log.1/kept")).unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn one_that_was_taken_away_begins_anew() {
        for keep in [0, 1] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("weir.log");
            let mut file = RotatingFile::open(&path, rotation(4, keep)).unwrap();
            file.write_all(b"one\n").unwrap();
            fs::remove_file(&path).unwrap();
            file.write_all(b"two\n").unwrap();
            assert_eq!(all(folder.path()), named(&[("weir.log", "two\n")]));
        }
    }

    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.log");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        RotatingFile::open(&path, rotation(4, 1)).unwrap();
        assert_eq!(mode(), 0o600);
        // Nor one that was there before.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        RotatingFile::open(&path, rotation(4, 1)).unwrap();
        assert_eq!(mode(), 0o600);
    }
}
