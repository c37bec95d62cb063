//! Who publishes to which channel, and the life of each stream across the connections of its encoder.
//!
//! | moment | what happens |
//! |---|---|
//! | an encoder shows a key | [`Live::admit`] asks the write side and gives it the channel's seat, or refuses |
//! | its first key frame | `stream_started` is reported, once; then viewers see the broadcast |
//! | it stops, the node stops, the key is rotated | the stream ends at once |
//! | its connection is lost | the stream waits out the grace time for the same channel's next encoder |
//! | that comes to another node | which asks for it ([`Live::let_go`]): the stream ends, and goes on there as a new one |
//! | the stream has ended | `stream_ended` is reported until the write side accepts it; the broadcast stays a while |
//!
//! One lock guards the table of channels. It is taken when something of the above happens, never for media.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
    timestamp,
};
use storage::Storage;
use time::OffsetDateTime;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    ladder::{LadderConfig, Ladders},
    origin::Broadcasts,
    packager::{Broadcast, PackagerConfig},
    ports::{OpenRecording, PublishError, Publisher, Publishing},
    recorder::{self, Recorder},
    rights::Change,
    thumbnails,
};

mod cutting;
mod letting_go;
mod life;
mod numbers;
mod refused;
mod seat;
mod status;
mod tracks;
mod unstored;

pub use letting_go::LetGo;
pub(crate) use refused::Refused;
pub(crate) use seat::{Kick, Leaving, Seat};
pub use status::{Advice, IngestStatus, LastRefusal, PublishState};

use letting_go::{Candidate, Hold, LOOK_AGAIN};
use seat::Slot;
use unstored::Unstored;

/// How long the write side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one call; then it counts as unavailable.
    pub call: Duration,
    /// For a key or a start, over all tries: so long an encoder waits before it is sent away.
    pub publish: Duration,
    /// For the ends of all streams when the node stops. What is not accepted by then ends at the next start.
    pub shutdown: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { call: Duration::from_secs(5), publish: Duration::from_secs(8), shutdown: Duration::from_secs(10) }
    }
}

/// The times in a stream's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) grace: Duration,
    pub(crate) linger: Duration,
    pub(crate) takeover_after: Duration,
    pub(crate) patience: Patience,
    pub(crate) thumbnail_interval: Duration,
    pub(crate) packager: PackagerConfig,
    pub(crate) ladder: LadderConfig,
    pub(crate) recorder: Recorder,
}

/// The registry. Cheap to clone: clones share it.
#[derive(Clone)]
pub(crate) struct Live(Arc<Shared>);

pub(crate) struct Shared {
    publishing: Arc<dyn Publishing>,
    storage: Storage,
    broadcasts: Broadcasts,
    ladders: Ladders,
    settings: Settings,
    channels: Mutex<HashMap<ChannelId, Channel>>,
    unstored: Unstored,
    /// Whether the streams that a crash left open are in the table.
    recovered: watch::Sender<bool>,
    /// Everything that must be finished before the process may go.
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// The shutdown has waited long enough.
    abandoned: CancellationToken,
    epoch: Instant,
}

/// One channel that is, or was, published to.
#[derive(Default)]
struct Channel {
    handle: String,
    publisher: Option<Arc<Slot>>,
    stream: Option<Current>,
    /// Held by the task of each stream until the write side has accepted its end, so that a channel's streams are
    /// reported one after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
    last_cut: Option<Instant>,
    last_refusal: Option<LastRefusal>,
    /// When viewers last began to see an encoder of it.
    let_in_at: Option<OffsetDateTime>,
}

/// A stream that has not ended.
struct Current {
    id: StreamId,
    broadcast: Arc<Broadcast>,
    /// Whether the write side has accepted the start.
    is_started: bool,
    /// Whether its first key frame came to this process, not to one that crashed.
    has_begun: bool,
    /// Until when the encoder may come back, while it is away.
    grace_until: Option<Instant>,
    /// What the stream ends as if it does not.
    ends_as: EndReason,
    /// Wakes the stream's task when `grace_until` or the publisher has changed.
    changed: watch::Sender<Option<Instant>>,
    end: oneshot::Sender<Ending>,
    /// What the encoder sends, for who reports it.
    tracks: watch::Sender<tracks::Sent>,
    received_bytes: u64,
}

