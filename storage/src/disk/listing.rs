//! What is below a folder: listed in the order of the keys, summed up, removed.

use std::{
    cmp::Ordering,
    fs::{self, DirEntry, File},
    io,
    ops::ControlFlow,
    path::Path,
};

use super::found;
use crate::{Key, ListedObject, Usage};

/// Objects below `folder`, sorted by key, from behind `after` on, at most `limit`.
pub(super) fn list(root: &Path, folder: &Key, after: Option<&Key>, limit: usize) -> io::Result<Vec<ListedObject>> {
    collect(&root.join(folder.as_str()), &format!("{folder}/"), after, limit)
}

/// All objects.
pub(super) fn list_all(root: &Path) -> io::Result<Vec<ListedObject>> {
    collect(root, "", None, usize::MAX)
}

fn collect(folder: &Path, prefix: &str, after: Option<&Key>, limit: usize) -> io::Result<Vec<ListedObject>> {
    let mut objects = Vec::new();
    if limit == 0 {
        return Ok(objects);
    }
    let mut take = |key: Key, entry: &DirEntry| {
        // What is deleted meanwhile is not there.
        if let Some(metadata) = found(entry.metadata())? {
            objects.push(ListedObject { key, size_bytes: metadata.len(), modified: metadata.modified()? });
        }
        Ok(if objects.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    // Whether it ended for the limit or for want of more is for the caller to see.
    let _ = walk(folder, prefix, after.map(Key::as_str), &mut take)?;
    Ok(objects)
}

/// How many files there are below `folder`, and how long they are together.
pub(crate) fn usage(folder: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let Some(entries) = found(fs::read_dir(folder))? else { return Ok(usage) };
    for entry in entries {
        let entry = entry?;
        let Some(metadata) = found(entry.metadata())? else { continue };
        if metadata.is_dir() {
            let below = self::usage(&entry.path())?;
            usage.objects += below.objects;
            usage.size_bytes += below.size_bytes;
        } else if !is_hidden(&entry) {
            usage.objects += 1;
            usage.size_bytes += metadata.len();
        }
    }
    Ok(usage)
}

/// Removes every object below `folder` and the folders that are empty then; says how many objects.
pub(super) fn delete_below(folder: &Path) -> io::Result<u64> {
    // What cannot be looked into is an error: taken for nothing, its objects would stay for ever.
    if !found(fs::metadata(folder))?.is_some_and(|metadata| metadata.is_dir()) {
        return Ok(0);
    }
    let count = empty(folder)?;
    // Until then a power cut may bring them back.
    for folder in [Some(folder), folder.parent()].into_iter().flatten() {
        if let Some(folder) = found(File::open(folder))? {
            folder.sync_all()?;
        }
    }
    Ok(count)
}

fn empty(folder: &Path) -> io::Result<u64> {
    let mut count = 0;
    let Some(entries) = found(fs::read_dir(folder))? else { return Ok(count) };
    for entry in entries {
        let entry = entry?;
        let Some(kind) = found(entry.file_type())? else { continue };
        if kind.is_dir() {
            count += empty(&entry.path())?;
        } else if !is_hidden(&entry) && found(fs::remove_file(entry.path()))?.is_some() {
            count += 1;
        }
    }
    // Somebody may be writing below it.
    let _ = fs::remove_dir(folder);
    Ok(count)
}

/// Visits files in the order of their keys: a folder stands where its name with a slash would.
fn walk(
    folder: &Path,
    prefix: &str,
    after: Option<&str>,
    visit: &mut dyn FnMut(Key, &DirEntry) -> io::Result<ControlFlow<()>>,
) -> io::Result<ControlFlow<()>> {
    let Some(entries) = found(fs::read_dir(folder))? else { return Ok(ControlFlow::Continue(())) };
    let mut named = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(kind) = found(entry.file_type())? else { continue };
        // A name that is no text is no key.
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if kind.is_dir() {
            name.push('/');
        }
        named.push((name, entry));
    }
    named.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (name, entry) in named {
        let full = format!("{prefix}{name}");
        let is_passed = |after: &str| match full.as_str().cmp(after) {
            Ordering::Less => !(name.ends_with('/') && after.starts_with(&full)),
            Ordering::Equal => true,
            Ordering::Greater => false,
        };
        if after.is_some_and(is_passed) {
            continue;
        }
        let flow = if name.ends_with('/') {
            walk(&entry.path(), &full, after, visit)?
        } else {
            // What is no key, as a file that is still being written, is not ours to show.
            let Ok(key) = Key::new(full) else { continue };
            visit(key, &entry)?
        };
        if flow.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}
