//! A real ffmpeg as the encoder, and what it makes as tags for peers made by hand.

use std::{
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use crate::platform::LONG;

/// A message of sound or picture.
#[derive(Debug, Clone)]
pub struct FlvTag {
    pub kind: u8,
    pub timestamp_ms: u32,
    pub body: Vec<u8>,
}

/// Three seconds of H.264 and AAC with a key frame every second, as ffmpeg makes them; the configurations come first.
pub fn clip() -> &'static [FlvTag] {
    static CLIP: OnceLock<Vec<FlvTag>> = OnceLock::new();
    CLIP.get_or_init(|| film("320x180", 3))
}

/// The same in this size and length.
pub fn film(size: &str, seconds: u32) -> Vec<FlvTag> {
    encode(&[&source(size, seconds)[..], &CODECS.map(ToOwned::to_owned)[..]].concat())
}

/// Sound alone, so many seconds of it.
pub fn tone(seconds: u32) -> Vec<FlvTag> {
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    encode(&["-f", "lavfi", "-i", &tone, "-c:a", "aac", "-b:a", "64k"].map(ToOwned::to_owned))
}

/// A picture whose rate varies, as capturing a screen makes it, with pictures that lean on later ones, and a tone.
pub fn uneven_film(size: &str, seconds: u32) -> Vec<FlvTag> {
    let codecs = "-vf select='not(eq(mod(n,7),3))*not(eq(mod(n,11),5))*not(eq(mod(floor(n/40),9),4))' -vsync vfr \
                  -c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 3 -b_strategy 0 -g 25 -sc_threshold 0 -b:v 400k \
                  -c:a aac -b:a 64k";
    let codecs: Vec<String> = codecs.split_whitespace().map(ToOwned::to_owned).collect();
    encode(&[source(size, seconds), codecs].concat())
}

/// What ffmpeg makes with these arguments.
pub fn encode(arguments: &[String]) -> Vec<FlvTag> {
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(arguments)
        .args(["-f", "flv", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tags(&output.stdout)
}

/// The tags of an FLV file.
fn tags(mut flv: &[u8]) -> Vec<FlvTag> {
    let mut tags = Vec::new();
    flv = &flv[13..];
    while let [kind, a, b, c, t2, t1, t0, t3, _, _, _, rest @ ..] = flv {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let timestamp_ms = u32::from_be_bytes([*t3, *t2, *t1, *t0]);
        // Data tags are of no interest; the last tag of each kind may be a mark of the end.
        if [8, 9].contains(kind) {
            tags.push(FlvTag { kind: *kind, timestamp_ms, body: rest[..length].to_vec() });
        }
        flv = &rest[length + 4..];
    }
    tags
}

pub const CODECS: [&str; 16] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-pix_fmt",
    "yuv420p",
    "-g",
    "30",
    "-b:v",
    "400k",
    "-c:a",
    "aac",
    "-b:a",
    "64k",
];

/// A moving picture and a tone, so many seconds of them.
fn source(size: &str, seconds: u32) -> Vec<String> {
    let picture = format!("testsrc2=size={size}:rate=30:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone].map(ToOwned::to_owned).to_vec()
}

/// An ffmpeg that publishes; killed when dropped.
pub struct Encoder {
    pub child: Child,
}

impl Encoder {
    /// Publishes H.264 and AAC in real time until it is stopped.
    pub fn publish(url: &str) -> Self {
        Self::publish_as(url, &CODECS)
    }

    pub fn publish_as(url: &str, codecs: &[&str]) -> Self {
        Self::start(url, "320x180", codecs)
    }

    /// The same with a picture of this size.
    pub fn publish_picture(url: &str, size: &str) -> Self {
        Self::start(url, size, &CODECS)
    }

    /// Publishes AAC without a picture.
    pub fn publish_sound(url: &str) -> Self {
        let tone = "sine=frequency=440:sample_rate=48000:duration=600";
        Self::start_with(url, &["-f", "lavfi", "-i", tone].map(ToOwned::to_owned), &["-c:a", "aac", "-b:a", "64k"])
    }

    fn start(url: &str, size: &str, codecs: &[&str]) -> Self {
        Self::start_with(url, &source(size, 600), codecs)
    }

    pub fn start_with(url: &str, source: &[String], codecs: &[&str]) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-v", "info", "-nostats", "-nostdin", "-re"])
            .args(source)
            .args(codecs)
            .args(["-f", "flv", url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().expect("ffmpeg runs").to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Stops as a user stops it.
    pub async fn stop(mut self) {
        self.signal("-INT");
        self.exit().await;
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Freezes it: its connection stays open, and nothing comes any more.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Waits for its end; what it printed.
    pub async fn exit(&mut self) -> (ExitStatus, String) {
        let mut printed = String::new();
        let wait = async {
            // An encoder that is frozen or that is left alone would wait for ever.
            self.child.stderr.take().unwrap().read_to_string(&mut printed).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = timeout(LONG, wait).await.expect("ffmpeg ends");
        (status, printed)
    }
}
