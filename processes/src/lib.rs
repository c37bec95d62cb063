//! What follows the log, or the clock, and acts: events or time in, commands or effects out.
//!
//! To add a process: a module of the capability's name with a `run` that goes on for ever, and a line in [`run`]. Several
//! nodes may run it at once, so it does its work under a `Leadership`, or in a way that bears being done twice. What acts
//! on events is a [`Handler`] that [`Following::follow`] calls.

pub mod avatars;
pub mod due_erasures;
pub mod erasure;
pub mod exports;
pub mod following;
pub mod housekeeping;
mod leadership;
pub mod mail;
pub mod nodes;
pub mod personal_exports;
pub mod pictures;
pub mod recordings;
pub mod reports;
pub mod sign_outs;
pub mod suspension;

use std::{sync::Arc, time::Duration};

use commands::Commands;
use tokio_util::sync::CancellationToken;

pub use exports::ExportsOptions;
pub use following::{Begin, Followed, Following, Handler, Process, Troubles};
pub use mail::MailOptions;
pub use nodes::{NodesOptions, OtherNodes, StreamElsewhere};
pub use pictures::Pictures;
pub use recordings::RecordingsOptions;

/// Runs every process until `cancel` is cancelled; what is under way then is left, and done by the next. `exports` says
/// where and how exports are written, `recordings` how they are kept, `nodes` when one is gone, `mail` how mails are sent, `addresses_kept` for how long addresses and user agents are, `pictures` is where those of streams are, and `troubles` is told of what does not get on.
///
/// # Panics
/// When a process does: it goes on for ever, and its bug must not be passed over in silence.
#[expect(clippy::too_many_arguments, reason = "each is of some processes alone")]
pub async fn run(
    commands: Commands,
    exports: ExportsOptions,
    recordings: RecordingsOptions,
    nodes: NodesOptions,
    mail: MailOptions,
    addresses_kept: Duration,
    pictures: Arc<dyn Pictures>,
    troubles: Troubles,
    cancel: CancellationToken,
) {
    let following = Following::new(&commands).telling(troubles);
    let all = async {
        tokio::join!(
            following.listen(),
            erasure::run(&commands, &following),
            avatars::run(&commands, &following, &exports.storage),
            due_erasures::run(&commands, &following),
            exports::run(&commands, &following, &exports),
            mail::run(&commands, &following, &mail),
            nodes::run(&commands, &nodes),
            personal_exports::run(&commands, &following, &exports),
            pictures::run(&commands, &following, &pictures),
            recordings::run(&commands, &following, &recordings),
            reports::run(&commands, &following),
            sign_outs::run(&commands, &following),
            suspension::run(&commands, &following),
            housekeeping::run(commands.clone(), housekeeping::EVERY, addresses_kept),
        );
    };
    cancel.run_until_cancelled(Box::pin(all)).await;
}
