//! The keys that tokens and sealed data are made with: a file of mode 600, made on first run.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};

/// 32 random bytes, in hex where written.
#[derive(Clone)]
pub struct Key(pub [u8; 32]);

/// The keys of an install. Whoever has them can sign in as anybody and open all sealed data that is not erased.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Wraps the keys of accounts and seals the vault.
    pub master_key: Key,
    /// Makes the digests by which personal names are unique.
    pub digest_key: Key,
    /// The Ed25519 seed that signs access tokens.
    pub access_token_key: Key,
}

impl Secrets {
    /// Reads `path`, or makes it when there is none.
    ///
    /// # Errors
    /// When the file is open to others, damaged, or cannot be made.
    pub fn load_or_make(path: &Path) -> anyhow::Result<Self> {
        if let Some(found) = Self::load(path)? {
            return Ok(found);
        }
        let made = Self { master_key: Key::random()?, digest_key: Key::random()?, access_token_key: Key::random()? };
        let text = toml::to_string(&made).context("the secrets cannot be written as text")?;
        let text = format!("# The keys of this Weir. Keep a copy apart from the database; show it to nobody.\n{text}");
        if write_new(path, &text)? {
            return Ok(made);
        }
        // Another node of the same start made it first.
        Self::load(path)?.with_context(|| format!("the secrets file {} vanished", path.display()))
    }

    fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let shown = path.display();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("the secrets file {shown} cannot be read")),
        };
        if metadata.mode() & 0o077 != 0 {
            bail!("the secrets file {shown} is open to others; run: chmod 600 {shown}");
        }
        let text = fs::read_to_string(path).with_context(|| format!("the secrets file {shown} cannot be read"))?;
        let secrets = toml::from_str(&text)
            .map_err(|_| anyhow::anyhow!("the secrets file {shown} is damaged; put back a copy of it"))?;
        Ok(Some(secrets))
    }
}

/// Writes a file of mode 600 whole or not at all. `false`: there is one already, and it was left as it is.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write_new(path: &Path, text: &str) -> anyhow::Result<bool> {
    let failed = || format!("{} cannot be written", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(failed)?;
    // By chance and not by pid: in containers that share a folder, every process has the same.
    let unfinished = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces what another process has just made.
        fs::hard_link(&unfinished, path)
    };
    let written = write();
    // What is left of a failed write would only confuse; that it cannot be removed changes nothing.
    drop(fs::remove_file(&unfinished));
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(failed),
    }
}

impl Key {
    fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes).context("the system gives no random bytes")?;
        Ok(Self(bytes))
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut key = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut key).map_err(serde::de::Error::custom)?;
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/secrets.toml");
        let made = Secrets::load_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let found = Secrets::load_or_make(&path).unwrap();
        assert_eq!(made.master_key.0, found.master_key.0);
        assert_ne!(made.master_key.0, made.digest_key.0);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn all_who_make_them_at_once_get_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let path = folder.path().join(format!("{round}/secrets.toml"));
            let start = std::sync::Barrier::new(4);
            let make = || {
                start.wait();
                Secrets::load_or_make(&path).unwrap().master_key.0
            };
            let made = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            let kept = Secrets::load_or_make(&path).unwrap().master_key.0;
            assert!(made.iter().all(|key| *key == kept), "round {round}");
        }
    }

    #[test]
    fn a_file_open_to_others_or_damaged_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        Secrets::load_or_make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Secrets::load_or_make(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "master_key = \"00\"").unwrap();
        let error = Secrets::load_or_make(&path).err().unwrap().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
