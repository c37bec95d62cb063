//! The keys that tokens and sealed data are made with: a file of mode 600, made on first run.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use commands::MasterKeys;
use hmac::{Hmac, Mac};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// 32 random bytes, in hex where written.
#[derive(Clone)]
pub struct Key(pub [u8; 32]);

/// The keys of an install. Whoever has them can sign in as anybody and open all sealed data that is not erased.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Wraps the keys of accounts and seals the vault.
    pub master_key: Key,
    /// What did so before, the newest first, until nothing is sealed under them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_master_keys: Vec<Key>,
    /// Makes the digests by which personal names are unique.
    pub digest_key: Key,
    /// The Ed25519 seed that signs access tokens.
    pub access_token_key: Key,
    /// Makes the tokens in addresses of streams that not everybody may watch; the only one that relays get. Files of before
    /// there was one have none: see [`Secrets::playback_keys`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    playback_key: Option<Key>,
    /// What did so before, the newest first, until the tokens that it made have expired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_playback_keys: Vec<Key>,
    /// By which the bucket is reached, where objects are kept in S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s3: Option<S3Keys>,
    /// Where they were read.
    #[serde(skip)]
    path: PathBuf,
}

/// The access key of a bucket.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Keys {
    /// Its id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

impl Secrets {
    /// The access key of the bucket: from the environment (`WEIR_S3_ACCESS_KEY`, `WEIR_S3_SECRET_KEY`), or from the file.
    pub fn s3_keys(&self) -> Option<S3Keys> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (variable("WEIR_S3_ACCESS_KEY"), variable("WEIR_S3_SECRET_KEY")) {
            (Some(access_key), Some(secret_key)) => Some(S3Keys { access_key, secret_key }),
            _ => self.s3.clone(),
        }
    }

    /// Reads `path`, or makes it when there is none.
    ///
    /// # Errors
    /// When the file is open to others, damaged, or cannot be made.
    pub fn load_or_make(path: &Path) -> anyhow::Result<Self> {
        if let Some(found) = Self::load(path)? {
            return Ok(found);
        }
        let made = Self {
            master_key: Key::random()?,
            former_master_keys: Vec::new(),
            digest_key: Key::random()?,
            access_token_key: Key::random()?,
            playback_key: Some(Key::random()?),
            former_playback_keys: Vec::new(),
            s3: None,
            path: path.to_owned(),
        };
        if write_new(path, &made.text()?)? {
            return Ok(made);
        }
        // Another node of the same start made it first.
        Self::load(path)?.with_context(|| format!("the secrets file {} vanished", path.display()))
    }

    /// Reads the file that must be there.
    ///
    /// # Errors
    /// When there is none, it is open to others, or damaged.
    pub fn load_existing(path: &Path) -> anyhow::Result<Self> {
        Self::load(path)?
            .with_context(|| format!("there is no secrets file {}; name it with --secrets-file", path.display()))
    }

    /// For the write side. It reads the file again when it meets a key that is not known yet.
    pub fn master_keys(&self) -> MasterKeys {
        let path = self.path.clone();
        MasterKeys::new(self.master_key.0.into(), self.digest_key.0.into())
            .with_former(self.former_master_keys.iter().map(|key| key.0.into()))
            .reread_by(move || {
                let read = Self::load_existing(&path);
                let read = read.inspect_err(|error| tracing::warn!(error = format!("{error:#}"), "no key was learnt"));
                let Self { master_key, former_master_keys, .. } = read.ok()?;
                Some(std::iter::once(master_key).chain(former_master_keys).map(|key| key.0.into()).collect())
            })
    }

    /// The key that makes playback tokens, and those that made them before. A file of before there was such a key has one
    /// derived from the key of access tokens, so that all nodes have the same without a file being written.
    pub fn playback_keys(&self) -> (Key, Vec<Key>) {
        let derived = || {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.access_token_key.0).expect("HMAC takes any key");
            mac.update(b"weir: playback key, version 1");
            Key(mac.finalize().into_bytes().into())
        };
        (self.playback_key.clone().unwrap_or_else(derived), self.former_playback_keys.clone())
    }

    /// Puts a new playback key into the file, and keeps the one that there is beside it.
    ///
    /// # Errors
    /// When the file cannot be replaced; then it is as it was.
    pub fn add_playback_key(&mut self) -> anyhow::Result<()> {
        let (current, mut former) = self.playback_keys();
        former.insert(0, current);
        // Tokens of the one before that expired long ago, unless somebody rotates twice a day.
        former.truncate(2);
        let with_new = Self { playback_key: Some(Key::random()?), former_playback_keys: former, ..self.clone() };
        replace(&self.path, &with_new.text()?)?;
        *self = with_new;
        Ok(())
    }

    /// Puts a new master key beside the one that there is, in the file, too. When that was done before and the rotation not
    /// ended, nothing is changed. Says whether there is a new one.
    ///
    /// # Errors
    /// When the file cannot be replaced; then it is as it was.
    pub fn add_master_key(&mut self) -> anyhow::Result<bool> {
        if !self.former_master_keys.is_empty() {
            return Ok(false);
        }
        let mut with_new = self.clone();
        with_new.former_master_keys.insert(0, std::mem::replace(&mut with_new.master_key, Key::random()?));
        replace(&self.path, &with_new.text()?)?;
        *self = with_new;
        Ok(true)
    }

    /// Takes the former master keys out of the file, once nothing is sealed under them any more.
    ///
    /// # Errors
    /// When the file cannot be replaced; then it is as it was.
    pub fn forget_former_master_keys(&mut self) -> anyhow::Result<()> {
        let without = Self { former_master_keys: Vec::new(), ..self.clone() };
        replace(&self.path, &without.text()?)?;
        *self = without;
        Ok(())
    }

    fn text(&self) -> anyhow::Result<String> {
        let text = toml::to_string(self).context("the secrets cannot be written as text")?;
        Ok(format!("# The keys of this Weir. Keep a copy apart from the database; show it to nobody.\n{text}"))
    }

    fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let secrets: Option<Self> = read(path)?;
        Ok(secrets.map(|secrets| Self { path: path.to_owned(), ..secrets }))
    }
}

