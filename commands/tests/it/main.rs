//! The write side on real servers: a Postgres with a database for each test, and nats-server.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod accounts;
mod as_of;
mod batches;
mod channels;
mod compatibility;
mod conflicts;
mod erasure;
mod events;
mod faults;
mod idempotency;
mod keys;
mod metrics;
mod races;
mod relay;
mod reservations;
mod sealing;
mod sessions;
mod setup;
mod stage;
mod streams;
mod sweeps;
