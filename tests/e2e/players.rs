//! Players of plain HLS that are not browsers: what Debian has plays what it is given.

use std::{
    io::{BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use crate::{
    api::Caller,
    thread::on_air,
    weir::{DataDir, PATIENCE, Weir},
};

/// So many seconds of the stream have to be shown.
const SHOWN_SECONDS: f64 = 8.0;

/// A player that runs, and what it says.
struct Player {
    child: Child,
    said: Receiver<String>,
    all: String,
}

impl Player {
    /// Both of its outputs go where `read` finds them; lines may end as on a terminal.
    fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}); run: scripts/setup test"));
        let (send, said) = mpsc::channel();
        let mut player = Self { child, said, all: String::new() };
        let (out, err) = (player.child.stdout.take().unwrap(), player.child.stderr.take().unwrap());
        let other = send.clone();
        std::thread::spawn(move || read(out, &send));
        std::thread::spawn(move || read(err, &other));
        player
    }

    /// Waits until the place that `place` finds in a line has moved by [`SHOWN_SECONDS`]; what it said, where it ends before that.
    fn plays(mut self, place: impl Fn(&str) -> Option<f64>) -> Result<(), String> {
        let began = Instant::now();
        let mut first = None;
        while began.elapsed() < PATIENCE {
            let Ok(line) = self.said.recv_timeout(Duration::from_millis(500)) else {
                if self.child.try_wait().unwrap().is_some() {
                    return Err(std::mem::take(&mut self.all));
                }
                continue;
            };
            self.all.push_str(&line);
            self.all.push('\n');
            if let Some(now) = place(&line) {
                let first = *first.get_or_insert(now);
                if now - first >= SHOWN_SECONDS {
                    return Ok(());
                }
            }
        }
        panic!("it did not play for {SHOWN_SECONDS} s:\n{}", self.all);
    }
}

/// A player plays. One that was kept waiting for too long by the machine gives up, and may be started again.
fn plays(command: &mut Command, place: impl Fn(&str) -> Option<f64>) {
    let mut all = String::new();
    for _ in 0..3 {
        match Player::start(command).plays(&place) {
            Ok(()) => return,
            Err(said) => all.push_str(&said),
        }
    }
    panic!("it has ended, three times:\n{all}");
}

impl Drop for Player {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(output: impl Read, lines: &mpsc::Sender<String>) {
    let mut line = Vec::new();
    for byte in BufReader::new(output).bytes().map_while(Result::ok) {
        if byte != b'\n' && byte != b'\r' {
            line.push(byte);
        } else if !line.is_empty() {
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            // The test may be over; the pipe is read on, so that the player never blocks on it.
            drop(lines.send(text));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ffplay_and_gstreamer_play_plain_hls() {
    let folder = DataDir::new();
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &["--ladder-enabled", "false"]].concat());
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    let key = streamer.channel("river").await;
    let (encoder, channel) = on_air(&streamer, "river", &weir.rtmp, &key).await;
    let url = channel["playback"]["hls_url"].as_str().unwrap();

    // Its clock is where it is in the stream: `  12.34 A-V:  0.002 fd=   0 …`. Without a screen and a loudspeaker.
    let mut ffplay = Command::new("ffplay");
    ffplay.args(["-hide_banner", "-loglevel", "info", "-stats", "-i", url]);
    ffplay.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy");
    plays(&mut ffplay, |line| {
        let (clock, _) = line.split_once("A-V:")?;
        // Not a number until there is something to show.
        clock.trim().parse().ok().filter(|clock: &f64| clock.is_finite())
    });

    // `progressreport0 (00:00:05): 5 seconds`: pictures and sound go by a sink that keeps the time, and nobody sees them.
    let mut gstreamer = Command::new("gst-launch-1.0");
    gstreamer.arg("playbin3").arg(format!("uri={url}")).args([
        // Sinks that take nothing but what is decoded.
        "video-sink=videoconvert ! progressreport update-freq=1 ! fakesink sync=true",
        "audio-sink=audioconvert ! fakesink sync=true",
    ]);
    plays(&mut gstreamer, |line| {
        let (_, rest) = line.strip_prefix("progressreport")?.split_once("): ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    encoder.stop();
}
