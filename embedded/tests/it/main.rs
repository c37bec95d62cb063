//! Each promise of the crate, on real servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod lock;
mod nats;
mod ordinary_user;
mod postgres;
mod processes;
mod supervision;
mod testing;
