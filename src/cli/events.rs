//! `weir events`: the log as files for analysts, and as it grows.

mod selection;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use commands::{
    Actor, Commands, Metadata,
    events::{self, Envelope, Filter},
    exports::{self, RequestExport, WrittenExport, jobs::JobProgress},
};
use domain::{
    exports::{ExportFormat, ExportWay},
    ids::ExportId,
};
use futures::StreamExt;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use processes::exports::{Wanted, WriteError, write};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use self::selection::Selection;
use super::StopSignals;
use crate::{config::Config, node};

/// How often a progress bar moves, and how often a line is written where there is none.
const BAR: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 256 * 1024;
/// What stands for standard output.
const STDOUT: &str = "-";

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the log, or a part of it, into a file for DuckDB, pandas, a spreadsheet, …
    ///
    /// It holds what is in the log when it begins. The export is itself recorded in the log.
    Export {
        /// The form of the file [default: by the ending of its name]
        #[arg(long)]
        format: Option<Format>,
        #[command(flatten)]
        selection: Selection,
        /// Only events that the log took at this time or later: 2026-11-01, or 2026-11-01T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<OffsetDateTime>,
        /// Only events that the log took before this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        to: Option<OffsetDateTime>,
        /// Only events after this position
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: i64,
        /// The file; - for standard output
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Print events as they come, a JSON object a line, until Ctrl-C
    Tail {
        #[command(flatten)]
        selection: Selection,
        /// Begin after this position [default: with what comes from now on]
        #[arg(long, value_name = "N")]
        after: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Parquet,
    Ndjson,
    Csv,
}

impl Events {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        match self.command {
            Command::Export { format, selection, from, to, after, output, force } => {
                let format = format_of(format, &output)?;
                if output != Path::new(STDOUT) && output.exists() && !force {
                    bail!("{} exists; give --force to replace it", output.display());
                }
                let commands = node::open_commands(config).await?;
                let filter = selection.filter(&commands, after).await;
                let exported = match filter {
                    Ok(filter) => {
                        let filter = Filter { from, to, ..filter };
                        let envelope = selection.envelope(&commands, config);
                        let names_accounts = selection.names_accounts();
                        export(&commands, config, format, filter, (envelope, names_accounts), &output).await
                    }
                    Err(error) => Err(error),
                };
                commands.shutdown().await;
                exported
            }
            Command::Tail { selection, after } => {
                let commands = node::open_commands(config).await?;
                let tailed = tail(&commands, config, &selection, after).await;
                commands.shutdown().await;
                tailed
            }
        }
    }
}

/// A day, which begins at midnight UTC, or a time.
fn time(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(day) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(day.midnight().assume_utc());
    }
    let time = OffsetDateTime::parse(text, &Rfc3339);
    time.map_err(|_| "give a day, as 2026-11-01, or a time as in RFC 3339, as 2026-11-01T12:00:00Z".to_owned())
}

fn format_of(given: Option<Format>, output: &Path) -> anyhow::Result<ExportFormat> {
    let by_name = || match output.extension()?.to_str()? {
        "parquet" => Some(Format::Parquet),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "csv" => Some(Format::Csv),
        _ => None,
    };
    let format = given.or_else(by_name).context("say in which form with --format parquet, ndjson or csv")?;
    if format == Format::Parquet && output == Path::new(STDOUT) {
        bail!("Parquet goes into a file: give its name with -o");
    }
    Ok(match format {
        Format::Parquet => ExportFormat::Parquet,
        Format::Ndjson => ExportFormat::Ndjson,
        Format::Csv => ExportFormat::Csv,
    })
}

