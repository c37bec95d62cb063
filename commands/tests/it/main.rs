//! The write side on real servers: a Postgres with a database for each test, and nats-server.

mod accounts;
mod batches;
mod channels;
mod compatibility;
mod conflicts;
mod faults;
mod races;
mod relay;
mod reservations;
mod sealing;
mod sessions;
mod setup;
mod stage;
mod streams;
mod sweeps;
