//! An encoder of AV1, which ffmpeg and OBS of Debian are not: the tags of ingest's tests, over RTMP by hand.

#[path = "../../ingest/tests/support/enhanced.rs"]
mod tags;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ingest::packager::Tag;

use crate::weir::PATIENCE;

const CLIP_MS: u32 = 6_000;
const COMMAND: u8 = 20;
/// Larger than any message here, so that none comes in pieces.
const CHUNK_SIZE: u32 = 1 << 20;

/// On the air until it is dropped: 256 × 144 at 30 frames a second, a key frame every second, no sound.
pub struct Av1Encoder {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Av1Encoder {
    pub fn publish(server: &str, key: &str) -> Self {
        let clip = tags::encode(&format!(
            "-f lavfi -i testsrc2=size=256x144:rate=30:duration={} -pix_fmt yuv420p -c:v libsvtav1 -preset 12 -b:v 300k -g 30",
            CLIP_MS / 1_000,
        ));
        let address = server.trim_start_matches("rtmp://").trim_end_matches("/live");
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut connection, key);
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let thread = thread::spawn(move || send(&mut connection, &clip, &until));
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Av1Encoder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The clip again and again, at the pace of life.
fn send(connection: &mut TcpStream, clip: &[Tag], is_over: &AtomicBool) {
    let began = Instant::now();
    for round in 0.. {
        // The configuration is there once.
        for tag in clip.iter().filter(|tag| round == 0 || tag.body[0] & 0x0f != tags::SEQUENCE_START) {
            let time_ms = round * CLIP_MS + tag.timestamp_ms;
            thread::sleep(Duration::from_millis(time_ms.into()).saturating_sub(began.elapsed()));
            if is_over.load(Ordering::Relaxed) || connection.write_all(&message(6, 9, time_ms, 1, &tag.body)).is_err() {
                return;
            }
        }
    }
}

/// From the handshake to where media may come: RTMP 1.0 sections 5.2 and 7.2.
fn greet(connection: &mut TcpStream, key: &str) {
    connection.write_all(&[&[3][..], &[7; 1536]].concat()).unwrap();
    let mut answer = vec![0; 1 + 2 * 1536];
    connection.read_exact(&mut answer).unwrap();
    connection.write_all(&answer[1..1537]).unwrap();
    connection.write_all(&message(2, 1, 0, 0, &CHUNK_SIZE.to_be_bytes())).unwrap();
    let mut heard = Vec::new();
    let app = [&[3, 0, 3][..], b"app", &text("live"), &[0, 0, 9]].concat();
    connection.write_all(&message(3, COMMAND, 0, 0, &[text("connect"), number(1.0), app].concat())).unwrap();
    hear(connection, &mut heard, "NetConnection.Connect.Success");
    let create = [text("createStream"), number(2.0), vec![5]].concat();
    connection.write_all(&message(3, COMMAND, 0, 0, &create)).unwrap();
    let publish = [text("publish"), number(3.0), vec![5], text(key), text("live")].concat();
    connection.write_all(&message(3, COMMAND, 0, 1, &publish)).unwrap();
    hear(connection, &mut heard, "NetStream.Publish.Start");
}

fn hear(connection: &mut TcpStream, heard: &mut Vec<u8>, what: &str) {
    let mut piece = [0; 4_096];
    while !heard.windows(what.len()).any(|window| window == what.as_bytes()) {
        let count = connection.read(&mut piece).unwrap();
        assert!(count > 0, "closed before {what}: {}", String::from_utf8_lossy(heard));
        heard.extend_from_slice(&piece[..count]);
    }
}

/// A whole message in one chunk of type 0: RTMP 1.0 section 5.3.1.2.1.
fn message(chunk_stream: u8, kind: u8, time_ms: u32, stream: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let head = [&[chunk_stream][..], &time_ms.to_be_bytes()[1..], &length[1..], &[kind, stream, 0, 0, 0]].concat();
    [head, body.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[2][..], &u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}
