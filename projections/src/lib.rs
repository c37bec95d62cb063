//! The read side: events in, rows out, and the questions that the API asks of the rows.
//!
//! A [`Projection`] folds batches of events into tables of the schema `read`. A worker for each follows the log: from
//! JetStream while it flows, from Postgres for whatever is missing there. Rows and checkpoint commit together, and the
//! checkpoint's position is all that is trusted: of two workers the one that comes second is fenced out and stands by, and
//! what NATS loses, repeats or restarts changes nothing.
//!
//! To add a read model: write a migration with its table (`things_v1`, with a `position`), a module of the capability's name
//! with a type that implements [`Projection`] and the queries, and a line in [`ALL`]. The tests in `tests/it/every.rs`
//! take it from there: they fold a log twice, in batches of any cut, and afresh, and compare.
//!
//! To change a table's shape: a new version beside the old one, never an edit.

pub mod accounts;
mod applier;
pub mod channels;
mod checkpoint;
mod connection;
mod error;
pub mod exports;
mod feed;
pub mod invites;
mod listing;
mod log;
mod measures;
mod page;
pub mod personal_data;
mod projection;
mod projections;
mod read_models;
pub mod rebuild;
pub mod recordings;
pub mod registrations;
pub mod reports;
mod schema;
pub mod security_events;
mod status;
pub mod streams;
pub mod teams;
mod worker;

pub use error::{MigrateError, QueryError};
pub use listing::{Listed, Standing, list, retry};
pub use page::{Cursor, CursorInvalid, MAX_LIMIT, Page};
pub use projection::{ALL, ApplyError, Projection};
pub use projections::Projections;
pub use read_models::ReadModels;
pub use schema::migrate;
pub use status::{Source, State, Status};
