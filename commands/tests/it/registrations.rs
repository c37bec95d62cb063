//! Registration by invite: how many accounts come of it, whoever else is at it.

use commands::{
    CommandError, Commands,
    accounts::{AccountsError, Register},
    registrations::{self, RegistrationError},
};
use domain::{
    Principal,
    accounts::AccountRefusal,
    registrations::{
        InstallRefusal, RegistrationInvite, RegistrationInviteCommand, RegistrationInviteRefusal, RegistrationMode,
    },
};
use time::{Duration, OffsetDateTime};

use crate::stage::{PATIENCE, Stage, account_id, hold_the_head, metadata, register, wait_until_waiting};

fn administrator() -> Principal {
    Principal { account_id: account_id(), is_administrator: true }
}

async fn by_invite(commands: &Commands) {
    registrations::change_mode(commands, administrator(), RegistrationMode::Invite, metadata()).await.unwrap();
}

async fn invite(commands: &Commands, max_uses: u32) -> (domain::ids::RegistrationInviteId, String) {
    let made = registrations::create_invite(commands, administrator(), max_uses, None, metadata()).await.unwrap();
    (made.invite_id, registrations::invite_secret(commands, made.invite_id))
}

async fn uses(commands: &Commands, id: domain::ids::RegistrationInviteId) -> usize {
    let (invite, _) = commands.load::<RegistrationInvite>(&id.to_string()).await.unwrap().unwrap();
    invite.uses().count()
}

#[tokio::test]
async fn only_administrators_say_who_may() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    assert_eq!(registrations::mode(&commands).await.unwrap(), RegistrationMode::Open);
    let somebody = Principal::from(account_id());
    let refused = registrations::change_mode(&commands, somebody, RegistrationMode::Closed, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(InstallRefusal::NotAdministrator))));
    let refused = registrations::create_invite(&commands, somebody, 1, None, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(RegistrationInviteRefusal::NotAdministrator))));
    registrations::change_mode(&commands, administrator(), RegistrationMode::Closed, metadata()).await.unwrap();
    // Another process goes by it at once.
    let other = stage.commands().await;
    let refused = registrations::register(&other, register("late"), None).await;
    assert!(matches!(refused, Err(RegistrationError::Closed)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_the_last_uses_as_many_get_them_as_there_are() {
    let stage = Stage::new().await;
    let processes = [stage.commands().await, stage.commands().await];
    by_invite(&processes[0]).await;
    let (id, secret) = invite(&processes[0], 3).await;
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let (commands, secret) = (processes[number % 2].clone(), secret.clone());
            tokio::spawn(async move {
                loop {
                    let register = register(&format!("person_{number}"));
                    match registrations::register(&commands, register, Some(&secret)).await {
                        // So many passwords at once take their time, and whoever waits for too long is told to come back.
                        Err(RegistrationError::Accounts(AccountsError::Command(CommandError::Overloaded))) => {}
                        registered => break registered,
                    }
                }
            })
        })
        .collect();
    let mut registered = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => registered += 1,
            Err(error) => assert!(matches!(error, RegistrationError::InviteNotGood), "{error:?}"),
        }
    }
    assert_eq!((registered, uses(&processes[1], id).await), (3, 3));
    let types = stage.event_types().await;
    assert_eq!(types.iter().filter(|name| *name == "account.registered").count(), 3);
    stage.assert_contiguous().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_use_that_leads_to_no_account_is_given_back() {
    let stage = Stage::new().await;
    let processes = [stage.commands().await, stage.commands().await];
    by_invite(&processes[0]).await;
    let (id, secret) = invite(&processes[0], 2).await;
    // Both find the name free, and one of them gets it.
    let (left, right) = tokio::join!(
        registrations::register(&processes[0], register("mira"), Some(&secret)),
        registrations::register(&processes[1], register("mira"), Some(&secret)),
    );
    let refused = match (left, right) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("{both:?}"),
    };
    let taken = |error: &RegistrationError| {
        matches!(
            error,
            RegistrationError::Accounts(AccountsError::Command(CommandError::Refused(AccountRefusal::UsernameTaken)))
        )
    };
    assert!(taken(&refused), "{refused:?}");
    assert_eq!(uses(&processes[0], id).await, 1);
    let wrong = Register { password: zeroize::Zeroizing::new("short".to_owned()), ..register("noor") };
    let refused = registrations::register(&processes[0], wrong, Some(&secret)).await;
    assert!(matches!(refused, Err(RegistrationError::Accounts(AccountsError::Invalid(_)))), "{refused:?}");
    registrations::register(&processes[0], register("noor"), Some(&secret)).await.unwrap();
    let refused = registrations::register(&processes[0], register("zoe"), Some(&secret)).await;
    assert!(matches!(refused, Err(RegistrationError::InviteNotGood)), "{refused:?}");
}

