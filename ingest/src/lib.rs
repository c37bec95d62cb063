//! The media plane: RTMP in, packaging, thumbnails and the origin.
//!
//! [`Ingest::start`] listens for encoders. What it needs from the rest of the platform is the port [`Publishing`];
//! what it serves to viewers is [`Ingest::service`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
};
use storage::Storage;
use thiserror::Error;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

mod bell;
pub mod edge;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod exercise;
mod ladder;
mod live;
mod media;
mod niceness;
pub mod origin;
pub mod packager;
mod ports;
pub mod recorder;
pub mod rewind;
pub mod rights;
mod rtmp;
pub mod thumbnails;

pub use ladder::{Encoder, LadderConfig, LadderPace, LadderReason, LadderRendition, LadderStatus, Rung};
pub use live::{Advice, IngestStatus, LastRefusal, LetGo, Patience, PublishState};
pub use ports::{
    OpenRecording, OpenStream, PublishError, Publisher, Publishing, RecordError, RecordingAccess, RecordingRights,
    RecordingUse, Recordings, StartedStream,
};
pub use rtmp::{
    RtmpLimits, RtmpTimeouts,
    tls::{CertificateError, RtmpsConfig},
};

use live::{Live, Settings};
use origin::{Broadcasts, LiveService};
use packager::PackagerConfig;
use recorder::Recorder;
use rewind::{Rewind, RewindConfig};
use rights::Rights;
use rtmp::{Server, tls::Certificate};

/// How the media plane works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestConfig {
    /// Where encoders connect; port 0 takes any that is free.
    pub rtmp: SocketAddr,
    /// Where they connect under TLS, if they may.
    pub rtmps: Option<RtmpsConfig>,
    /// How many connections are held, with TLS and without together.
    pub limits: RtmpLimits,
    /// How long peers may take.
    pub timeouts: RtmpTimeouts,
    /// How long a stream waits for an encoder that was lost, or for one of before a crash.
    pub grace: Duration,
    /// How long a broadcast stays readable after its end.
    pub linger: Duration,
    /// How long a publisher must be silent before another connection with the channel's key takes over.
    pub takeover_after: Duration,
    /// How long the write side may take.
    pub patience: Patience,
    /// Between two thumbnails of a stream.
    pub thumbnail_interval: Duration,
    /// How streams are cut.
    pub packager: PackagerConfig,
    /// Which renditions are made of them.
    pub ladder: LadderConfig,
    /// Who may watch what; without it everybody everything.
    pub rights: Rights,
    /// What keeps streams for later; without it none is kept.
    pub recorder: Recorder,
    /// How far viewers may go back in a stream that is live; without it not at all.
    pub rewind: Option<RewindConfig>,
}

impl IngestConfig {
    /// The defaults, listening at `rtmp`.
    #[must_use]
    pub fn new(rtmp: SocketAddr) -> Self {
        Self {
            rtmp,
            rtmps: None,
            limits: RtmpLimits::default(),
            timeouts: RtmpTimeouts::default(),
            grace: Duration::from_secs(60),
            linger: Duration::from_secs(60),
            takeover_after: Duration::from_secs(3),
            patience: Patience::default(),
            thumbnail_interval: Duration::from_secs(20),
            packager: PackagerConfig::default(),
            ladder: LadderConfig::default(),
            rights: Rights::default(),
            recorder: Recorder::default(),
            rewind: None,
        }
    }
}

/// Why the media plane cannot start.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The address cannot be listened at: another process has it, or it is not of this machine.
    #[error("listen for RTMP at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// RTMPS has no certificate that can be used.
    #[error("take up the certificate of RTMPS")]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up; it never happens with what is asked of it here.
    #[error("set up TLS for RTMPS")]
    Tls(#[from] rustls::Error),
}

/// The running media plane. Dropping it leaves it running: call [`Ingest::shutdown`].
pub struct Ingest {
    live: Live,
    server: Arc<Server>,
    broadcasts: Broadcasts,
    storage: Storage,
    rtmp_addr: SocketAddr,
    rtmps_addr: Option<SocketAddr>,
    stopping: CancellationToken,
}

impl Ingest {
    /// Listens for encoders, and takes up the streams that a crash of this node has left open.
    ///
    /// # Errors
    /// When an address cannot be listened at, or the certificate of RTMPS cannot be used. A write side that is away is
    /// waited for in the background.
    pub async fn start(
        config: IngestConfig,
        publishing: Arc<dyn Publishing>,
        storage: Storage,
    ) -> Result<Self, IngestError> {
        let IngestConfig {
            rtmp: address,
            rtmps,
            limits,
            timeouts,
            grace,
            linger,
            takeover_after,
            patience,
            thumbnail_interval,
            packager,
            ladder,
            rights,
            recorder,
            rewind,
        } = config;
        let (listener, rtmp_addr) = listen(address).await?;
        let secured = match rtmps {
            Some(rtmps) => {
                let (address, certificate) = (rtmps.address, Certificate::load(rtmps).await?);
                let (listener, rtmps_addr) = listen(address).await?;
                Some((listener, rtmps_addr, certificate.acceptor()?, certificate))
            }
            None => None,
        };
        let rtmps_addr = secured.as_ref().map(|(_, address, ..)| *address);
        // Somebody makes H.264 of it.
        let takes_hevc = ladder.is_enabled && ladder.cpu_percent > 0 && !ladder.rungs.is_empty();
        let packager = PackagerConfig { takes_hevc: packager.takes_hevc || takes_hevc, ..packager };
        let takes_hevc = packager.takes_hevc;
        let stopping = CancellationToken::new();
        let rewind = open_rewind(rewind).await;
        if let Some(disk) = recorder.disk() {
            rewind.watch(disk);
        }
        let broadcasts = Broadcasts::new(rights).with_rewind(rewind);
        let live = Live::new(
            publishing,
            storage.clone(),
            broadcasts.clone(),
            Settings { grace, linger, takeover_after, patience, thumbnail_interval, packager, ladder, recorder },
            stopping.clone(),
        );
        let server = Server::new(live.clone(), limits, timeouts, takes_hevc, stopping.clone());
        tokio::spawn({
            let live = live.clone();
            async move { live.recover().await }
        });
        tokio::spawn(Arc::clone(&server).accept(listener, None));
        info!(address = %rtmp_addr, "RTMP listening");
        if let Some((listener, address, acceptor, certificate)) = secured {
            tokio::spawn(certificate.watch(rtmp::tls::hangups(), stopping.clone()));
            tokio::spawn(Arc::clone(&server).accept(listener, Some(acceptor)));
            info!(%address, "RTMPS listening");
        }
        Ok(Self { live, server, broadcasts, storage, rtmp_addr, rtmps_addr, stopping })
    }

