//! Tells the write side which renditions a stream has.

use std::{sync::Arc, time::Duration};

use domain::{
    ids::StreamId,
    streams::{Rendition, RenditionsReason},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::ports::{PublishError, Publishing};

/// What does not fit has changed again before it could be stored.
const WAITING: usize = 16;
/// A call that takes longer is given up and made again.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Report {
    renditions: Vec<Rendition>,
    reason: RenditionsReason,
}

impl Report {
    fn names(&self) -> String {
        let names: Vec<_> = self.renditions.iter().map(|rendition| rendition.name.as_str()).collect();
        names.join(" ")
    }
}

/// Where changes are put.
pub(super) struct Reporter {
    stream_id: StreamId,
    last: Option<Report>,
    sender: mpsc::Sender<Report>,
}

/// What stores them.
pub(super) struct Reporting {
    stream_id: StreamId,
    publishing: Arc<dyn Publishing>,
    receiver: mpsc::Receiver<Report>,
}

pub(super) fn reporter(stream_id: StreamId, publishing: Arc<dyn Publishing>) -> (Reporter, Reporting) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Reporter { stream_id, last: None, sender }, Reporting { stream_id, publishing, receiver })
}

impl Reporter {
    /// Reports what there is now, unless that is what was reported last.
    pub(super) fn report(&mut self, renditions: Vec<Rendition>, reason: RenditionsReason) {
        let report = Report { renditions, reason };
        if self.last.as_ref() == Some(&report) {
            return;
        }
        let (names, before) = (report.names(), self.last.as_ref().map(Report::names).unwrap_or_default());
        let are_more = self.last.as_ref().is_some_and(|last| last.renditions.len() < report.renditions.len());
        match reason {
            RenditionsReason::TooSlow | RenditionsReason::FfmpegFailed | RenditionsReason::FfmpegMissing
                if !are_more =>
            {
                warn!(stream.id = %self.stream_id, renditions = names, before, reason = reason.as_str(), "fewer renditions");
            }
            _ => {
                info!(stream.id = %self.stream_id, renditions = names, before, reason = reason.as_str(), "renditions changed");
            }
        }
        self.last = Some(report.clone());
        if self.sender.try_send(report).is_err() {
            debug!(stream.id = %self.stream_id, "a change of renditions is not stored");
        }
    }

    /// Whether these are the ones that were reported last.
    pub(super) fn has_reported(&self, renditions: &[Rendition]) -> bool {
        self.last.as_ref().is_some_and(|last| last.renditions == renditions)
    }
}

impl Reporting {
    /// Stores what is reported, in order, until the reporter is gone.
    pub(super) async fn run(mut self) {
        while let Some(report) = self.receiver.recv().await {
            let mut pause = FIRST_PAUSE;
            loop {
                let Report { renditions, reason } = report.clone();
                let call = self.publishing.renditions_changed(self.stream_id, renditions, reason);
                match timeout(PATIENCE, call).await.unwrap_or(Err(PublishError::Unavailable)) {
                    Ok(()) => break,
                    Err(PublishError::Unavailable) => {
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    Err(error) => {
                        // The stream has ended meanwhile: nobody chooses a size any more.
                        debug!(stream.id = %self.stream_id, %error, "a change of renditions was refused");
                        break;
                    }
                }
            }
        }
    }
}
