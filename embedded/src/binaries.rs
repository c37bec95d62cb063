//! Where the servers' programs are.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::EmbeddedError;

const INSTALL_POSTGRES: &str = "apt-get install postgresql (write `create_main_cluster = false` to \
    /etc/postgresql-common/createcluster.d/weir.conf first, else Debian starts a cluster of its own)";
const INSTALL_NATS: &str = "apt-get install nats-server (Debian also starts it as a service, which weir does not need: \
    systemctl disable --now nats-server)";

/// One installation of Postgres.
#[derive(Clone, Debug)]
pub(crate) struct PostgresBinaries {
    pub(crate) major: u32,
    pub(crate) postgres: PathBuf,
    pub(crate) initdb: PathBuf,
}

/// Finds the Postgres whose major version is `data`'s, or the newest.
///
/// With `search_path` (in the form of `PATH`) only those folders are looked at.
pub(crate) fn find_postgres(
    search_path: Option<&OsStr>,
    data: Option<(u32, &Path)>,
) -> Result<PostgresBinaries, EmbeddedError> {
    let folders = folders(search_path, &["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"]);
    let mut found = BTreeMap::new();
    for folder in &folders {
        // Resolved, so that links in /usr/local/bin do not make one installation look like two.
        let Ok(postgres) = folder.join("postgres").canonicalize() else { continue };
        let Ok(initdb) = folder.join("initdb").canonicalize() else { continue };
        if let Some(major) = major(&postgres) {
            found.entry(major).or_insert(PostgresBinaries { major, postgres, initdb });
        }
    }
    if found.is_empty() {
        return Err(EmbeddedError::Missing {
            program: "postgres",
            searched: list(&folders),
            install: INSTALL_POSTGRES,
        });
    }
    let Some((wanted, folder)) = data else {
        return Ok(found.pop_last().map(|(_, binaries)| binaries).expect("not empty, looked at above"));
    };
    found.remove(&wanted).ok_or_else(|| EmbeddedError::OtherMajor {
        folder: folder.to_owned(),
        data: wanted,
        found: found.keys().map(|major| format!("PostgreSQL {major}")).collect::<Vec<_>>().join(", "),
    })
}

/// Finds nats-server.
pub(crate) fn find_nats_server(search_path: Option<&OsStr>) -> Result<PathBuf, EmbeddedError> {
    // Debian installs it to /usr/sbin, which an ordinary user's PATH may lack.
    let folders = folders(search_path, &["/usr/local/bin", "/usr/local/sbin", "/usr/sbin", "/usr/bin"]);
    folders.iter().map(|folder| folder.join("nats-server")).find(|path| path.is_file()).ok_or_else(|| {
        EmbeddedError::Missing { program: "nats-server", searched: list(&folders), install: INSTALL_NATS }
    })
}

fn folders(search_path: Option<&OsStr>, also: &[&str]) -> Vec<PathBuf> {
    if let Some(path) = search_path {
        return env::split_paths(path).collect();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for pattern in also {
        for folder in expand(pattern) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

// One `*` in one component is all that is needed.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(format!("{parent}/")) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| PathBuf::from(format!("{}{after}", entry.path().display())))
        .collect()
}

fn major(postgres: &Path) -> Option<u32> {
    // Debian's folder tells it without starting a process.
    let folder = postgres.strip_prefix("/usr/lib/postgresql").ok().and_then(|path| path.iter().next());
    if let Some(major) = folder.and_then(|name| name.to_str()?.parse().ok()) {
        return Some(major);
    }
    let output = Command::new(postgres).arg("--version").env_clear().output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 17beta1"
fn parse_version(text: &str) -> Option<u32> {
    let version = text.split_whitespace().nth(2)?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn version_lines() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_version("command not found"), None);
    }
}
