//! The encoder of the settings, and the processor in its place for as long as that does not start.
//!
//! Hardware goes away while streams are on: a driver is updated, a device is unplugged, a card takes no more streams. Of
//! what is left the processor makes what the budget has room for. Whether the encoder works again is seen by having one
//! picture made by it beside what runs, which no viewer notices.

use std::{io, os::fd::OwnedFd, slice};

use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::unix::pipe::Receiver,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info};

use super::{
    Encoder, LadderConfig, LadderReason, Rung,
    backoff::Backoff,
    command::{self, Running},
    cost::SourcePicture,
    session::{SessionError, listen},
};
use crate::packager::{Broadcast, KeyFrame};

static PROCESSOR: Encoder = Encoder::Libx264;

#[derive(Debug)]
pub(super) struct Fallback<'a> {
    config: &'a LadderConfig,
    backoff: Backoff,
    is_taken: bool,
}

impl<'a> Fallback<'a> {
    pub(super) fn new(config: &'a LadderConfig) -> Self {
        Self { config, backoff: Backoff::new(&config.pace), is_taken: false }
    }

    /// What encodes at present.
    pub(super) fn encoder(&self) -> &'a Encoder {
        if self.is_taken { &PROCESSOR } else { &self.config.encoder }
    }

    /// The rungs as what encodes takes them: the presets of the settings are those of their encoder.
    pub(super) fn adapt(&self, mut rungs: Vec<Rung>) -> Vec<Rung> {
        if self.is_taken {
            rungs.iter_mut().for_each(|rung| rung.preset = None);
        }
        rungs
    }

    /// What is to be said of it, while it is not the one of the settings.
    pub(super) fn remark(&self) -> Option<LadderReason> {
        self.is_taken.then(|| self.config.encoder.failure()).flatten()
    }

    /// The encoder did not start; whether there is another from now on.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.is_taken || self.config.encoder == Encoder::Libx264 {
            return false;
        }
        self.backoff.failed(now);
        self.is_taken = true;
        true
    }

    /// Waits until the encoder of the settings works again, for what is made of this source; from then on it encodes. It
    /// waits for ever where it is the one that encodes. Cancel safe.
    pub(super) async fn is_over(&mut self, broadcast: &Broadcast, source: &SourcePicture, rung: Option<&Rung>) {
        let (Some(rung), true) = (rung, self.is_taken) else { return std::future::pending().await };
        while let Some(again_at) = self.backoff.again_at() {
            sleep_until(again_at).await;
            let Some(key_frame) = broadcast.latest_key_frame() else { break };
            let tried = encode(self.config, key_frame, source, rung).await;
            self.backoff.tried(Instant::now());
            let encoder = self.config.encoder.name();
            match tried {
                Ok(()) => {
                    info!(stream.id = %broadcast.stream_id(), encoder, "the encoder of the settings works again");
                    self.is_taken = false;
                    return;
                }
                Err(error) => {
                    self.backoff.failed(Instant::now());
                    let error = &error as &dyn std::error::Error;
                    debug!(stream.id = %broadcast.stream_id(), encoder, error, "the encoder does not work yet");
                }
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Makes one picture with the encoder of the settings, as it would make all of them.
async fn encode(
    config: &LadderConfig,
    key_frame: KeyFrame,
    source: &SourcePicture,
    rung: &Rung,
) -> Result<(), SessionError> {
    let rungs = slice::from_ref(rung);
    let Running { mut child, outputs } =
        command::start(config, &config.encoder, source, rungs).map_err(SessionError::Start)?;
    let (Some(mut stdin), Some(stderr)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(SessionError::Start(io::ErrorKind::BrokenPipe.into()));
    };
    let feed = async move {
        // One that does not want it says why.
        let _ = stdin.write_all(&key_frame.init).await;
        let _ = stdin.write_all(&key_frame.fragment).await;
    };
    let drain = async {
        for output in outputs {
            if let Ok(mut output) = Receiver::from_owned_fd(OwnedFd::from(output)) {
                let _ = copy(&mut output, &mut sink()).await;
            }
        }
    };
    let ended = async { tokio::join!(feed, drain, listen(stderr), child.wait()) };
    let patience = config.pace.silent_for;
    let Ok(((), (), said, status)) = timeout(patience, ended).await else { return Err(SessionError::Silent(patience)) };
    match status.map_err(SessionError::Start)? {
        status if status.success() => Ok(()),
        status => Err(SessionError::Exited(format!("{status} {said}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_takes_over_once_and_from_nobody_but_others() {
        let now = Instant::now();
        let mut config = LadderConfig { encoder: Encoder::H264Nvenc, ..LadderConfig::default() };
        config.rungs[0].preset = Some("p7".to_owned());
        let mut fallback = Fallback::new(&config);
        assert_eq!((fallback.encoder(), fallback.remark()), (&Encoder::H264Nvenc, None));
        assert_eq!(fallback.adapt(config.rungs.clone()), config.rungs);
        assert!(fallback.take(now));
        assert_eq!((fallback.encoder(), fallback.remark()), (&Encoder::Libx264, Some(LadderReason::NvencFailed)));
        assert!(fallback.adapt(config.rungs.clone()).iter().all(|rung| rung.preset.is_none()));
        assert!(!fallback.take(now));
        config.encoder = Encoder::Libx264;
        let mut fallback = Fallback::new(&config);
        assert!(!fallback.take(now));
        assert_eq!(fallback.remark(), None);
    }
}
