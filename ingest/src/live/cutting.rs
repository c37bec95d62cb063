//! Ending streams from outside, and what is shown of them after.

use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
};
use tokio::time::Instant;

use super::{Channel, Kick, Live};

impl Live {
    /// Closes the channel's publisher and ends its stream. Where that is because its owner is kept out, what is still shown of
    /// its streams that are over goes, too.
    pub(crate) fn cut(&self, id: ChannelId, reason: EndReason) {
        let mut channels = self.0.channels();
        let channel = channels.entry(id).or_default();
        channel.last_cut = Some(Instant::now());
        if leaves_nothing(reason) {
            let current = channel.stream.as_ref().map(|stream| stream.id);
            self.0.broadcasts.remove_of_channel(id, current);
        }
        channel.send_away(reason);
    }

    /// Sends away whoever publishes with a key that was accepted before the channel had had `version` events, of which the last
    /// replaced the key. Who was admitted since has the new one, however late this is heard. A stream that waits for its encoder goes
    /// on waiting: it comes back with the new key, or not at all.
    pub(crate) fn key_rotated(&self, id: ChannelId, version: i64) {
        let mut channels = self.0.channels();
        let channel = channels.entry(id).or_default();
        channel.last_cut = Some(Instant::now());
        if let Some(publisher) = channel.publisher.as_ref().filter(|publisher| publisher.version < version) {
            publisher.kick(Kick::Ended(EndReason::KeyRotated));
        }
    }

    /// Ends a stream as taken down, or stops showing what is left of it. Nothing happens when this node does not have it.
    pub(crate) fn take_down(&self, stream_id: StreamId) {
        let mut channels = self.0.channels();
        match channels.values_mut().find(|channel| channel.has(stream_id)) {
            Some(channel) => {
                channel.last_cut = Some(Instant::now());
                channel.send_away(EndReason::TakenDown);
            }
            None => self.0.broadcasts.remove(stream_id),
        }
    }

    /// Stops showing what is left of a stream that is over. Nothing happens to one that is live.
    pub(crate) fn withdraw(&self, stream_id: StreamId) {
        let channels = self.0.channels();
        if !channels.values().any(|channel| channel.has(stream_id)) {
            self.0.broadcasts.remove(stream_id);
        }
    }

    /// Sends all publishers away, for their streams to end, and ends the streams that wait for one.
    ///
    /// No publisher is admitted once `stopping` is cancelled, which must be so before.
    pub(crate) fn cut_all(&self) {
        for channel in self.0.channels().values_mut() {
            channel.send_away(EndReason::Shutdown);
        }
    }
}

impl Channel {
    /// Whether this is its stream, which has not ended.
    pub(super) fn has(&self, stream_id: StreamId) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.id == stream_id)
    }

    /// Sends the publisher away, who ends the stream once its last pictures are packaged; ends it where there is none.
    pub(super) fn send_away(&mut self, reason: EndReason) {
        match &self.publisher {
            Some(publisher) => publisher.kick(Kick::Ended(reason)),
            None => self.end(reason),
        }
    }
}

/// Whether nothing of a stream that ends so may be shown for a while after, as of others.
pub(super) fn leaves_nothing(reason: EndReason) -> bool {
    matches!(reason, EndReason::AccountSuspended | EndReason::TakenDown)
}
