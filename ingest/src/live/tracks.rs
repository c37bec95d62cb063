//! Tells the write side what a stream's encoder sends, whenever that is something else than before.

use std::{sync::Arc, time::Duration};

use domain::ids::StreamId;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info};

use super::{Pause, Shared};
use crate::{packager::Tracks, ports::PublishError};

/// An encoder that changes its mind all the time fills no log.
const AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// What an encoder sends; `None` as long as it is what the stream began with.
pub(super) type Sent = Option<Tracks>;

impl Shared {
    /// Reports what is put into `tracks`, the latest always, until the stream is over.
    pub(super) async fn report_tracks(self: Arc<Self>, stream_id: StreamId, mut tracks: watch::Receiver<Sent>) {
        while tracks.changed().await.is_ok() {
            let mut pause = Pause::new();
            loop {
                let Some(Tracks { video, audio }) = tracks.borrow_and_update().clone() else { break };
                let codec = video.as_ref().map(|video| video.codec.clone());
                let call = self.publishing.tracks_changed(stream_id, video, audio);
                match timeout(self.settings.patience.call, call).await.unwrap_or(Err(PublishError::Unavailable)) {
                    Ok(()) => {
                        info!(stream.id = %stream_id, video = codec, "the encoder sends something else");
                        break;
                    }
                    Err(PublishError::Unavailable) => {}
                    Err(error) => {
                        // The stream has ended meanwhile.
                        debug!(stream.id = %stream_id, %error, "a change of tracks was refused");
                        break;
                    }
                }
                if self.abandoned.run_until_cancelled(pause.wait()).await.is_none() {
                    return;
                }
            }
            self.stopping.run_until_cancelled(sleep(AT_MOST_EVERY)).await;
        }
    }
}
