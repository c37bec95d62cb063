//! The API over HTTP, on a real Postgres, with the real write and read sides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod accounts;
mod bad_input;
mod channels;
mod contract;
mod document;
mod events;
mod frame;
mod ingest;
mod operations;
mod redact;
mod site;
mod streams;
mod web_app;
