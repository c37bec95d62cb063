//! The whole product: the real binary with real Postgres, NATS, ffmpeg and Chromium.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on panics")]

mod api;

mod embedded;
mod encoder;
mod faults;
mod thread;
mod weir;
