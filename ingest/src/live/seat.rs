//! The seat of a channel's publisher: one connection has it, and leaves it in one way or another.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{
    ids::{ChannelId, StreamId},
    streams::{EncoderName, EndReason},
    timestamp,
};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use super::{Channel, Refused, Shared, status::View};
use crate::{
    packager::{Broadcast, FirstNumbers, Health, Packager, Tracks},
    ports::StartedStream,
};

/// Why the registry sends a publisher away.
#[derive(Debug, Clone)]
pub(crate) enum Kick {
    /// The same channel's encoder has come back on another connection.
    TakenOver,
    /// The stream ends.
    Ended(EndReason),
    /// The stream may not start.
    Refused(Refused),
}

/// How a publisher goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The encoder said that it stops.
    Unpublished,
    /// The connection broke, fell silent or panicked.
    Lost,
    /// What it sent was refused.
    Refused,
    /// It was kicked, for the stream to end so.
    Ended(EndReason),
}

/// What the registry knows of a publisher's connection.
pub(super) struct Slot {
    pub(super) peer: SocketAddr,
    pub(super) since: OffsetDateTime,
    /// How many events the channel had had when its key was accepted.
    pub(super) version: i64,
    /// On the registry's clock.
    heard_ms: AtomicU64,
    received_bytes: AtomicU64,
    kick: OnceLock<Kick>,
    kicked: CancellationToken,
    view: Mutex<View>,
}

impl Slot {
    pub(super) fn last_heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Sends the publisher away; the first reason counts.
    pub(super) fn kick(&self, kick: Kick) {
        let _ = self.kick.set(kick);
        self.kicked.cancel();
    }

    pub(super) fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A connection's hold on its channel. Dropping it counts as a lost connection.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    channel_id: ChannelId,
    handle: String,
    slot: Arc<Slot>,
    broadcast: Arc<Broadcast>,
    /// Whether a key frame came on this connection.
    is_feeding: bool,
    has_left: bool,
}

impl Seat {
    /// Takes the free seat of `channel`, which had had `version` events when the key was accepted.
    pub(super) fn take(
        shared: &Arc<Shared>,
        (channel_id, version): (ChannelId, i64),
        channel: &mut Channel,
        peer: SocketAddr,
    ) -> Self {
        let slot = Arc::new(Slot {
            peer,
            since: timestamp::cut(OffsetDateTime::now_utc()),
            version,
            heard_ms: AtomicU64::new(shared.now_ms()),
            received_bytes: AtomicU64::new(0),
            kick: OnceLock::new(),
            kicked: CancellationToken::new(),
            view: Mutex::default(),
        });
        channel.publisher = Some(Arc::clone(&slot));
        let broadcast = match &channel.stream {
            Some(stream) => Arc::clone(&stream.broadcast),
            None => {
                let config = shared.settings.packager.clone();
                Broadcast::new(StreamId::from(Uuid::now_v7()), config, FirstNumbers::default())
            }
        };
        Self {
            shared: Arc::clone(shared),
            channel_id,
            handle: channel.handle.clone(),
            slot,
            broadcast,
            is_feeding: false,
            has_left: false,
        }
    }

    /// The channel's handle.
    pub(crate) fn handle(&self) -> &str {
        &self.handle
    }

