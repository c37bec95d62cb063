//! A copy of what is kept of somebody who cannot ask for it themselves, made by the nodes as for everybody and fetched from the
//! storage.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use commands::{Actor, CommandError, Commands, Metadata, accounts::personal_exports as exports};
use domain::{
    accounts::{Account, NewestPersonalExport, PersonalExportFailure, PersonalExportRefusal},
    exports::ExportState,
    ids::AccountId,
};
use storage::Storage;
use tokio::{
    io::AsyncReadExt,
    time::{sleep, timeout},
};

use crate::{cli::StopSignals, config::Config, objects, secrets::Secrets};

const LOOKED_EVERY: Duration = Duration::from_millis(500);
/// After so long it is said what is waited for.
const PATIENT_FOR: Duration = Duration::from_secs(10);
/// How long a file that was made may take into a bucket.
const MOVED_WITHIN: Duration = Duration::from_secs(300);
const PIECE_BYTES: usize = 64 * 1024;

/// Writes a copy of all that is kept of a person to `output`, readable by its owner alone.
pub(super) async fn export(
    commands: &Commands,
    config: &Config,
    account_id: AccountId,
    output: &Path,
) -> anyhow::Result<()> {
    let account = commands.load::<Account>(&account_id.to_string()).await.context("the log does not answer")?;
    if !account.is_some_and(|(account, _)| account.is_active()) {
        bail!("there is no account {account_id}, or not any more");
    }
    let mut signals = StopSignals::watch()?;
    let storage = objects::to_read(config, &Secrets::load_or_make(&config.secrets_file)?).await?;
    // Before anything is asked for in somebody's name.
    let part = Part::create(output)?;
    let exporting = async {
        let made = made(commands, account_id).await?;
        fetched(&storage, &made, part).await
    };
    let size_bytes = tokio::select! {
        fetched = exporting => fetched?,
        signal = signals.next() => bail!("stopped by {signal}; nothing was written"),
    };
    println!("what is kept of {account_id} is in {}, {}", output.display(), indicatif::HumanBytes(size_bytes));
    Ok(())
}

/// Asks for a copy, and waits until it is there.
async fn made(commands: &Commands, account_id: AccountId) -> anyhow::Result<NewestPersonalExport> {
    match exports::request(commands, account_id, Metadata::new(Actor::System)).await {
        Ok(_) => {}
        Err(CommandError::Refused(PersonalExportRefusal::UnderWay)) => tell("one is being made; it is this one"),
        Err(CommandError::Refused(PersonalExportRefusal::TooSoon { .. })) => {
            tell("one was made less than an hour ago; it is this one");
        }
        Err(CommandError::Refused(PersonalExportRefusal::Unknown)) => bail!("this person was erased"),
        Err(error) => return Err(error).context("the copy cannot be asked for; try again"),
    }
    let began = Instant::now();
    let mut has_told = false;
    loop {
        let newest = exports::newest(commands, account_id).await.context("the log does not answer")?;
        let newest = newest.context("the copy that was asked for is not in the log")?;
        match newest.state {
            ExportState::Completed => return Ok(newest),
            ExportState::Requested => {}
            ExportState::Failed => match newest.failure {
                Some(PersonalExportFailure::StorageFull) => {
                    bail!("there is no room for the copy where objects are kept")
                }
                Some(PersonalExportFailure::Interrupted) => {
                    bail!("nodes were stopped again and again while they made the copy")
                }
                Some(PersonalExportFailure::Unwritable) | None => {
                    bail!("the copy could not be made; the log of a node says why")
                }
            },
            ExportState::Deleted => bail!("the copy was deleted before it was fetched; was the person erased?"),
        }
        if !has_told && began.elapsed() > PATIENT_FOR {
            has_told = true;
            tell("waiting: a node with the role processes makes it, so one has to run");
        }
        sleep(LOOKED_EVERY).await;
    }
}

/// Copies the file from the storage; how long it is, in bytes.
async fn fetched(storage: &Storage, made: &NewestPersonalExport, mut part: Part) -> anyhow::Result<u64> {
    let key = processes::personal_exports::key(made.export_id);
    let found = async {
        loop {
            if let Some(info) = storage.stat(&key).await.context("the storage does not answer")? {
                return anyhow::Ok(info);
            }
            // A node may keep it until the bucket takes it.
            sleep(LOOKED_EVERY).await;
        }
    };
    let found = timeout(MOVED_WITHIN, found).await;
    let info = found.context("the file is not in the storage that the settings name: use those of the nodes")??;
    let reader = storage.read(&key, 0, info.size_bytes).await.context("the storage does not answer")?;
    let mut reader = reader.context("the file was deleted while it was fetched")?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = reader.read(&mut piece).await.context("the file cannot be read")?;
        if length == 0 {
            break;
        }
        part.file.write_all(&piece[..length]).context("the file cannot be written")?;
    }
    part.keep().context("the file cannot be finished")?;
    Ok(info.size_bytes)
}

/// The file to be, beside its name until it is whole.
struct Part {
    file: fs::File,
    path: PathBuf,
    output: PathBuf,
}

impl Part {
    fn create(output: &Path) -> anyhow::Result<Self> {
        let mut name: OsString = output.file_name().context("-o needs the name of a file")?.to_owned();
        name.push(".part");
        let path = output.with_file_name(name);
        let cannot = || format!("{} cannot be written", path.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(cannot),
            _ => {}
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(cannot)?;
        Ok(Self { file, path, output: output.to_owned() })
    }

    fn keep(&self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.output)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nobody shall take a half for the whole; one that is kept has another name.
        let _ = fs::remove_file(&self.path);
    }
}

fn tell(line: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(io::stderr(), "{line}");
}