/// Puts a use into the log for an account that never came to be.
async fn used(stage: &Stage, id: domain::ids::RegistrationInviteId, sequence: i64, used_at: OffsetDateTime) {
    let used = domain::registrations::RegistrationInviteEvent::Used {
        invite_id: id,
        account_id: account_id(),
        used_at: domain::timestamp::cut(used_at),
    };
    sqlx::query(
        "with moved as (update log.head set position = position + 1 returning position) \
         insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata) \
         select position, 'registration_invite', $1, $3, 'registration_invite.used', '1', $2::json, '{}'::json from moved",
    )
    .bind(id.to_string())
    .bind(serde_json::to_string(&used).unwrap())
    .bind(sequence)
    .execute(&stage.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn what_a_crash_has_left_is_given_back_when_it_is_needed() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    by_invite(&commands).await;
    let (id, secret) = invite(&commands, 1).await;
    let command = RegistrationInviteCommand::Use { account_id: account_id() };
    commands.execute::<RegistrationInvite>(&id.to_string(), command, metadata()).await.unwrap();
    // It may still be on its way.
    let refused = registrations::register(&commands, register("mira"), Some(&secret)).await;
    assert!(matches!(refused, Err(RegistrationError::InviteNotGood)), "{refused:?}");

    // As if it had been a while ago, in a log of its own.
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    by_invite(&commands).await;
    let (id, secret) = invite(&commands, 1).await;
    used(&stage, id, 2, OffsetDateTime::now_utc() - Duration::hours(1)).await;
    let other = stage.commands().await;
    registrations::register(&other, register("mira"), Some(&secret)).await.unwrap();
    assert_eq!(uses(&commands, id).await, 1);
    let types = stage.event_types().await;
    assert!(types.iter().any(|name| name == "registration_invite.given_back"), "{types:?}");
}

#[tokio::test]
async fn of_many_uses_those_are_given_back_that_led_to_no_account() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    by_invite(&commands).await;
    let (id, secret) = invite(&commands, 4).await;
    let mira = registrations::register(&commands, register("mira"), Some(&secret)).await.unwrap().account_id;
    // Three that were interrupted: two a while ago, and one that may be on its way.
    let old = OffsetDateTime::now_utc() - Duration::hours(1);
    for (sequence, used_at) in [(3, old), (4, old), (5, OffsetDateTime::now_utc())] {
        used(&stage, id, sequence, used_at).await;
    }
    let other = stage.commands().await;
    for name in ["noor", "zoe"] {
        registrations::register(&other, register(name), Some(&secret)).await.unwrap();
    }
    let refused = registrations::register(&other, register("late"), Some(&secret)).await;
    assert!(matches!(refused, Err(RegistrationError::InviteNotGood)), "{refused:?}");
    let (invite, _) = other.load::<RegistrationInvite>(&id.to_string()).await.unwrap().unwrap();
    assert!(invite.uses().any(|(account_id, _)| account_id == mira), "whose account there is keeps her place");
    let types = stage.event_types().await;
    assert_eq!(types.iter().filter(|name| *name == "registration_invite.given_back").count(), 2, "{types:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_hangs_up_once_the_invite_is_used_has_an_account_all_the_same() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    by_invite(&commands).await;
    let (id, secret) = invite(&commands, 1).await;
    let head = hold_the_head(&stage).await;
    let asking = commands.clone();
    let asking =
        tokio::spawn(async move { registrations::register(&asking, register("mira"), Some(&secret)).await.is_ok() });
    wait_until_waiting(&stage).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    drop(head);
    let registered = async {
        while !stage.event_types().await.iter().any(|name| name == "account.registered") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, registered).await.expect("it goes on by itself");
    assert_eq!(uses(&commands, id).await, 1);
}

#[tokio::test]
async fn an_invite_is_over_when_its_time_is_or_it_was_taken_back() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    by_invite(&commands).await;
    let (soon, made) = loop {
        let soon = OffsetDateTime::now_utc() + Duration::milliseconds(500);
        match registrations::create_invite(&commands, administrator(), 1, Some(soon), metadata()).await {
            Ok(made) => break (soon, made),
            // Its time was over before it was looked at.
            Err(error) => {
                assert!(matches!(error, CommandError::Refused(RegistrationInviteRefusal::AlreadyOver)), "{error:?}");
            }
        }
    };
    let secret = registrations::invite_secret(&commands, made.invite_id);
    while OffsetDateTime::now_utc() <= soon {
        tokio::task::yield_now().await;
    }
    let refused = registrations::register(&commands, register("mira"), Some(&secret)).await;
    assert!(matches!(refused, Err(RegistrationError::InviteNotGood)), "{refused:?}");
    let (id, secret) = invite(&commands, 1).await;
    registrations::revoke_invite(&commands, id, administrator(), metadata()).await.unwrap();
    let refused = registrations::register(&commands, register("mira"), Some(&secret)).await;
    assert!(matches!(refused, Err(RegistrationError::InviteNotGood)), "{refused:?}");
    let unknown =
        registrations::revoke_invite(&commands, uuid::Uuid::now_v7().into(), administrator(), metadata()).await;
    assert!(matches!(unknown, Err(CommandError::Refused(RegistrationInviteRefusal::Unknown))));
    // The secret of an invite to a channel is none of these.
    let other = commands::invites::secret(&commands, id.uuid().into());
    let refused = registrations::register(&commands, register("mira"), Some(&other)).await;
    assert!(matches!(refused, Err(RegistrationError::InviteNotGood)), "{refused:?}");
}
