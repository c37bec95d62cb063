//! A real ffmpeg that publishes, as OBS would.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::weir::PATIENCE;

/// An encoder on the air: 640 × 360 at 30 frames a second, a key frame every second, a tone.
pub struct Encoder {
    child: Child,
}

impl Encoder {
    pub fn publish(server: &str, key: &str) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"])
            .args([
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=48000",
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
            ])
            .args(["-pix_fmt", "yuv420p", "-b:v", "600k", "-g", "30", "-c:a", "aac", "-f", "flv"])
            .arg(format!("{server}/{key}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ffmpeg is installed");
        Self { child }
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

impl Drop for Encoder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
