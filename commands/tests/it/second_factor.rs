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

use crate::stage::{Stage, hold_the_head, metadata, register, until, wait_until_waiting};

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
pub(crate) async fn with_second_factor(commands: &Commands) -> (AccountId, Vec<u8>) {
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
    until(&stage, "the sweep wants to delete it", waiting).await;
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
    let is_wrong = |code: &String| (-3..=3).all(|steps| shown(&seed, steps) != *code);
    let wrong_code = (0..10).map(|digit| digit.to_string().repeat(6)).find(is_wrong).unwrap();
    for _ in 0..10 {
        let wrong = second_factor::check(&commands, account, Some(&wrong_code)).await;
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
        let wrong = second_factor::check_again(&commands, account, Some(&wrong_code)).await;
        assert!(matches!(wrong, Err(CommandError::Refused(SecondFactorRefusal::CodeWrong))));
    }
    let right = second_factor::check_again(&commands, account, Some(&shown(&seed, 1))).await;
    assert!(matches!(right, Err(CommandError::Refused(SecondFactorRefusal::TooManyAttempts))));
}

const NO_CODES: &str = "select not exists (select from log.recovery_codes)";
const TEN_CODES: &str = "select count(*) = 10 from log.recovery_codes";

#[tokio::test]
async fn codes_that_are_replaced_go_before_the_log_says_so_whoever_hangs_up() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (account, _) = with_second_factor(&commands).await;
    let before: Vec<String> = digests(&stage).await;
    let head = hold_the_head(&stage).await;
    let replacing = tokio::spawn({
        let commands = commands.clone();
        async move { second_factor::replace_recovery_codes(&commands, account, metadata()).await.map(drop) }
    });
    wait_until_waiting(&stage).await;
    // Whatever stops here, no code is good that the event calls replaced.
    until(&stage, "the old codes are gone", NO_CODES).await;
    replacing.abort();
    assert!(replacing.await.unwrap_err().is_cancelled());
    drop(head);
    until(&stage, "there are new codes though nobody waits for them", TEN_CODES).await;
    assert!(digests(&stage).await.iter().all(|digest| !before.contains(digest)));
    assert_eq!(stage.event_types().await.last().unwrap(), "account.recovery_codes_replaced");
}

async fn digests(stage: &Stage) -> Vec<String> {
    sqlx::query_scalar("select digest from log.recovery_codes").fetch_all(&stage.pool).await.unwrap()
}

#[tokio::test]
async fn of_two_devices_at_once_the_one_that_wins_shows_codes_that_are_good() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let head = hold_the_head(&stage).await;
    let (mut enabling, mut last_step) = (Vec::new(), 0_i64);
    // With the codes of two steps, since each is taken once.
    for steps in [0, 1] {
        let prepared = second_factor::prepare(&commands, account).await.unwrap();
        let (commands, code) = (commands.clone(), shown(&prepared.seed, steps));
        enabling.push(tokio::spawn(async move {
            second_factor::enable(&commands, account, prepared.seed_id, &code, metadata()).await
        }));
        let taken = format!("select exists (select from log.second_factors where last_step > {last_step})");
        until(&stage, "its code is taken", &taken).await;
        last_step =
            sqlx::query_scalar("select last_step from log.second_factors").fetch_one(&stage.pool).await.unwrap();
    }
    drop(head);
    let mut shown_codes = Vec::new();
    for enabling in enabling {
        match enabling.await.unwrap() {
            Ok((codes, _)) => shown_codes.push(codes),
            Err(CommandError::Refused(SecondFactorRefusal::AlreadyThere)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(shown_codes.len(), 1, "one of them wins");
    for code in &shown_codes[0] {
        second_factor::check(&commands, account, Some(code)).await.unwrap();
    }
}

#[tokio::test]
async fn of_many_that_replace_codes_at_once_the_last_is_shown_those_that_are_good() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (account, _) = with_second_factor(&commands).await;
    let replacing = (0..6).map(|_| second_factor::replace_recovery_codes(&commands, account, metadata()));
    let replaced = futures::future::join_all(replacing).await;
    let kept: Vec<String> = digests(&stage).await;
    assert_eq!(kept.len(), 10);
    let mut usable = 0;
    for codes in replaced.iter().flatten() {
        usable += usize::from(second_factor::check(&commands, account, Some(&codes[0])).await.is_ok());
    }
    assert_eq!(usable, 1);
    for refused in replaced.iter().filter_map(|replaced| replaced.as_ref().err()) {
        assert!(matches!(refused, CommandError::Conflict), "{refused}");
    }
}
