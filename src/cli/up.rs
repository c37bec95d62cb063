//! `weir up`: everything in one process, with a Postgres and a NATS server of its own.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use embedded::{DataDirLock, Nats, NatsOptions, Postgres, PostgresOptions};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::StopSignals;
use crate::{
    config::{Config, SecretUrl},
    demo,
    node::{Node, NodeOptions, Role},
    wire::Servers,
};

/// How long somebody without patience waits for the servers, so that they usually are gone before us.
const HURRIED: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Also make a demo account and channel, and push a test picture into it
    #[arg(long, env = "WEIR_DEMO")]
    demo: bool,
}

impl Up {
    pub(crate) async fn run(self, config: Config) -> anyhow::Result<()> {
        let began = Instant::now();
        // From here on a signal no longer ends the process on the spot, which would leave the children behind.
        let mut signals = StopSignals::watch()?;
        let lock = DataDirLock::acquire(&config.data_dir)?;
        let children = signals.unless_again(Children::start(&config)).await??;
        // Whatever goes wrong from here on, the children are stopped.
        let outcome = if signals.is_told() {
            info!("told to stop while starting");
            Ok(())
        } else {
            self.run_with(&config, &children, &mut signals, began).await
        };
        let limit = if signals.has_no_patience() { HURRIED } else { Duration::MAX };
        let stopped = signals.unless_again(tokio::time::timeout(limit, children.shutdown())).await;
        if !matches!(stopped, Ok(Ok(()))) {
            warn!("Postgres or NATS were told to stop and are not done; they end by themselves");
        }
        drop(lock);
        outcome.and(stopped.map(drop))
    }

    async fn run_with(
        self,
        config: &Config,
        children: &Children,
        signals: &mut StopSignals,
        began: Instant,
    ) -> anyhow::Result<()> {
        let options = NodeOptions {
            config: config.clone(),
            roles: Role::all(),
            database_url: children.database_url.clone(),
            nats_url: children.nats_url.clone(),
            servers: children.status(),
            is_alone: config.database_url.is_none(),
            setup_token_in: Some(config.data_dir.clone()),
        };
        let mut node = tokio::select! {
            node = Node::start(options) => node?,
            signal = signals.next() => {
                info!(signal, "told to stop while starting");
                return Ok(());
            }
        };
        let outcome = self.run_node(config, &mut node, signals, began).await;
        info!("stopping: streams first, then requests, then the servers");
        signals.unless_again(node.shutdown()).await?;
        outcome
    }

    async fn run_node(
        self,
        config: &Config,
        node: &mut Node,
        signals: &mut StopSignals,
        began: Instant,
    ) -> anyhow::Result<()> {
        let demo = if self.demo { Some(demo::channel(&node.commands, &config.data_dir).await?) } else { None };
        if let Err(error) = print_addresses(io::stdout(), config, node, began, demo.as_ref()) {
            warn!(%error, "nobody can be told where everything is");
        }
        let cancel = CancellationToken::new();
        let publishing = demo.zip(node.rtmp).map(|(demo, rtmp)| {
            let address = format!("rtmp://{rtmp}/live/{}", demo.stream_key.expose());
            let cancel = cancel.clone();
            tokio::spawn(async move { demo::publish(&address, cancel).await })
        });
        let outcome = super::until_stopped(node, signals).await;
        cancel.cancel();
        if let Some(publishing) = publishing {
            signals.unless_again(publishing).await?.context("the demo encoder failed")?;
        }
        outcome
    }
}

/// The servers of our own, as far as none are named in the settings.
struct Children {
    postgres: Option<Postgres>,
    nats: Option<Nats>,
    database_url: String,
    nats_url: String,
}

