use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sqlx::{Postgres, QueryBuilder};
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

/// The most items that a page has.
pub const MAX_LIMIT: usize = 100;

/// A part of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// In order; empty when there is nothing (more).
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The same page of something else.
    #[must_use]
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(item).collect(), next: self.next }
    }
}

/// Where a page ended: the time and the id of its last item, so that items which come or go in between neither repeat
/// nor hide others. As text it is opaque to clients (base64url of both, no padding).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    at: OffsetDateTime,
    id: Uuid,
}

/// A text that no page ever ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the cursor is not one that a page ended with; start again without one, or use the last page's `next_cursor`")]
pub struct CursorInvalid;

impl Cursor {
    /// After the item of this time, cut to microseconds, and id.
    pub(crate) fn after(at: OffsetDateTime, id: Uuid) -> Self {
        Self { at, id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.at.unix_timestamp_nanos() / 1_000).map_err(|_| fmt::Error)?;
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&micros.to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        formatter.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorInvalid;

    fn from_str(text: &str) -> Result<Self, CursorInvalid> {
        let mut bytes = [0; 24];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| CursorInvalid)?;
        let (micros, id) = bytes.split_first_chunk::<8>().ok_or(CursorInvalid)?;
        let id = Uuid::from_slice(id).map_err(|_| CursorInvalid)?;
        if length != bytes.len() || id.get_version_num() != 7 {
            return Err(CursorInvalid);
        }
        // Nothing is older than 1970, and not all that a number can say is a time for Postgres.
        let micros = u64::try_from(i64::from_be_bytes(*micros)).map_err(|_| CursorInvalid)?;
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| CursorInvalid)?;
        Ok(Self { at, id })
    }
}

/// A query for a page, newest first. Each combination of filters is a text of its own, so that Postgres plans each for
/// its index.
pub(crate) struct PageQuery<'a> {
    query: QueryBuilder<'a, Postgres>,
    limit: usize,
    has_condition: bool,
}

impl<'a> PageQuery<'a> {
    /// `select` without conditions, and how many items a page has, 1 to [`MAX_LIMIT`].
    pub(crate) fn new(select: &str, limit: usize) -> Self {
        Self { query: QueryBuilder::new(select), limit: limit.clamp(1, MAX_LIMIT), has_condition: false }
    }

    /// Adds a condition; what it compares with follows by [`QueryBuilder::push_bind`].
    pub(crate) fn condition(&mut self, sql: &str) -> &mut QueryBuilder<'a, Postgres> {
        self.query.push(if self.has_condition { " and " } else { " where " });
        self.has_condition = true;
        self.query.push(sql)
    }

    /// Runs it, from `after` on, in the order of the columns `at` and `id`; `cursor` is where a row stands in it.
    pub(crate) async fn fetch<R>(
        mut self,
        pool: &sqlx::PgPool,
        (at, id): (&str, &str),
        after: Option<&Cursor>,
        cursor: impl FnOnce(&R) -> Cursor,
    ) -> Result<Page<R>, sqlx::Error>
    where
        R: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
    {
        if let Some(cursor) = after {
            let row = format!("({at}, {id}) < (");
            self.condition(&row).push_bind(cursor.at).push(", ").push_bind(cursor.id).push(")");
        }
        let limit = self.limit;
        self.query.push(format!(" order by {at} desc, {id} desc limit "));
        // One more than asked for tells whether there is a next page.
        self.query.push_bind(i64::try_from(limit + 1).unwrap_or(i64::MAX));
        let mut items: Vec<R> = self.query.build_query_as().fetch_all(pool).await?;
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = if has_more { items.last().map(cursor) } else { None };
        Ok(Page { items, next })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor::after(datetime!(2026-11-21 10:00:00.123_456 UTC), Uuid::now_v7());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn garbage_is_no_cursor() {
        let far = Cursor::after(datetime!(2026-11-21 10:00:00 UTC), Uuid::now_v7()).to_string();
        let far_away = format!("f_______{}", &far[8..]);
        let other_id = Cursor::after(datetime!(2026-11-21 10:00:00 UTC), Uuid::nil()).to_string();
        for garbage in ["", "x", "null", "'; drop table", &far[1..], &format!("{far}A"), "🦀", &far_away, &other_id] {
            assert_eq!(garbage.parse::<Cursor>(), Err(CursorInvalid), "{garbage:?}");
        }
    }
}
