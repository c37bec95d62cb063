//! Each back end, the same over all of them, and what becomes of it when disks fill and servers go.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod disk;
mod outages;
mod server;
mod suite;
mod uploads;
