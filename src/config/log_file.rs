//! Settings of the file that log lines also go to.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::within;

/// What may be set; in `weir.toml` it is the table `[log_file]`.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFileSettings {
    /// A file that log lines go to as well; full or old ones are kept beside it as FILE.1, FILE.2 and so on [default: none]
    #[arg(id = "log_file_path", long = "log-file", env = "WEIR_LOG_FILE", global = true, value_name = "FILE")]
    path: Option<PathBuf>,
    /// How large it may become, in MiB, 1 to 10000 [default: 100]
    #[arg(
        id = "log_file_max_mib",
        long = "log-file-max-mib",
        env = "WEIR_LOG_FILE_MAX_MIB",
        global = true,
        value_name = "MIB"
    )]
    max_mib: Option<u32>,
    /// For how long lines are added to it, in hours, 1 to 8760 [default: 24]
    #[arg(
        id = "log_file_max_hours",
        long = "log-file-max-hours",
        env = "WEIR_LOG_FILE_MAX_HOURS",
        global = true,
        value_name = "HOURS"
    )]
    max_hours: Option<u32>,
    /// How many of those before it are kept, 0 to 1000 [default: 14]
    #[arg(id = "log_file_keep", long = "log-file-keep", env = "WEIR_LOG_FILE_KEEP", global = true, value_name = "N")]
    keep: Option<u32>,
}

/// The effective settings.
#[derive(Debug, Clone, Serialize)]
pub struct LogFileConfig {
    /// Absolute; `None`: lines go to stderr alone.
    pub path: Option<PathBuf>,
    /// 1 to 10000.
    pub max_mib: u32,
    /// 1 to 8760.
    pub max_hours: u32,
    /// 0 to 1000.
    pub keep: u32,
}

impl LogFileSettings {
    /// Adds what the file of settings says, and checks the lot.
    pub(super) fn resolve(self, file: Self) -> anyhow::Result<LogFileConfig> {
        let path = self.path.or(file.path).map(|path| {
            std::path::absolute(&path).with_context(|| format!("the log file {} has no absolute path", path.display()))
        });
        Ok(LogFileConfig {
            path: path.transpose()?,
            max_mib: within("log_file.max_mib", self.max_mib.or(file.max_mib).unwrap_or(100), (1, 10_000))?,
            max_hours: within("log_file.max_hours", self.max_hours.or(file.max_hours).unwrap_or(24), (1, 8_760))?,
            keep: within("log_file.keep", self.keep.or(file.keep).unwrap_or(14), (0, 1_000))?,
        })
    }
}
