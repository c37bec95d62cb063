//! Sending encoders away, until the log says that their stream has ended.

use std::time::Duration;

use commands::{Commands, streams};
use domain::{ids::ChannelId, streams::EndReason};
use tokio::time::{Instant, sleep};

use crate::{Media, following::BoxError};

/// How long an encoder that was sent away has to be gone, and how often it is sent away.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 3;
const LOOKED_EVERY: Duration = Duration::from_millis(50);

/// Sends the channel's encoder away, wherever it is connected, and waits until its stream has ended; whether it has.
pub(crate) async fn send_away(
    commands: &Commands,
    media: &dyn Media,
    channel_id: ChannelId,
    reason: EndReason,
) -> Result<bool, BoxError> {
    for _ in 0..ATTEMPTS {
        media.cut(channel_id, reason).await?;
        let deadline = Instant::now() + PATIENCE;
        while streams::is_live(commands, channel_id).await? {
            if Instant::now() >= deadline {
                break;
            }
            sleep(LOOKED_EVERY).await;
        }
        if !streams::is_live(commands, channel_id).await? {
            return Ok(true);
        }
    }
    // A node that crashed ends its streams when it is back, and its encoder has nobody to talk to until then.
    tracing::warn!(
        channel.id = %channel_id, reason = reason.as_str(),
        "a stream that is to end does not; its node seems to be down"
    );
    Ok(false)
}
