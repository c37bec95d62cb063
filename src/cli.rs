//! The command line: one file per subcommand that does more than print.

mod accounts;
mod events;
mod keys;
mod mail;
mod password_cost;
mod projections;
mod serve;
mod streams;
mod up;

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Settings},
    demo, telemetry,
};

/// Weir, a self-hosted live-streaming platform.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten, next_help_heading = "Settings")]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with a Postgres and a NATS server of its own
    Up(up::Up),
    /// Run some roles against a Postgres and a NATS server that exist
    Serve(serve::Serve),
    /// Bring the database of --database-url to this version
    Migrate,
    /// Forget a person, or give them a copy of what is kept of them; call their erasure off; make an administrator; take a lost second factor off
    Accounts(accounts::Accounts),
    /// Rotate the master key
    Keys(keys::Keys),
    /// Try the settings for mail
    Mail(mail::Mail),
    /// Measure how long the hash of a password takes on this machine, and say which settings fit
    PasswordCost(password_cost::MeasurePasswordCost),
    /// Show the read models, and make them anew
    Projections(projections::Projections),
    /// Write the event log into files for analysts, and watch it grow
    Events(events::Events),
    /// Show what is live, and end a stream that does not end by itself
    Streams(streams::Streams),
    /// Make and print a set-up token, whose bearer may register as the administrator; the one before is worth nothing then
    SetupToken,
    /// Print the effective settings, secrets masked
    Config,
    /// Print the OpenAPI document
    Openapi,
    /// Print the AsyncAPI document: what goes over NATS and over the event feed
    Asyncapi,
    /// Push a test picture into a channel
    Demo {
        /// The server as the dashboard shows it
        #[arg(long, env = "WEIR_DEMO_SERVER", default_value = "rtmp://127.0.0.1:1935/live", value_name = "URL")]
        server: String,
        /// The channel's stream key
        #[arg(long, env = "WEIR_DEMO_STREAM_KEY", hide_env_values = true, value_name = "KEY")]
        stream_key: String,
    },
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.settings.resolve().and_then(|config| execute(cli.command, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be reading any more.
            drop(writeln!(std::io::stderr(), "weir: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Up(up) => {
            telemetry::start_serving(&config)?;
            until_ended(up.run(config))
        }
        Command::Serve(serve) => {
            telemetry::start_serving(&config)?;
            until_ended(serve.run(config))
        }
        Command::Migrate => {
            telemetry::start(&config)?;
            let url = config.database_url.as_ref().context("say which database with --database-url")?;
            runtime()?.block_on(crate::node::migrate(url.expose()))
        }
        Command::Accounts(accounts) => {
            telemetry::start(&config)?;
            runtime()?.block_on(accounts.run(&config))
        }
        Command::Keys(keys) => {
            telemetry::start(&config)?;
            runtime()?.block_on(keys.run(&config))
        }
        Command::Mail(mail) => {
            telemetry::start(&config)?;
            runtime()?.block_on(mail.run(&config))
        }
        Command::PasswordCost(measure) => measure.run(&config),
        Command::Projections(projections) => {
            telemetry::start(&config)?;
            runtime()?.block_on(projections.run(&config))
        }
        Command::Events(events) => {
            telemetry::start(&config)?;
            runtime()?.block_on(events.run(&config))
        }
        Command::Streams(streams) => {
            telemetry::start(&config)?;
            runtime()?.block_on(streams.run(&config))
        }
        Command::SetupToken => {
            telemetry::start(&config)?;
            runtime()?.block_on(setup_token(&config))
        }
        Command::Config => {
            print!("{}", toml::to_string(&config).context("the settings cannot be written as text")?);
            Ok(())
        }
        Command::Asyncapi => {
            std::io::stdout().write_all(api::asyncapi().as_bytes()).context("the document cannot be written")
        }
        Command::Openapi => {
            println!("{}", api::openapi().to_pretty_json().context("the document cannot be written as text")?);
            Ok(())
        }
        Command::Demo { server, stream_key } => {
            telemetry::start(&config)?;
            runtime()?.block_on(async {
                let mut signals = StopSignals::watch()?;
                let address = format!("{server}/{stream_key}");
                let cancel = CancellationToken::new();
                let publishing = demo::publish(&address, cancel.clone());
                tokio::pin!(publishing);
                tokio::select! {
                    () = &mut publishing => return Ok(()),
                    _ = signals.next() => {}
                };
                cancel.cancel();
                publishing.await;
                Ok(())
            })
        }
    }
}

async fn setup_token(config: &Config) -> anyhow::Result<()> {
    let commands = crate::node::open_commands(config).await?;
    let token = commands::setup::replace_token(&commands).await.context("the set-up token cannot be made")?;
    commands.shutdown().await;
    let token = token.context("this install has an administrator; there is nothing to set up")?;
    println!("{}", *token);
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")
}

/// Runs what runs until it is stopped. What still occupies a thread then does not keep the process from ending.
fn until_ended(running: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(running);
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Signals that come together are one: `timeout`, for one, signals a process and its group.
const TOGETHER: Duration = Duration::from_millis(500);

/// SIGTERM and Ctrl-C, heard from when this is made: one that comes while the process starts is not lost, and does not end
/// it at once.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// When the last one came; of those that came together, the first.
    told_at: Option<Instant>,
    has_no_patience: bool,
}

impl StopSignals {
    /// # Errors
    /// When the signals cannot be watched.
    fn watch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?,
            told_at: None,
            has_no_patience: false,
        })
    }

    /// Whether there was one.
    fn is_told(&self) -> bool {
        self.told_at.is_some()
    }

    /// Whether there was another while it stopped.
    fn has_no_patience(&self) -> bool {
        self.has_no_patience
    }

    /// Waits for the next one. Cancel safe.
    async fn next(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.told_at.get_or_insert_with(Instant::now);
        name
    }

    /// Waits until somebody who was heard before has lost patience. Cancel safe.
    async fn again(&mut self) -> &'static str {
        loop {
            let before = self.told_at;
            let name = self.next().await;
            if before.is_some_and(|before| before.elapsed() > TOGETHER) {
                self.told_at = Some(Instant::now());
                return name;
            }
        }
    }

    /// Waits for `stopping`, but not for somebody who has lost patience.
    ///
    /// # Errors
    /// When told to stop again.
    async fn unless_again<T>(&mut self, stopping: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::select! {
            done = stopping => Ok(done),
            signal = self.again() => {
                self.has_no_patience = true;
                tracing::warn!(signal, "told to stop again: ending at once, what is under way is cut");
                anyhow::bail!("told to stop twice; it ended without waiting for what was under way")
            }
        }
    }
}

/// Waits for a stop signal, or for a part of the node to fail.
///
/// # Errors
/// When a part failed: whoever supervises the process should start it again.
async fn until_stopped(node: &mut crate::node::Node, signals: &mut StopSignals) -> anyhow::Result<()> {
    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "told to stop");
            Ok(())
        }
        part = node.failed() => anyhow::bail!("{part} has failed; the process ends"),
    }
}