    /// Where the publisher comes from.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.slot.peer
    }

    /// A packager for this connection's media, on the broadcast of the stream that it starts or goes on with.
    pub(crate) fn packager(&self) -> Packager {
        Packager::new(Arc::clone(&self.broadcast))
    }

    /// The encoder has said what it is called; what it says last counts.
    pub(crate) fn introduced(&self, encoder: EncoderName) {
        self.slot.view.lock().unwrap_or_else(PoisonError::into_inner).encoder = Some(encoder);
    }

    /// Bytes have come.
    pub(crate) fn heard(&self, count: usize) {
        self.slot.heard_ms.store(self.shared.now_ms(), Ordering::Relaxed);
        self.slot.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// When bytes came last, on the registry's clock.
    pub(crate) fn heard_ms(&self) -> u64 {
        self.slot.last_heard_ms()
    }

    /// How long nothing has come.
    pub(crate) fn silence_ms(&self) -> u64 {
        self.shared.now_ms() - self.slot.last_heard_ms()
    }

    /// What the dashboard shows; call it every second or so.
    pub(crate) fn report(&self, tracks: Option<&Tracks>, health: Health) {
        self.slot.view.lock().unwrap_or_else(PoisonError::into_inner).update(tracks, health, Instant::now());
    }

    /// What this connection sends can be broadcast: the stream starts, or goes on.
    pub(crate) fn begin(&mut self, tracks: &Tracks) {
        let mut channels = self.shared.channels();
        let channel = channels.entry(self.channel_id).or_default();
        if !channel.publisher.as_ref().is_some_and(|holder| Arc::ptr_eq(holder, &self.slot)) {
            return;
        }
        self.is_feeding = true;
        channel.let_in_at = Some(timestamp::cut(OffsetDateTime::now_utc()));
        match &mut channel.stream {
            Some(stream) => {
                let until = stream.grace_until.take();
                let lost_at = until.and_then(|until| until.checked_sub(self.shared.settings.grace));
                stream.changed.send_replace(None);
                stream.has_begun = true;
                // Perhaps as before: the write side knows.
                stream.tracks.send_replace(Some(tracks.clone()));
                info!(
                    channel.handle = self.handle, stream.id = %stream.id, peer = %self.slot.peer,
                    away_ms = lost_at.map(|lost_at| lost_at.elapsed().as_millis()),
                    "encoder is back; stream goes on"
                );
            }
            None => {
                let started = StartedStream {
                    stream_id: self.broadcast.stream_id(),
                    channel_id: self.channel_id,
                    video: tracks.video.clone(),
                    audio: tracks.audio.clone(),
                    encoder: self.slot.view().encoder,
                };
                self.shared.begin(channel, started, Arc::clone(&self.broadcast), self.slot.peer);
            }
        }
    }

    /// The encoder of the stream sends something else from now on.
    pub(crate) fn tracks_changed(&self, tracks: &Tracks) {
        let mut channels = self.shared.channels();
        let channel = channels.entry(self.channel_id).or_default();
        let is_ours = channel.publisher.as_ref().is_some_and(|holder| Arc::ptr_eq(holder, &self.slot));
        if let Some(stream) = channel.stream.as_ref().filter(|_| is_ours) {
            stream.tracks.send_replace(Some(tracks.clone()));
        }
    }

    /// Cancelled when the registry sends this publisher away; then [`Seat::kick`] says why.
    pub(crate) fn kicked(&self) -> CancellationToken {
        self.slot.kicked.clone()
    }

    /// Why this publisher is being sent away, if it is.
    pub(crate) fn kick(&self) -> Option<Kick> {
        self.slot.kick.get().cloned()
    }

    /// Keeps what was refused for the dashboard, if it concerns the channel's present publisher.
    pub(crate) fn remember(&self, refused: Refused) -> Refused {
        let refused = refused.of(&self.handle);
        let is_news = self.shared.channels().entry(self.channel_id).or_default().remember(&refused);
        refused.repeated(!is_news)
    }

    /// Gives the seat back.
    pub(crate) fn leave(mut self, how: Leaving) {
        self.give_back(how);
    }

    fn give_back(&mut self, how: Leaving) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let mut channels = self.shared.channels();
        let Some(channel) = channels.get_mut(&self.channel_id) else { return };
        if !channel.vacate(&self.slot, &self.shared.settings) {
            return;
        }
        let told = match self.slot.kick.get() {
            // It may have gone by itself just before it heard of that. All the same its stream must not wait for it.
            Some(Kick::Ended(reason)) => Some(*reason),
            Some(Kick::TakenOver | Kick::Refused(_)) | None => None,
        };
        let reason = match how {
            _ if told.is_some() => told,
            Leaving::Unpublished => Some(EndReason::Unpublished),
            Leaving::Ended(reason) => Some(reason),
            Leaving::Lost | Leaving::Refused if self.shared.stopping.is_cancelled() => Some(EndReason::Shutdown),
            Leaving::Lost | Leaving::Refused => None,
        };
        match (reason, &mut channel.stream) {
            (Some(reason), _) => channel.end(reason),
            (None, Some(stream)) => {
                let is_refused = how == Leaving::Refused;
                if self.is_feeding {
                    // Encoders come back by themselves after a refusal, too. Each time a new stream, with all that
                    // follows from one, would be worse than a pause.
                    stream.ends_as = if is_refused { EndReason::Error } else { EndReason::ConnectionLost };
                }
                info!(
                    channel.handle = self.handle, stream.id = %stream.id, peer = %self.slot.peer,
                    reason = if is_refused { "refused" } else { "connection_lost" }, silent_ms = self.silence_ms(),
                    waits_s = self.shared.settings.grace.as_secs(),
                    "encoder is gone; stream waits for it"
                );
            }
            (None, None) => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_back(Leaving::Lost);
    }
}
