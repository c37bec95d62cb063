//! `weir projections`: where the read models stand, and what is done about one that does not do as it should.

use std::{
    io::{IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use domain::sealed::Keyring;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use projections::{
    ALL, Listed, Projection, Standing,
    rebuild::{Comparison, Outcomes, Phase, Progress, Rebuild, RebuildError},
};
use serde_json::json;
use sqlx::PgPool;
use tokio::{sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::StopSignals;
use crate::{config::Config, node};

/// How long a worker may take to try again.
const RETRIED: Duration = Duration::from_secs(10);
/// How often a progress bar moves, and how often a line is written where there is none.
const BAR: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Projections {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where each read model stands
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a read model that stopped at an event try it again
    Retry {
        /// Which; `weir projections list` has the names
        name: String,
    },
    /// Make a read model anew from the log, beside the live one, and put it in its place
    ///
    /// Everything goes on meanwhile. An interrupted rebuild goes on where it was when it is started again.
    Rebuild {
        /// Which, or `all`, which reads the log once for all of them
        name: String,
        /// Build the state after this event into the schema `read_at_N` and leave it there; the live one stays as it is
        #[arg(long, value_name = "N", conflicts_with = "dry_run", allow_negative_numbers = true)]
        to_position: Option<i64>,
        /// Only compare what the log says with the live rows, and fail if any differ
        #[arg(long)]
        dry_run: bool,
    },
}

impl Projections {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        match self.command {
            Command::List { json } => {
                let listed = list(&node::open_pool(config).await?).await?;
                if json { print_json(&listed) } else { print_table(&listed) }
            }
            Command::Retry { name } => {
                let projection = named(&name)?;
                retry(&node::open_pool(config).await?, projection).await
            }
            Command::Rebuild { name, to_position, dry_run } => {
                let projections = if name == "all" { ALL.to_vec() } else { vec![named(&name)?] };
                let commands = node::open_commands(config).await?;
                let (pool, keyring) = (commands.pool().clone(), commands.keyring());
                let rebuilt = rebuild(pool, keyring, projections, to_position, dry_run).await;
                commands.shutdown().await;
                rebuilt
            }
        }
    }
}

fn named(name: &str) -> anyhow::Result<&'static dyn Projection> {
    let found = ALL.iter().copied().find(|projection| projection.name() == name);
    found.with_context(|| {
        let names: Vec<&str> = ALL.iter().map(|projection| projection.name()).collect();
        format!("there is no projection {name}; there are {}", names.join(", "))
    })
}

async fn list(pool: &PgPool) -> anyhow::Result<Vec<Listed>> {
    projections::list(pool).await.context("the projections cannot be listed; is the database at this version?")
}

fn print_table(listed: &[Listed]) -> anyhow::Result<()> {
    let width = listed.iter().map(|listed| listed.name.len()).max().unwrap_or_default().max(10);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:width$}  {:>12}  {:>12}  {:>12}  {:>10}  {:>6}  STATE",
        "PROJECTION", "POSITION", "HEAD", "LAG", "LAG TIME", "FAILED"
    )?;
    for listed in listed {
        let mut state = match &listed.standing {
            Standing::CaughtUp => "caught up".to_owned(),
            Standing::Moving => "moving".to_owned(),
            Standing::Behind => "behind, and nobody applies events".to_owned(),
            Standing::Stopped { position, error, .. } => format!("stopped at position {position}: {error}"),
            Standing::Ahead => "ahead of the log: rebuild it".to_owned(),
        };
        if !listed.is_known {
            state = "of another version of Weir".to_owned();
        }
        if let Some(position) = listed.rebuild {
            state.push_str(&format!("; a rebuild is at {position}"));
        }
        let lag = format!("{:.1} s", listed.lag.as_secs_f64());
        writeln!(
            out,
            "{:width$}  {:>12}  {:>12}  {:>12}  {lag:>10}  {:>6}  {state}",
            listed.name,
            listed.position,
            listed.head,
            listed.lag_events(),
            listed.failed_events,
        )?;
    }
    Ok(())
}

