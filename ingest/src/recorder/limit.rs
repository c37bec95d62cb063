//! How large a recording may become.

use std::time::Duration;

use domain::ids::ChannelId;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::CALL;
use crate::ports::Recordings;

/// How long an answer is believed: whoever allows more while the stream is on need not begin it again.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// What a channel's settings allow one recording, as they are now. While the write side is away, as they were.
pub(super) struct SizeLimit<'a> {
    recordings: &'a dyn Recordings,
    channel_id: ChannelId,
    known_bytes: Option<u64>,
    pub(super) believed_for: Duration,
    pub(super) ask_at: Instant,
}

impl<'a> SizeLimit<'a> {
    pub(super) fn new(recordings: &'a dyn Recordings, channel_id: ChannelId) -> Self {
        Self { recordings, channel_id, known_bytes: None, believed_for: BELIEVED_FOR, ask_at: Instant::now() }
    }

    /// Whether a recording may be so large.
    pub(super) async fn allows(&mut self, size_bytes: u64) -> bool {
        if self.ask_at <= Instant::now() {
            match timeout(CALL, self.recordings.size_limit(self.channel_id)).await {
                Ok(Ok(limit)) => self.known_bytes = limit,
                Ok(Err(_)) | Err(_) => debug!(channel.id = %self.channel_id, "nobody says how large recordings may be"),
            }
            self.ask_at = Instant::now() + self.believed_for;
        }
        self.known_bytes.is_none_or(|limit| size_bytes <= limit)
    }
}
