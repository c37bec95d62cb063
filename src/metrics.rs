//! Metrics in the text form of Prometheus, and health, on an address of their own: for every role, and not for the public.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use api::Readiness;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::warn;

/// Where metrics are served unless the settings say otherwise.
const DEFAULT: ([u8; 4], u16) = ([127, 0, 0, 1], 9464);
/// How often histograms are drained, so that they take no memory while nobody asks.
const DRAINED_EVERY: Duration = Duration::from_secs(5);

const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0];

/// What this process counts. Whatever a crate counts before this is made is lost, so it is made first.
///
/// # Errors
/// When it was made before.
pub fn record() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_commands".to_owned()), COUNTS))
        .and_then(PrometheusBuilder::install_recorder)
        .context("metrics cannot be recorded")?;
    metrics::describe_gauge!("weir_info", "Always 1; its labels say what runs.");
    metrics::gauge!("weir_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Binds the address of the settings. Without one the usual is tried, and a second Weir on a machine goes without.
///
/// # Errors
/// When the address that the settings name cannot be had.
pub async fn listen(configured: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    match configured {
        Some(address) => TcpListener::bind(address).await.map(Some).with_context(|| {
            format!("metrics cannot be served on {address}; is something else there? Choose another with --metrics")
        }),
        None => match TcpListener::bind(SocketAddr::from(DEFAULT)).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => {
                let address = SocketAddr::from(DEFAULT);
                warn!(%address, %error, "metrics are not served; choose another address with --metrics");
                Ok(None)
            }
        },
    }
}

/// `/metrics`, `/healthz` and `/readyz`.
pub fn router(handle: PrometheusHandle, readiness: Arc<dyn Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .with_state(handle)
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(check_readiness).with_state(readiness))
}

/// Keeps what is recorded small, for ever.
pub async fn drain(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(DRAINED_EVERY);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

async fn render(State(handle): State<PrometheusHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
}

async fn check_readiness(State(readiness): State<Arc<dyn Readiness>>) -> impl IntoResponse {
    let checks = readiness.check().await;
    let is_ready = checks.iter().all(|check| check.ok);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks: Vec<_> =
        checks.iter().map(|check| json!({ "name": check.name, "ok": check.ok, "detail": check.detail })).collect();
    (status, Json(json!({ "status": if is_ready { "ready" } else { "not_ready" }, "checks": checks })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_taken_is_named_with_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(Some(address)).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--metrics"), "{error}");
    }
}
