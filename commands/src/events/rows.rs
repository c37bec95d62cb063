//! The rows of events, shown one by one without making anything of them.
//!
//! Many are read by COPY in its binary form: for Postgres that is a third less work than COPY as text, and for this
//! process half of what it is to take rows apart that came for a query.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::PgPool;

use super::{
    lent::{Lent, within},
    row::{COLUMNS, EventRow},
};

/// How large an answer gets, but for its last event.
pub(super) const BYTES: usize = 2 * 1024 * 1024;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

pub(super) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Shows the rows of the answer, as many of the first as are large enough together. Whether they are all.
pub(super) async fn queried(
    pool: &PgPool,
    query: Query<'_>,
    answered_within: Duration,
    mut show: impl FnMut(EventRow<'_>),
) -> Result<bool, sqlx::Error> {
    within(answered_within, async {
        let mut lent = Lent::take(pool).await?;
        let mut size_bytes = 0;
        {
            let mut rows = query.fetch(&mut *lent);
            while let Some(row) = rows.try_next().await? {
                if size_bytes >= BYTES {
                    // The rest is not waited for: its connection goes with it.
                    return Ok(false);
                }
                let row = EventRow::new(&row)?;
                size_bytes += row.size();
                show(row);
            }
        }
        lent.give_back();
        Ok(true)
    })
    .await
}

/// Shows `limit` of the events after position `after` and not after `to`, or as many as there are, or as many of the first
/// as are large enough together. Whether it is not for their size that there are no more. COPY is worth it for many: it is
/// planned anew each time.
pub(super) async fn between(
    pool: &PgPool,
    (after, to): (i64, i64),
    limit: usize,
    are_many: bool,
    answered_within: Duration,
    show: impl FnMut(EventRow<'_>),
) -> Result<bool, sqlx::Error> {
    if !are_many || limit == 0 {
        let sql = format!(
            "select {COLUMNS} from log.events where position > $1 and position <= $2 order by position limit $3"
        );
        let query = sqlx::query(&sql).bind(after).bind(to).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        queried(pool, query, answered_within, show).await
    } else {
        copied(pool, (after, to), limit, answered_within, show).await
    }
}

async fn copied(
    pool: &PgPool,
    (after, to): (i64, i64),
    limit: usize,
    answered_within: Duration,
    mut show: impl FnMut(EventRow<'_>),
) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "copy (select {COLUMNS} from log.events where position > {after} and position <= {to} order by position \
         limit {limit}) to stdout (format binary)"
    );
    within(answered_within, async {
        let mut lent = Lent::take(pool).await?;
        let mut size_bytes = 0;
        {
            let mut chunks = lent.copy_out_raw(&sql).await?;
            // There is a row in each, and before the first what says that this is the form.
            while let Some(chunk) = chunks.try_next().await? {
                let mut fields = Fields(&chunk);
                if fields.0.starts_with(SIGNATURE) {
                    fields.take(SIGNATURE.len() + 4)?;
                    let more = fields.length()?;
                    fields.take(more)?;
                }
                while !fields.0.is_empty() && !fields.are_at_end()? {
                    if size_bytes >= BYTES {
                        // The rest is not waited for: its connection goes with it.
                        return Ok(false);
                    }
                    let row = fields.row()?;
                    size_bytes += row.size();
                    show(row);
                }
            }
        }
        lent.give_back();
        Ok(true)
    })
    .await
}

/// Takes COPY's binary form apart, as the documentation of Postgres has it under COPY, "Binary Format".
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Takes the number of fields that each row begins with; the last says that there is none.
    fn are_at_end(&mut self) -> Result<bool, sqlx::Error> {
        Ok(i16::from_be_bytes(self.array()?) < 0)
    }

    /// The fields of [`COLUMNS`].
    fn row(&mut self) -> Result<EventRow<'a>, sqlx::Error> {
        Ok(EventRow {
            position: self.number()?,
            aggregate_type: self.text()?,
            aggregate_id: self.text()?,
            sequence: self.number()?,
            event_type: self.text()?,
            event_version: self.text()?,
            payload: self.text()?,
            metadata: self.text()?,
            recorded_at: super::row::time(self.number()?)?,
        })
    }

    fn text(&mut self) -> Result<&'a str, sqlx::Error> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|error| sqlx::Error::Decode(error.into()))
    }

    fn number(&mut self) -> Result<i64, sqlx::Error> {
        match self.length()? {
            8 => Ok(i64::from_be_bytes(self.array()?)),
            other => Err(sqlx::Error::Protocol(format!("a number of {other} bytes in a copy of the log"))),
        }
    }

    /// Of what follows. None of the columns can be null, which would be -1.
    fn length(&mut self) -> Result<usize, sqlx::Error> {
        let length = i32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| sqlx::Error::Protocol("a null in a copy of the log".to_owned()))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], sqlx::Error> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], sqlx::Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn cut() -> sqlx::Error {
    sqlx::Error::Protocol("a row in a copy of the log is not whole".to_owned())
}
