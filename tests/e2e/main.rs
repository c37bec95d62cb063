//! The whole product: the real binary with real Postgres, NATS, ffmpeg and Chromium.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(unreachable_pub, reason = "nobody reaches into a test: `pub` is what a module offers to the others")]

mod accounts;
mod analysts;
mod api;
mod browser;
mod clocks;
mod cut_off;
mod damage;
mod embedded;
mod encoder;
mod enhanced;
mod erasure;
mod exports;
mod faults;
mod held;
mod jetstream;
mod keys;
mod limits;
mod metrics;
mod moderation;
mod moving;
mod nodes;
mod operators;
mod origins;
mod outages;
mod players;
mod playlist;
mod projections;
mod readers;
mod recordings;
mod relay;
mod revocation;
mod rights;
mod roles;
mod safety;
mod suspended_rights;
mod thread;
mod told;
mod transport;
mod way;
mod weir;

use weir::ports;
