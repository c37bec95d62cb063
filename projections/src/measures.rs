//! What the metrics tell about projections.

use std::time::{Duration, Instant};

use domain::RecordedEvent;
use metrics::{Histogram, gauge, histogram};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use crate::Status;

/// How often the gauges are set.
const PERIOD: Duration = Duration::from_secs(1);
/// How many periods pass between two counts of the events that failed.
const COUNTED_EVERY: u32 = 5;

/// How long after they were recorded events can be read in a projection's tables: `weir_projection_lag_seconds`.
///
/// Both ends are times of Postgres, whose clock tells the time in the midst of the transaction; what passes from there to the
/// commit is added by the monotonic clock here. So nobody's clock need be right. Events from before the worker
/// began are left out: a read model that is built anew is not late.
pub(crate) struct Lag {
    histogram: Histogram,
    began: Option<OffsetDateTime>,
}

impl Lag {
    pub(crate) fn new(projection: &'static str) -> Self {
        Self { histogram: histogram!("weir_projection_lag_seconds", "projection" => projection), began: None }
    }

    /// Counts the events from now on.
    pub(crate) fn begin(&mut self, now: OffsetDateTime) {
        self.began.get_or_insert(now);
    }

    /// These are committed, and `clock` is the time of Postgres when we read it.
    pub(crate) fn committed(&self, clock: (OffsetDateTime, Instant), events: &[&RecordedEvent]) {
        let Some(began) = self.began else { return };
        let committed_at = clock.0 + clock.1.elapsed();
        for recorded_at in events.iter().map(|event| event.recorded_at).filter(|recorded_at| *recorded_at >= began) {
            self.histogram.record((committed_at - recorded_at).as_seconds_f64().max(0.0));
        }
    }
}

/// Sets the gauges, for ever.
pub(crate) async fn report(pool: PgPool, status: impl Fn() -> (i64, Vec<Status>)) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in (0..COUNTED_EVERY).cycle() {
        tick.tick().await;
        let (head, all) = status();
        #[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53 events")]
        let number = |count: i64| count as f64;
        gauge!("weir_log_head_position").set(number(head));
        for status in &all {
            let healthy = if status.is_healthy() { 1.0 } else { 0.0 };
            gauge!("weir_projection_position", "projection" => status.name).set(number(status.position));
            gauge!("weir_projection_lag_events", "projection" => status.name).set(number(status.lag));
            gauge!("weir_projection_is_healthy", "projection" => status.name).set(healthy);
        }
        if count > 0 {
            continue;
        }
        let failed: Result<Vec<(String, i64)>, _> = sqlx::query_as(
            "select projection, count(*) from read.failed_events where resolved_at is null group by projection",
        )
        .fetch_all(&pool)
        .await;
        let Ok(failed) = failed else { continue };
        for status in &all {
            let count = failed.iter().find(|(name, _)| name == status.name).map_or(0, |(_, count)| *count);
            gauge!("weir_projection_failed_events", "projection" => status.name).set(number(count));
        }
    }
}
