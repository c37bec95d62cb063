//! The task of one stream: it reports the start, waits for the end, reports that, and clears up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
};
use time::OffsetDateTime;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use super::{
    Channel, Current, Ending, Kick, Live, Pause, Refused, Shared, cutting::leaves_nothing, numbers, tracks::Sent,
};
use crate::{
    packager::Broadcast,
    ports::{OpenStream, PublishError, StartedStream},
};

/// A channel's turn to report, see [`Channel`].
type Turn = tokio::sync::OwnedMutexGuard<()>;

/// What a stream's task holds on to.
struct Life {
    shared: Arc<Shared>,
    channel_id: ChannelId,
    stream_id: StreamId,
    broadcast: Arc<Broadcast>,
    started_at: OffsetDateTime,
    changed: watch::Receiver<Option<Instant>>,
    end: oneshot::Receiver<Ending>,
    tracks: watch::Receiver<Sent>,
}

impl Shared {
    /// Starts a stream: puts it into the table and lets its task report it.
    pub(super) fn begin(
        self: &Arc<Self>,
        channel: &mut Channel,
        started: StartedStream,
        broadcast: Arc<Broadcast>,
        peer: SocketAddr,
    ) {
        let (mut current, life) = self.stream(started.channel_id, Arc::clone(&broadcast), OffsetDateTime::now_utc());
        current.has_begun = true;
        channel.stream = Some(current);
        let handle = channel.handle.clone();
        let turn = Arc::clone(&channel.turn);
        self.tasks.spawn(async move {
            if let Some(turn) = life.start(started, turn, &handle, peer).await {
                life.live(turn).await;
            }
        });
    }

    fn stream(
        self: &Arc<Self>,
        channel_id: ChannelId,
        broadcast: Arc<Broadcast>,
        started_at: OffsetDateTime,
    ) -> (Current, Life) {
        let (changed, watched) = watch::channel(None);
        let (end, ended) = oneshot::channel();
        let (tracks, sent) = watch::channel(None);
        let stream_id = broadcast.stream_id();
        let current = Current {
            id: stream_id,
            broadcast: Arc::clone(&broadcast),
            is_started: false,
            has_begun: false,
            grace_until: None,
            ends_as: EndReason::ConnectionLost,
            changed,
            end,
            tracks,
            received_bytes: 0,
        };
        let shared = Arc::clone(self);
        let life =
            Life { shared, channel_id, stream_id, broadcast, started_at, changed: watched, end: ended, tracks: sent };
        (current, life)
    }

    /// Reports an end until the write side accepts it or the shutdown has waited long enough.
    async fn report_end(&self, stream_id: StreamId, reason: EndReason) -> Result<(), PublishError> {
        self.unstored.begin(stream_id, reason);
        let answer = self.report_end_on(stream_id, reason).await;
        self.unstored.finish(stream_id);
        answer
    }

    async fn report_end_on(&self, stream_id: StreamId, reason: EndReason) -> Result<(), PublishError> {
        let mut pause = Pause::new();
        let mut has_warned = false;
        loop {
            let call = self.publishing.stream_ended(stream_id, reason);
            let answer = timeout(self.settings.patience.call, call).await.unwrap_or(Err(PublishError::Unavailable));
            match answer {
                Err(PublishError::Unavailable) => {}
                other => return other,
            }
            if !std::mem::replace(&mut has_warned, true) {
                warn!(stream.id = %stream_id, "the end of a stream cannot be stored yet; trying on");
            }
            tokio::select! {
                biased;
                () = self.abandoned.cancelled() => return Err(PublishError::Unavailable),
                () = pause.wait() => {}
            }
        }
    }
}

