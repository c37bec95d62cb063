//! Settings of the storage: where thumbnails, recordings and exports are kept, and how much of the disk stays free.

use anyhow::{Context, ensure};
use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use storage::{DiskThresholds, Key, S3Options};

use super::{address, within};
use crate::secrets::S3Keys;

/// What may be set; in `weir.toml` it is the table `[storage]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSettings {
    /// Where objects are kept: in files of the data directory, or in S3 behind them [default: disk]
    #[arg(id = "storage_backend", long = "storage-backend", env = "WEIR_STORAGE_BACKEND", global = true)]
    backend: Option<Backend>,
    /// The bucket, with s3
    #[arg(
        id = "storage_bucket",
        long = "storage-bucket",
        env = "WEIR_STORAGE_BUCKET",
        global = true,
        value_name = "NAME"
    )]
    bucket: Option<String>,
    /// The region, with s3, as in eu-central-1, or what your server calls its own [default: us-east-1]
    #[arg(
        id = "storage_region",
        long = "storage-region",
        env = "WEIR_STORAGE_REGION",
        global = true,
        value_name = "NAME"
    )]
    region: Option<String>,
    /// The server, with s3 [default: that of AWS for the region]
    #[arg(
        id = "storage_endpoint",
        long = "storage-endpoint",
        env = "WEIR_STORAGE_ENDPOINT",
        global = true,
        value_name = "URL"
    )]
    endpoint: Option<String>,
    /// Whether the bucket stands in the path of addresses instead of the host name [default: true with an endpoint]
    #[arg(
        id = "storage_path_style",
        long = "storage-path-style",
        env = "WEIR_STORAGE_PATH_STYLE",
        global = true,
        value_name = "BOOL",
        action = ArgAction::Set
    )]
    path_style: Option<bool>,
    /// What all names begin with in the bucket, so that it can be shared [default: nothing]
    #[arg(
        id = "storage_prefix",
        long = "storage-prefix",
        env = "WEIR_STORAGE_PREFIX",
        global = true,
        value_name = "NAME"
    )]
    prefix: Option<String>,
    /// Nothing new is recorded with less than so many MiB of disk free, or less than a tenth of a small disk; 0 for never
    /// [default: 5120]
    #[arg(
        id = "storage_reserve_mib",
        long = "storage-reserve-mib",
        env = "WEIR_STORAGE_RESERVE_MIB",
        global = true,
        value_name = "MIB"
    )]
    reserve_mib: Option<u32>,
    /// A warning is logged with less than so many MiB of disk free, or less than a fifth of a small disk [default: 20480]
    #[arg(
        id = "storage_warn_mib",
        long = "storage-warn-mib",
        env = "WEIR_STORAGE_WARN_MIB",
        global = true,
        value_name = "MIB"
    )]
    warn_mib: Option<u32>,
}

/// Where objects are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In files.
    Disk,
    /// In a bucket.
    S3,
}

/// The effective settings. The access key is not among them: it is no setting but a secret.
#[derive(Debug, Clone, Serialize)]
pub struct StorageConfig {
    /// Where objects are kept.
    pub backend: Backend,
    /// With `s3` there is one.
    pub bucket: Option<String>,
    /// As servers call it.
    pub region: String,
    /// Without a slash at the end; `None`: AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// `None`: the bucket is Weir's alone.
    pub prefix: Option<String>,
    /// With less free nothing is recorded.
    pub reserve_mib: u32,
    /// With less free there is a warning.
    pub warn_mib: u32,
}

