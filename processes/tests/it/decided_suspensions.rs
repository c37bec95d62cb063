//! An account is suspended as it was decided of a report, also when whoever decided it was cut off.

use commands::{
    Actor, Commands, Metadata,
    accounts::{
        sessions,
        suspension::{self, Standing},
    },
    reports::{self, FileReport},
};
use domain::reports::{
    DecidedSuspension, Report, ReportAction, ReportCommand, ReportKind, ReportTarget, ReportVerdict,
};
use processes::{Following, reports as decisions};
use tokio::task::JoinHandle;

use crate::{
    people::register,
    stage::{Stage, until},
};

fn follow(commands: &Commands) -> JoinHandle<()> {
    let commands = commands.clone();
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), decisions::run(&commands, &following));
    })
}

#[tokio::test]
async fn a_suspension_that_was_decided_and_not_begun_begins_and_does_not_come_back() {
    let stage = Stage::new().await;
    let commands = &stage.commands;
    let (keeper, mira) = (register(commands, "keeper").await, register(commands, "mira").await);
    let session = sessions::open(commands, mira, "A browser", "::1").await.unwrap();
    let metadata = Metadata::new(Actor::Account(keeper));
    let (target, kind, text) = (ReportTarget::Account { account_id: mira }, ReportKind::Rules, "Look".to_owned());
    let file = FileReport { by: keeper, target, kind, text, at_ms: None, metadata: metadata.clone() };
    let report_id = reports::file(commands, file).await.unwrap().report_id;
    // The event alone, as of somebody who was stopped after it.
    let reason = commands.account_keys().seal(mira, "Two warnings").await.unwrap();
    let decide = ReportCommand::Decide {
        by: keeper,
        verdict: ReportVerdict::Upheld,
        action: ReportAction::SuspendAccount,
        answer: None,
        suspension: Some(DecidedSuspension { owner_id: mira, reason, until: None }),
    };
    let decided = commands.execute::<Report>(&report_id.to_string(), decide, metadata.clone()).await.unwrap().position;
    assert_eq!(suspension::standing(commands, mira).await.unwrap(), Standing::Good);

    let following = follow(commands);
    stage.until_checkpoint("reports", decided).await;
    assert_eq!(suspension::current(commands, mira).await.unwrap().unwrap().reason, "Two warnings");
    until("the end of the session", async || !sessions::is_open(commands, session.session_id).await.unwrap()).await;
    following.abort();
    let _ = following.await;

    // The same event again, after somebody has lifted it.
    suspension::reinstate(commands, mira, keeper, metadata).await.unwrap();
    stage.checkpoint("reports", decided - 1).await;
    let following = follow(commands);
    stage.until_checkpoint("reports", decided).await;
    assert_eq!(suspension::standing(commands, mira).await.unwrap(), Standing::Good);
    following.abort();
}
