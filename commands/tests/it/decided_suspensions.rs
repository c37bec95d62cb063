//! Accounts that are suspended by what was decided of a report.

use commands::{
    CommandError, Commands,
    accounts::{
        self,
        suspension::{self, Standing},
    },
    reports::{self, DecideReport},
};
use domain::{
    accounts::{AccountRefusal, SuspensionRefusal},
    ids::{AccountId, ReportId},
    reports::{DecidedSuspension, Report, ReportAction, ReportCommand, ReportTarget, ReportVerdict},
};
use time::{Duration, OffsetDateTime};

use crate::{
    moderation::{administrator, decide, file, suspend},
    stage::{Stage, metadata, register},
};

async fn person(commands: &Commands, username: &str) -> AccountId {
    accounts::register(commands, register(username)).await.unwrap().account_id
}

async fn reported(commands: &Commands, by: AccountId, account_id: AccountId) -> ReportId {
    reports::file(commands, file(by, ReportTarget::Account { account_id })).await.unwrap().report_id
}

fn until(report_id: ReportId, by: AccountId, until: Option<OffsetDateTime>) -> DecideReport {
    let decide = decide(report_id, by, ReportVerdict::Upheld, ReportAction::SuspendAccount);
    DecideReport { until, ..decide }
}

/// The event alone, as of somebody who was stopped after it.
async fn decided(commands: &Commands, report_id: ReportId, by: AccountId, account_id: AccountId) {
    let reason = commands.account_keys().seal(account_id, "Somebody else's film").await.unwrap();
    let command = ReportCommand::Decide {
        by,
        verdict: ReportVerdict::Upheld,
        action: ReportAction::SuspendAccount,
        answer: None,
        suspension: Some(DecidedSuspension { owner_id: account_id, reason, until: None }),
    };
    commands.execute::<Report>(&report_id.to_string(), command, metadata()).await.unwrap();
}

async fn standing(commands: &Commands, account_id: AccountId) -> Standing {
    suspension::standing(commands, account_id).await.unwrap()
}

async fn suspensions(stage: &Stage) -> usize {
    stage.event_types().await.iter().filter(|name| *name == "account.suspended").count()
}

#[tokio::test]
async fn the_decision_is_in_the_log_before_anybody_is_suspended() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (keeper, mira) = (administrator(&commands).await, person(&commands, "mira").await);
    let report_id = reported(&commands, keeper, mira).await;
    let position = reports::decide(&commands, until(report_id, keeper, None)).await.unwrap();
    let types = stage.event_types().await;
    let place = |name: &str| types.iter().position(|event_type| event_type == name).unwrap();
    assert!(place("report.decided") < place("account.suspended"), "{types:?}");
    assert_eq!(usize::try_from(position).unwrap(), place("account.suspended") + 1, "what is answered shows both");
    let told = suspension::current(&commands, mira).await.unwrap().unwrap();
    assert_eq!(told.reason, "Somebody else's film");
    let actor: String =
        sqlx::query_scalar("select metadata->>'actor' from log.events where event_type = 'account.suspended'")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(actor, format!("account:{keeper}"));
}

#[tokio::test]
async fn a_decision_that_was_cut_off_is_carried_out_once() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let (keeper, mira) = (administrator(&commands).await, person(&commands, "mira").await);
    let report_id = reported(&commands, keeper, mira).await;
    assert_eq!(reports::carry_out_suspension(&commands, report_id).await.unwrap(), 0, "nobody has decided");
    decided(&commands, report_id, keeper, mira).await;
    assert_eq!(standing(&commands, mira).await, Standing::Good);
    let both = tokio::join!(
        reports::carry_out_suspension(&commands, report_id),
        reports::carry_out_suspension(&other, report_id)
    );
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert_eq!((standing(&other, mira).await, suspensions(&stage).await), (Standing::Suspended, 1));
    // An administrator may have changed their mind before the process comes to the decision.
    suspension::reinstate(&commands, mira, keeper, metadata()).await.unwrap();
    assert_eq!(reports::carry_out_suspension(&other, report_id).await.unwrap(), 0);
    assert_eq!((standing(&commands, mira).await, suspensions(&stage).await), (Standing::Good, 1));
}

#[tokio::test]
async fn what_was_shortened_by_hand_after_the_decision_stays_so() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (keeper, mira) = (administrator(&commands).await, person(&commands, "mira").await);
    let report_id = reported(&commands, keeper, mira).await;
    reports::decide(&commands, until(report_id, keeper, None)).await.unwrap();
    let week = domain::timestamp::cut(OffsetDateTime::now_utc() + Duration::days(7));
    suspension::suspend(&commands, suspend(mira, keeper, Some(week))).await.unwrap();
    assert_eq!(reports::carry_out_suspension(&commands, report_id).await.unwrap(), 0);
    assert_eq!(suspension::current(&commands, mira).await.unwrap().unwrap().until, Some(week));
}

#[tokio::test]
async fn a_decision_makes_a_suspension_longer_and_never_shorter() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (keeper, mira) = (administrator(&commands).await, person(&commands, "mira").await);
    let in_days = |days| Some(domain::timestamp::cut(OffsetDateTime::now_utc() + Duration::days(days)));
    let (day, week, month) = (in_days(1), in_days(7), in_days(30));
    suspension::suspend(&commands, suspend(mira, keeper, week)).await.unwrap();
    let now = async || {
        let current = suspension::current(&commands, mira).await.unwrap().unwrap();
        (current.reason, current.until)
    };
    let mut held = ("Two warnings", week);
    for (wanted, is_longer) in [(day, false), (week, false), (month, true), (None, true), (month, false), (None, false)]
    {
        let report_id = reported(&commands, keeper, mira).await;
        reports::decide(&commands, until(report_id, keeper, wanted)).await.unwrap();
        if is_longer {
            held = ("Somebody else's film", wanted);
        }
        assert_eq!(now().await, (held.0.to_owned(), held.1), "{wanted:?}");
    }
    // What ended nothing is not begun later: the last decision for good found one that lasts as long.
    suspension::reinstate(&commands, mira, keeper, metadata()).await.unwrap();
    let all: Vec<String> =
        sqlx::query_scalar("select aggregate_id from log.events where event_type = 'report.decided'")
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    for report_id in all {
        reports::carry_out_suspension(&commands, report_id.parse().unwrap()).await.unwrap();
    }
    assert_eq!(standing(&commands, mira).await, Standing::Good);
}

#[tokio::test]
async fn who_cannot_be_suspended_any_more_is_not() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (keeper, mira) = (administrator(&commands).await, person(&commands, "mira").await);
    let refusal = async |report_id| match reports::carry_out_suspension(&commands, report_id).await {
        Err(CommandError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    // Written by somebody else's hand: the command refuses it.
    let of_keeper = reported(&commands, mira, keeper).await;
    decided(&commands, of_keeper, mira, keeper).await;
    assert_eq!(refusal(of_keeper).await, AccountRefusal::Suspension(SuspensionRefusal::LastAdministrator));
    let of_mira = reported(&commands, keeper, mira).await;
    decided(&commands, of_mira, keeper, mira).await;
    let erase = accounts::Erase { account_id: mira, by: None, even_administrator: false, metadata: metadata() };
    accounts::erase(&commands, erase).await.unwrap();
    assert_eq!(refusal(of_mira).await, AccountRefusal::Unknown);
}
