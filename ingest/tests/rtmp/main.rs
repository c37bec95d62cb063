//! RTMP in, with a real ffmpeg and with peers that do what no encoder does.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "modules of one test binary")]

mod clocks;
mod cutting;
mod encoder;
#[path = "../support/enhanced.rs"]
mod enhanced;
#[path = "../support/fragments.rs"]
mod fragments;
mod guard;
mod hardware;
mod hostile;
mod ladder;
mod ladder_again;
mod ladder_codecs;
mod ladder_hangs;
mod life;
mod log;
mod moving;
mod peer;
mod platform;
#[path = "../support/playlist.rs"]
mod playlist;
mod publishing;
mod sound_alone;
mod still;
mod tls;