async fn export(
    commands: &Commands,
    config: &Config,
    format: ExportFormat,
    mut filter: Filter,
    (envelope, names_accounts): (Envelope, bool),
    output: &Path,
) -> anyhow::Result<()> {
    // Heard from before there is anything to tidy up.
    let mut signals = StopSignals::watch()?;
    let head = events::head(commands.pool()).await.context("the log does not answer")?;
    filter.until = Some(head);
    filter.check()?;
    let target = Target::open(output)?;
    let request = RequestExport {
        by: None,
        way: ExportWay::CommandLine,
        format,
        filter: exports::recorded(&filter, head),
        names_accounts,
        metadata: Metadata::new(Actor::System),
    };
    let metadata = request.metadata.follow_up();
    let requested = exports::request(commands, request).await.context("the export cannot be recorded")?;
    let (progress, seen) = watch::channel(JobProgress { position: filter.after, ..JobProgress::default() });
    let shown = AbortOnDropHandle::new(tokio::spawn(show(seen, filter.after, head)));
    let began = Instant::now();
    let wanted = Wanted { filter, format, envelope, source: config.public_url(config.http) };
    let written = tokio::select! {
        written = written(commands, wanted, target, &progress) => written,
        signal = signals.next() => Err(anyhow::anyhow!("stopped by {signal}; nothing was kept")),
    };
    shown.abort();
    let _ = shown.await;
    match written {
        Ok(written) => {
            let recorded = exports::complete(commands, requested.export_id, written, metadata).await;
            recorded.context("the file is whole, but that could not be recorded in the log")?;
            let events = HumanCount(written.event_count.unsigned_abs());
            let bytes = HumanBytes(written.size_bytes.unsigned_abs());
            let seconds = began.elapsed().as_secs_f64();
            tell(&format!("{events} events, {bytes}, in {seconds:.1} s"));
            Ok(())
        }
        Err(error) => {
            record_failure(commands, requested.export_id, &error, metadata).await;
            // Whoever read has had enough.
            if is_broken_pipe(&error) { Ok(()) } else { Err(error) }
        }
    }
}

async fn written(
    commands: &Commands,
    wanted: Wanted,
    target: Target,
    progress: &watch::Sender<JobProgress>,
) -> anyhow::Result<WrittenExport> {
    let out = BufWriter::with_capacity(BUFFER_BYTES, target);
    let (out, event_count) = write(commands.pool().clone(), wanted, out, progress).await?;
    let kept = tokio::task::spawn_blocking(move || {
        let target = out.into_inner().map_err(|error| WriteError::Io(error.into_error()))?;
        target.keep().context("the file could not be finished")
    });
    let size_bytes = kept.await.context("the file could not be finished")??;
    Ok(WrittenExport { event_count, size_bytes, expires_at: None })
}