fn print_json(listed: &[Listed]) -> anyhow::Result<()> {
    let values: Vec<_> = listed
        .iter()
        .map(|listed| {
            let (state, stopped) = match &listed.standing {
                Standing::CaughtUp => ("caught_up", None),
                Standing::Moving => ("moving", None),
                Standing::Behind => ("behind", None),
                Standing::Stopped { position, error, attempts } => {
                    ("stopped", Some(json!({ "position": position, "error": error, "attempts": attempts })))
                }
                Standing::Ahead => ("ahead", None),
            };
            json!({
                "name": listed.name,
                "is_known": listed.is_known,
                "position": listed.position,
                "head": listed.head,
                "lag_events": listed.lag_events(),
                "lag_seconds": listed.lag.as_secs_f64(),
                "state": state,
                "stopped": stopped,
                "failed_events": listed.failed_events,
                "rebuild_position": listed.rebuild,
            })
        })
        .collect();
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&values)?)?;
    Ok(())
}

async fn retry(pool: &PgPool, projection: &'static dyn Projection) -> anyhow::Result<()> {
    let name = projection.name();
    let standing = async || {
        let listed = list(pool).await?;
        let listed = listed.into_iter().find(|listed| listed.name == name);
        listed.with_context(|| format!("{name} is gone"))
    };
    let before = standing().await?;
    if !projections::retry(pool, projection).await.context("the worker cannot be asked to try again")? {
        println!("{name} does not stand still: there is nothing to try again.");
        return Ok(());
    }
    if before.standing == Standing::Ahead {
        bail!("{name} is ahead of the log; trying again does not help: weir projections rebuild {name}");
    }
    let began = Instant::now();
    while began.elapsed() < RETRIED {
        sleep(BAR).await;
        let now = standing().await?;
        match (&before.standing, &now.standing) {
            (
                Standing::Stopped { position, attempts, .. },
                Standing::Stopped { position: at, error, attempts: now },
            ) if at > position || now > attempts => {
                bail!("{name} was tried again and stands at position {at}: {error}")
            }
            (_, Standing::Stopped { .. }) => {}
            _ => {
                println!("{name} goes on; it is at position {} of {}.", now.position, now.head);
                return Ok(());
            }
        }
    }
    bail!("nobody has tried again yet: is there a process with the role projections? It will when it starts")
}

async fn rebuild(
    pool: PgPool,
    keyring: Arc<dyn Keyring>,
    projections: Vec<&'static dyn Projection>,
    to_position: Option<i64>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let mut signals = StopSignals::watch()?;
    let cancel = CancellationToken::new();
    let rebuild = Rebuild::new(pool, keyring, projections).cancelled_by(cancel.clone());
    let shown = AbortOnDropHandle::new(tokio::spawn(show(rebuild.progress())));
    let stopping = AbortOnDropHandle::new(tokio::spawn(async move {
        signals.next().await;
        cancel.cancel();
        // Whoever asks twice means it; what was built is as good as after a crash.
        signals.next().await;
        std::process::exit(130);
    }));
    let began = Instant::now();
    let is_well = match to_position {
        Some(position) => {
            let outcomes = rebuild.keep_at(position).await;
            end(shown).await;
            report(outcomes, true, |name, at| {
                println!(
                    "{name} as of position {at} is in read_at_{at}; when it is not needed: drop schema read_at_{at} cascade"
                );
                true
            })
        }
        None if dry_run => {
            let outcomes = rebuild.compare().await;
            end(shown).await;
            report(outcomes, false, |_, compared| print_comparison(&compared))
        }
        None => {
            let outcomes = rebuild.exchange().await;
            end(shown).await;
            report(outcomes, true, |name, position| {
                println!("{name} is rebuilt up to position {position}, after {:.1} s", began.elapsed().as_secs_f64());
                true
            })
        }
    };
    drop(stopping);
    is_well
}

/// Takes the bar away.
async fn end(shown: AbortOnDropHandle<()>) {
    shown.abort();
    let _ = shown.await;
}

