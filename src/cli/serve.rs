//! `weir serve`: some roles against servers that exist, or a relay in front of them.

mod edge;

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use clap::Args;
use embedded::DataDirLock;
use tracing::info;

use super::StopSignals;
use crate::{
    config::Config,
    node::{Node, NodeOptions, Role},
    wire::Servers,
};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// What this process does, separated by commas
    #[arg(long = "role", env = "WEIR_ROLES", value_delimiter = ',', required = true, value_name = "ROLES")]
    roles: Vec<Role>,
    #[command(flatten, next_help_heading = "Of an edge")]
    edge: edge::EdgeArgs,
}

impl Serve {
    pub(crate) async fn run(self, config: Config) -> anyhow::Result<()> {
        if self.roles.contains(&Role::Edge) {
            if self.roles.len() > 1 {
                bail!("an edge is a process of its own, on a machine of its own: give --role edge alone");
            }
            return self.edge.run(config).await;
        }
        let database_url = config.database_url.as_ref().context("say which Postgres with --database-url")?;
        let nats_url = config.nats_url.as_ref().context("say which NATS server with --nats-url")?;
        // Two nodes with one id would end each other's streams.
        let _lock = DataDirLock::acquire(&config.data_dir)?;
        let roles: BTreeSet<Role> = self.roles.into_iter().collect();
        let options = NodeOptions {
            database_url: database_url.expose().to_owned(),
            nats_url: nats_url.expose().to_owned(),
            config: config.clone(),
            roles: roles.clone(),
            servers: Servers::default(),
            is_alone: false,
            setup_token_in: None,
        };
        let mut signals = StopSignals::watch()?;
        let mut node = tokio::select! {
            node = Node::start(options) => node?,
            signal = signals.next() => {
                info!(signal, "told to stop while starting");
                return Ok(());
            }
        };
        let names: Vec<String> = roles.iter().map(Role::to_string).collect();
        info!(
            roles = names.join(","),
            http = node.http.map(tracing::field::display),
            rtmp = node.rtmp.map(tracing::field::display),
            "weir serves"
        );
        if roles.contains(&Role::Api) && commands::setup::is_open(&node.commands).await.unwrap_or(false) {
            info!("nobody administers this install yet; `weir setup-token` makes a token for whoever shall");
        }
        let failed = super::until_stopped(&mut node, &mut signals).await;
        signals.unless_again(node.shutdown()).await?;
        failed
    }
}
