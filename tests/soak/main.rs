//! Many processes of one Weir, a load, and faults without end: afterwards nothing is lost, doubled or out of order.
//!
//! `cargo test --test soak` runs it short. `make soak` runs it long; what it does is set by the environment:
//! `WEIR_SOAK_KILLS` (how many faults), `WEIR_SOAK_SEED` (which; printed at the start), `WEIR_SOAK_MINUTES` (end after so
//! long, whatever is left of the schedule).
//!
//! [`media`] is another one: two encoders, and all that they send watched for long. [`live`] watches streams that are live
//! elsewhere in the same way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unreachable_pub, reason = "nobody reaches into a test: `pub` is what a module offers to the others")]

#[expect(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../e2e/api.rs"]
mod api;
mod checks;
mod clients;
mod dice;
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../e2e/encoder.rs"]
mod encoder;
mod leash;
mod ledger;
mod live;
mod media;
mod nodes;
mod schedule;
mod servers;
mod soak;
mod subscriber;
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../e2e/weir.rs"]
mod weir;

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use weir::ports;

/// How long anything may take before the soak gives up: far longer than it ever takes.
const PATIENCE: Duration = Duration::from_secs(240);

struct Settings {
    kills: usize,
    seed: u64,
    limit: Option<Duration>,
}

impl Settings {
    fn read() -> Self {
        let chance = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            // Short enough to be typed again.
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        };
        Self {
            kills: setting("WEIR_SOAK_KILLS").unwrap_or(20),
            seed: setting("WEIR_SOAK_SEED").unwrap_or_else(chance),
            limit: setting("WEIR_SOAK_MINUTES").map(|minutes: u64| Duration::from_secs(60 * minutes)),
        }
    }
}

fn setting<T: FromStr<Err: std::fmt::Debug>>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text} is not a number: {error:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whoever_is_killed() {
    soak::run(Settings::read()).await;
}
