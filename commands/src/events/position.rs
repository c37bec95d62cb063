use sqlx::PgPool;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::lent::{ANSWERED_WITHIN, Lent, within};

/// The position of the last event; 0 for an empty log.
///
/// # Errors
/// When the database does not answer.
pub async fn head(pool: &PgPool) -> Result<i64, sqlx::Error> {
    within(ANSWERED_WITHIN, async {
        let mut lent = Lent::take(pool).await?;
        let head = sqlx::query_scalar("select position from log.head").fetch_one(&mut *lent).await?;
        lent.give_back();
        Ok(head)
    })
    .await
}

/// The position of the last event that the log took at `time` or before; 0 when there is none. Times never run
/// backwards along the log, so all events up to it are from then, and none after it is.
///
/// # Errors
/// When the database does not answer.
pub async fn position_at(pool: &PgPool, time: OffsetDateTime) -> Result<i64, sqlx::Error> {
    let time = within_reason(time);
    // The log keeps microseconds, so the next one is where later events begin.
    last_before(pool, time.checked_add(to_next_microsecond(time)).unwrap_or(time)).await
}

/// The position of the last event that the log took before `time`.
pub(super) async fn position_before(pool: &PgPool, time: OffsetDateTime) -> Result<i64, sqlx::Error> {
    let time = within_reason(time);
    // The microsecond in which `time` lies is before it, unless it begins with it.
    let next =
        if time.nanosecond().is_multiple_of(1_000) { Some(time) } else { time.checked_add(to_next_microsecond(time)) };
    last_before(pool, next.unwrap_or(time)).await
}

/// `time`, or the first or last that both Postgres and UTC have; no event is from before or after those.
fn within_reason(time: OffsetDateTime) -> OffsetDateTime {
    time.clamp(datetime!(0001-01-01 0:00 UTC), datetime!(9999-12-31 23:59:59.999_999 UTC))
}

fn to_next_microsecond(time: OffsetDateTime) -> Duration {
    Duration::nanoseconds(i64::from(1_000 - time.nanosecond() % 1_000))
}

/// The position of the last event that the log took before `time`, which is a whole microsecond.
async fn last_before(pool: &PgPool, time: OffsetDateTime) -> Result<i64, sqlx::Error> {
    // Halves the range in which the answer lies until it is one position: about 30 rows are read of a billion.
    const SEARCH: &str = "with recursive search (low, high) as ( \
             select 0::bigint, position from log.head \
             union all \
             select case when is_before then middle else low end, case when is_before then high else middle - 1 end \
                 from (select low, high, low + (high - low + 1) / 2 as middle from search where low < high) range \
                 cross join lateral \
                     (select recorded_at < $1 as is_before from log.events where position = range.middle) event \
         ) \
         select low from search where low = high";
    within(ANSWERED_WITHIN, async {
        let mut lent = Lent::take(pool).await?;
        let position = sqlx::query_scalar(SEARCH).bind(time).fetch_one(&mut *lent).await?;
        lent.give_back();
        Ok(position)
    })
    .await
}
