//! A service's folder in the data directory, and how a child under another account gets there.
//!
//! A data directory may lie where the child's account cannot go, for instance below `/root` (mode 700). The child then gets
//! the folder as an open descriptor and names it `/proc/self/fd/<n>`, which leads there without a walk through the parents.
//! Measured with PostgreSQL 15 (initdb, server) and nats-server 2.9.10. Starting it with the folder as its working
//! directory is not enough for Postgres: up to version 15 it changes directory to find its own program, and cannot return.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

use rand::Rng;
use rustix::{
    fs::{Mode, OFlags},
    io::FdFlags,
};

use crate::{
    DataDirLock, EmbeddedError,
    account::{Account, ChildAccount},
    error::IoContext,
};

/// The folder of one service, made, locked and reachable.
#[derive(Debug)]
pub(crate) struct ServiceFolder {
    path: PathBuf,
    instance: String,
    child: ChildAccount,
    is_reachable: bool,
    // A second `start` on the same folder would take our child for an orphan and stop it.
    _lock: DataDirLock,
}

/// How a child that is about to be started names the folder; to be kept until it has been started.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) base: PathBuf,
    _descriptor: Option<OwnedFd>,
}

impl ServiceFolder {
    /// Opens `<data_dir>/<name>`; `data` is the folder in it that the child will own.
    pub(crate) fn open(
        data_dir: &Path,
        name: &str,
        data: &str,
        accounts: &[&str],
        min_free_bytes: u64,
    ) -> Result<Self, EmbeddedError> {
        let path = data_dir.join(name);
        let lock = DataDirLock::acquire(&path)?;
        let path = path.canonicalize().context("find", &path)?;
        check_space(&path, min_free_bytes)?;
        let child = ChildAccount::choose(accounts, &path.join(data))?;
        let instance = instance(&path)?;
        let is_reachable = !child.is_switched || is_reachable(&path, &child.account);
        Ok(Self { path, instance, child, is_reachable, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The random id of this folder's service, `weir-` and 16 hexadecimal digits.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn child(&self) -> &ChildAccount {
        &self.child
    }

    /// A name of this folder that the child can use.
    pub(crate) fn reach(&self) -> Result<Reach, EmbeddedError> {
        if self.is_reachable {
            return Ok(Reach { base: self.path.clone(), _descriptor: None });
        }
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let descriptor = rustix::fs::open(&self.path, flags, Mode::empty())?;
            // Inherited from here on, also by whatever else happens to be started in this moment: it shows a folder that
            // one may walk through, not its contents.
            rustix::io::fcntl_setfd(&descriptor, FdFlags::empty())?;
            Ok::<_, io::Error>(descriptor)
        };
        let descriptor = open().context("open", &self.path)?;
        let base = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        Ok(Reach { base, _descriptor: Some(descriptor) })
    }

    /// A command that starts `program` as a child should be: under its account, in a process group of its own (Ctrl-C in the
    /// terminal must reach us alone) and with nothing of our environment, which may hold secrets.
    pub(crate) fn command(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir("/").process_group(0);
        for name in ["PATH", "LD_LIBRARY_PATH", "TZ"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.child.is_switched {
            command.uid(self.child.account.uid).gid(self.child.account.gid);
        }
        command
    }

    /// Makes a folder for the child alone. One that exists is given to the child if it is still root's.
    pub(crate) fn make_child_folder(&self, path: &Path) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.give(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let owner = fs::symlink_metadata(path).context("read", path)?;
                if self.child.is_switched && owner.uid() == 0 {
                    tracing::info!(folder = %path.display(), owner = self.child.label(), "giving root's files to the child's account");
                    self.give_all(path)?;
                }
                Ok(())
            }
            Err(error) => Err(error).context("make the folder", path),
        }
    }

    /// Writes a file of ours in one step, never through a link, readable by the child, and by others only if not secret.
    pub(crate) fn write(&self, name: &str, contents: &str, is_secret: bool) -> Result<(), EmbeddedError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.new"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("remove", temporary),
            _ => {}
        }
        let mode = if is_secret { 0o600 } else { 0o644 };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).context("make", &temporary)?;
        file.set_permissions(Permissions::from_mode(mode)).context("set the mode of", &temporary)?;
        file.write_all(contents.as_bytes()).context("write", &temporary)?;
        if is_secret {
            self.give(&temporary)?;
        }
        fs::rename(&temporary, &path).context("write", &path)
    }

    fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.child.is_switched {
            return Ok(());
        }
        lchown(path, Some(self.child.account.uid), Some(self.child.account.gid)).context("change the owner of", path)
    }

    fn give_all(&self, path: &Path) -> Result<(), EmbeddedError> {
        self.give(path)?;
        if fs::symlink_metadata(path).context("read", path)?.is_dir() {
            for entry in fs::read_dir(path).context("list", path)? {
                self.give_all(&entry.context("list", path)?.path())?;
            }
        }
        Ok(())
    }
}

fn check_space(folder: &Path, needed_bytes: u64) -> Result<(), EmbeddedError> {
    let space = rustix::fs::statvfs(folder).map_err(io::Error::from).context("ask for the free space of", folder)?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    if free_bytes < needed_bytes {
        return Err(EmbeddedError::DiskFull { folder: folder.to_owned(), free_bytes, needed_bytes });
    }
    Ok(())
}

fn instance(folder: &Path) -> Result<String, EmbeddedError> {
    let path = folder.join("instance");
    if let Ok(text) = fs::read_to_string(&path) {
        let text = text.trim();
        let is_ours =
            text.strip_prefix("weir-").is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_ours {
            return Ok(text.to_owned());
        }
    }
    let instance = format!("weir-{:016x}", rand::rng().random::<u64>());
    File::create(&path).and_then(|mut file| writeln!(file, "{instance}")).context("write", &path)?;
    Ok(instance)
}

// Asked of the system, under that account: modes, access lists and mount options all count.
fn is_reachable(folder: &Path, account: &Account) -> bool {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("/bin/sh")
        .args(["-c", r#"cd -- "$1""#, "sh"])
        .arg(folder)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .uid(account.uid)
        .gid(account.gid)
        .status()
        .is_ok_and(|status| status.success())
}
