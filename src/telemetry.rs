//! Log lines: on stderr, for people or as JSON.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log))
        .with_context(|| format!("log = \"{}\" is not a filter", config.log))?;
    // Its complaint about a line that cannot be written goes to stderr too, and panics: `weir up 2>&1 | tee log` would not be
    // stopped in order by a Ctrl-C that ends tee first.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match config.log_format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
