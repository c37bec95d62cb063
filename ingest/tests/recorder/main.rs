//! Recordings: what viewers got is kept, whatever becomes of the storage, the write side and this process.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "modules of one test binary")]
#![expect(dead_code, reason = "what other tests need of the shared modules")]

mod crashes;
mod downloads;
#[path = "../rtmp/encoder.rs"]
mod encoder;
mod keeping;
#[path = "../rtmp/log.rs"]
mod log;
#[path = "../rtmp/peer.rs"]
mod peer;
mod plane;
#[path = "../rtmp/platform.rs"]
mod platform;
#[path = "../../../storage/tests/it/server.rs"]
mod server;
mod sound_alone;
mod troubles;

use plane::{Plane, clips, probe};
