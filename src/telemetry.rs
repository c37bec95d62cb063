//! Log lines: on stderr, for people or as JSON, and in a file where one is named.

mod rotating;

use std::{io::IsTerminal, sync::Mutex, time::Duration};

use anyhow::Context;
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, writer::MakeWriterExt},
};

use self::rotating::{RotatingFile, Rotation};
use crate::config::{Config, LogFormat};

/// Libraries that tell of what is no news: of each attempt to connect to NATS (the node says what matters of it), of
/// tables that exist already, and of each pooled connection that went with its Postgres. A filter that names them is
/// stronger.
const QUIET: &str = "async_nats=off,sqlx::postgres::notice=warn,sqlx_core::pool=error,sqlx::pool=error";

/// Sends the log lines of this process to stderr, as `config` says.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(config: &Config) -> anyhow::Result<()> {
    start_with(config, std::io::stderr, std::io::stderr().is_terminal())
}

/// The same for a process that serves, whose lines go to the log file as well, if there is one: two processes that take
/// turns at one file would lose lines.
///
/// # Errors
/// When the filter cannot be read, or the file not be written.
pub fn start_serving(config: &Config) -> anyhow::Result<()> {
    let Some(path) = &config.log_file.path else { return start(config) };
    let rotation = Rotation {
        max_bytes: u64::from(config.log_file.max_mib) << 20,
        max_age: Duration::from_secs(3_600 * u64::from(config.log_file.max_hours)),
        keep: config.log_file.keep,
    };
    let file = RotatingFile::open(path, rotation)
        .with_context(|| format!("the log file {} cannot be written", path.display()))?;
    // A line is made once, and a file is no place for colours.
    start_with(config, std::io::stderr.and(Mutex::new(file)), false)
}

fn start_with(
    config: &Config,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    has_colours: bool,
) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log))
        .with_context(|| format!("log = \"{}\" is not a filter", config.log))?;
    // Its complaint about a line that cannot be written goes to stderr too, and panics: `weir up 2>&1 | tee log` would not be
    // stopped in order by a Ctrl-C that ends tee first.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match config.log_format {
        LogFormat::Human => lines.with_ansi(has_colours).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