/// The secrets of a relay: whoever has them can watch everything, and do nothing else.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSecrets {
    /// As in [`Secrets`].
    playback_key: Key,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_playback_keys: Vec<Key>,
}

impl EdgeSecrets {
    /// Those that a relay of this install needs.
    pub fn of(secrets: &Secrets) -> Self {
        let (playback_key, former_playback_keys) = secrets.playback_keys();
        Self { playback_key, former_playback_keys }
    }

    /// Reads the file that must be there.
    ///
    /// # Errors
    /// When there is none, it is open to others, damaged, or has more than a relay should have.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        if matches!(Secrets::load(path), Ok(Some(_))) {
            bail!(
                "the secrets file {} has the keys of the whole install; give an edge what `weir keys edge` prints alone",
                path.display()
            );
        }
        read(path)?.with_context(|| {
            let shown = path.display();
            format!(
                "there is no secrets file {shown}; `weir keys edge` on a node of the origin prints what goes into it"
            )
        })
    }

    /// The key that makes playback tokens, and those that made them before.
    pub fn playback_keys(&self) -> (&Key, &[Key]) {
        (&self.playback_key, &self.former_playback_keys)
    }

    /// What goes into the file.
    ///
    /// # Errors
    /// Never with what there is.
    pub fn text(&self) -> anyhow::Result<String> {
        let text = toml::to_string(self).context("the secrets cannot be written as text")?;
        Ok(format!("# The playback key of a Weir, for its relays. Whoever has it can watch every stream.\n{text}"))
    }
}

/// The secrets of a file that nobody else may read; `None` when there is none.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
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

