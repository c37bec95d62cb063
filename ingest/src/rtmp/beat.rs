//! Reading at a beat: a publisher's socket is not read when a packet comes, but when a clock ticks that all publishers
//! share.
//!
//! An encoder sends some eighty packets a second, most of them a frame of sound. To wake a thread for each of them costs
//! more than to package what is in it; one tick wakes for all publishers together, and takes in what each has sent meanwhile
//! (ADR 28). Until the socket is read, the kernel holds what
//! comes. A publisher that falls silent is waited for as usual.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    net::TcpStream,
    sync::LazyLock,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::Interest,
    task::coop::consume_budget,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Server,
    connection::{Departure, Line},
    tls::Socket,
};

/// How far ticks are apart: what a picture may wait at most, a twenty-fifth of a usual part.
const BEAT_MS: u64 = 20;
/// After so many ticks without a byte the publisher counts as silent; pictures come closer to each other than this.
const EMPTY_BEATS: u32 = 10;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// The same under TLS, whose records are of 16 KiB at most.
const LINE_READ_BYTES: usize = 32 * 1024;

/// From where ticks are counted.
static FIRST_BEAT: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// What one call has read, before it is given away.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A publisher's connection, read at the beat. Under TLS it is read as bytes come: there the session has the socket.
pub(crate) enum Paced<'a> {
    Beat(Beat, &'a Server),
    Waited(Line<'a>),
}

impl<'a> Paced<'a> {
    /// # Errors
    /// When the runtime does not let go of the socket.
    pub(crate) fn new(line: Line<'a>) -> Result<Self, Departure> {
        match line {
            Line { socket: Socket::Plain(socket), server } => {
                let socket = socket.into_std().map_err(Departure::Broken)?;
                Ok(Self::Beat(Beat::new(socket), server))
            }
            line => Ok(Self::Waited(line)),
        }
    }

    /// The connection as it was before.
    ///
    /// # Errors
    /// When the runtime does not take the socket back.
    pub(crate) fn into_line(self) -> Result<Line<'a>, Departure> {
        match self {
            Self::Beat(beat, server) => {
                let socket = tokio::net::TcpStream::from_std(beat.socket).map_err(Departure::Broken)?;
                Ok(Line { socket: Socket::Plain(socket), server })
            }
            Self::Waited(line) => Ok(line),
        }
    }

    pub(crate) fn server(&self) -> &'a Server {
        match self {
            Self::Beat(_, server) => server,
            Self::Waited(line) => line.server,
        }
    }

    /// Reads what has come, at least a byte, into `input`. Cancel safe.
    pub(crate) async fn read(&mut self, input: &mut BytesMut) -> Result<usize, Departure> {
        match self {
            Self::Beat(beat, _) => match beat.read(input).await {
                Ok(0) => Err(Departure::HungUp),
                Ok(count) => Ok(count),
                Err(error) => Err(Departure::Broken(error)),
            },
            Self::Waited(line) => line.read(input, LINE_READ_BYTES).await,
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Departure> {
        match self {
            Self::Beat(..) if bytes.is_empty() => Ok(()),
            Self::Beat(beat, server) => match timeout(server.timeouts.write, beat.write(bytes)).await {
                Ok(written) => written.map_err(Departure::Broken),
                Err(_) => Err(Departure::DoesNotRead),
            },
            Self::Waited(line) => line.write(bytes).await,
        }
    }
}

/// A socket that nobody watches between two ticks.
pub(crate) struct Beat {
    socket: TcpStream,
    /// The last reading took all that was there.
    is_drained: bool,
    /// In a row.
    empty_beats: u32,
}

impl Beat {
    /// `socket` does not block.
    fn new(socket: TcpStream) -> Self {
        Self { socket, is_drained: true, empty_beats: 0 }
    }

    async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        loop {
            // Nothing below waits while the peer sends as fast as it is read.
            consume_budget().await;
            if self.is_drained {
                match self.empty_beats {
                    ..EMPTY_BEATS => sleep_until(next_beat()).await,
                    _ => self.ready(Interest::READABLE).await?,
                }
            }
            match self.take(input) {
                Ok(count) => {
                    (self.is_drained, self.empty_beats) = (count < READ_BYTES, 0);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.is_drained, self.empty_beats) = (true, self.empty_beats.saturating_add(1));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what is there, without waiting.
    fn take(&self, input: &mut BytesMut) -> io::Result<usize> {
        SCRATCH.with_borrow_mut(|scratch| {
            let count = (&self.socket).read(scratch)?;
            input.extend_from_slice(&scratch[..count]);
            Ok(count)
        })
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.socket).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(Interest::WRITABLE).await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the socket itself. Cancel safe.
    async fn ready(&self, interest: Interest) -> io::Result<()> {
        // A descriptor of its own, so that the runtime forgets it again with this future.
        match self.socket.try_clone().and_then(tokio::net::TcpStream::from_std) {
            Ok(watched) => watched.ready(interest).await.map(drop),
            // There is none to spare.
            Err(_) => {
                sleep_until(next_beat()).await;
                Ok(())
            }
        }
    }
}

fn next_beat() -> Instant {
    let passed_ms = u64::try_from(FIRST_BEAT.elapsed().as_millis()).unwrap_or(0);
    *FIRST_BEAT + Duration::from_millis((passed_ms / BEAT_MS + 1) * BEAT_MS)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Beat, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        (Beat::new(socket.into_std().unwrap()), peer)
    }

    async fn read_exactly(beat: &mut Beat, length: usize) -> BytesMut {
        let mut input = BytesMut::new();
        while input.len() < length {
            assert!(beat.read(&mut input).await.unwrap() > 0);
        }
        input
    }

    #[test]
    fn all_wait_for_the_same_tick() {
        let ticks: Vec<Instant> = (0..1_000).map(|_| next_beat()).collect();
        for tick in &ticks {
            assert_eq!((*tick - *FIRST_BEAT).as_millis() % u128::from(BEAT_MS), 0);
        }
        assert!(ticks.is_sorted() && ticks[0] > *FIRST_BEAT);
    }

    #[tokio::test]
    async fn everything_comes_in_order_and_then_the_end() {
        use tokio::io::AsyncWriteExt;
        let (mut beat, mut peer) = pair().await;
        // More than one call takes, more than the kernel holds.
        let sent: Vec<u8> = (0..8_000_000_u32).map(|index| (index / 7) as u8).collect();
        let sending = tokio::spawn({
            let sent = sent.clone();
            async move {
                peer.write_all(&sent).await.unwrap();
                peer
            }
        });
        assert!(read_exactly(&mut beat, sent.len()).await == sent);
        drop(sending.await.unwrap());
        assert_eq!(beat.read(&mut BytesMut::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_was_silent_is_heard_again_and_may_be_left_waiting() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut beat, mut peer) = pair().await;
        for word in [b"one", b"two"] {
            // Until it counts as silent, and beyond; whoever waits may give up in between.
            while beat.empty_beats < EMPTY_BEATS {
                assert!(timeout(Duration::from_millis(BEAT_MS), beat.read(&mut BytesMut::new())).await.is_err());
            }
            assert!(timeout(Duration::from_millis(BEAT_MS), beat.read(&mut BytesMut::new())).await.is_err());
            peer.write_all(word).await.unwrap();
            assert_eq!(&read_exactly(&mut beat, 3).await[..], word);
            assert_eq!(beat.empty_beats, 0);
        }
        // More than the peer takes at once: it is waited for.
        let reply = vec![7; 8_000_000];
        let (written, read) = tokio::join!(beat.write(&reply), async {
            let mut read = vec![0; reply.len()];
            peer.read_exact(&mut read).await.unwrap();
            read
        });
        written.unwrap();
        assert!(read == reply);
    }
}
