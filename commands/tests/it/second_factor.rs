use std::time::{SystemTime, UNIX_EPOCH};

use commands::{
    CommandError, Commands, Swept,
    accounts::{
        self,
        second_factor::{self, SecondFactorRefusal},
    },
    sweep,
};
use domain::ids::AccountId;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::stage::{Stage, hold_the_head, metadata, register, wait_until_waiting};

/// The code of an authenticator, `steps` of 30 seconds from now (RFC 6238).
fn shown(seed: &[u8], steps: i64) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let step = i64::try_from(seconds / 30).unwrap() + steps;
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(seed).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

async fn age_secrets(stage: &Stage, interval: &str) {
    sqlx::query("update log.vault set created_at = created_at - $1::interval")
        .bind(interval)
        .execute(&stage.pool)
        .await
        .unwrap();
}

/// Somebody with a second factor, and its seed.
async fn with_second_factor(commands: &Commands) -> (AccountId, Vec<u8>) {
    let account = accounts::register(commands, register("someone")).await.unwrap().account_id;
    let prepared = second_factor::prepare(commands, account).await.unwrap();
    let code = shown(&prepared.seed, 0);
    second_factor::enable(commands, account, prepared.seed_id, &code, metadata()).await.unwrap();
    (account, prepared.seed.to_vec())
}

#[tokio::test]
async fn a_seed_that_is_being_enabled_is_not_swept() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let prepared = second_factor::prepare(&commands, account).await.unwrap();
    age_secrets(&stage, "50 minutes").await;
    let head = hold_the_head(&stage).await;
    let enabling = tokio::spawn({
        let (commands, code) = (commands.clone(), shown(&prepared.seed, 0));
        async move { second_factor::enable(&commands, account, prepared.seed_id, &code, metadata()).await }
    });
    wait_until_waiting(&stage).await;
    // Its hour is over, but for its having been taken up.
    age_secrets(&stage, "30 minutes").await;
    assert_eq!(sweep(&commands).await.unwrap(), Swept::default());
    drop(head);
    enabling.await.unwrap().unwrap();
    second_factor::check(&commands, account, Some(&shown(&prepared.seed, 1))).await.unwrap();
}

#[tokio::test]
async fn a_sweep_that_has_seen_a_seed_leaves_it_when_it_is_taken_up() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let prepared = second_factor::prepare(&commands, account).await.unwrap();
    age_secrets(&stage, "61 minutes").await;
    // Taken up, as enabling does in the last moment of its hour, and not committed yet: the sweep has seen an old one.
    let mut taking_up = stage.pool.begin().await.unwrap();
    sqlx::query("update log.vault set created_at = now() where id = $1")
        .bind(prepared.seed_id.uuid())
        .execute(&mut *taking_up)
        .await
        .unwrap();
    let sweeping = tokio::spawn({
        let commands = commands.clone();
        async move { sweep(&commands).await.unwrap() }
    });
    let waiting = "select exists (select from pg_stat_activity where datname = current_database() \
                   and wait_event_type = 'Lock' and query like 'delete from log.vault%')";
    let waits = async {
        while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&stage.pool).await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waits).await.expect("the sweep wants to delete it");
    taking_up.commit().await.unwrap();
    sweeping.await.unwrap();
    let code = shown(&prepared.seed, 0);
    second_factor::enable(&commands, account, prepared.seed_id, &code, metadata()).await.unwrap();
}

#[tokio::test]
async fn a_seed_is_good_for_an_hour() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let prepared = second_factor::prepare(&commands, account).await.unwrap();
    age_secrets(&stage, "61 minutes").await;
    let code = shown(&prepared.seed, 0);
    let late = second_factor::enable(&commands, account, prepared.seed_id, &code, metadata()).await;
    assert!(matches!(late, Err(CommandError::Refused(SecondFactorRefusal::SeedUnknown))), "{:?}", late.err());
}

#[tokio::test]
async fn wrong_codes_of_who_signs_in_are_not_held_against_who_is_signed_in() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (account, seed) = with_second_factor(&commands).await;
    for _ in 0..10 {
        let wrong = second_factor::check(&commands, account, Some("000000")).await;
        assert!(matches!(wrong, Err(CommandError::Refused(SecondFactorRefusal::CodeWrong))));
    }
    let right = second_factor::check(&commands, account, Some(&shown(&seed, 1))).await;
    assert!(matches!(right, Err(CommandError::Refused(SecondFactorRefusal::TooManyAttempts))));
    second_factor::check_again(&commands, account, Some(&shown(&seed, 1))).await.unwrap();
    // Which does not give the others back what they have used up.
    let right = second_factor::check(&commands, account, Some(&shown(&seed, 1))).await;
    assert!(matches!(right, Err(CommandError::Refused(SecondFactorRefusal::TooManyAttempts))));
    // Nor are theirs without end.
    for _ in 0..10 {
        let wrong = second_factor::check_again(&commands, account, Some("000000")).await;
        assert!(matches!(wrong, Err(CommandError::Refused(SecondFactorRefusal::CodeWrong))));
    }
    let right = second_factor::check_again(&commands, account, Some(&shown(&seed, 1))).await;
    assert!(matches!(right, Err(CommandError::Refused(SecondFactorRefusal::TooManyAttempts))));
}
