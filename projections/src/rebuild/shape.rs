//! What a projection's tables look like, taken from the live ones: what they are is what the migrations made, and what an
//! operator added to it. `create table … (like …)` alone would name indexes afresh each time, and leave out storage settings,
//! rights and the comment of the table.

use sqlx::{PgConnection, prelude::FromRow};

/// The statements that make a projection's tables in another schema.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Tables, and whatever keeps rows from being there twice.
    pub(super) early: Vec<String>,
    /// What is cheaper to make once the rows are there. Each may be repeated.
    pub(super) late: Vec<String>,
    /// How many tables they make.
    pub(super) tables: usize,
    /// The same for the same shape.
    pub(super) text: String,
}

#[derive(FromRow)]
struct Statement {
    step: i32,
    statement: String,
}

/// From this step on statements are [`Shape::late`].
const LATE: i32 = 6;

impl Shape {
    /// Of the live `tables`, to be made in `schema`.
    pub(super) async fn read(
        tables: &[&str],
        schema: &str,
        connection: &mut PgConnection,
    ) -> Result<Self, sqlx::Error> {
        let statements: Vec<Statement> =
            sqlx::query_as(include_str!("shape.sql")).bind(tables).bind(schema).fetch_all(connection).await?;
        let tables = statements.iter().filter(|statement| statement.step == 1).count();
        let text = statements.iter().map(|it| it.statement.as_str()).collect::<Vec<_>>().join(";\n");
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for Statement { step, statement } in statements {
            match step {
                ..=0 => {}
                1..LATE => early.push(statement),
                LATE.. => late.push(statement),
            }
        }
        Ok(Self { early, late, tables, text })
    }
}
