//! RTMP in: Adobe's RTMP 1.0 as OBS and ffmpeg speak it, publishing only.
//!
//! Bytes pass a guard of our own before rml_rtmp sees any of them:
//!
//! | layer | file | what it bounds |
//! |---|---|---|
//! | connections | here | how many in all and from one address |
//! | TLS, where it is spoken | [`tls`] | by which certificate; its handshake is part of the next |
//! | handshake, publish request, media | [`connection`] | how long each may take, how many bytes without a key |
//! | chunks | [`chunks`] | message lengths, chunk streams, unfinished messages |
//! | commands | [`amf0`] | depth, number and lengths of values |
//! | session | [`negotiation`] | which commands reach rml_rtmp, in what state |
//!
//! Once a publish is accepted, sound and picture go from the chunks straight to the packager.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, info, warn};

use crate::live::Live;

mod amf0;
mod beat;
mod chunks;
mod connection;
mod negotiation;
mod publication;
mod replies;
pub(crate) mod tls;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod exercise;

/// How many connections are held at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtmpLimits {
    /// In all.
    pub connections: usize,
    /// From one address; from one /64 network where the address is IPv6.
    pub connections_per_address: usize,
}

impl Default for RtmpLimits {
    fn default() -> Self {
        Self { connections: 2_048, connections_per_address: 256 }
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtmpTimeouts {
    /// From the connection to the end of the handshake, that of TLS included.
    pub handshake: Duration,
    /// From there to the request to publish.
    pub publish: Duration,
    /// Without a byte, once it publishes: then the connection counts as lost. Twice as long without sound or picture.
    pub idle: Duration,
    /// For reading an answer of ours.
    pub write: Duration,
}

impl Default for RtmpTimeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            publish: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            write: Duration::from_secs(5),
        }
    }
}

/// What all connections share.
pub(crate) struct Server {
    live: Live,
    limits: RtmpLimits,
    timeouts: RtmpTimeouts,
    takes_hevc: bool,
    stopping: CancellationToken,
    connections: TaskTracker,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// When the log last said that somebody knocked at the wrong port.
    wrong_port_said_at: Option<Instant>,
}

/// A connection's place within the limits, given back when dropped.
struct Place {
    server: Arc<Server>,
    address: IpAddr,
}

impl Server {
    pub(crate) fn new(
        live: Live,
        limits: RtmpLimits,
        timeouts: RtmpTimeouts,
        takes_hevc: bool,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            live,
            limits,
            timeouts,
            takes_hevc,
            stopping,
            connections: TaskTracker::new(),
            held: Mutex::new(Held::default()),
        })
    }

    /// Accepts connections until `stopping`, under TLS where there is an acceptor; the listener is closed when it returns.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let mut is_failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    is_failing = false;
                    self.admit(socket, peer, tls.clone());
                }
                // The peer was gone before we came to it.
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    // No file descriptors or no memory: what waits in the backlog is taken once there are again.
                    if !is_failing {
                        warn!(error = &error as &dyn std::error::Error, "accepting RTMP connections fails");
                    }
                    is_failing = true;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits until all connections are closed. Only after `stopping`.
    pub(crate) async fn drained(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Whether the log is told of a peer at the wrong port: once a minute, since scanners knock all day, and a streamer's
    /// mistake is worth a line.
    fn tells_wrong_port(&self) -> bool {
        const AGAIN: Duration = Duration::from_secs(60);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if held.wrong_port_said_at.is_some_and(|said_at| now - said_at < AGAIN) {
            return false;
        }
        held.wrong_port_said_at = Some(now);
        true
    }

    fn admit(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
        let Some(place) = Place::take(self, peer.ip()) else {
            debug!(%peer, "RTMP peer refused: too many connections");
            return;
        };
        let server = Arc::clone(self);
        self.connections.spawn(async move {
            // A panic is a bug, and ends this connection alone.
            let served = AssertUnwindSafe(Box::pin(connection::serve(&server, socket, peer, tls))).catch_unwind().await;
            match served {
                Ok(Ok(())) => {}
                Ok(Err(departure)) if departure.is_wrong_port() && server.tells_wrong_port() => {
                    info!(%peer, reason = %departure, "RTMP peer left");
                }
                Ok(Err(departure)) => debug!(%peer, reason = %Chain(&departure), "RTMP peer left"),
                Err(_) => error!(%peer, "an RTMP connection panicked"),
            }
            drop(place);
        });
    }
}

impl Place {
    fn take(server: &Arc<Server>, address: IpAddr) -> Option<Self> {
        let address = network(address);
        let mut held = server.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.total >= server.limits.connections {
            return None;
        }
        let of_address = held.by_address.entry(address).or_default();
        if *of_address >= server.limits.connections_per_address {
            return None;
        }
        *of_address += 1;
        held.total += 1;
        Some(Self { server: Arc::clone(server), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.server.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total -= 1;
        if let Some(of_address) = held.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// An error and its causes on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_one_address() {
        let is_one = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(is_one("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!is_one("192.0.2.1", "192.0.2.2"));
        assert!(is_one("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!is_one("2001:db8::1", "2001:db8:0:1::1"));
    }
}
