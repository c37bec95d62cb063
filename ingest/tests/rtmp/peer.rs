//! An RTMP peer made by hand, which can do everything wrong.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{encoder::FlvTag, platform::LONG};

pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const DATA: u8 = 18;
pub const COMMAND: u8 = 20;

/// What it calls itself when it connects.
pub const FLASH_VERSION: &str = "FMLE/3.0 (compatible; made by hand)";

pub struct Peer {
    pub socket: TcpStream,
    /// Everything that the server has said after the handshake.
    pub heard: Vec<u8>,
}

impl Peer {
    pub async fn connect(server: SocketAddr) -> Self {
        // From an address of this server's own: lines about a peer are then never about another test's.
        let [high, low] = server.port().to_be_bytes();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into()).unwrap();
        Self { socket: socket.connect(server).await.unwrap(), heard: Vec::new() }
    }

    /// Connected, with the handshake of the specification done.
    pub async fn shaken(server: SocketAddr) -> Self {
        let mut peer = Self::connect(server).await;
        peer.send(&[&[3][..], &[7; 1536]].concat()).await;
        let mut answer = vec![0; 1 + 2 * 1536];
        peer.socket.read_exact(&mut answer).await.unwrap();
        peer.send(&answer[1..1537]).await;
        peer
    }

    /// An encoder that has asked to publish; see what the server answered.
    pub async fn asking(server: SocketAddr, key: &str) -> Self {
        let mut peer = Self::shaken(server).await;
        peer.command(0, &connect("live")).await;
        peer.hear("NetConnection.Connect.Success").await;
        peer.command(0, &[text("releaseStream"), number(2.0), null(), text(key)].concat()).await;
        peer.command(0, &[text("FCPublish"), number(3.0), null(), text(key)].concat()).await;
        peer.command(0, &[text("createStream"), number(4.0), null()].concat()).await;
        peer.hear("_result").await;
        peer.command(1, &[text("publish"), number(5.0), null(), text(key), text("live")].concat()).await;
        peer
    }

    /// An encoder that publishes.
    pub async fn publishing(server: SocketAddr, key: &str) -> Self {
        let mut peer = Self::asking(server, key).await;
        peer.hear("NetStream.Publish.Start").await;
        peer
    }

    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Sends what the server may not want to hear to the end.
    pub async fn push(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    pub async fn command(&mut self, message_stream: u8, body: &[u8]) {
        self.send(&chunked(3, COMMAND, 0, message_stream, body)).await;
    }

    pub async fn send_tag(&mut self, tag: &FlvTag) {
        let chunk_stream = if tag.kind == AUDIO { 4 } else { 6 };
        self.send(&chunked(chunk_stream, tag.kind, tag.timestamp_ms, 1, &tag.body)).await;
    }

    pub async fn send_tags(&mut self, tags: &[FlvTag]) {
        for tag in tags {
            self.send_tag(tag).await;
        }
    }

    /// Stops as an encoder does.
    pub async fn unpublish(mut self, key: &str) {
        self.command(0, &[text("FCUnpublish"), number(6.0), null(), text(key)].concat()).await;
        self.command(0, &[text("deleteStream"), number(7.0), null(), number(1.0)].concat()).await;
    }

    /// Reads until the server has said this.
    pub async fn hear(&mut self, what: &str) {
        let read = async {
            while !self.has_heard(what) {
                let count = self.socket.read_buf(&mut self.heard).await.unwrap();
                assert!(count > 0, "closed before {what}: {}", String::from_utf8_lossy(&self.heard));
            }
        };
        timeout(LONG, read).await.unwrap_or_else(|_| panic!("{what} was not said"));
    }

    pub fn has_heard(&self, what: &str) -> bool {
        self.heard.windows(what.len()).any(|window| window == what.as_bytes())
    }

    /// Waits until the server has closed the connection.
    pub async fn closed(&mut self) {
        self.closed_within(LONG).await;
    }

    pub async fn closed_within(&mut self, limit: Duration) {
        let read = async {
            // A reset is an end, too.
            while self.socket.read_buf(&mut self.heard).await.is_ok_and(|count| count > 0) {}
        };
        timeout(limit, read).await.expect("the server closes the connection");
    }
}

/// A message in chunks of the first size.
pub fn chunked(chunk_stream: u8, type_id: u8, timestamp_ms: u32, message_stream: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(chunk_stream, type_id, timestamp_ms, message_stream, body.len());
    for (index, payload) in body.chunks(128).enumerate() {
        if index > 0 {
            bytes.push(0xc0 | chunk_stream);
        }
        bytes.extend(payload);
    }
    bytes
}

pub fn header(chunk_stream: u8, type_id: u8, timestamp_ms: u32, message_stream: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![chunk_stream];
    bytes.extend(&timestamp_ms.to_be_bytes()[1..]);
    bytes.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    bytes.extend([type_id, message_stream, 0, 0, 0]);
    bytes
}

pub fn connect(app: &str) -> Vec<u8> {
    [
        text("connect"),
        number(1.0),
        object(&[("app", text(app)), ("type", text("nonprivate")), ("flashVer", text(FLASH_VERSION))]),
    ]
    .concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [&[2][..], &named(text)].concat()
}

fn named(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

pub fn number(number: f64) -> Vec<u8> {
    [&[0][..], &number.to_be_bytes()].concat()
}

pub fn null() -> Vec<u8> {
    vec![5]
}

pub fn object(properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![3];
    for (name, value) in properties {
        bytes.extend(named(name));
        bytes.extend(value);
    }
    bytes.extend([0, 0, 9]);
    bytes
}
