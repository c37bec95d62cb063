//! The test picture: ffmpeg pushes a moving picture with a clock and a tone over RTMP, as any encoder would.

use std::{process::Stdio, time::Duration};

use ffmpeg_sidecar::paths::ffmpeg_path;
use tokio::{io::AsyncWriteExt, process::Command};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pushes the test picture to `address` (server and key) until `cancel`; an ffmpeg that stops is started again.
pub async fn publish(address: &str, cancel: CancellationToken) {
    let mut pause = Duration::from_secs(1);
    while !cancel.is_cancelled() {
        let began = tokio::time::Instant::now();
        match publish_once(address, &cancel).await {
            Ok(()) => return,
            Err(reason) => warn!(reason, "the demo encoder stopped; it is started again"),
        }
        if began.elapsed() > Duration::from_secs(30) {
            pause = Duration::from_secs(1);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(30)),
            () = cancel.cancelled() => {}
        }
    }
}

/// `Ok` when it was cancelled, else why ffmpeg stopped.
async fn publish_once(address: &str, cancel: &CancellationToken) -> Result<(), String> {
    let clock = "drawtext=text='%{gmtime\\:%H\\\\\\:%M\\\\\\:%S} UTC':fontcolor=white:fontsize=56:box=1:\
                 boxcolor=0x0b1a24@0.75:boxborderw=18:x=(w-tw)/2:y=h-th-64";
    let mut ffmpeg = Command::new(ffmpeg_path())
        .args(["-hide_banner", "-nostats", "-loglevel", "error", "-re"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=frequency=220:beep_factor=4:sample_rate=48000"])
        .args(["-vf", clock, "-af", "volume=0.2"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "high"])
        .args(["-pix_fmt", "yuv420p", "-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "2500k", "-g", "60"])
        .args(["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "flv", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C in the terminal is for us: we end the stream in order, then ffmpeg.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("ffmpeg cannot be started: {error}; install it with: apt-get install ffmpeg"))?;
    info!("the demo encoder is on");
    let stdin = ffmpeg.stdin.take();
    let stopped = ffmpeg.wait_with_output();
    tokio::pin!(stopped);
    let stopped = tokio::select! {
        stopped = &mut stopped => stopped,
        () = cancel.cancelled() => {
            // ffmpeg ends its stream properly when told to quit; one that does not listen is killed when dropped.
            if let Some(mut stdin) = stdin {
                drop(stdin.write_all(b"q").await);
            }
            drop(tokio::time::timeout(Duration::from_secs(2), stopped).await);
            return Ok(());
        }
    };
    let stopped = stopped.map_err(|error| format!("ffmpeg cannot be watched: {error}"))?;
    // ffmpeg names the address that it was given, and the key is part of it.
    let said = String::from_utf8_lossy(&stopped.stderr).replace(address, "the channel's address");
    Err(format!("ffmpeg ended with {}: {}", stopped.status, said.lines().last().unwrap_or("it said nothing")))
}