/// What a stream's task is told last.
struct Ending {
    reason: EndReason,
    has_begun: bool,
    received_bytes: u64,
}

impl Live {
    pub(crate) fn new(
        publishing: Arc<dyn Publishing>,
        storage: Storage,
        broadcasts: Broadcasts,
        settings: Settings,
        stopping: CancellationToken,
    ) -> Self {
        let ladders = Ladders::new(settings.ladder.clone(), Arc::clone(&publishing), stopping.clone());
        Self(Arc::new(Shared {
            publishing,
            storage,
            broadcasts,
            ladders,
            settings,
            channels: Mutex::default(),
            unstored: Unstored::default(),
            recovered: watch::Sender::new(false),
            tasks: TaskTracker::new(),
            stopping,
            abandoned: CancellationToken::new(),
            epoch: Instant::now(),
        }))
    }

    /// Asks whose key it is and gives the channel's seat to this connection.
    ///
    /// The seat of a publisher that has been silent for a while is taken over; beside one that speaks, the newcomer is
    /// refused.
    pub(crate) async fn admit(&self, stream_key: &str, peer: SocketAddr) -> Result<Seat, Refused> {
        if stream_key.is_empty() {
            return Err(Refused::no_key());
        }
        if !self.0.publishing.admits(peer.ip()) {
            return Err(PublishError::AddressRefused.into());
        }
        self.wait_for_recovery().await?;
        loop {
            let asked_at = Instant::now();
            let publisher = self.authorise(stream_key).await?;
            if let Some(seat) = self.take_seat(publisher, asked_at, peer).await? {
                info!(channel.handle = seat.handle(), %peer, "publisher connected");
                return Ok(seat);
            }
            // The channel was cut after its key was asked for: ask again.
        }
    }

    async fn wait_for_recovery(&self) -> Result<(), Refused> {
        let mut recovered = self.0.recovered.subscribe();
        let waited = timeout(self.0.settings.patience.publish, recovered.wait_for(|recovered| *recovered)).await;
        if matches!(waited, Ok(Ok(_))) { Ok(()) } else { Err(PublishError::Unavailable.into()) }
    }

