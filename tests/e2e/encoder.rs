//! A real ffmpeg that publishes, as OBS would.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::weir::PATIENCE;

/// What an encoder sends.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// As ffmpeg takes it: `640x360`.
    pub size: &'static str,
    /// Pictures a second, as a fraction where it is none: `24000/1001`.
    pub frame_rate: &'static str,
    /// `high` comes with reordered pictures, `baseline` without.
    pub profile: &'static str,
    pub sound_hz: &'static str,
    pub channels: &'static str,
}

impl Shape {
    pub const USUAL: Self =
        Self { size: "640x360", frame_rate: "30", profile: "baseline", sound_hz: "48000", channels: "1" };
}

/// An encoder on the air: 640 × 360 at 30 frames a second, a key frame every second, a tone.
pub struct Encoder {
    child: Child,
    address: String,
    shape: Shape,
}

impl Encoder {
    pub fn publish(server: &str, key: &str) -> Self {
        Self::publish_as(server, key, Shape::USUAL)
    }

    /// With a key frame every second, whatever the rate is.
    pub fn publish_as(server: &str, key: &str, shape: Shape) -> Self {
        let address = format!("{server}/{key}");
        Self { child: spawn(&address, shape), address, shape }
    }

    /// Tries again if it was not let in or was cut off, as OBS does: a busy machine may keep both sides waiting for too long.
    pub fn insist(&mut self) {
        if !self.is_running() {
            self.child = spawn(&self.address, self.shape);
        }
    }

    /// Stops as a streamer does: the stream is unpublished in order.
    pub fn stop(mut self) {
        self.child.stdin.take().unwrap().write_all(b"q").unwrap();
        self.wait();
    }

    /// The network cable: gone without a word.
    pub fn kill(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
        self.wait();
    }

    /// For an encoder that is refused: what it printed.
    pub fn refused(mut self) -> String {
        self.wait();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn wait(&mut self) {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "ffmpeg does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn spawn(address: &str, shape: Shape) -> Child {
    let Shape { size, frame_rate, profile, sound_hz, channels } = shape;
    let (preset, b_frames) = if profile == "baseline" { ("ultrafast", "0") } else { ("superfast", "2") };
    Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i"])
        .arg(format!("testsrc2=size={size}:rate={frame_rate}"))
        .args(["-f", "lavfi", "-i", &format!("sine=frequency=440:sample_rate={sound_hz}")])
        .args(["-c:v", "libx264", "-preset", preset, "-profile:v", profile, "-bf", b_frames])
        .args(["-pix_fmt", "yuv420p", "-b:v", "600k", "-force_key_frames", "expr:gte(t,n_forced)", "-g", "120"])
        .args(["-c:a", "aac", "-ar", sound_hz, "-ac", channels, "-f", "flv"])
        .arg(address)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed")
}

impl Drop for Encoder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