/// Replaces a file by one of mode 600 and the same owner, whole or not at all.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be replaced; it is as it was", path.display());
    // The file itself, where a link stands in its place.
    let path = fs::canonicalize(path).with_context(failed)?;
    let unfinished = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        let (old, new) = (fs::metadata(&path)?, file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            // Root rotates, and the service runs as somebody else.
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        // Until then a power cut may bring the old one back.
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    let written = write();
    if written.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    written.with_context(failed)
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
    fn a_new_master_key_stands_beside_the_old_one_until_that_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let made = Secrets::load_or_make(&path).unwrap();
        let mut secrets = Secrets::load_existing(&path).unwrap();
        assert!(secrets.add_master_key().unwrap());
        let mut both = Secrets::load_existing(&path).unwrap();
        assert_ne!(both.master_key.0, made.master_key.0);
        assert_eq!(both.former_master_keys.iter().map(|key| key.0).collect::<Vec<_>>(), [made.master_key.0]);
        assert_eq!((both.digest_key.0, both.access_token_key.0), (made.digest_key.0, made.access_token_key.0));
        assert!(!both.add_master_key().unwrap(), "an interrupted rotation goes on to the same key");
        both.forget_former_master_keys().unwrap();
        let new = Secrets::load_existing(&path).unwrap();
        assert_eq!((new.master_key.0, new.former_master_keys.len()), (both.master_key.0, 0));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn a_playback_key_is_rotated_and_the_one_of_before_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let mut secrets = Secrets::load_or_make(&path).unwrap();
        let (first, former) = secrets.playback_keys();
        assert!(former.is_empty());
        secrets.add_playback_key().unwrap();
        secrets.add_playback_key().unwrap();
        secrets.add_playback_key().unwrap();
        let (current, former) = Secrets::load_existing(&path).unwrap().playback_keys();
        assert_eq!(former.len(), 2, "no more than tokens can be of");
        assert!(former.iter().chain([&current]).all(|key| key.0 != first.0));
    }

    #[test]
    fn a_file_of_before_has_a_playback_key_of_its_own_that_is_always_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        let mut secrets = Secrets::load_or_make(&path).unwrap();
        secrets.playback_key = None;
        replace(&path, &secrets.text().unwrap()).unwrap();
        let derived = Secrets::load_existing(&path).unwrap().playback_keys().0;
        assert_eq!(derived.0, Secrets::load_existing(&path).unwrap().playback_keys().0.0);
        assert_ne!(derived.0, secrets.access_token_key.0);
        let mut rotated = Secrets::load_existing(&path).unwrap();
        rotated.add_playback_key().unwrap();
        assert_eq!(rotated.playback_keys().1[0].0, derived.0, "its tokens go on");
    }

    #[test]
    fn an_edge_has_the_playback_keys_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (all, edge) = (folder.path().join("secrets.toml"), folder.path().join("edge.toml"));
        let secrets = Secrets::load_or_make(&all).unwrap();
        assert!(EdgeSecrets::load(&edge).err().unwrap().to_string().contains("weir keys edge"));
        write_new(&edge, &EdgeSecrets::of(&secrets).text().unwrap()).unwrap();
        let text = fs::read_to_string(&edge).unwrap();
        assert!(!text.contains("master_key") && !text.contains("access_token_key"), "{text}");
        assert_eq!(EdgeSecrets::load(&edge).unwrap().playback_keys().0.0, secrets.playback_keys().0.0);
        assert!(EdgeSecrets::load(&all).err().unwrap().to_string().contains("the keys of the whole install"));
    }

    #[test]
    fn a_link_to_the_file_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("kept.toml"), folder.path().join("secrets.toml"));
        Secrets::load_or_make(&file).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(Secrets::load_existing(&link).unwrap().add_master_key().unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(Secrets::load_existing(&file).unwrap().former_master_keys.len(), 1);
    }

    #[test]
    fn the_access_key_of_a_bucket_stays_when_keys_are_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.toml");
        Secrets::load_or_make(&path).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text += "\n[s3]\naccess_key = \"id\"\nsecret_key = \"hunter2\"\n";
        fs::write(&path, text).unwrap();
        let mut secrets = Secrets::load_existing(&path).unwrap();
        assert!(secrets.add_master_key().unwrap());
        assert_eq!(Secrets::load_existing(&path).unwrap().s3.unwrap().secret_key, "hunter2");
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
