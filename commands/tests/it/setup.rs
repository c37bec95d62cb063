use commands::{
    CommandError,
    accounts::{self, AccountsError, Erase, Register, administrators},
    setup::{self, SetupToken},
};

use crate::stage::{Stage, metadata, register};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_token_is_given_out_once_and_makes_one_administrator() {
    let stage = Stage::new().await;
    let processes = [stage.commands().await, stage.commands().await];
    let (left, right) = tokio::join!(setup::ensure_token(&processes[0]), setup::ensure_token(&processes[1]));
    let token = match (left.unwrap(), right.unwrap()) {
        (Some(SetupToken::New(token)), Some(SetupToken::AlreadyGivenOut))
        | (Some(SetupToken::AlreadyGivenOut), Some(SetupToken::New(token))) => token,
        both => panic!("{both:?}"),
    };

    let wrong = Register { setup_token: Some("wrong".to_owned()), ..register("intruder") };
    assert!(matches!(accounts::register(&processes[0], wrong).await, Err(AccountsError::SetupTokenWrong)));

    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let (commands, token) = (processes[number % 2].clone(), token.to_string());
            tokio::spawn(async move {
                loop {
                    let register =
                        Register { setup_token: Some(token.clone()), ..register(&format!("admin_{number}")) };
                    match accounts::register(&commands, register).await {
                        // So many passwords at once take their time, and whoever waits for too long is told to come back.
                        Err(AccountsError::Command(CommandError::Overloaded)) => {}
                        registered => break registered,
                    }
                }
            })
        })
        .collect();
    let mut administrators = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(registered) => administrators.push(registered.account_id),
            Err(error) => assert!(matches!(error, AccountsError::SetupTokenWrong), "{error:?}"),
        }
    }
    let [administrator] = administrators[..] else { panic!("{administrators:?}") };
    assert!(accounts::is_administrator(&processes[1], administrator).await.unwrap());
    assert_eq!(setup::ensure_token(&processes[0]).await.unwrap(), None);
    let late = Register { setup_token: Some(token.to_string()), ..register("late") };
    assert!(matches!(accounts::register(&processes[0], late).await, Err(AccountsError::SetupTokenWrong)));
    stage.assert_contiguous().await;
}

#[tokio::test]
async fn a_lost_token_is_replaced_until_there_is_an_administrator() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let Some(SetupToken::New(lost)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a token is made") };
    assert!(setup::is_open(&commands).await.unwrap());
    let token = setup::replace_token(&commands).await.unwrap().expect("nobody administers yet");
    let with = |token: &str, name: &str| Register { setup_token: Some(token.to_owned()), ..register(name) };
    let late = accounts::register(&commands, with(&lost, "late")).await;
    assert!(matches!(late, Err(AccountsError::SetupTokenWrong)), "{late:?}");
    accounts::register(&commands, with(&token, "keeper")).await.unwrap();
    assert_eq!(setup::replace_token(&commands).await.unwrap(), None);
    assert!(!setup::is_open(&commands).await.unwrap());
}

#[tokio::test]
async fn a_token_that_was_given_out_is_worth_nothing_once_somebody_was_made_an_administrator() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let Some(SetupToken::New(token)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a token is made") };
    let with_token = |name: &str| Register { setup_token: Some(token.to_string()), ..register(name) };
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    administrators::grant(&commands, mira, None, metadata()).await.unwrap();
    let late = accounts::register(&commands, with_token("late")).await;
    assert!(matches!(late, Err(AccountsError::SetupTokenWrong)), "{late:?}");
    // Nor when nobody administers any more: there is another one then.
    let erase = Erase { account_id: mira, by: None, even_administrator: true, metadata: metadata() };
    accounts::erase(&commands, erase).await.unwrap();
    let later = accounts::register(&commands, with_token("later")).await;
    assert!(matches!(later, Err(AccountsError::SetupTokenWrong)), "{later:?}");
    assert!(matches!(setup::ensure_token(&commands).await.unwrap(), Some(SetupToken::New(_))));
}

/// As a node of before leaves it, or one that stopped between the event and forgetting the token.
#[tokio::test]
async fn a_token_that_was_not_forgotten_makes_no_second_administrator() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let Some(SetupToken::New(token)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a token is made") };
    let kept = "create table kept as select * from log.settings where name = 'setup_token_digest'";
    sqlx::raw_sql(kept).execute(&stage.pool).await.unwrap();
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    administrators::grant(&commands, mira, None, metadata()).await.unwrap();
    let again = sqlx::query("insert into log.settings select * from kept").execute(&stage.pool).await.unwrap();
    assert_eq!(again.rows_affected(), 1);
    let late = Register { setup_token: Some(token.to_string()), ..register("late") };
    let late = accounts::register(&commands, late).await;
    assert!(matches!(late, Err(AccountsError::SetupTokenWrong)), "{late:?}");
}
