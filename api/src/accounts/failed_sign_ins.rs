//! Tells the write side of sign-ins that failed, after they were answered: how long that takes must not tell anybody whether
//! there is such a username.

use std::time::Duration;

use commands::{
    Commands,
    accounts::failed_sign_ins::{self, FailedSignIn},
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

/// How many wait to be told; more are not, which the rate limits keep from happening.
const WAITING: usize = 1_024;
/// How long they wait, so that what telling costs is felt by no answer in particular.
const LATER: Duration = Duration::from_secs(1);

/// Where failed sign-ins are handed in.
pub(crate) struct FailedSignIns(mpsc::Sender<FailedSignIn>);

impl FailedSignIns {
    /// Tells what is handed in, one after the other, until `stopping`; call it within a runtime.
    pub(crate) fn start(commands: Commands, stopping: CancellationToken) -> Self {
        let (sender, mut waiting) = mpsc::channel(WAITING);
        let telling = async move {
            while let Some(first) = waiting.recv().await {
                sleep(LATER).await;
                let mut next = Some(first);
                while let Some(failed) = next {
                    if let Err(error) = failed_sign_ins::note(&commands, failed).await {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "that a sign-in failed is not shown to the owner of the account"
                        );
                    }
                    next = waiting.try_recv().ok();
                }
            }
        };
        tokio::spawn(async move { stopping.run_until_cancelled(telling).await });
        Self(sender)
    }

    /// Hands one in, whether there is such a username or not.
    pub(crate) fn note(&self, failed: FailedSignIn) {
        // Where too many wait, the log of calls has it.
        let _ = self.0.try_send(failed);
    }
}
