//! Why a publisher is sent away, for its encoder, for the dashboard and for the log.

use std::{borrow::Cow, net::SocketAddr};

use domain::streams::EndReason;
use time::OffsetDateTime;
use tracing::{debug, info};

use super::LastRefusal;
use crate::{packager::MediaRefusal, ports::PublishError};

/// The code of who came beside a live encoder.
const ALREADY_LIVE: &str = "already_live";

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    code: &'static str,
    status_code: &'static str,
    text: Cow<'static, str>,
    /// Whether the same encoder may be welcome in a moment.
    is_passing: bool,
    /// The channel's handle, where the key was known.
    channel: Option<String>,
    /// Whether the log has this line already.
    is_repeated: bool,
}

impl Refused {
    fn new(code: &'static str, status_code: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status_code, text: text.into(), is_passing: false, channel: None, is_repeated: false }
    }

    pub(crate) fn no_key() -> Self {
        const TEXT: &str = "No stream key was given. Copy it from the dashboard into the encoder's stream key field.";
        Self::new("key_missing", "NetStream.Publish.Denied", TEXT)
    }

    pub(crate) fn taken_over() -> Self {
        const TEXT: &str = "Another connection of this channel's encoder has taken over.";
        Self::new("taken_over", "NetStream.Publish.Denied", TEXT)
    }

    pub(crate) fn ended(reason: EndReason) -> Self {
        match reason {
            EndReason::KeyRotated => Self::new(
                "key_rotated",
                "NetStream.Publish.Denied",
                "The stream key was changed. Copy the new one from the dashboard.",
            ),
            EndReason::ChannelClosed => {
                Self::new("channel_closed", "NetStream.Publish.Denied", "This channel was closed.")
            }
            EndReason::AccountSuspended => Self::from(PublishError::OwnerSuspended),
            EndReason::TakenDown => Self::new(
                "taken_down",
                "NetStream.Publish.Denied",
                "This stream was taken down by an administrator of this server.",
            ),
            // Another node was asked to take over, or nobody heard of this one for a while.
            EndReason::Crashed | EndReason::Moved => Self {
                is_passing: true,
                ..Self::new(
                    "ended_elsewhere",
                    "NetStream.Failed",
                    "The server had to end this stream, because its parts lost sight of each other. Please start it again.",
                )
            },
            EndReason::Shutdown => Self {
                is_passing: true,
                ..Self::new("shutdown", "NetStream.Failed", "The server is being restarted. Please try again.")
            },
            _ => Self::new("ended", "NetStream.Publish.Denied", "The stream was ended by the server."),
        }
    }

    pub(crate) fn of(mut self, channel_handle: &str) -> Self {
        self.channel = Some(channel_handle.to_owned());
        self
    }

    pub(crate) fn repeated(mut self, is_repeated: bool) -> Self {
        self.is_repeated = is_repeated;
        self
    }

    /// A stable name for programs and translations.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// The code in `onStatus`.
    pub(crate) fn status_code(&self) -> &'static str {
        self.status_code
    }

    /// For the streamer.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_passing(&self) -> bool {
        self.is_passing
    }

    pub(crate) fn log(&self, peer: SocketAddr) {
        let Self { code, channel, .. } = self;
        if self.is_repeated {
            debug!(channel.handle = channel, %peer, code, "publisher refused again");
        } else {
            info!(channel.handle = channel, %peer, code, "publisher refused");
        }
    }
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        let (code, status_code) = match error {
            PublishError::KeyUnknown => ("key_unknown", "NetStream.Publish.Denied"),
            PublishError::OwnerSuspended => ("account_suspended", "NetStream.Publish.Denied"),
            PublishError::AddressRefused => ("address_not_allowed", "NetStream.Publish.Denied"),
            // What Adobe's server says when the name is taken.
            PublishError::AlreadyLive => (ALREADY_LIVE, "NetStream.Publish.BadName"),
            PublishError::StreamUnknown => ("stream_unknown", "NetStream.Publish.Denied"),
            PublishError::Unavailable => ("unavailable", "NetStream.Failed"),
        };
        Self { is_passing: error == PublishError::Unavailable, ..Self::new(code, status_code, error.to_string()) }
    }
}

impl From<MediaRefusal> for Refused {
    fn from(refusal: MediaRefusal) -> Self {
        Self::new(refusal.code(), "NetStream.Publish.Rejected", refusal.to_string())
    }
}

impl LastRefusal {
    /// Whether it still concerns the streamer at `now`; `let_in_at` is when viewers last began to see an encoder of the
    /// channel.
    ///
    /// Encoders come back by themselves after a refusal, and are refused again some seconds later: what is told only in
    /// between would be seen by nobody.
    pub(super) fn is_news(&self, let_in_at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        const RECENT: time::Duration = time::Duration::minutes(2);
        let is_answered = let_in_at.is_some_and(|let_in_at| let_in_at > self.at) || self.code == ALREADY_LIVE;
        !is_answered || now - self.at < RECENT
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_refusal_is_told_until_another_encoder_was_let_in_for_a_while() {
        let at = datetime!(2026-11-21 10:00 UTC);
        let after = |seconds| at + time::Duration::seconds(seconds);
        let refusal = |code| LastRefusal { code, message: String::new(), at };
        let stopped = refusal("video_stopped");
        assert!(stopped.is_news(None, after(86_400)), "nobody has been let in since");
        assert!(stopped.is_news(Some(after(-60)), after(86_400)), "it had been let in itself");
        assert!(stopped.is_news(Some(after(5)), after(119)), "it may be refused again");
        assert!(!stopped.is_news(Some(after(5)), after(120)));
        let second = refusal(ALREADY_LIVE);
        assert!(second.is_news(Some(after(-60)), after(119)));
        assert!(!second.is_news(Some(after(-60)), after(120)), "the first is live all the while");
    }
}