    async fn authorise(&self, stream_key: &str) -> Result<Publisher, Refused> {
        let deadline = Instant::now() + self.0.settings.patience.publish;
        let mut pause = Pause::new();
        loop {
            let call = self.0.publishing.authorise_publisher(stream_key);
            let answer = timeout(self.0.settings.patience.call, call).await.unwrap_or(Err(PublishError::Unavailable));
            match answer {
                Ok(publisher) => return Ok(publisher),
                Err(PublishError::Unavailable) if Instant::now() < deadline => pause.wait().await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The seat; `None` when the channel was cut after `asked_at`.
    async fn take_seat(
        &self,
        publisher: Publisher,
        asked_at: Instant,
        peer: SocketAddr,
    ) -> Result<Option<Seat>, Refused> {
        let id = publisher.channel_id;
        let mut candidate = Candidate::new(self.0.now_ms());
        loop {
            {
                let mut channels = self.0.channels();
                if self.0.stopping.is_cancelled() {
                    return Err(PublishError::Unavailable.into());
                }
                let channel = channels.entry(id).or_default();
                channel.handle.clone_from(&publisher.channel_handle);
                self.0.broadcasts.rights().learn(Change::Channel(publisher.rights));
                if channel.last_cut.is_some_and(|cut| cut >= asked_at) {
                    return Ok(None);
                }
                match channel.hold(&mut candidate, self.0.now_ms(), &self.0.settings) {
                    Hold::Free => {
                        return Ok(Some(Seat::take(&self.0, (id, publisher.rights.version), channel, peer)));
                    }
                    Hold::Speaks => {
                        let refused = Refused::from(PublishError::AlreadyLive).of(&channel.handle);
                        channel.remember(&refused);
                        return Err(refused);
                    }
                    Hold::Silent => {}
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the streams that a crash left open are in the table. Cancel safe.
    pub(crate) async fn recovered(&self) {
        // The sender lives as long as we do.
        let _ = self.0.recovered.subscribe().wait_for(|recovered| *recovered).await;
    }

    /// How a channel's ingest stands. A channel that was never published to is waiting.
    pub(crate) fn status(&self, id: ChannelId) -> IngestStatus {
        let now_ms = self.0.now_ms();
        let channels = self.0.channels();
        let status = channels.get(&id).map_or_else(IngestStatus::default, |channel| channel.status(now_ms));
        drop(channels);
        match status.stream_id {
            Some(stream_id) => status.with_ladder(self.0.ladders.status(stream_id)),
            None => status,
        }
    }

    /// Waits until the write side has accepted the ends of all streams, or patience is at its end.
    pub(crate) async fn drained(&self) {
        self.0.tasks.close();
        if timeout(self.0.settings.patience.shutdown, self.0.tasks.wait()).await.is_err() {
            warn!("not all ends of streams could be stored; they follow at the next start");
        }
        self.0.abandoned.cancel();
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Channel>> {
        // Whoever panicked under the lock has left the table usable: nothing is half done when code of ours panics.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Keeps a stream, if its channel records. `begun` is its recording from before a crash.
    fn record(&self, channel_id: ChannelId, broadcast: &Arc<Broadcast>, begun: Option<OpenRecording>) {
        let recorder = self.settings.recorder.clone();
        self.tasks.spawn(recorder.keep(
            Arc::clone(broadcast),
            channel_id,
            begun,
            self.storage.clone(),
            self.recorder_ends(),
        ));
    }

    /// Finishes a recording from before a crash whose stream is over.
    fn finish_recording(&self, begun: OpenRecording) {
        let recorder = self.settings.recorder.clone();
        self.tasks.spawn(recorder.finish(begun, self.storage.clone(), self.recorder_ends()));
    }

    fn recorder_ends(&self) -> recorder::Ends {
        recorder::Ends { stopping: self.stopping.clone(), abandoned: self.abandoned.clone() }
    }

    /// Shows a broadcast to viewers.
    fn show(&self, channel_id: ChannelId, broadcast: &Arc<Broadcast>) {
        self.broadcasts.publish(channel_id, Arc::clone(broadcast));
        self.tasks.spawn(self.ladders.clone().follow(Arc::clone(broadcast)));
        self.tasks.spawn(thumbnails::run(
            Arc::clone(broadcast),
            self.storage.clone(),
            self.settings.thumbnail_interval,
            self.stopping.child_token(),
        ));
    }
}

impl Channel {
    /// Takes the seat from `slot`, if it still has it, and lets the stream wait for another publisher.
    ///
    /// Returns whether it had the seat.
    fn vacate(&mut self, slot: &Arc<Slot>, settings: &Settings) -> bool {
        if !self.publisher.as_ref().is_some_and(|holder| Arc::ptr_eq(holder, slot)) {
            return false;
        }
        self.publisher = None;
        if let Some(stream) = &mut self.stream {
            stream.received_bytes += slot.received_bytes();
            // A publisher that came back without a key frame does not lengthen the grace time.
            let until = *stream.grace_until.get_or_insert_with(|| Instant::now() + settings.grace);
            stream.changed.send_replace(Some(until));
        }
        true
    }

    /// Ends the stream, if there is one: its task does the rest.
    fn end(&mut self, reason: EndReason) {
        let Some(stream) = self.stream.take() else { return };
        let ending = Ending { reason, has_begun: stream.has_begun, received_bytes: stream.received_bytes };
        // The task waits for this for as long as the stream is in the table.
        let _ = stream.end.send(ending);
    }

    /// Keeps a refusal for the dashboard; whether it says something new.
    fn remember(&mut self, refused: &Refused) -> bool {
        const NEWS: time::Duration = time::Duration::minutes(1);
        let at = timestamp::cut(OffsetDateTime::now_utc());
        let is_news = self.last_refusal.as_ref().is_none_or(|last| last.code != refused.code() || at - last.at > NEWS);
        self.last_refusal = Some(LastRefusal { code: refused.code(), message: refused.text().to_owned(), at });
        is_news
    }
}

/// Growing pauses between tries.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    async fn wait(&mut self) {
        const LONGEST: Duration = Duration::from_secs(2);
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
    }
}
