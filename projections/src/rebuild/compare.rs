//! Whether the live tables are what the log says.

use sqlx::{Connection, Executor, PgConnection, prelude::FromRow};
use tokio::time::sleep;

use super::{
    build::{Build, PAUSE},
    error::RebuildError,
    progress::Phase,
};
use crate::{
    applier::{Failure, Interruption},
    log::{self, Entry},
    projection::ApplyError,
};

/// How many rows of each table are named.
const NAMED: i64 = 10;

/// What a projection's live tables and those built anew have in common, at the same position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The projection.
    pub projection: &'static str,
    /// The position of both.
    pub position: i64,
    /// Its tables.
    pub tables: Vec<TableComparison>,
}

/// One table, live and built anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableComparison {
    /// The table.
    pub table: &'static str,
    /// How many rows it should have.
    pub rows: i64,
    /// How many rows are not live that should be.
    pub missing: i64,
    /// How many rows are live that should not be.
    pub superfluous: i64,
    /// How many rows are live with another content.
    pub different: i64,
    /// The first few of them all.
    pub examples: Vec<Difference>,
}

/// A row that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Difference {
    /// Its primary key, as a JSON object.
    pub key: String,
    /// The columns that differ; all that the row has when it is missing or superfluous.
    pub columns: Vec<String>,
}

impl Comparison {
    /// How many rows are not what they should be.
    #[must_use]
    pub fn differing(&self) -> i64 {
        self.tables.iter().map(TableComparison::differing).sum()
    }
}

impl TableComparison {
    /// How many rows are not what they should be.
    #[must_use]
    pub fn differing(&self) -> i64 {
        self.missing + self.superfluous + self.different
    }
}

impl Build {
    /// Builds up to exactly where the live tables are, and compares.
    pub(super) async fn compare(&mut self) -> Result<Comparison, RebuildError> {
        let mut is_second = false;
        loop {
            self.go_on()?;
            let live = self.live().await.map(|live| live.position);
            let Some(position) = self.settle(live).await? else { continue };
            self.read_up_to(position).await?;
            self.reporter.is(Phase::Comparing);
            let cancel = self.cancel.clone();
            let compared = cancel.run_until_cancelled(self.compare_now()).await;
            self.go_on()?;
            let Some(compared) = compared else { continue };
            let Some((compared, is_more_to_come)) = self.settle(compared).await? else { continue };
            // A key that was just destroyed is so for what is built at once, and for what is live when its event has come.
            if compared.differing() == 0 || !is_more_to_come || is_second {
                return Ok(compared);
            }
            is_second = true;
            sleep(PAUSE).await;
        }
    }

    /// What differs, and whether the log goes on after where that is.
    async fn compare_now(&mut self) -> Result<(Comparison, bool), Interruption> {
        let (projection, schema) = (self.projection, self.schema.clone());
        let from = self.applier.checkpoint.position;
        let fold = self.applier.fold.clone();
        let connection = self.applier.connection.get().await?;
        let mut transaction = connection.begin_with("begin isolation level repeatable read").await?;
        // Before the first look, so that what is seen is what these tables are: no other tables can take their place.
        let live: Vec<String> = projection.tables().iter().map(|table| format!("read.{table}")).collect();
        let lock = format!("lock table {} in access share mode", live.join(", "));
        transaction.execute(lock.as_str()).await?;
        // Rows and checkpoint commit together, so that this is where the tables stand in our snapshot.
        let position = sqlx::query_scalar("select position from read.checkpoints where projection = $1")
            .bind(projection.name())
            .fetch_optional(&mut *transaction)
            .await?
            .unwrap_or_default();
        let mut built = from;
        while built < position {
            let batch = fold.log.between(built, position, log::BATCH, &mut transaction).await?;
            let entries: Vec<&Entry> = batch.entries.iter().collect();
            let events = fold.wanted(&entries).map_err(Interruption::Away)?;
            match fold.write(&events, (built, batch.last), &mut transaction).await {
                Ok(_) => built = batch.last,
                Err(Failure::Interruption(interruption)) => return Err(interruption),
                // A worker applied it.
                Err(Failure::Refused(error)) => return Err(Interruption::Away(error)),
            }
        }
        if built > position {
            // The live tables were put back meanwhile, by a rebuild on a log that was restored.
            return Err(Interruption::Away(ApplyError::TimedOut));
        }
        let mut tables = Vec::new();
        for table in projection.tables() {
            tables.push(compare_table(table, &schema, &mut transaction).await?);
        }
        let head = log::head(&mut transaction).await?;
        transaction.rollback().await?;
        Ok((Comparison { projection: projection.name(), position, tables }, head > position))
    }
}

async fn compare_table(
    table: &'static str,
    schema: &str,
    connection: &mut PgConnection,
) -> Result<TableComparison, sqlx::Error> {
    let key: Vec<String> = sqlx::query_scalar(
        "select quote_ident(attname) from pg_index
             join pg_attribute on attrelid = indrelid and attnum = any (indkey)
         where indrelid = $1::regclass and indisprimary order by attnum",
    )
    .bind(format!("read.{table}"))
    .fetch_all(&mut *connection)
    .await?;
    if key.is_empty() {
        let message = format!("the table {table} has no primary key, by which its rows could be told from each other");
        return Err(sqlx::Error::Configuration(message.into()));
    }
    let first = &key[0];
    let on: Vec<String> = key.iter().map(|column| format!("live.{column} = built.{column}")).collect();
    let pairs = format!("from read.{table} live full join {schema}.{table} built on {}", on.join(" and "));
    // As text: not all types can be compared, and text tells every bit of a number.
    let differs = format!("live.{first} is null or built.{first} is null or live::text <> built::text");
    let (rows, missing, superfluous, different): (i64, i64, i64, i64) = sqlx::query_as(&format!(
        "select count(built.{first}), count(*) filter (where live.{first} is null),
             count(*) filter (where built.{first} is null), count(*) filter (where live::text <> built::text) {pairs}"
    ))
    .fetch_one(&mut *connection)
    .await?;
    let mut examples = Vec::new();
    if missing + superfluous + different > 0 {
        let object: Vec<String> =
            key.iter().map(|column| format!("'{column}', coalesce(live.{column}, built.{column})")).collect();
        examples = sqlx::query_as(&format!(
            "select json_build_object({})::text as key,
                 array(select key from jsonb_each_text(to_jsonb(live)) one full join jsonb_each_text(to_jsonb(built)) other
                     using (key) where one.value is distinct from other.value order by key) as columns
             {pairs} where {differs} order by 1 limit $1",
            object.join(", ")
        ))
        .bind(NAMED)
        .fetch_all(&mut *connection)
        .await?;
    }
    Ok(TableComparison { table, rows, missing, superfluous, different, examples })
}
