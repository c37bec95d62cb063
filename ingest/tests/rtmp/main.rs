//! RTMP in, with a real ffmpeg and with peers that do what no encoder does.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "modules of one test binary")]

mod clocks;
mod encoder;
#[path = "../support/enhanced.rs"]
mod enhanced;
#[path = "../support/fragments.rs"]
mod fragments;
mod guard;
mod hostile;
mod ladder;
mod life;
mod log;
mod peer;
mod platform;
#[path = "../support/playlist.rs"]
mod playlist;
mod publishing;
mod sound_alone;
mod tls;
