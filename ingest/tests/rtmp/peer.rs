//! An RTMP peer made by hand, which can do everything wrong.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    encoder::{self, FlvTag},
    platform::LONG,
};

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
        /// Below those that the system gives.
        static NEXT_PORT: AtomicU16 = AtomicU16::new(10_000);
        // From an address of this server's own, and a port that no other peer of this process has had: lines about a peer
        // are then never about another one.
        let [high, low] = server.port().to_be_bytes();
        let socket = loop {
            let socket = TcpSocket::new_v4().unwrap();
            let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
            match socket.bind((Ipv4Addr::new(127, 1, high, low), port).into()) {
                Ok(()) => break socket,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}"),
            }
        };
        Self { socket: socket.connect(server).await.unwrap(), heard: Vec::new() }
    }

    /// Connected, with the handshake of the specification done.
    pub async fn shaken(server: SocketAddr) -> Self {
        Self::try_shaken(server).await.unwrap()
    }

    async fn try_shaken(server: SocketAddr) -> io::Result<Self> {
        let mut peer = Self::connect(server).await;
        peer.socket.write_all(&[&[3][..], &[7; 1536]].concat()).await?;
        let mut answer = vec![0; 1 + 2 * 1536];
        timeout(LONG, peer.socket.read_exact(&mut answer)).await.expect("the server shakes hands")?;
        peer.socket.write_all(&answer[1..1537]).await?;
        Ok(peer)
    }

    /// An encoder that has asked to publish; see what the server answered.
    pub async fn asking(server: SocketAddr, key: &str) -> Self {
        Self::try_asking(server, key).await.unwrap()
    }

    async fn try_asking(server: SocketAddr, key: &str) -> io::Result<Self> {
        let mut peer = Self::try_shaken(server).await?;
        peer.try_command(0, &connect("live")).await?;
        peer.try_hear(&["NetConnection.Connect.Success"]).await?;
        peer.try_command(0, &[text("releaseStream"), number(2.0), null(), text(key)].concat()).await?;
        peer.try_command(0, &[text("FCPublish"), number(3.0), null(), text(key)].concat()).await?;
        peer.try_command(0, &[text("createStream"), number(4.0), null()].concat()).await?;
        peer.try_hear(&["_result"]).await?;
        peer.try_command(1, &[text("publish"), number(5.0), null(), text(key), text("live")].concat()).await?;
        Ok(peer)
    }

    /// An encoder that publishes.
    pub async fn publishing(server: SocketAddr, key: &str) -> Self {
        Self::try_publishing(server, key).await.unwrap()
    }

    async fn try_publishing(server: SocketAddr, key: &str) -> io::Result<Self> {
        let mut peer = Self::try_asking(server, key).await?;
        peer.try_hear(&["NetStream.Publish.Start"]).await?;
        Ok(peer)
    }

    /// The same at a server of so little patience that this may end meanwhile, on a machine that stands still.
    pub async fn publishing_at_last(server: SocketAddr, key: &str) -> Self {
        let publishing = async {
            loop {
                if let Ok(peer) = Self::try_publishing(server, key).await {
                    return peer;
                }
            }
        };
        timeout(LONG, publishing).await.expect("the server takes an encoder")
    }

    /// An encoder that publishes and has sent the [`encoder::clip`].
    pub async fn on_air(server: SocketAddr, key: &str) -> Self {
        let mut peer = Self::publishing(server, key).await;
        peer.send_tags(encoder::clip()).await;
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
        self.try_command(message_stream, body).await.unwrap();
    }

    async fn try_command(&mut self, message_stream: u8, body: &[u8]) -> io::Result<()> {
        self.socket.write_all(&chunked(3, COMMAND, 0, message_stream, body)).await
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
        self.hear_one_of(&[what]).await;
    }

    /// Reads until the server has said one of these; which of them.
    pub async fn hear_one_of(&mut self, what: &[&str]) -> usize {
        self.try_hear(what).await.unwrap()
    }

    async fn try_hear(&mut self, what: &[&str]) -> io::Result<usize> {
        let read = async {
            loop {
                if let Some(place) = what.iter().position(|what| self.has_heard(what)) {
                    return Ok(place);
                }
                if self.socket.read_buf(&mut self.heard).await? == 0 {
                    let heard = String::from_utf8_lossy(&self.heard);
                    return Err(io::Error::other(format!("closed before {what:?}: {heard}")));
                }
            }
        };
        timeout(LONG, read).await.unwrap_or_else(|_| panic!("{what:?} was not said"))
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
