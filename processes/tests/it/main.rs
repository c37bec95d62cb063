//! Processes on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod avatars;
mod decided_suspensions;
mod due_erasures;
mod erasure;
mod exports;
mod following;
mod housekeeping;
mod mail;
mod moderation;
mod nodes;
mod people;
mod personal_exports;
mod recordings;
mod sign_outs;
mod stage;
mod team_erasure;
mod unreadable;