    /// Playlists, segments and thumbnails: what is under `/live`.
    #[must_use]
    pub fn service(&self) -> LiveService {
        origin::service(self.broadcasts.clone(), self.storage.clone())
    }

    /// What this node serves, as [`Ingest::service`] does.
    #[must_use]
    pub fn broadcasts(&self) -> &Broadcasts {
        &self.broadcasts
    }

    /// Where encoders connect.
    #[must_use]
    pub fn rtmp_addr(&self) -> SocketAddr {
        self.rtmp_addr
    }

    /// Where encoders connect under TLS, if they may.
    #[must_use]
    pub fn rtmps_addr(&self) -> Option<SocketAddr> {
        self.rtmps_addr
    }

    /// How a channel's ingest stands on this node. Cheap: dashboards may ask every second.
    #[must_use]
    pub fn status(&self, channel_id: ChannelId) -> IngestStatus {
        self.live.status(channel_id)
    }

    /// Sends a channel's publisher away and ends its stream for `reason`; nothing happens when there is neither. Where that is
    /// because its owner is kept out, what is still shown of its streams that are over goes, too.
    ///
    /// Keys that were asked for before are asked for again, so that after a rotation the old one is not admitted.
    pub fn cut(&self, channel_id: ChannelId, reason: EndReason) {
        self.live.cut(channel_id, reason);
    }

    /// The channel's key was replaced by the last of its first `version` events: sends away whoever was admitted by an earlier one,
    /// and ends the stream. To hear of it late, or again, does no harm to who has the new key.
    pub fn key_rotated(&self, channel_id: ChannelId, version: i64) {
        self.live.key_rotated(channel_id, version);
    }

    /// Ends a stream as taken down, whether its encoder is connected or waited for, or stops showing what is left of it when it
    /// is over. Nothing happens when this node does not have it.
    pub fn take_down(&self, stream_id: StreamId) {
        self.live.take_down(stream_id);
    }

    /// Ends a stream that waits for its encoder, since that has come to another node; one whose encoder is connected and silent as soon
    /// as another connection would take over here. Answers within [`IngestConfig::takeover_after`] and a second. Cancel safe.
    pub async fn let_go(&self, channel_id: ChannelId, stream_id: StreamId) -> LetGo {
        self.live.let_go(channel_id, stream_id).await
    }

    /// Ends a stream that the log says has ended, whether its encoder is connected or waited for. Nothing happens when this node does not
    /// have it, or has ended it itself.
    pub fn ended_elsewhere(&self, stream_id: StreamId, reason: EndReason) {
        self.live.ended_elsewhere(stream_id, reason);
    }

    /// What a stream of this node has ended as while the write side has not accepted that; `None` for all others.
    #[must_use]
    pub fn unstored_end(&self, stream_id: StreamId) -> Option<EndReason> {
        self.live.unstored_end(stream_id)
    }

    /// Stops showing what is left of a stream that is over. Nothing happens to one that is live.
    pub fn withdraw(&self, stream_id: StreamId) {
        self.live.withdraw(stream_id);
    }

    /// Waits until the streams that a crash of this node left open can be ended like others. Cancel safe.
    pub async fn recovered(&self) {
        self.live.recovered().await;
    }

    /// Stops listening, ends all streams as [`EndReason::Shutdown`] and waits until that is stored, for as long as
    /// [`Patience::shutdown`]. The service goes on with what is kept.
    pub async fn shutdown(&self) {
        /// Publishers leave at once; only one that is being written to takes longer.
        const LEAVE: Duration = Duration::from_secs(2);
        self.stopping.cancel();
        self.live.cut_all();
        // Whoever has not gone by then has its stream's end reported all the same.
        let _ = timeout(LEAVE, self.server.drained()).await;
        self.live.drained().await;
    }
}

/// Streams are live without it.
async fn open_rewind(config: Option<RewindConfig>) -> Rewind {
    let Some(config) = config else { return Rewind::default() };
    let folder = config.folder.clone();
    Rewind::open(config).await.unwrap_or_else(|error| {
        tracing::error!(folder = %folder.display(), %error, "streams cannot be rewound: their folder cannot be used");
        Rewind::default()
    })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), IngestError> {
    let listen_error = |source| IngestError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok((listener, bound))
}
