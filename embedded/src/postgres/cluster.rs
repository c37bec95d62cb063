//! The cluster on disk: made in one step, of a version that we can run; and the folder of its socket.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, lchown},
    path::{Path, PathBuf},
};

use rand::Rng;

use super::{PostgresOptions, SUPERUSER};
use crate::{
    EmbeddedError,
    binaries::{self, PostgresBinaries},
    error::IoContext,
    folder::ServiceFolder,
};

/// A cluster in the making. It gets its real name when it is whole, so a half-made one is never mistaken for one.
const UNFINISHED: &str = "data.new-";

/// `.s.PGSQL.5432` and a slash are 14 of the 107 bytes that the name of a socket may have.
const MAX_SOCKET_FOLDER: usize = 93;

/// Finds the binaries for the cluster, and makes the cluster if there is none.
pub(super) async fn prepare(
    folder: &ServiceFolder,
    options: &PostgresOptions,
) -> Result<PostgresBinaries, EmbeddedError> {
    let data = folder.path().join("data");
    remove_unfinished(folder.path());
    let version = match fs::read_to_string(data.join("PG_VERSION")) {
        Ok(text) => Some(text.trim().parse().map_err(|_| EmbeddedError::NotACluster { folder: data.clone() })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_free = fs::read_dir(&data).map_or(true, |mut entries| entries.next().is_none());
            if !is_free {
                return Err(EmbeddedError::NotACluster { folder: data });
            }
            None
        }
        Err(error) => return Err(error).context("read", data.join("PG_VERSION")),
    };
    let search_path = options.search_path.as_deref();
    let binaries = binaries::find_postgres(search_path, version.map(|version| (version, data.as_path())))?;
    if version.is_none() {
        initialise(folder, &binaries, options, &data).await?;
    }
    // Gives a cluster that root restored from somewhere to its account.
    folder.make_child_folder(&data)?;
    Ok(binaries)
}

async fn initialise(
    folder: &ServiceFolder,
    binaries: &PostgresBinaries,
    options: &PostgresOptions,
    data: &Path,
) -> Result<(), EmbeddedError> {
    let name = format!("{UNFINISHED}{:016x}", rand::rng().random::<u64>());
    let unfinished = folder.path().join(&name);
    folder.make_child_folder(&unfinished)?;
    let reach = folder.reach()?;
    let mut command = folder.command(&binaries.initdb);
    command.arg("-D").arg(reach.base.join(&name)).args(["--username", SUPERUSER, "--encoding", "UTF8"]);
    // Bytes in order for indexes, that no new version of a locale can break; letters of all languages for lower() and upper().
    command.args(["--locale", "C", "--lc-ctype", "C.UTF-8", "--auth-local", "peer", "--auth-host", "reject"]);
    if !options.durable {
        command.arg("--no-sync");
    }
    let output = command.kill_on_drop(true).output().await.context("start", &binaries.initdb)?;
    if !output.status.success() {
        let log = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let _ = fs::remove_dir_all(&unfinished);
        return Err(EmbeddedError::NotStarted { program: "initdb", reason: output.status.to_string(), log });
    }
    fs::rename(&unfinished, data).context("rename to data the folder", &unfinished)?;
    if options.durable {
        fs::File::open(folder.path()).and_then(|folder| folder.sync_all()).context("write", folder.path())?;
    }
    Ok(())
}

/// What a kill in the middle of initdb left.
fn remove_unfinished(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            tracing::warn!(folder = %entry.path().display(), "the making of this cluster was interrupted, starting over");
            // An initdb that still writes to it fails by this and cleans up by itself.
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(folder = %entry.path().display(), %error, "not removed");
            }
        }
    }
}

/// Removes files by which Postgres would take a stranger for a server on this cluster, or on its socket, and refuse to start:
/// those that name a pid which now is somebody else's, or of a dead server that nobody has waited for yet.
///
/// To be called when no process of this cluster is left and its folder is locked. A postmaster.pid whose pid is free stays,
/// for Postgres itself to judge.
pub(super) fn remove_misleading_pid_files(folder: &ServiceFolder, socket: &SocketFolder) {
    let _ = fs::remove_file(socket.path.join(".s.PGSQL.5432.lock"));
    let path = folder.path().join("data/postmaster.pid");
    let pid = fs::read_to_string(&path).ok().and_then(|text| text.lines().next()?.trim().parse::<u32>().ok());
    if let Some(pid) = pid.filter(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
        tracing::info!(pid, "postmaster.pid names a process that is no server of ours, removed");
        let _ = fs::remove_file(path);
    }
}

/// Where the socket is: in the service's folder, or, where its name would be too long for a socket, in `/run` or `/tmp`.
#[derive(Debug)]
pub(super) struct SocketFolder {
    path: PathBuf,
    is_elsewhere: bool,
}

impl SocketFolder {
    pub(super) fn make(folder: &ServiceFolder) -> Result<Self, EmbeddedError> {
        let path = folder.path().join("run");
        let socket = if path.as_os_str().len() <= MAX_SOCKET_FOLDER {
            Self { path, is_elsewhere: false }
        } else {
            let parent = if folder.child().is_switched { "/run" } else { "/tmp" };
            Self { path: Path::new(parent).join(folder.instance()), is_elsewhere: true }
        };
        socket.make_again(folder)?;
        Ok(socket)
    }

    /// Makes the folder if somebody has tidied it away.
    pub(super) fn make_again(&self, folder: &ServiceFolder) -> Result<(), EmbeddedError> {
        if !self.is_elsewhere {
            return folder.make_child_folder(&self.path);
        }
        let account = &folder.child().account;
        match fs::DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) if folder.child().is_switched => {
                lchown(&self.path, Some(account.uid), Some(account.gid)).context("change the owner of", &self.path)
            }
            Ok(()) => Ok(()),
            // Ours from before; but in /tmp anybody could have been first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(&self.path).context("read", &self.path)?;
                if found.is_dir() && found.uid() == account.uid && found.mode() & 0o077 == 0 {
                    return Ok(());
                }
                Err(error).context("use as the socket's folder", &self.path)
            }
            Err(error) => Err(error).context("make the folder", &self.path),
        }
    }

    /// The folder's name for us.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder's name for the server.
    pub(super) fn seen_from(&self, base: &Path) -> PathBuf {
        if self.is_elsewhere { self.path.clone() } else { base.join("run") }
    }

    pub(super) fn remove(&self) {
        if self.is_elsewhere {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