impl Life {
    /// Reports the start and shows the broadcast; `None` when the write side said no.
    async fn start(
        &self,
        started: StartedStream,
        turn: Arc<tokio::sync::Mutex<()>>,
        handle: &str,
        peer: SocketAddr,
    ) -> Option<Turn> {
        let shared = &self.shared;
        let StartedStream { video, audio, .. } = started.clone();
        let deadline = Instant::now() + shared.settings.patience.publish;
        // While the end of the channel's last stream waits for the write side, there is no use in asking.
        let turn = timeout_at(deadline, turn.lock_owned()).await.ok();
        let answer = match turn {
            Some(_) => self.report_start(started, deadline).await,
            None => Err(PublishError::Unavailable),
        };
        let mut channels = shared.channels();
        let channel = channels.entry(self.channel_id).or_default();
        let is_current = channel.stream.as_ref().is_some_and(|stream| stream.id == self.stream_id);
        let Err(error) = answer else {
            if is_current {
                if let Some(stream) = &mut channel.stream {
                    stream.is_started = true;
                }
                shared.show(self.channel_id, &self.broadcast);
                shared.record(self.channel_id, &self.broadcast, None);
            }
            info!(
                channel.handle = handle, stream.id = %self.stream_id, %peer,
                video = video.as_ref().map(|video| &video.codec), width = video.as_ref().map(|video| video.width),
                height = video.as_ref().map(|video| video.height),
                audio = audio.map(|audio| audio.codec), "stream live"
            );
            return turn;
        };

        // The publisher is told; it keeps the refusal for the dashboard and the log.
        if is_current {
            channel.stream = None;
            if let Some(publisher) = &channel.publisher {
                publisher.kick(Kick::Refused(Refused::from(error)));
            }
        }
        self.broadcast.end();
        if error == PublishError::Unavailable && turn.is_some() {
            // It may have been stored all the same, and would then stay open for ever.
            let (shared, stream_id) = (Arc::clone(shared), self.stream_id);
            self.shared.tasks.spawn(async move {
                let answer = shared.report_end(stream_id, EndReason::Error).await;
                debug!(stream.id = %stream_id, ?answer, "a start of unknown outcome was undone");
                drop(turn);
            });
        }
        None
    }

    async fn report_start(&self, started: StartedStream, deadline: Instant) -> Result<(), PublishError> {
        let shared = &self.shared;
        let mut pause = Pause::new();
        loop {
            let call = shared.publishing.stream_started(started.clone());
            let answer = timeout(shared.settings.patience.call, call).await.unwrap_or(Err(PublishError::Unavailable));
            let is_final = answer != Err(PublishError::Unavailable) || shared.stopping.is_cancelled();
            if is_final || Instant::now() >= deadline {
                return answer;
            }
            pause.wait().await;
        }
    }

    /// From the start to the end and what comes after.
    async fn live(mut self, turn: Turn) {
        let reporting = Arc::clone(&self.shared).report_tracks(self.stream_id, self.tracks.clone());
        self.shared.tasks.spawn(reporting);
        let ending = self.wait_for_end().await;
        let ended = Instant::now();
        // Before anybody sees that it is over: nobody is to think that it is known.
        self.shared.unstored.begin(self.stream_id, ending.reason);
        self.broadcast.end();
        // There is nothing to see in it, or nothing that may be seen: not even until the write side has taken the end.
        let lingers = ending.has_begun && !leaves_nothing(ending.reason);
        if !lingers {
            self.shared.broadcasts.remove(self.stream_id);
        }
        let answer = self.shared.report_end(self.stream_id, ending.reason).await;
        drop(turn);
        let handle =
            self.shared.channels().get(&self.channel_id).map(|channel| channel.handle.clone()).unwrap_or_default();
        let duration = (OffsetDateTime::now_utc() - self.started_at - ended.elapsed()).unsigned_abs();
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bitrate_kbps = (ending.received_bytes * 8).checked_div(duration_ms);
        let reason = ending.reason.as_str();
        match answer {
            Ok(()) => info!(
                channel.handle = handle, stream.id = %self.stream_id, reason, duration_ms, bitrate_kbps,
                "stream ended"
            ),
            Err(error) => warn!(
                channel.handle = handle, stream.id = %self.stream_id, reason, duration_ms, bitrate_kbps,
                %error, "stream ended, which could not be stored"
            ),
        }
        if !lingers {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(ended + self.shared.settings.linger) => {
                self.shared.broadcasts.remove(self.stream_id);
            }
            // Who watches may still learn that it has ended, for as long as the router serves.
            () = self.shared.stopping.cancelled() => {}
        }
    }

