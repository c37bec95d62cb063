//! What an operator's Prometheus sees: every metric that docs/operations.md names is there, from the start.

use std::collections::BTreeSet;

use crate::{
    api::Caller,
    weir::{DataDir, Weir, eventually},
};

const DOCUMENT: &str = include_str!("../../docs/operations.md");

/// The metrics that the table names.
fn documented() -> BTreeSet<&'static str> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `weir_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(|name| name.split('{').next().unwrap()).collect()
}

/// The value of the first sample of `name` whose line holds `label`.
fn value(text: &str, name: &str, label: &str) -> Option<f64> {
    let of_name = |line: &&str| line.starts_with(name) && !line[name.len()..].starts_with('_');
    let line = text.lines().filter(of_name).find(|line| line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn every_metric_that_is_documented_is_told() {
    let folder = DataDir::new();
    let weir = Weir::up_with(&folder, &["--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    let log = weir.log();
    let line = log.lines().find(|line| line.contains("metrics are served")).unwrap();
    let (_, address) = line.split_once("address=").unwrap();
    let address = format!("http://{}", address.split_whitespace().next().unwrap());
    let get = async |path: &str| reqwest::get(format!("{address}{path}")).await.unwrap();

    assert_eq!(get("/healthz").await.status(), 200);
    eventually("it is ready", async || get("/readyz").await.status().is_success().then_some(())).await;

    Caller::register(&weir.http, "measured", Some(&weir.setup_token())).await;
    let expected = documented();
    assert!(expected.len() > 15, "{expected:?}");
    let text = eventually("the read models have the account, and somebody relays", async || {
        let response = get("/metrics").await;
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        let text = response.text().await.unwrap();
        let head = value(&text, "weir_log_head_position", "")?;
        let applied = value(&text, "weir_projection_position", "accounts_v1")?;
        // The lease is for seconds, and lost when the machine stands still for longer.
        let is_leader = value(&text, "weir_relay_is_leader", "")?;
        (head > 0.0 && applied >= head && is_leader == 1.0).then_some(text)
    })
    .await;
    let missing: Vec<_> = expected.iter().filter(|name| !text.contains(&format!("# TYPE {name} "))).collect();
    assert!(missing.is_empty(), "documented, but not told: {missing:?}\n{text}");
    assert!(value(&text, "weir_commands_total", "committed").unwrap() >= 1.0, "{text}");
}