impl Children {
    async fn start(config: &Config) -> anyhow::Result<Self> {
        let postgres = async {
            match &config.database_url {
                Some(_) => Ok(None),
                None => {
                    let mut options = PostgresOptions::new(&config.data_dir);
                    options.settings.push(("max_connections".to_owned(), max_connections(config).to_string()));
                    Postgres::start(options).await.map(Some)
                }
            }
        };
        let nats = async {
            match &config.nats_url {
                Some(_) => Ok(None),
                None => Nats::start(NatsOptions::new(&config.data_dir)).await.map(Some),
            }
        };
        let (postgres, nats) = match tokio::join!(postgres, nats) {
            (Ok(postgres), Ok(nats)) => (postgres, nats),
            (postgres, nats) => {
                // The one that did start must not stay behind.
                let error = match (postgres, nats) {
                    (Err(error), Ok(Some(nats))) => {
                        nats.shutdown().await;
                        error
                    }
                    (Ok(Some(postgres)), Err(error)) => {
                        postgres.shutdown().await;
                        error
                    }
                    (Err(error), _) | (_, Err(error)) => error,
                    (Ok(_), Ok(_)) => unreachable!("matched above"),
                };
                return Err(error.into());
            }
        };
        let named = |url: &Option<SecretUrl>| url.as_ref().map(|url| url.expose().to_owned());
        let database_url = postgres.as_ref().map(Postgres::url).or_else(|| named(&config.database_url));
        let nats_url = nats.as_ref().map(Nats::url).or_else(|| named(&config.nats_url));
        Ok(Self {
            database_url: database_url.context("there is no Postgres")?,
            nats_url: nats_url.context("there is no NATS server")?,
            postgres,
            nats,
        })
    }

    fn status(&self) -> Servers {
        Servers { postgres: self.postgres.as_ref().map(Postgres::status), nats: self.nats.as_ref().map(Nats::status) }
    }

    async fn shutdown(self) {
        let postgres = async {
            if let Some(postgres) = self.postgres {
                postgres.shutdown().await;
            }
        };
        let nats = async {
            if let Some(nats) = self.nats {
                nats.shutdown().await;
            }
        };
        tokio::join!(postgres, nats);
    }
}

/// For the pool, and with room for the forty or so that a process with all roles holds beside it, for `psql` and for backups.
fn max_connections(config: &Config) -> u32 {
    (config.database_connections + 64).max(100)
}

/// Five lines on stdout that say where everything is, and one more for RTMPS, for mails that no server takes, for whom nobody
/// administers yet, and for the demo.
fn print_addresses(
    mut out: impl Write,
    config: &Config,
    node: &Node,
    began: Instant,
    demo: Option<&demo::DemoChannel>,
) -> io::Result<()> {
    let (Some(http), Some(rtmp)) = (node.http, node.rtmp) else { return Ok(()) };
    let public_url = config.public_url(http);
    writeln!(out, "Weir is up after {:.1} s. Ctrl-C stops it.", began.elapsed().as_secs_f64())?;
    writeln!(out, "  Watch    {public_url}")?;
    writeln!(out, "  Publish  {} (server in OBS; the key is in your dashboard)", config.public_rtmp_url(rtmp))?;
    if let Some(rtmps) = config.public_rtmps_url(node.rtmps) {
        writeln!(out, "           {rtmps} (the same under TLS)")?;
    }
    writeln!(out, "  API      {public_url}/docs")?;
    writeln!(out, "  Data     {}", config.data_dir.display())?;
    if config.mail.host.is_none() {
        let mails = config.mail.folder(&config.data_dir);
        writeln!(out, "  Mail     {} (with the codes that people are asked for; no server is set)", mails.display())?;
    }
    if let Some(setup) = &node.setup_token {
        writeln!(
            out,
            "  Set up   {public_url}/register#setup_token={} makes you the administrator (kept in {})",
            setup.token,
            setup.file.display()
        )?;
    }
    if let Some(demo) = demo {
        writeln!(
            out,
            "  Demo     {public_url}/{} (sign in as {} with {})",
            demo::HANDLE,
            demo::USERNAME,
            demo.password
        )?;
    }
    if public_url.starts_with("http://") && !http.ip().is_loopback() {
        warn!(public_url, "plain http beyond this machine: anybody on the way can read passwords; use https");
    }
    Ok(())
}