/// Prints what came of it, `is_well` telling whether that is what was hoped for. `is_kept`: what was built stays.
fn report<T>(outcomes: Outcomes<T>, is_kept: bool, mut is_well: impl FnMut(&str, T) -> bool) -> anyhow::Result<()> {
    let (mut failures, mut differing) = (Vec::new(), Vec::new());
    for (name, outcome) in outcomes {
        match outcome {
            Ok(value) => {
                if !is_well(name, value) {
                    differing.push(name);
                }
            }
            Err(error) => failures.push(error),
        }
    }
    let is_left = is_kept && failures.iter().any(RebuildError::leaves_a_build);
    let mut texts: Vec<String> =
        failures.into_iter().map(|error| format!("{:#}", anyhow::Error::from(error))).collect();
    if !differing.is_empty() {
        texts.push(format!("rows differ in {}; a rebuild without --dry-run puts them right", differing.join(", ")));
    }
    if is_left {
        texts.push("what was built so far is kept: the same command goes on from there".to_owned());
    }
    if texts.is_empty() { Ok(()) } else { bail!(texts.join("\n      ")) }
}

fn print_comparison(compared: &Comparison) -> bool {
    for table in &compared.tables {
        let rows = HumanCount(u64::try_from(table.rows).unwrap_or_default());
        if table.differing() == 0 {
            println!("{}: all {rows} rows are as the log says, at position {}", table.table, compared.position);
            continue;
        }
        println!(
            "{}: of {rows} rows {} are missing, {} have another content, and {} more should not be there, at position {}",
            table.table, table.missing, table.different, table.superfluous, compared.position
        );
        for example in &table.examples {
            println!("  {} in {}", example.key, example.columns.join(", "));
        }
    }
    compared.differing() == 0
}

/// Shows how far it is, on stderr, until it is dropped.
async fn show(mut progress: watch::Receiver<Progress>) {
    let is_terminal = std::io::stderr().is_terminal();
    let bar = Bar { bar: if is_terminal { ProgressBar::no_length() } else { ProgressBar::hidden() } };
    let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} events  {per_sec}  {eta} left  {msg}");
    if let Ok(style) = style {
        bar.bar.set_style(style);
    }
    let (mut began, mut told) = (None, Instant::now());
    loop {
        sleep(BAR).await;
        let now = progress.borrow_and_update().clone();
        let (Ok(position), Ok(until)) = (u64::try_from(now.position()), u64::try_from(now.until)) else { continue };
        let what = doing(&now);
        if is_terminal {
            if began.is_none() {
                // What an earlier attempt has done is no measure of how fast this one is.
                bar.bar.set_length(until);
                bar.bar.set_position(position);
                bar.bar.reset_eta();
            }
            began.get_or_insert((Instant::now(), position));
            bar.bar.set_length(until);
            bar.bar.set_position(position);
            bar.bar.set_message(what);
        } else if told.elapsed() >= LINE {
            told = Instant::now();
            let (since, from) = *began.get_or_insert((Instant::now(), position));
            let seconds = since.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
            let rate = if seconds > 0.0 { (position - from.min(position)) as f64 / seconds } else { 0.0 };
            #[expect(clippy::cast_precision_loss, reason = "a time to look at")]
            let left = (until - position.min(until)) as f64 / rate.max(1.0);
            let left = HumanDuration(Duration::from_secs_f64(left));
            let mut stderr = std::io::stderr();
            let (done, all) = (HumanCount(position), HumanCount(until));
            // Nobody may be reading any more.
            let _ = writeln!(stderr, "{done} of {all} events, {rate:.0}/s, {left} left {what}");
        }
    }
}

/// A bar that does not stay behind.
struct Bar {
    bar: ProgressBar,
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What is being done once all events are applied.
fn doing(progress: &Progress) -> &'static str {
    let is = |phase| progress.parts.iter().any(|part| part.phase == phase);
    if is(Phase::Applying) {
        ""
    } else if is(Phase::Indexing) {
        "making indexes"
    } else if is(Phase::Exchanging) {
        "exchanging tables"
    } else if is(Phase::Comparing) {
        "comparing"
    } else {
        ""
    }
}
