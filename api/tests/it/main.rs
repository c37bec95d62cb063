//! The API over HTTP, on a real Postgres, with the real write and read sides.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod accounts;
mod as_of;
mod bad_input;
mod catalogue;
mod channels;
mod contract;
mod correlation;
mod cors;
mod document;
mod email;
mod events;
mod exports;
mod frame;
mod idempotency;
mod ingest;
mod invites;
mod limits;
mod listener;
mod mailed;
mod moderation;
mod operations;
mod password_reset;
mod privacy;
mod profile;
mod recordings;
mod redact;
mod registrations;
mod roles;
mod second_factor;
mod security_events;
mod sessions;
mod site;
mod streams;
mod subscriptions;
mod teams;
mod transfers;
mod visibility;
mod web_app;
