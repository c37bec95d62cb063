//! Encoders: files that were encoded once, sent at the pace of life.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::process::Owned;

/// A stream to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    pub name: &'static str,
    pub size: &'static str,
    pub frames_per_second: u32,
    pub video_kbps: u32,
    pub audio_kbps: u32,
    pub key_frame_every_s: u32,
}

/// 2.5 Mbit/s, a key frame every 2 s.
pub const USUAL: Picture = Picture {
    name: "usual",
    size: "1280x720",
    frames_per_second: 30,
    video_kbps: 2_370,
    audio_kbps: 128,
    key_frame_every_s: 2,
};

/// 100 kbit/s, a key frame every 2 s.
pub const SMALL: Picture = Picture {
    name: "small",
    size: "320x180",
    frames_per_second: 10,
    video_kbps: 64,
    audio_kbps: 32,
    key_frame_every_s: 2,
};

impl Picture {
    /// Encodes 20 s at a constant rate, once for this name.
    pub fn encode(&self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("{}.flv", self.name));
        let rate = format!("{}k", self.video_kbps);
        let gop = (self.key_frame_every_s * self.frames_per_second).to_string();
        let made = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i"])
            .arg(format!("testsrc2=size={}:rate={}", self.size, self.frames_per_second))
            .args(["-f", "lavfi", "-i", "anoisesrc=sample_rate=48000:amplitude=0.2", "-t", "20"])
            .args(["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"])
            .args(["-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate])
            .args(["-x264-params", "nal-hrd=cbr", "-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"])
            .args(["-c:a", "aac", "-b:a", &format!("{}k", self.audio_kbps), "-f", "flv"])
            .arg(&file)
            .status()
            .expect("ffmpeg is installed");
        assert!(made.success());
        file
    }
}

/// An encoder on the air, until it is dropped.
pub struct Publisher(Owned);

impl Publisher {
    /// Sends a file over and over, as it is.
    pub fn start(file: &Path, to: &str) -> Self {
        let child: Child = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i"])
            .arg(file)
            .args(["-c", "copy", "-f", "flv", to])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ffmpeg is installed");
        Self(Owned(child))
    }

    /// Sends nothing for now, as if the network hung.
    pub fn hold(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.0.0), Signal::STOP).unwrap();
    }

    /// Goes on.
    pub fn go_on(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.0.0), Signal::CONT).unwrap();
    }
}
