//! What other nodes have to do with streams of this one: an encoder that has come back to another of them wants its channel, and the
//! log may say that a stream has ended.

use std::time::Duration;

use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
};
use tracing::info;

use super::{Channel, Kick, Live, Settings};

/// What an encoder sent before it stopped still comes for a while on a bad line. To refuse it then, when it has just connected again,
/// would make OBS give up for good.
const LAST_WORDS_MS: u64 = 1_000;

/// How long a publisher stays silent beyond what is silence enough: where this process stood still, what came meanwhile is read by
/// then.
const READ_BY_THEN_MS: u64 = 100;

/// How often it is looked whether a publisher has fallen silent.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What becomes of a stream for which another node has an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// It waited for its encoder, and ends now.
    Ending,
    /// Its encoder is connected here, and speaks.
    Taken,
    /// This node does not have it, or no longer.
    Unknown,
}

/// How a channel's seat stands for who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nobody has it.
    Free,
    /// Whoever has it has spoken since.
    Speaks,
    /// Whoever has it has said nothing since, and not for long enough yet.
    Silent,
}

/// Somebody who wants a channel's seat. Times are on the registry's clock.
#[derive(Debug)]
pub(super) struct Candidate {
    since_ms: u64,
    /// When whoever has it was first found silent for long enough.
    silent_ms: Option<u64>,
}

impl Candidate {
    /// From now on.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, silent_ms: None }
    }
}

impl Channel {
    /// How the seat stands at `now_ms`, on the registry's clock, for somebody who wants it. A publisher that has been silent for long
    /// enough is sent away: it is half open, after a network drop.
    pub(super) fn hold(&mut self, candidate: &mut Candidate, now_ms: u64, settings: &Settings) -> Hold {
        let Some(holder) = self.publisher.clone() else { return Hold::Free };
        let heard_ms = holder.last_heard_ms();
        if heard_ms > candidate.since_ms + LAST_WORDS_MS {
            return Hold::Speaks;
        }
        let patience_ms = u64::try_from(settings.takeover_after.as_millis()).unwrap_or(u64::MAX);
        if now_ms.saturating_sub(heard_ms) < patience_ms {
            candidate.silent_ms = None;
        } else if now_ms - *candidate.silent_ms.get_or_insert(now_ms) >= READ_BY_THEN_MS {
            // Its packager is replaced by that of who comes.
            holder.kick(Kick::TakenOver);
            self.vacate(&holder, settings);
        }
        if self.publisher.is_none() { Hold::Free } else { Hold::Silent }
    }
}

impl Live {
    /// Ends a stream that waits for its encoder, since that is at another node; one whose encoder is silent as soon as it would be
    /// taken over here. Answers within that time and a second. Cancel safe.
    pub(crate) async fn let_go(&self, channel_id: ChannelId, stream_id: StreamId) -> LetGo {
        let mut candidate = Candidate::new(self.0.now_ms());
        loop {
            {
                let mut channels = self.0.channels();
                let Some(channel) = channels.get_mut(&channel_id).filter(|channel| channel.has(stream_id)) else {
                    return LetGo::Unknown;
                };
                match channel.hold(&mut candidate, self.0.now_ms(), &self.0.settings) {
                    Hold::Free => {
                        info!(
                            channel.handle = channel.handle, stream.id = %stream_id,
                            "the encoder is at another node; the stream ends here"
                        );
                        channel.end(EndReason::Moved);
                        return LetGo::Ending;
                    }
                    Hold::Speaks => return LetGo::Taken,
                    Hold::Silent => {}
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends a stream that the log says has ended, for what that says. Nothing happens when this node does not have it, or has ended it
    /// itself.
    pub(crate) fn ended_elsewhere(&self, stream_id: StreamId, reason: EndReason) {
        let mut channels = self.0.channels();
        if let Some(channel) = channels.values_mut().find(|channel| channel.has(stream_id)) {
            info!(
                channel.handle = channel.handle, stream.id = %stream_id, reason = reason.as_str(),
                "the log says that the stream has ended"
            );
            channel.send_away(reason);
        }
    }
}
