//! What follows the log, or the clock, and acts: events or time in, commands or effects out.
//!
//! To add a process: a module of the capability's name with a `run` that goes on for ever, and a line in [`run`]. Several
//! nodes may run it at once, so it does its work under a `Leadership`, or in a way that bears being done twice. What acts
//! on events is a [`Handler`] that [`Following::follow`] calls.

pub mod erasure;
pub mod exports;
pub mod following;
pub mod housekeeping;
mod leadership;
pub mod recordings;

use std::sync::Arc;

use commands::Commands;
use tokio_util::sync::CancellationToken;

pub use erasure::Media;
pub use exports::ExportsOptions;
pub use following::{Begin, Followed, Following, Handler, Process};
pub use recordings::RecordingsOptions;

/// Runs every process until `cancel` is cancelled; what is under way then is left, and done by the next. `exports` says
/// where and how exports are written, `recordings` how they are kept, `media` is how encoders are sent away.
///
/// # Panics
/// When a process does: it goes on for ever, and its bug must not be passed over in silence.
pub async fn run(
    commands: Commands,
    exports: ExportsOptions,
    recordings: RecordingsOptions,
    media: Arc<dyn Media>,
    cancel: CancellationToken,
) {
    let following = Following::new(&commands);
    let all = async {
        tokio::join!(
            following.listen(),
            erasure::run(&commands, &following, &media),
            exports::run(&commands, &following, &exports),
            recordings::run(&commands, &following, &recordings),
            housekeeping::run(commands.clone(), housekeeping::EVERY),
        );
    };
    cancel.run_until_cancelled(Box::pin(all)).await;
}
