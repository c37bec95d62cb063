//! The folder into which mails go where there is no server: a file each, for whoever runs the install.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, DirEntry, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

/// How long files stay: longer than any code is good for.
const KEPT_FOR: Duration = Duration::from_secs(48 * 3_600);

/// Writes the file of the mail `name` that only we may read, whole or not at all; over one of the same name.
pub(super) fn keep(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!(".{name}.eml.{:016x}.new", uuid::Uuid::now_v7().as_u128() as u64));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(format!("{name}.eml")))
    };
    let written = write();
    if written.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    written
}

/// The mails that there are files of, finished or not.
pub(super) fn names(folder: &Path) -> io::Result<HashSet<String>> {
    let mut names = HashSet::new();
    for entry in entries(folder)? {
        names.extend(mail_of(&entry?));
    }
    Ok(names)
}

/// Removes the files of these mails, those that were not finished among them: they have the same words in them.
pub(super) fn remove(folder: &Path, mails: &HashSet<String>) -> io::Result<()> {
    remove_where(folder, |entry| Ok(mail_of(entry).is_some_and(|mail| mails.contains(&mail))))
}

/// Removes what [`keep`] wrote, and what it left when a node died, once it is old.
pub(super) fn remove_old(folder: &Path) -> io::Result<()> {
    remove_where(folder, |entry| {
        let is_old = || entry.metadata()?.modified().map(|at| at.elapsed().is_ok_and(|age| age > KEPT_FOR));
        if mail_of(entry).is_some() { is_old() } else { Ok(false) }
    })
}

fn remove_where(folder: &Path, is_wanted: impl Fn(&DirEntry) -> io::Result<bool>) -> io::Result<()> {
    for entry in entries(folder)? {
        let entry = entry?;
        let removed =
            is_wanted(&entry).and_then(|is_wanted| if is_wanted { fs::remove_file(entry.path()) } else { Ok(()) });
        match removed {
            // Another node was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        // Nobody was written to yet.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// The mail that a file is of, if it is one of ours.
fn mail_of(entry: &DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok()?;
    let finished = name.strip_suffix(".eml").filter(|name| !name.starts_with('.'));
    let unfinished = || Some(name.strip_prefix('.')?.strip_suffix(".new")?.rsplit_once(".eml.")?.0);
    finished.or_else(unfinished).map(str::to_owned)
}
