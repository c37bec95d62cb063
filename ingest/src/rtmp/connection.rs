//! One connection, from the handshake to its end.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use rml_rtmp::handshake::{Handshake, HandshakeError, HandshakeProcessResult, PeerType};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Server,
    beat::Paced,
    chunks::{ChunkError, ChunkReader},
    negotiation::{Negotiation, NegotiationError, PublishRequest, Turn},
    publication::{self, Accepted},
    replies::{self, ReplyError},
    tls::{RTMP_VERSION, Socket, TLS_HANDSHAKE},
};
use crate::live::Refused;

/// What a peer may send between the handshake and the answer to its key.
pub(crate) const UNKNOWN_PEER_BYTES: usize = 64 * 1024;

/// How much is read at once before a key was shown; an idle peer costs less, its buffer comes with its first byte.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// Why a peer was left that never got to publish. Refusals of a key have log lines of their own.
#[derive(Debug, Error)]
pub(crate) enum Departure {
    #[error("it hung up")]
    HungUp,
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("no handshake within {0:?}")]
    NoHandshake(Duration),
    #[error("no publish request within {0:?}")]
    NoPublish(Duration),
    #[error("it does not read")]
    DoesNotRead,
    #[error("no TLS handshake")]
    Tls(#[source] io::Error),
    #[error("it spoke plain RTMP at the port of RTMPS: its address must begin with rtmps://")]
    PlainAtTls,
    #[error("it spoke TLS at the port of plain RTMP: RTMPS has a port of its own")]
    TlsAtPlain,
    #[error("a handshake that is none")]
    Handshake(#[from] HandshakeError),
    #[error("malformed chunks")]
    Chunks(#[from] ChunkError),
    #[error("a conversation that is none")]
    Negotiation(#[from] NegotiationError),
    #[error("more than {UNKNOWN_PEER_BYTES} bytes without a stream key")]
    TooTalkative,
    #[error("it asked for {0}")]
    Unwanted(&'static str),
    #[error("the server stops")]
    Stopping,
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl Departure {
    /// Whether an encoder's address is wrong, and not the encoder.
    pub(crate) fn is_wrong_port(&self) -> bool {
        matches!(self, Self::PlainAtTls | Self::TlsAtPlain)
    }
}

/// Serves one peer, under TLS where there is an acceptor.
pub(crate) async fn serve(
    server: &Server,
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> Result<(), Departure> {
    // Answers are small and waited for.
    socket.set_nodelay(true).map_err(Departure::Broken)?;
    let limit = server.timeouts.handshake;
    let shaken_by = Instant::now() + limit;
    let mut line = match tls {
        None => Line { socket: Socket::Plain(socket), server },
        Some(acceptor) => {
            let securing = Box::pin(timeout_at(shaken_by, secure(server, acceptor, socket)));
            unless_stopping(server, securing).await?.map_err(|_| Departure::NoHandshake(limit))??
        }
    };
    let mut input = BytesMut::new();
    let mut reader = ChunkReader::new();

    let opening = async {
        let shaken = timeout_at(shaken_by, shake_hands(&mut line, &mut input)).await;
        shaken.map_err(|_| Departure::NoHandshake(limit))??;
        let limit = server.timeouts.publish;
        timeout(limit, negotiate(&mut line, &mut input, &mut reader)).await.map_err(|_| Departure::NoPublish(limit))?
    };
    let request = unless_stopping(server, Box::pin(opening)).await??;

    let seat = match unless_stopping(server, server.live.admit(&request.stream_key, peer)).await? {
        Ok(seat) => seat,
        Err(refused) => return refuse(&mut line, &request, &refused, peer).await,
    };
    // The key is not needed any more, and is not kept.
    let PublishRequest { stream_key, message_stream_id, window_bytes, encoder } = request;
    drop(stream_key);
    if let Some(encoder) = encoder {
        seat.introduced(encoder);
    }

    line.write(&replies::stream_begin(message_stream_id)?).await?;
    line.write(&start(message_stream_id)?).await?;
    reader.take_media();
    let accepted = Accepted { message_stream_id, window_bytes };
    publication::run(Paced::new(line)?, input, reader, accepted, seat).await;
    Ok(())
}

fn start(message_stream_id: u32) -> Result<Vec<u8>, ReplyError> {
    replies::status(message_stream_id, "status", "NetStream.Publish.Start", "Go ahead.")
}

async fn unless_stopping<T>(server: &Server, work: impl Future<Output = T>) -> Result<T, Departure> {
    tokio::select! {
        biased;
        () = server.stopping.cancelled() => Err(Departure::Stopping),
        done = work => Ok(done),
    }
}

async fn secure(server: &Server, acceptor: TlsAcceptor, socket: TcpStream) -> Result<Line<'_>, Departure> {
    let mut first = [0];
    if socket.peek(&mut first).await.map_err(Departure::Broken)? == 0 {
        return Err(Departure::HungUp);
    }
    if first == [RTMP_VERSION] {
        Line { socket: Socket::Plain(socket), server }.hang_up().await;
        return Err(Departure::PlainAtTls);
    }
    let secured = acceptor.accept(socket).await.map_err(Departure::Tls)?;
    Ok(Line { socket: Socket::Tls(Box::new(secured)), server })
}

async fn shake_hands(line: &mut Line<'_>, input: &mut BytesMut) -> Result<(), Departure> {
    let mut handshake = None;
    loop {
        line.read(input, FIRST_READ_BYTES).await?;
        if handshake.is_none() && input.first() == Some(&TLS_HANDSHAKE) {
            line.hang_up().await;
            return Err(Departure::TlsAtPlain);
        }
        let handshake = handshake.get_or_insert_with(|| Box::new(Handshake::new(PeerType::Server)));
        match handshake.process_bytes(&input.split())? {
            HandshakeProcessResult::InProgress { response_bytes } => line.write(&response_bytes).await?,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                line.write(&response_bytes).await?;
                input.extend_from_slice(&remaining_bytes);
                return Ok(());
            }
        }
    }
}

async fn negotiate(
    line: &mut Line<'_>,
    input: &mut BytesMut,
    reader: &mut ChunkReader,
) -> Result<PublishRequest, Departure> {
    let mut negotiation = Negotiation::new(line.server.takes_hevc)?;
    let mut received = input.len();
    line.write(&negotiation.take_output()).await?;
    loop {
        while let Some(message) = reader.next(input)? {
            let turn = negotiation.receive(&message)?;
            line.write(&negotiation.take_output()).await?;
            match turn {
                Turn::Goes => {}
                Turn::Publish(request) => return Ok(request),
                Turn::Refused(what) => {
                    line.hang_up().await;
                    return Err(Departure::Unwanted(what));
                }
            }
        }
        if received > UNKNOWN_PEER_BYTES {
            return Err(Departure::TooTalkative);
        }
        received += line.read(input, FIRST_READ_BYTES).await?;
    }
}

async fn refuse(
    line: &mut Line<'_>,
    request: &PublishRequest,
    refused: &Refused,
    peer: SocketAddr,
) -> Result<(), Departure> {
    refused.log(peer);
    if refused.is_passing() {
        // OBS gives up for good when its first publish is refused, and tries again when a publish that was accepted
        // breaks off.
        line.write(&start(request.message_stream_id)?).await?;
    }
    line.write(&replies::status(request.message_stream_id, "error", refused.status_code(), refused.text())?).await?;
    line.hang_up().await;
    Ok(())
}

/// The socket with its limits.
pub(crate) struct Line<'a> {
    pub(super) socket: Socket,
    pub(super) server: &'a Server,
}

impl Line<'_> {
    /// Reads what is there, at least a byte, into `input`. Cancel safe.
    pub(crate) async fn read(&mut self, input: &mut BytesMut, size_bytes: usize) -> Result<usize, Departure> {
        if input.capacity() == input.len() {
            // Room comes when there is something to read: most peers that say nothing never need it.
            self.socket.readable().await.map_err(Departure::Broken)?;
            input.reserve(size_bytes);
        }
        match self.socket.read_buf(input).await {
            Ok(0) => Err(Departure::HungUp),
            Ok(count) => Ok(count),
            Err(error) => Err(Departure::Broken(error)),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Departure> {
        if bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            self.socket.write_all(bytes).await?;
            // Under TLS what was written may still wait in the session.
            self.socket.flush().await
        };
        match timeout(self.server.timeouts.write, write).await {
            Ok(written) => written.map_err(Departure::Broken),
            Err(_) => Err(Departure::DoesNotRead),
        }
    }

    /// Closes our side and lets the peer read the last answer: closing with unread input would reset the connection
    /// and take the answer away from it.
    pub(crate) async fn hang_up(&mut self) {
        const LINGER: Duration = Duration::from_secs(2);
        let drain = async {
            self.socket.shutdown().await?;
            let mut sink = vec![0; 4 * 1024];
            while self.socket.read(&mut sink).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the peer waits for it is its own affair.
        let _ = unless_stopping(self.server, timeout(LINGER, drain)).await;
    }
}
