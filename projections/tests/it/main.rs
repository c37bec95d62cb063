//! Events in, rows out, on a real Postgres and a real nats-server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod broker;
mod channels;
mod emails;
mod every;
mod exports;
mod fallible;
mod following;
mod golden;
mod history;
mod invites;
mod listing;
mod moderation;
mod pages;
mod profiles;
mod rates;
mod rebuild;
mod recordings;
mod registrations;
mod security_events;
mod stage;
mod streams;
mod teams;
mod wire;
mod workers;
