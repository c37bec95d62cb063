//! The write side on real servers: a Postgres with a database for each test, and nats-server.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod accounts;
mod administrators;
mod as_of;
mod batches;
mod channels;
mod compatibility;
mod conflicts;
mod decided_suspensions;
mod due_erasures;
mod erasure;
mod events;
mod failed_sign_ins;
mod faults;
mod forgetting;
mod idempotency;
mod keys;
mod lone;
mod metrics;
mod moderation;
mod nodes;
mod password_changes;
mod password_costs;
mod profiles;
mod races;
mod registrations;
mod relay;
mod reservations;
mod sealing;
mod second_factor;
mod sessions;
mod setup;
mod stage;
mod streams;
mod sweeps;
mod teams;
