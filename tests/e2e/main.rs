//! The whole product: the real binary with real Postgres, NATS, ffmpeg and Chromium.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unreachable_pub, reason = "nobody reaches into a test: `pub` is what a module offers to the others")]

mod accounts;
mod analysts;
mod api;
mod browser;
mod clocks;
mod damage;
mod embedded;
mod encoder;
mod enhanced;
mod erasure;
mod exports;
mod faults;
mod jetstream;
mod keys;
mod metrics;
mod moderation;
mod nodes;
mod origins;
mod outages;
mod playlist;
mod projections;
mod readers;
mod recordings;
mod rights;
mod roles;
mod safety;
mod thread;
mod weir;