impl StorageSettings {
    /// Adds what the file says and the defaults, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<StorageConfig> {
        const MOST_MIB: u32 = u32::MAX;
        let backend = self.backend.or(file.backend).unwrap_or(Backend::Disk);
        let bucket = self.bucket.or(file.bucket).filter(|bucket| !bucket.is_empty());
        ensure!(
            backend == Backend::Disk || bucket.is_some(),
            "storage.backend is s3; name the bucket with storage.bucket"
        );
        let endpoint = address("storage.endpoint", self.endpoint.or(file.endpoint), &["http", "https"])?;
        let prefix = self.prefix.or(file.prefix).filter(|prefix| !prefix.is_empty());
        if let Some(prefix) = &prefix {
            Key::new(prefix).context("storage.prefix must be names of letters, digits, . _ - with slashes between")?;
        }
        let reserve_mib = self.reserve_mib.or(file.reserve_mib).unwrap_or(5 * 1_024);
        let warn_mib = self.warn_mib.or(file.warn_mib).unwrap_or(reserve_mib.max(20 * 1_024));
        Ok(StorageConfig {
            backend,
            bucket,
            region: self.region.or(file.region).unwrap_or_else(|| "us-east-1".to_owned()),
            path_style: self.path_style.or(file.path_style).unwrap_or(endpoint.is_some()),
            endpoint,
            prefix,
            warn_mib: within("storage.warn_mib", warn_mib, (reserve_mib, MOST_MIB))?,
            reserve_mib,
        })
    }
}

impl StorageConfig {
    /// When recordings are refused, and when that is warned of.
    pub fn thresholds(&self) -> DiskThresholds {
        DiskThresholds { warn_bytes: u64::from(self.warn_mib) << 20, reserve_bytes: u64::from(self.reserve_mib) << 20 }
    }

    /// The bucket; `None` where objects are kept in files.
    ///
    /// # Errors
    /// When there is no access key.
    pub fn s3(&self, keys: Option<S3Keys>) -> anyhow::Result<Option<S3Options>> {
        let (Backend::S3, Some(bucket)) = (self.backend, &self.bucket) else { return Ok(None) };
        let keys = keys.context(
            "storage.backend is s3, and there is no access key: put [s3] with access_key and secret_key into the secrets \
             file, or WEIR_S3_ACCESS_KEY and WEIR_S3_SECRET_KEY into the environment",
        )?;
        let mut options = S3Options::new(bucket, &self.region);
        options.endpoint.clone_from(&self.endpoint);
        options.is_path_style = self.path_style;
        options.prefix = self.prefix.as_ref().map(Key::new).transpose().context("storage.prefix cannot be used")?;
        options.access_key = keys.access_key;
        options.secret_key = keys.secret_key;
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> anyhow::Result<StorageConfig> {
        StorageSettings::default().resolve(toml::from_str(text)?)
    }

    fn keys() -> Option<S3Keys> {
        Some(S3Keys { access_key: "id".to_owned(), secret_key: "hunter2".to_owned() })
    }

    #[test]
    fn objects_are_kept_in_files_unless_a_bucket_is_named() {
        let config = file("").unwrap();
        assert!(config.s3(keys()).unwrap().is_none());
        assert_eq!(config.thresholds(), DiskThresholds::default());
    }

    #[test]
    fn a_bucket_is_reached_as_is_usual_for_its_server() {
        let config = file("backend = \"s3\"\nbucket = \"b\"\nendpoint = \"http://garage:3900/\"\nprefix = \"weir/1\"");
        let config = config.unwrap();
        let options = config.s3(keys()).unwrap().unwrap();
        assert_eq!(options.endpoint.as_deref(), Some("http://garage:3900"));
        assert!(options.is_path_style, "by the path, unless it is said otherwise");
        assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
        let aws = file("backend = \"s3\"\nbucket = \"b\"\nregion = \"eu-central-1\"").unwrap();
        assert!(!aws.s3(keys()).unwrap().unwrap().is_path_style, "AWS by the host name");
    }

    #[test]
    fn what_is_wrong_or_missing_is_named() {
        for (text, expected) in [
            ("backend = \"s3\"", "name the bucket with storage.bucket"),
            ("backend = \"tape\"", "unknown variant"),
            ("endpoint = \"garage:3900\"", "storage.endpoint must be an address"),
            ("prefix = \"../a\"", "storage.prefix must be names"),
            ("reserve_mib = 100\nwarn_mib = 50", "storage.warn_mib is 50; it must be 100 to"),
            ("secret_key = \"x\"", "unknown field"),
        ] {
            let error = format!("{:#}", file(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        let config = file("backend = \"s3\"\nbucket = \"b\"").unwrap();
        let error = config.s3(None).unwrap_err().to_string();
        assert!(error.contains("WEIR_S3_SECRET_KEY"), "{error}");
    }
}
