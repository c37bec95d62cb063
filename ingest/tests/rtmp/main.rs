//! RTMP in, with a real ffmpeg and with peers that do what no encoder does.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "modules of one test binary")]

mod encoder;
mod guard;
mod life;
mod log;
mod peer;
mod platform;
mod publishing;
mod tls;
