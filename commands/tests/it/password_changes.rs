//! What a password that is replaced ends, and what is made at the same moment.

use commands::{
    CommandError, Commands,
    accounts::{
        self, password_reset,
        personal_tokens::{self, CreatePersonalToken, CreatedPersonalToken},
        sessions,
    },
};
use domain::{
    accounts::{
        Account, AccountCommand, PasswordChangedReason, PersonalTokenName, PersonalTokenRefusal, PersonalTokenScope,
    },
    ids::{AccountId, SecretId, SessionId},
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::stage::{Stage, metadata, register};

async fn open(commands: &Commands, account_id: AccountId) -> SessionId {
    sessions::open(commands, account_id, "A browser", "::1").await.unwrap().session_id
}

async fn make(
    commands: &Commands,
    account_id: AccountId,
    session_id: SessionId,
) -> Result<CreatedPersonalToken, CommandError<PersonalTokenRefusal>> {
    let create = CreatePersonalToken {
        account_id,
        session_id: Some(session_id),
        name: PersonalTokenName::parse("A program").unwrap(),
        scopes: vec![PersonalTokenScope::Read],
        expires_at: OffsetDateTime::now_utc() + Duration::days(9),
        metadata: metadata(),
    };
    personal_tokens::create(commands, create).await
}

/// The event alone; its position.
async fn changed(
    commands: &Commands,
    account_id: AccountId,
    reason: PasswordChangedReason,
    ends_all_but: Option<SessionId>,
) -> i64 {
    let command = AccountCommand::ChangePassword { password: SecretId::from(Uuid::now_v7()), reason, ends_all_but };
    commands.execute::<Account>(&account_id.to_string(), command, metadata()).await.unwrap().position
}

async fn count(stage: &Stage, name: &str) -> usize {
    stage.event_types().await.iter().filter(|event_type| *event_type == name).count()
}

#[tokio::test]
async fn a_session_that_a_reset_ends_makes_no_token_before_it_has_ended() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let thief = open(&commands, mira).await;
    make(&commands, mira, thief).await.unwrap();
    changed(&commands, mira, PasswordChangedReason::Reset, None).await;
    // Whoever has reset it was cut off, and nothing has followed yet.
    assert!(sessions::is_open(&commands, thief).await.unwrap());
    let refused = make(&commands, mira, thief).await.map(|created| created.token_id);
    assert!(matches!(refused, Err(CommandError::Refused(PersonalTokenRefusal::SessionEnded))), "{refused:?}");
    let left: i64 =
        sqlx::query_scalar("select count(*) from log.personal_tokens").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(left, 1, "the one from before is for whoever follows the log");
    assert_eq!((count(&stage, "personal_token.created").await, count(&stage, "personal_token.revoked").await), (2, 1));
    // Whoever signs in after it means it.
    let after = open(&commands, mira).await;
    make(&commands, mira, after).await.unwrap();
}

#[tokio::test]
async fn a_change_shuts_out_those_that_its_owner_wanted_out() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let (kept, phone) = (open(&commands, mira).await, open(&commands, mira).await);
    changed(&commands, mira, PasswordChangedReason::Changed, None).await;
    make(&commands, mira, phone).await.unwrap();
    changed(&commands, mira, PasswordChangedReason::Changed, Some(kept)).await;
    let refused = make(&commands, mira, phone).await.map(|created| created.token_id);
    assert!(matches!(refused, Err(CommandError::Refused(PersonalTokenRefusal::SessionEnded))), "{refused:?}");
    make(&commands, mira, kept).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_token_and_a_reset_that_cross_one_finds_the_other() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    for round in 0..20 {
        let thief = open(&commands, mira).await;
        let reset = async {
            let position = changed(&other, mira, PasswordChangedReason::Reset, None).await;
            password_reset::finish(&other, mira, position).await.unwrap();
        };
        let (made, ()) = tokio::join!(make(&commands, mira, thief), reset);
        match made {
            Ok(created) => {
                let found = personal_tokens::find(&commands, &created.token).await.unwrap();
                assert_eq!(found, None, "round {round}: it has outlived the reset");
            }
            Err(CommandError::Refused(PersonalTokenRefusal::SessionEnded)) => {}
            Err(error) => panic!("round {round}: {error:?}"),
        }
        assert!(!sessions::is_open(&commands, thief).await.unwrap());
    }
    assert_eq!(count(&stage, "personal_token.created").await, 20);
    assert_eq!(count(&stage, "personal_token.revoked").await, 20, "none stays in a list");
}

#[tokio::test]
async fn a_change_ends_the_others_at_once_and_says_so() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let (kept, phone) = (open(&commands, mira).await, open(&commands, mira).await);
    let program = make(&commands, mira, phone).await.unwrap();
    accounts::change_password(&commands, mira, "another correct horse", Some(kept), metadata()).await.unwrap();
    assert!(sessions::is_open(&commands, kept).await.unwrap());
    assert!(!sessions::is_open(&commands, phone).await.unwrap());
    assert_eq!(personal_tokens::find(&commands, &program.token).await.unwrap(), None);
    let told: Option<String> = sqlx::query_scalar(
        "select payload->'PasswordChanged'->>'ends_all_but' from log.events where event_type = 'account.password_changed'",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(told, Some(kept.to_string()));
    // Whoever follows the log finds nothing left to do.
    let head = commands::events::head(&stage.pool).await.unwrap();
    accounts::finish_password_change(&commands, mira, head, kept).await.unwrap();
    assert_eq!(commands::events::head(&stage.pool).await.unwrap(), head);
}