async fn record_failure(commands: &Commands, export_id: ExportId, error: &anyhow::Error, metadata: Metadata) {
    if let Err(error) = exports::fail(commands, export_id, format!("{error:#}"), metadata).await {
        tell(&format!("that the export failed could not be recorded in the log: {error}"));
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Where an export goes: a file beside the one to be, which takes its name when it is whole; or standard output.
struct Target {
    out: Box<dyn Write + Send>,
    size_bytes: i64,
    /// The file and what it will be called; `None` for standard output, and once it is kept.
    part: Option<(File, PathBuf, PathBuf)>,
}

impl Target {
    fn open(output: &Path) -> anyhow::Result<Self> {
        if output == Path::new(STDOUT) {
            return Ok(Self { out: Box::new(io::stdout()), size_bytes: 0, part: None });
        }
        let mut name = output.file_name().context("-o needs the name of a file")?.to_owned();
        name.push(".part");
        let path = output.with_file_name(name);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        if file.try_lock().is_err() {
            bail!("another export writes {}", path.display());
        }
        // What an earlier one left when it was killed.
        file.set_len(0).with_context(|| format!("{} cannot be written", path.display()))?;
        let out = file.try_clone().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { out: Box::new(out), size_bytes: 0, part: Some((file, path, output.to_owned())) })
    }

    /// Gives the file its name; how long it is.
    fn keep(mut self) -> io::Result<i64> {
        self.out.flush()?;
        if let Some((file, path, output)) = &self.part {
            file.sync_all()?;
            std::fs::rename(path, output)?;
        }
        self.part = None;
        Ok(self.size_bytes)
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.size_bytes += i64::try_from(written).unwrap_or(i64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((_, path, _)) = &self.part {
            // Nobody shall take a half for the whole.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Shows how far it is, on stderr, until it is dropped.
async fn show(progress: watch::Receiver<JobProgress>, after: i64, head: i64) {
    let is_terminal = io::stderr().is_terminal();
    let length = (head - after).max(0).unsigned_abs();
    let bar = Bar(if is_terminal { ProgressBar::new(length) } else { ProgressBar::hidden() });
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}%  {msg} events  {per_sec}  {eta} left") {
        bar.0.set_style(style);
    }
    let mut told = Instant::now();
    loop {
        sleep(BAR).await;
        let JobProgress { events_done, position, .. } = *progress.borrow();
        let done = (position - after).max(0).unsigned_abs();
        let events = HumanCount(events_done.unsigned_abs());
        if is_terminal {
            bar.0.set_message(events.to_string());
            bar.0.set_position(done);
        } else if told.elapsed() >= LINE {
            told = Instant::now();
            let percent = (done * 100).checked_div(length).unwrap_or(100);
            tell(&format!("{events} events, {percent}% of the log"));
        }
    }
}

/// A bar that does not stay behind.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn tell(line: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(io::stderr(), "{line}");
}

async fn tail(commands: &Commands, config: &Config, selection: &Selection, after: Option<i64>) -> anyhow::Result<()> {
    let mut signals = StopSignals::watch()?;
    // Before the head is asked, so that nothing comes in between unheard.
    let mut growth = commands.growth();
    let after = match after {
        Some(after) => after,
        None => events::head(commands.pool()).await.context("the log does not answer")?,
    };
    let mut filter = selection.filter(commands, after).await?;
    let mut envelope = selection.envelope(commands, config);
    let printing = async {
        loop {
            let mut batches = Box::pin(events::batches(commands.pool().clone(), filter.clone()));
            while let Some(batch) = batches.next().await {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "waiting for the log");
                        sleep(LINE).await;
                        break;
                    }
                };
                filter.after = batch.reached.max(filter.after);
                let mut lines = Vec::new();
                for event in &batch.events {
                    envelope.write(event, &mut lines);
                    lines.push(b'\n');
                }
                if !lines.is_empty() {
                    let mut out = io::stdout().lock();
                    out.write_all(&lines).and_then(|()| out.flush())?;
                }
            }
            growth.wait().await;
        }
    };
    let ended: io::Result<()> = tokio::select! {
        ended = printing => ended,
        _ = signals.next() => Ok(()),
    };
    match ended {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended.context("the events cannot be printed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_or_a_time_is_understood() {
        assert_eq!(time("2026-11-21").unwrap(), time("2026-11-21T00:00:00Z").unwrap());
        assert_eq!(time("2026-11-21T02:00:00+02:00").unwrap(), time("2026-11-21").unwrap());
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-21T10:00:00"] {
            assert!(time(wrong).unwrap_err().contains("2026-11-01"), "{wrong}");
        }
    }

    #[test]
    fn the_form_goes_by_the_name() {
        let of = |given, name: &str| format_of(given, Path::new(name)).map_err(|error| error.to_string());
        assert_eq!(of(None, "a/b.parquet"), Ok(ExportFormat::Parquet));
        assert_eq!(of(None, "b.jsonl"), Ok(ExportFormat::Ndjson));
        assert_eq!(of(Some(Format::Csv), "b.parquet"), Ok(ExportFormat::Csv));
        assert!(of(None, "-").unwrap_err().contains("--format"));
        assert!(of(Some(Format::Parquet), "-").unwrap_err().contains("-o"));
    }
}