    async fn wait_for_end(&mut self) -> Ending {
        loop {
            let grace_until = *self.changed.borrow_and_update();
            let grace = async {
                match grace_until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Ok(ending) = &mut self.end => return ending,
                Ok(()) = self.changed.changed() => {}
                () = grace => {
                    if !self.give_up() {
                        // The encoder is connected again and will change the grace time, with a key frame or by
                        // leaving.
                        tokio::select! {
                            biased;
                            Ok(ending) = &mut self.end => return ending,
                            Ok(()) = self.changed.changed() => {}
                            else => {}
                        }
                    }
                }
            }
        }
    }

    /// Ends the stream because its encoder has not come back; false when there is one.
    fn give_up(&self) -> bool {
        let mut channels = self.shared.channels();
        let Some(channel) = channels.get_mut(&self.channel_id) else { return false };
        let Some(stream) = &channel.stream else { return false };
        if stream.id != self.stream_id || stream.grace_until.is_none() || channel.publisher.is_some() {
            return false;
        }
        let reason = stream.ends_as;
        channel.end(reason);
        true
    }
}

impl Live {
    /// Asks for the streams that a crash of this node left open, until the write side answers, and lets each wait for
    /// its encoder. Nobody is admitted before.
    pub(crate) async fn recover(&self) {
        let shared = &self.0;
        let mut pause = Pause::new();
        let open = loop {
            let call = shared.publishing.open_streams();
            match timeout(shared.settings.patience.call, call).await.unwrap_or(Err(PublishError::Unavailable)) {
                Ok(open) => break open,
                Err(error) => debug!(%error, "the open streams of this node are not known yet"),
            }
            tokio::select! {
                () = shared.stopping.cancelled() => return,
                () = pause.wait() => {}
            }
        };
        let grace = shared.settings.grace;
        let mut begun = shared.settings.recorder.open(&shared.stopping).await;
        {
            let mut channels = shared.channels();
            for OpenStream { stream_id, channel_id, started_at } in open {
                let channel = channels.entry(channel_id).or_default();
                let config = shared.settings.packager.clone();
                let lasted = OffsetDateTime::now_utc() - started_at;
                let numbers = numbers::after_a_crash(lasted, shared.broadcasts.left_of(stream_id));
                let broadcast = Broadcast::new(stream_id, config, numbers);
                // Players that come back meanwhile wait for it instead of finding nothing.
                shared.show(channel_id, &broadcast);
                if let Some(place) = begun.iter().position(|begun| begun.stream_id == stream_id) {
                    shared.record(channel_id, &broadcast, Some(begun.swap_remove(place)));
                }
                let (mut current, life) = shared.stream(channel_id, broadcast, started_at);
                let until = Instant::now() + grace;
                current.is_started = true;
                current.grace_until = Some(until);
                current.ends_as = EndReason::Crashed;
                current.changed.send_replace(Some(until));
                // There is one a channel; were there more, the others would have to end.
                channel.end(EndReason::Crashed);
                channel.stream = Some(current);
                let turn = Arc::clone(&channel.turn);
                info!(stream.id = %stream_id, channel.id = %channel_id, grace_ms = millis(grace), "stream found open");
                shared.tasks.spawn(async move { life.live(turn.lock_owned().await).await });
            }
        }
        for begun in begun {
            shared.finish_recording(begun);
        }
        let mending = shared.settings.recorder.clone().mend(shared.storage.clone(), shared.recorder_ends());
        shared.tasks.spawn(mending);
        shared.recovered.send_replace(true);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
