//! `weir serve --role edge`: a relay in front of an origin, without Postgres.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use api::{BoxFuture, Check, Readiness};
use axum::{Router, routing::get};
use clap::Args;
use futures::FutureExt;
use ingest::{
    edge::{Edge, EdgeConfig, OriginTls},
    rights::PlaybackKeys,
};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{cli::StopSignals, config::Config, http, metrics, node, secrets::EdgeSecrets};

/// How long requests in flight may take once the process stops.
const DRAIN: Duration = Duration::from_secs(3);
/// How often figures are taken.
const MEASURED_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct EdgeArgs {
    /// Nodes that an edge asks, as in `http://10.0.0.5:8080` or `https://weir.example.org`, separated by commas, the preferred first
    #[arg(long = "origin", env = "WEIR_ORIGINS", value_delimiter = ',', value_name = "URLS")]
    origins: Vec<String>,
    /// How much of parts and segments an edge keeps, in MiB, 16 to 65536
    #[arg(long, env = "WEIR_EDGE_CACHE_MB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=65_536), value_name = "MIB")]
    edge_cache_mb: u32,
    /// How much of recordings an edge keeps beside that, in MiB, 16 to 65536
    #[arg(long, env = "WEIR_EDGE_RECORDINGS_CACHE_MB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=65_536), value_name = "MIB")]
    edge_recordings_cache_mb: u32,
    /// PEM file with the authorities that may vouch for https origins, instead of those of the system
    #[arg(long, env = "WEIR_ORIGIN_CA", value_name = "FILE")]
    origin_ca: Option<PathBuf>,
}

impl EdgeArgs {
    /// Runs a relay until it is told to stop.
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let origins = self.origins()?;
        let tls_to_origin = match origins.iter().any(|origin| origin.starts_with("https://")) {
            true => OriginTls::load(self.origin_ca.as_deref()).context("no origin could be believed")?,
            false => OriginTls::none(),
        };
        http::raise_descriptor_limit();
        let recorded = metrics::record()?;
        let secrets = EdgeSecrets::load(&config.secrets_file)?;
        let (current, former) = secrets.playback_keys();
        let keys = PlaybackKeys::new(current.0, former.iter().map(|key| key.0));
        let mut signals = StopSignals::watch()?;
        let listener = node::listen(config.http).await?;
        let address = listener.local_addr().context("the HTTP listener has no address")?;
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(http::acceptor(certificate, key)?),
            _ => None,
        };
        let metrics_listener = metrics::listen(config.metrics).await?;

        let (background, stopping) = (CancellationToken::new(), CancellationToken::new());
        let mut settings = EdgeConfig::new(origins.clone(), keys);
        settings.cache_bytes = self.edge_cache_mb as usize * (1 << 20);
        settings.recordings_bytes = self.edge_recordings_cache_mb as usize * (1 << 20);
        settings.tls = tls_to_origin;
        let edge = Edge::start(settings, background.clone());
        tokio::spawn(background.clone().run_until_cancelled_owned(measure(edge.clone())));
        tokio::spawn(background.clone().run_until_cancelled_owned(metrics::drain(recorded.clone())));
        if let Some(listener) = metrics_listener {
            let readiness: Arc<dyn Readiness> = Arc::new(EdgeReadiness(edge.clone()));
            let router = metrics::router(recorded, readiness);
            let limits = http::HttpLimits::of_this_process();
            tokio::spawn(http::serve(listener, router, limits, background.clone()));
        }
        let rest = Router::new().route("/healthz", get(async || "ok")).nest("/vod", edge.recordings());
        let site = http::Site { live: edge.service(), rest, answered: |_, _| {} };
        let limits = node::http_limits(&config);
        let mut server = tokio::spawn(http::serve_tls(listener, tls, site, limits, stopping.clone()));
        info!(http = %address, origins = origins.join(","), "weir relays");
        let ended = tokio::select! {
            signal = signals.next() => {
                info!(signal, "told to stop");
                Ok(())
            }
            _ = &mut server => Err(anyhow::anyhow!("the HTTP server has failed; the process ends")),
        };
        stopping.cancel();
        if ended.is_ok() && timeout(DRAIN, &mut server).await.is_err() {
            server.abort();
        }
        background.cancel();
        ended
    }

    fn origins(&self) -> anyhow::Result<Vec<String>> {
        if self.origins.is_empty() {
            bail!("say which nodes an edge asks with --origin, http://10.0.0.5:8080 for example");
        }
        let read = |origin: &String| {
            let origin = origin.trim_end_matches('/');
            match origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) {
                Some(rest) if !rest.is_empty() && !rest.contains('/') => Ok(origin.to_owned()),
                _ => {
                    bail!("{origin} cannot be an origin: give http:// or https:// with a host and a port, and no path")
                }
            }
        };
        self.origins.iter().map(read).collect()
    }
}

async fn measure(edge: Edge) {
    metrics_of(&edge);
    let mut ticks = interval(MEASURED_EVERY);
    loop {
        ticks.tick().await;
        metrics_of(&edge);
    }
}

fn metrics_of(edge: &Edge) {
    ::metrics::counter!("weir_edge_upstream_requests_total").absolute(edge.upstream_requests());
    ::metrics::gauge!("weir_edge_followed_playlists").set(edge.followed() as f64);
    ::metrics::gauge!("weir_edge_cache_bytes").set(edge.kept_bytes() as f64);
    ::metrics::gauge!("weir_edge_recordings_cache_bytes").set(edge.kept_recordings_bytes() as f64);
    ::metrics::gauge!("weir_edge_is_connected").set(if edge.is_connected() { 1.0 } else { 0.0 });
}

struct EdgeReadiness(Edge);

impl Readiness for EdgeReadiness {
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        let ok = self.0.is_connected();
        let detail = if ok { "It answers." } else { "It does not answer." };
        std::future::ready(vec![Check { name: "origin", ok, detail: detail.to_owned() }]).boxed()
    }
}
