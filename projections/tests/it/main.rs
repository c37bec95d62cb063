//! Events in, rows out, on a real Postgres and a real nats-server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod broker;
mod channels;
mod every;
mod exports;
mod fallible;
mod following;
mod history;
mod invites;
mod listing;
mod pages;
mod rates;
mod rebuild;
mod recordings;
mod stage;
mod streams;
mod wire;
mod workers;
