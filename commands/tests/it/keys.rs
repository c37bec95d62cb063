use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use commands::{
    Commands, CommandsOptions, MasterKeys, StartError, accounts, channels,
    keys::{RotateError, Rotated, Rotation},
};
use domain::{
    ids::{AccountId, ChannelId},
    sealed::{Opened, Sealed},
};
use sqlx::postgres::PgPoolOptions;
use zeroize::Zeroizing;

use crate::stage::{Stage, account_id, create, keys, register};

const DIGEST: u8 = 8;

/// The master keys of a secrets file, the newest first. The one that everything begins with is 7.
fn file(wrapping: &[u8]) -> MasterKeys {
    let key = |byte: &u8| Zeroizing::new([*byte; 32]);
    MasterKeys::new(key(&wrapping[0]), Zeroizing::new([DIGEST; 32])).with_former(wrapping[1..].iter().map(key))
}

/// A secrets file that can be replaced while processes run.
#[derive(Clone)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    fn new(wrapping: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(wrapping.to_vec())))
    }

    fn replace(&self, wrapping: &[u8]) {
        *self.0.lock().unwrap() = wrapping.to_vec();
    }

    fn keys(&self) -> MasterKeys {
        let held = self.clone();
        file(&self.0.lock().unwrap())
            .reread_by(move || Some(held.0.lock().unwrap().iter().map(|byte| Zeroizing::new([*byte; 32])).collect()))
    }
}

async fn start(stage: &Stage, keys: MasterKeys) -> Result<Commands, StartError> {
    let pool = PgPoolOptions::new().max_connections(5).connect(&stage.url).await.unwrap();
    Commands::start(pool, keys, CommandsOptions::default()).await
}

async fn rotate(stage: &Stage, keys: &MasterKeys) -> Result<Rotated, RotateError> {
    begin(stage).await.rotate(keys, |_| {}).await
}

