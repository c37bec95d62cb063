//! Mails about what somebody else may have done to an account.

use domain::{
    accounts::{Account, AccountCommand, SuspensionCommand},
    ids::SecretId,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;

async fn happen(commands: &Commands, account_id: AccountId, command: AccountCommand) {
    let metadata = Metadata::new(Actor::Account(account_id));
    commands.execute::<Account>(&account_id.to_string(), command, metadata).await.unwrap();
}

#[tokio::test]
async fn an_owner_is_told_of_what_somebody_else_may_have_done() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let commands = &stage.commands;
    let node = node(commands, options(smtp(server.port)));
    let mira = newcomer(commands, "mira", "mira@example.org", Language::En).await;
    confirm(commands, mira, &code_of(&server.mails(1).await[0].text)).await;
    // Whoever has confirmed no address is written to about nothing.
    let noor = register(commands, "noor", "noor@example.org").await;

    for who in [noor, mira] {
        happen(commands, who, AccountCommand::EnableSecondFactor { seed: SecretId::from(Uuid::now_v7()) }).await;
        happen(commands, who, AccountCommand::UseRecoveryCode { left: 9 }).await;
    }
    let used = server.mails(2).await.pop().unwrap();
    assert_eq!(used.header("subject"), "A recovery code was used at weir.example.org");
    assert!(used.text.contains(&format!("{URL}/reset-password")), "{}", used.text);
    happen(commands, noor, AccountCommand::DisableSecondFactor).await;
    happen(commands, mira, AccountCommand::DisableSecondFactor).await;
    let off = server.mails(3).await.pop().unwrap();
    assert_eq!(off.header("subject"), "Signing in at weir.example.org takes no code any more");
    let due_at = OffsetDateTime::now_utc() + Duration::from_secs(86_400);
    happen(commands, noor, AccountCommand::RequestErasure { due_at }).await;
    happen(commands, mira, AccountCommand::RequestErasure { due_at }).await;
    let leaving = server.mails(4).await.pop().unwrap();
    assert_eq!(leaving.header("subject"), "Your account at weir.example.org is to be deleted");
    for part in [&leaving.text, &leaving.html] {
        assert!(part.contains("mira") && part.contains(&format!("{URL}/sign-in")), "{part}");
    }
    for who in [noor, mira] {
        let reason = commands.account_keys().seal(who, "Two warnings").await.unwrap();
        let suspend = SuspensionCommand::Suspend { by: None, reason, until: None };
        happen(commands, who, AccountCommand::Suspension(suspend)).await;
    }
    let suspended = server.mails(5).await.pop().unwrap();
    assert_eq!(suspended.header("subject"), "Your account at weir.example.org was suspended");
    for part in [&suspended.text, &suspended.html] {
        assert!(part.contains(&format!("{URL}/sign-in")) && part.contains("a copy of your data"), "{part}");
        assert!(!part.contains("Two warnings"), "why is told to who has the password: {part}");
    }
    until("the notes", async || outcome(&stage, "sent").await == 5).await;
    until("those to nobody", async || outcome(&stage, "dropped").await == 4).await;
    assert!(server.kept().iter().all(|mail| mail.header("to") == "mira@example.org"));
    crash(node).await;
}

#[tokio::test]
async fn nobody_is_written_to_about_a_suspension_that_is_over() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let commands = &stage.commands;
    let first = node(commands, options(smtp(server.port)));
    let mira = newcomer(commands, "mira", "mira@example.org", Language::En).await;
    confirm(commands, mira, &code_of(&server.mails(1).await[0].text)).await;
    until("the note", async || outcome(&stage, "sent").await == 1).await;
    crash(first).await;
    let reason = commands.account_keys().seal(mira, "Two warnings").await.unwrap();
    let suspend = SuspensionCommand::Suspend { by: None, reason, until: None };
    happen(commands, mira, AccountCommand::Suspension(suspend)).await;
    happen(commands, mira, AccountCommand::Suspension(SuspensionCommand::Reinstate { by: None })).await;
    let second = node(commands, options(smtp(server.port)));
    until("nothing is sent", async || outcome(&stage, "dropped").await == 1).await;
    crash(second).await;
    assert_eq!(server.kept().len(), 1);
}
