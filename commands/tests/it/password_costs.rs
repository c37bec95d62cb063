//! What the hash of a password costs, and that older ones do not stay behind.

use commands::{
    CommandError, Commands, CommandsOptions,
    accounts::{self, CredentialsWrong, PasswordCost, Register},
};
use zeroize::Zeroizing;

use crate::stage::{Stage, metadata};

const PASSWORD: &str = "a river runs uphill";

async fn at_cost(stage: &Stage, memory_mib: u32, passes: u32) -> Commands {
    let password_cost = PasswordCost::new(memory_mib, passes).unwrap();
    stage.commands_with(CommandsOptions { password_cost, ..CommandsOptions::default() }).await
}

/// What is kept of passwords, sealed: the same bytes until a hash is put there.
async fn kept(stage: &Stage) -> Vec<(uuid::Uuid, Vec<u8>)> {
    sqlx::query_as("select id, sealed from log.vault where kind = 'password' order by id")
        .fetch_all(&stage.pool)
        .await
        .unwrap()
}

async fn sign_in(commands: &Commands, password: &str) -> bool {
    match accounts::verify(commands, "mira", password).await {
        Ok(_) => true,
        Err(CommandError::Refused(CredentialsWrong)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_hash_of_lower_cost_is_made_anew_at_sign_in() {
    let stage = Stage::new().await;
    let before = stage.commands().await;
    let register = Register {
        username: "mira".to_owned(),
        email: "mira@example.org".to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
        setup_token: None,
        metadata: metadata(),
    };
    accounts::register(&before, register).await.unwrap();
    let first = kept(&stage).await;
    assert_eq!(first.len(), 1);
    // At the cost that it was made with nothing has to be done.
    assert!(sign_in(&before, PASSWORD).await);
    assert_eq!(kept(&stage).await, first);

    let now = at_cost(&stage, 20, 3).await;
    assert!(!sign_in(&now, "a wrong password").await);
    assert_eq!(kept(&stage).await, first, "who does not know the password changes nothing");
    let events = stage.event_types().await;
    assert!(sign_in(&now, PASSWORD).await);
    let renewed = kept(&stage).await;
    assert_eq!(renewed[0].0, first[0].0, "events refer to it as before");
    assert_ne!(renewed[0].1, first[0].1);
    assert_eq!(stage.event_types().await, events, "the password is the same");

    assert!(sign_in(&now, PASSWORD).await && !sign_in(&now, "a wrong password").await);
    // Nor is it made anew again, by nodes with either settings.
    assert!(sign_in(&before, PASSWORD).await && !sign_in(&before, "a wrong password").await);
    assert_eq!(kept(&stage).await, renewed);
    // Other nodes, which have the account in memory, and new ones.
    assert!(sign_in(&at_cost(&stage, 20, 2).await, PASSWORD).await);
    assert_eq!(kept(&stage).await, renewed);
}

#[tokio::test]
async fn a_password_that_is_changed_meanwhile_is_not_overwritten() {
    let stage = Stage::new().await;
    let (before, now) = (stage.commands().await, at_cost(&stage, 20, 2).await);
    let register = Register {
        username: "mira".to_owned(),
        email: "mira@example.org".to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
        setup_token: None,
        metadata: metadata(),
    };
    let account_id = accounts::register(&before, register).await.unwrap().account_id;
    // Both at once: whichever is first, the new password is the one that is good afterwards.
    let changing = accounts::change_password(&before, account_id, "another river", None, metadata());
    let (_, changed) = tokio::join!(accounts::verify(&now, "mira", PASSWORD), changing);
    changed.unwrap();
    assert!(sign_in(&now, "another river").await && !sign_in(&now, PASSWORD).await);
}
