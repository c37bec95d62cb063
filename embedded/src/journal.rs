//! What a child writes to its standard output and error: a file of bounded size.
//!
//! A file and not a pipe to us: nothing that we do, or fail to do, can block a server that wants to log, and the lines outlive us.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const MAX_BYTES: u64 = 16 << 20;
const TAIL_BYTES: u64 = 4 << 10;
const TAIL_LINES: usize = 12;

/// The log of one service; beside it lies the one before it, as `<name>.1`.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }

    pub(crate) fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Copies a log that has grown large aside and empties it. The children have it open for appending, so they go on at its
    /// new end; what they write between the two steps is lost.
    pub(crate) fn rotate_if_large(&self) -> io::Result<()> {
        if self.length() < MAX_BYTES {
            return Ok(());
        }
        let mut previous = self.path.clone().into_os_string();
        previous.push(".1");
        fs::copy(&self.path, previous)?;
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)
    }

    /// The last lines written since the log was `since` bytes long.
    pub(crate) fn tail(&self, since: u64) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let length = file.metadata()?.len();
            let since = if since > length { 0 } else { since };
            file.seek(SeekFrom::Start(since.max(length.saturating_sub(TAIL_BYTES))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::{Journal, MAX_BYTES};

    #[test]
    fn a_large_log_is_put_aside_and_the_writer_goes_on_in_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("server.log"));
        let mut writer = journal.open().unwrap();
        writer.set_len(MAX_BYTES - 1).unwrap();
        journal.rotate_if_large().unwrap();
        assert_eq!(journal.length(), MAX_BYTES - 1);
        writer.write_all(b"\nlast\n").unwrap();
        journal.rotate_if_large().unwrap();
        assert_eq!(journal.length(), 0);
        assert_eq!(fs::metadata(folder.path().join("server.log.1")).unwrap().len(), MAX_BYTES + 5);
        writer.write_all(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(journal.path()).unwrap(), "next\n");
        // A reader who knows only the old length gets what there is.
        assert_eq!(journal.tail(MAX_BYTES), "next");
    }

    #[test]
    fn the_tail_is_the_last_lines_of_this_life() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("server.log"));
        assert_eq!(journal.tail(0), "");
        let mut writer = journal.open().unwrap();
        writer.write_all(b"earlier\n").unwrap();
        let since = journal.length();
        writer.write_all(b"one\ntwo\n").unwrap();
        assert_eq!(journal.tail(since), "one\ntwo");
    }
}
