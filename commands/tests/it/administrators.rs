//! Administrators who are made and unmade.

use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::{self, Erase, administrators, sessions, suspension},
    setup::{self, SetupToken},
};
use domain::{
    accounts::{AccountRefusal, AdministratorRefusal},
    ids::AccountId,
};

use crate::{
    moderation::{administrator, suspend},
    stage::{Stage, account_id, hold_the_head, metadata, register, until_waiting},
};

async fn registered(commands: &Commands, username: &str) -> AccountId {
    accounts::register(commands, register(username)).await.unwrap().account_id
}

fn refused(answer: Result<i64, CommandError<AccountRefusal>>) -> AccountRefusal {
    match answer {
        Err(CommandError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn last() -> AccountRefusal {
    AccountRefusal::Administrator(AdministratorRefusal::LastAdministrator)
}

fn not_by() -> AccountRefusal {
    AccountRefusal::Administrator(AdministratorRefusal::NotByAdministrator)
}

async fn may(commands: &Commands, account_id: AccountId) -> bool {
    accounts::is_administrator(commands, account_id).await.unwrap()
}

#[tokio::test]
async fn there_is_a_second_administrator_and_the_first_can_go() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let keeper = administrator(&commands).await;
    let (mira, noor) = (registered(&commands, "mira").await, registered(&commands, "noor").await);
    assert_eq!(refused(administrators::revoke(&commands, keeper, Some(keeper), metadata()).await), last());
    administrators::grant(&commands, mira, Some(keeper), metadata()).await.unwrap();
    administrators::grant(&commands, mira, Some(keeper), metadata()).await.unwrap();
    assert!(may(&other, mira).await && may(&other, keeper).await && !may(&other, noor).await);
    // Each can do to the other what took an only one's place before.
    suspension::suspend(&commands, suspend(mira, keeper, None)).await.unwrap();
    assert_eq!(refused(administrators::revoke(&other, keeper, Some(keeper), metadata()).await), last());
    suspension::reinstate(&commands, mira, keeper, metadata()).await.unwrap();

    administrators::revoke(&other, keeper, Some(keeper), metadata()).await.unwrap();
    administrators::revoke(&commands, keeper, Some(mira), metadata()).await.unwrap();
    assert!(may(&commands, mira).await && !may(&commands, keeper).await);
    assert_eq!(refused(administrators::revoke(&commands, mira, None, metadata()).await), last());
    administrators::revoke(&commands, noor, Some(mira), metadata()).await.unwrap();
    let nobody = account_id();
    assert_eq!(refused(administrators::grant(&commands, nobody, None, metadata()).await), AccountRefusal::Unknown);
    assert_eq!(refused(administrators::revoke(&commands, nobody, None, metadata()).await), AccountRefusal::Unknown);
    let types = stage.event_types().await;
    let count = |name: &str| types.iter().filter(|event_type| *event_type == name).count();
    assert_eq!((count("account.administrator_granted"), count("account.administrator_revoked")), (1, 1));
}

#[tokio::test]
async fn who_cannot_use_the_right_does_not_get_it() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let keeper = administrator(&commands).await;
    let mira = registered(&commands, "mira").await;
    suspension::suspend(&commands, suspend(mira, keeper, None)).await.unwrap();
    let suspended = refused(administrators::grant(&commands, mira, Some(keeper), metadata()).await);
    assert_eq!(suspended, AccountRefusal::Administrator(AdministratorRefusal::Suspended));
    let erase = Erase { account_id: mira, by: None, even_administrator: false, metadata: metadata() };
    accounts::erase(&commands, erase).await.unwrap();
    let erased = refused(administrators::grant(&commands, mira, Some(keeper), metadata()).await);
    assert_eq!(erased, AccountRefusal::Unknown);
}

#[tokio::test]
async fn a_set_up_token_is_made_once_nobody_administers_any_more() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let Some(SetupToken::New(token)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a token") };
    let with_token = |username: &str| {
        let setup_token = Some(token.as_str().to_owned());
        accounts::Register { setup_token, ..register(username) }
    };
    let keeper = accounts::register(&commands, with_token("keeper")).await.unwrap().account_id;
    let mira = registered(&commands, "mira").await;
    administrators::grant(&commands, mira, Some(keeper), metadata()).await.unwrap();
    administrators::revoke(&commands, keeper, Some(mira), metadata()).await.unwrap();
    // The first one's token is good for nothing, before they are erased and after.
    accounts::register(&commands, with_token("late")).await.unwrap_err();
    let erase = |account_id, even_administrator| Erase {
        account_id,
        by: None,
        even_administrator,
        metadata: Metadata::new(Actor::System),
    };
    accounts::erase(&commands, erase(keeper, false)).await.unwrap();
    accounts::register(&commands, with_token("later")).await.unwrap_err();
    assert_eq!(setup::ensure_token(&commands).await.unwrap(), None);
    assert_eq!(setup::replace_token(&commands).await.unwrap(), None);
    accounts::erase(&commands, erase(mira, false)).await.unwrap_err();
    accounts::erase(&commands, erase(mira, true)).await.unwrap();
    assert!(setup::is_open(&commands).await.unwrap());
    let Some(SetupToken::New(_)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a new token") };
}

/// Whatever they do to each other at the same moment on two nodes, somebody is left who can administer.
#[tokio::test]
async fn two_administrators_do_not_unmake_each_other() {
    let stage = Stage::new().await;
    let (here, there) = (stage.commands().await, stage.commands().await);
    let keeper = administrator(&here).await;
    let mira = registered(&here, "mira").await;
    for round in 0..8 {
        administrators::grant(&here, mira, Some(keeper), metadata()).await.unwrap();
        administrators::grant(&here, keeper, Some(mira), metadata()).await.unwrap();
        let (one, two) = tokio::join!(
            administrators::revoke(&here, mira, Some(keeper), metadata()),
            administrators::revoke(&there, keeper, Some(mira), metadata()),
        );
        let left = (may(&here, keeper).await, may(&here, mira).await);
        assert!(left.0 || left.1, "round {round}: {one:?}, {two:?}");
        for (answer, is_left) in [(one, left.1), (two, left.0)] {
            match answer {
                Ok(_) => assert!(!is_left, "round {round}"),
                other => {
                    let refusal = refused(other);
                    assert!(is_left && [last(), not_by()].contains(&refusal), "round {round}: {refusal}");
                }
            }
        }
        // Whoever is left makes the other one an administrator again.
        administrators::grant(&there, if left.0 { mira } else { keeper }, None, metadata()).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_being_unmade_leaves_no_others_behind() {
    let stage = Stage::new().await;
    let (here, there) = (stage.commands().await, stage.commands().await);
    let keeper = administrator(&here).await;
    let (mira, noor) = (registered(&here, "mira").await, registered(&here, "noor").await);
    assert_eq!(refused(administrators::grant(&here, noor, Some(mira), metadata()).await), not_by());
    assert_eq!(refused(administrators::revoke(&here, noor, Some(mira), metadata()).await), not_by());
    administrators::grant(&here, mira, Some(keeper), metadata()).await.unwrap();
    // At the same moment: the right of who makes another one is gone before the event is there.
    let head = hold_the_head(&stage).await;
    let revoking = tokio::spawn({
        let here = here.clone();
        async move { administrators::revoke(&here, mira, Some(keeper), metadata()).await }
    });
    until_waiting(&stage, 1).await;
    let granting = tokio::spawn({
        let there = there.clone();
        async move { administrators::grant(&there, noor, Some(mira), metadata()).await }
    });
    until_waiting(&stage, 2).await;
    drop(head);
    revoking.await.unwrap().unwrap();
    assert_eq!(refused(granting.await.unwrap()), not_by());
    assert!(may(&here, keeper).await && !may(&here, mira).await && !may(&here, noor).await);
}

#[tokio::test]
async fn who_is_unmade_has_not_signed_out_by_themselves() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (keeper, mira) = (administrator(&commands).await, registered(&commands, "mira").await);
    administrators::grant(&commands, mira, Some(keeper), metadata()).await.unwrap();
    let session = sessions::open(&commands, mira, "A browser", "203.0.113.7").await.unwrap();
    administrators::revoke(&commands, mira, Some(keeper), metadata()).await.unwrap();
    assert!(!sessions::is_open(&commands, session.session_id).await.unwrap());
    let actors: Vec<String> =
        sqlx::query_scalar("select metadata->>'actor' from log.events where event_type = 'session.ended'")
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    assert_eq!(actors, ["system"]);
}