/// Begins once whoever was at it is gone, which Postgres takes a moment to notice.
async fn begin(stage: &Stage) -> Rotation {
    loop {
        match Rotation::begin(&stage.pool).await {
            Ok(rotation) => return rotation,
            Err(error) => assert!(matches!(error, RotateError::Busy), "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Somebody with a name, a channel with a key, and something sealed.
struct Person {
    id: AccountId,
    channel: ChannelId,
    sealed: Sealed,
    name: String,
}

async fn person(commands: &Commands, name: &str) -> Person {
    let id = accounts::register(commands, register(name)).await.unwrap().account_id;
    let channel = channels::create(commands, create(id, &format!("{name}_tv"))).await.unwrap().channel_id;
    let sealed = commands.account_keys().seal(id, "text").await.unwrap();
    Person { id, channel, sealed, name: name.to_owned() }
}

/// That everything of the person opens.
async fn assert_opens(commands: &Commands, person: &Person) {
    let opened = commands.keyring().open(vec![Cow::Borrowed(&person.sealed)]).await.unwrap();
    assert_eq!(opened, [Opened::Text("text".to_owned())]);
    assert_eq!(accounts::verify(commands, &person.name, "correct horse").await.unwrap(), person.id);
    channels::stream_key(commands, person.id, person.channel).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_run_go_on_through_a_rotation() {
    let stage = Stage::new().await;
    let secrets = File::new(&[7]);
    let running = start(&stage, secrets.keys()).await.unwrap();
    let before = person(&running, "before").await;

    // Prepared, and nothing else: all seal as before.
    secrets.replace(&[9, 7]);
    let fresh = start(&stage, secrets.keys()).await.unwrap();
    let prepared = person(&fresh, "prepared").await;
    assert_opens(&running, &prepared).await;

    let rotated = rotate(&stage, &file(&[9, 7])).await.unwrap();
    assert_eq!(rotated, Rotated { keys: 2, secrets: 4 });
    // The node that runs has not read its file since it started.
    let during = person(&running, "during").await;
    for commands in [&running, &fresh, &start(&stage, secrets.keys()).await.unwrap()] {
        for person in [&before, &prepared, &during] {
            assert_opens(commands, person).await;
        }
    }
    secrets.replace(&[9]);
    let new = start(&stage, secrets.keys()).await.unwrap();
    let after = person(&new, "after").await;
    for person in [&before, &prepared, &during, &after] {
        assert_opens(&new, person).await;
        assert_opens(&running, person).await;
    }
    assert_eq!(rotate(&stage, &file(&[9])).await.unwrap(), Rotated::default(), "there is nothing left to do");
    // With the file of before nobody starts.
    let Err(error) = start(&stage, file(&[7])).await else { panic!("the old keys are let in") };
    assert!(matches!(error, StartError::OtherKeys), "{error:?}");
    assert!(matches!(rotate(&stage, &file(&[5, 7])).await, Err(RotateError::OtherKeys)));
}

#[tokio::test]
async fn a_rotation_that_is_cut_off_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let running = start(&stage, File::new(&[7]).keys()).await.unwrap();
    let person = person(&running, "someone").await;
    let nobody = account_id();
    // Enough for several batches.
    sqlx::query("insert into log.keys (account_id, destroyed_at) values ($1, now())")
        .bind(nobody.uuid())
        .execute(&stage.pool)
        .await
        .unwrap();
    for _ in 0..1_200 {
        running.account_keys().seal(account_id(), "text").await.unwrap();
    }
    let both = file(&[9, 7]);
    // Cut off after each batch, as if its process were killed then: the progress is told before the next one begins.
    let mut done = 0;
    let mut cuts = 0;
    loop {
        let mut rotation = begin(&stage).await;
        let (told, mut tell) = tokio::sync::mpsc::channel(1);
        let progress = move |rotated: Rotated| {
            // It was told before.
            let _ = told.try_send(rotated);
        };
        let rotated = tokio::select! {
            biased;
            rotated = Box::pin(rotation.rotate(&both, progress)) => Some(rotated.unwrap()),
            Some(_) = tell.recv() => None,
        };
        drop(rotation);
        let left = "select count(*) from log.keys where wrapped is not null and sealed_under is distinct from \
                    (select value from log.settings where name = 'sealing_key')";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&stage.pool).await.unwrap();
        assert_opens(&start(&stage, file(&[9, 7])).await.unwrap(), &person).await;
        match rotated {
            Some(rotated) => {
                done += rotated.keys;
                assert_eq!(left, 0);
                break;
            }
            None => {
                cuts += 1;
                // The keys of before may still be put back.
                let fingerprint: String =
                    sqlx::query_scalar("select value from log.settings where name = 'keys_fingerprint'")
                        .fetch_one(&stage.pool)
                        .await
                        .unwrap();
                assert!(!fingerprint.is_empty());
            }
        }
        assert!(cuts < 20, "it does not get on");
    }
    assert!(done < 1_201, "it began anew: {done}");
    assert_opens(&start(&stage, file(&[9])).await.unwrap(), &person).await;
    let destroyed: Option<Vec<u8>> = sqlx::query_scalar("select wrapped from log.keys where account_id = $1")
        .bind(nobody.uuid())
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert!(destroyed.is_none(), "what was destroyed stays so");
}

#[tokio::test]
async fn one_rotates_at_a_time() {
    let stage = Stage::new().await;
    start(&stage, keys()).await.unwrap();
    let first = Rotation::begin(&stage.pool).await.unwrap();
    assert!(matches!(Rotation::begin(&stage.pool).await, Err(RotateError::Busy)));
    drop(first);
    begin(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sealed_under_the_old_key_once_it_is_replaced() {
    let stage = Stage::new().await;
    let secrets = File::new(&[7]);
    let running = start(&stage, secrets.keys()).await.unwrap();
    secrets.replace(&[9, 7]);
    let sealing = {
        let running = running.clone();
        tokio::spawn(async move {
            let mut people = Vec::new();
            for _ in 0..300 {
                let id = account_id();
                people.push(running.account_keys().seal(id, "text").await.unwrap());
            }
            people
        })
    };
    rotate(&stage, &file(&[9, 7])).await.unwrap();
    secrets.replace(&[9]);
    let sealed = sealing.await.unwrap();
    let new = start(&stage, secrets.keys()).await.unwrap();
    for sealed in &sealed {
        let opened = new.keyring().open(vec![Cow::Borrowed(sealed)]).await.unwrap();
        assert_eq!(opened, [Opened::Text("text".to_owned())]);
    }
}

#[tokio::test]
async fn a_node_without_the_new_file_says_what_is_missing() {
    let stage = Stage::new().await;
    let without = start(&stage, file(&[7])).await.unwrap();
    let person = person(&without, "someone").await;
    rotate(&stage, &file(&[9, 7])).await.unwrap();
    let error = without.account_keys().seal(account_id(), "text").await.unwrap_err();
    let mut text = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(text.contains("copy the file"), "{text}");
    let refused = channels::stream_key(&without, person.id, person.channel).await.err().unwrap();
    assert!(matches!(refused, commands::CommandError::Unavailable(_)), "{refused:?}");
}

#[tokio::test]
async fn what_opens_with_no_key_stops_a_rotation_and_is_named() {
    let stage = Stage::new().await;
    let running = start(&stage, file(&[7])).await.unwrap();
    let person = person(&running, "someone").await;
    sqlx::query("update log.vault set sealed = sealed || '\\x00'::bytea where aggregate_id = $1")
        .bind(person.channel.to_string())
        .execute(&stage.pool)
        .await
        .unwrap();
    let error = rotate(&stage, &file(&[9, 7])).await.unwrap_err();
    assert!(matches!(error, RotateError::NotOpened { what: "secret", .. }), "{error:?}");
    // Nobody is locked out: the database still takes both.
    start(&stage, file(&[9, 7])).await.unwrap();
    let opened = running.keyring().open(vec![Cow::Borrowed(&person.sealed)]).await.unwrap();
    assert_eq!(opened, [Opened::Text("text".to_owned())]);
}
