//! Processes on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod erasure;
mod exports;
mod following;
mod housekeeping;
mod recordings;
mod stage;
