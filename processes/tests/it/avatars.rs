//! Files of pictures go when nothing names them, whatever happens in between.

use std::time::Duration;

use bytes::Bytes;
use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Erase, Register, profile},
};
use domain::{
    accounts::{AvatarName, Profile, ProfileCommand},
    ids::AccountId,
};
use processes::{Following, avatars};
use storage::{Key, Storage};
use tokio::task::JoinHandle;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::stage::{Stage, until};

fn metadata() -> Metadata {
    Metadata::new(Actor::System)
}

fn follow(commands: &Commands, storage: &Storage) -> JoinHandle<()> {
    let (commands, storage) = (commands.clone(), storage.clone());
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), avatars::run(&commands, &following, &storage));
    })
}

async fn register(commands: &Commands, username: &str) -> AccountId {
    let register = Register {
        username: username.to_owned(),
        email: format!("{username}@example.org"),
        password: Zeroizing::new("a river runs uphill".to_owned()),
        setup_token: None,
        metadata: metadata(),
    };
    accounts::register(commands, register).await.unwrap().account_id
}

fn avatar(digit: char) -> AvatarName {
    AvatarName::from_stored(&digit.to_string().repeat(40)).unwrap()
}

fn keys(account_id: AccountId, digit: char) -> [Key; 2] {
    [64, 256].map(|side| Key::new(format!("avatars/{account_id}/{}-{side}.jpg", avatar(digit).as_str())).unwrap())
}

async fn store(storage: &Storage, account_id: AccountId, digit: char) {
    for key in keys(account_id, digit) {
        storage.put(&key, Bytes::from_static(b"a picture")).await.unwrap();
    }
}

/// A picture that is stored and named, as the API does it.
async fn show(commands: &Commands, storage: &Storage, account_id: AccountId, digit: char) {
    store(storage, account_id, digit).await;
    profile::change_avatar(commands, account_id, avatar(digit), metadata()).await.unwrap();
}

async fn is_stored(storage: &Storage, account_id: AccountId, digit: char) -> bool {
    let [small, large] = keys(account_id, digit);
    let stored = [storage.exists(&small).await.unwrap(), storage.exists(&large).await.unwrap()];
    stored.contains(&true)
}

async fn erase(commands: &Commands, account_id: AccountId) {
    let erase = Erase { account_id, by: Some(account_id), even_administrator: false, metadata: metadata() };
    accounts::erase(commands, erase).await.unwrap();
}

#[tokio::test]
async fn what_is_replaced_removed_or_erased_goes_and_the_rest_stays() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let [mira, ann, bob] =
        [register(commands, "mira").await, register(commands, "ann").await, register(commands, "bob").await];
    for (who, digit) in [(mira, 'a'), (mira, 'b'), (ann, 'c'), (bob, 'd')] {
        show(commands, &storage, who, digit).await;
    }
    let following = follow(commands, &storage);
    until("the end of the first picture", async || !is_stored(&storage, mira, 'a').await).await;
    profile::remove_avatar(commands, ann, metadata()).await.unwrap();
    until("the end of what was removed", async || !is_stored(&storage, ann, 'c').await).await;
    // Also what nothing ever named.
    store(&storage, bob, 'e').await;
    erase(commands, bob).await;
    until("the end of what was erased", async || {
        !is_stored(&storage, bob, 'd').await && !is_stored(&storage, bob, 'e').await
    })
    .await;
    assert!(is_stored(&storage, mira, 'b').await, "it is shown");
    following.abort();
}

#[tokio::test]
async fn a_picture_that_comes_just_after_an_erasure_goes_too() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let mira = register(commands, "mira").await;
    erase(commands, mira).await;
    let following = follow(commands, &storage);
    let erased = "select position from log.events where event_type = 'account.erased'";
    let erased: i64 = sqlx::query_scalar(erased).fetch_one(&stage.pool).await.unwrap();
    stage.until_checkpoint("avatars", erased).await;
    // As by a request that had looked at the account before.
    store(&storage, mira, 'a').await;
    let command = ProfileCommand::ChangeAvatar { account_id: mira, avatar: avatar('a') };
    commands.execute::<Profile>(&mira.to_string(), command, metadata()).await.unwrap();
    until("its end", async || !is_stored(&storage, mira, 'a').await).await;
    following.abort();
}

#[tokio::test]
async fn what_a_crash_left_unnamed_is_swept_once_it_is_old_and_nothing_else_is() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let (mira, ann) = (register(commands, "mira").await, register(commands, "ann").await);
    show(commands, &storage, mira, 'a').await;
    store(&storage, mira, 'b').await;
    store(&storage, ann, 'c').await;
    let nobody = AccountId::from(Uuid::now_v7());
    store(&storage, nobody, 'd').await;
    let other = Key::new(format!("avatars/{mira}/notes.txt")).unwrap();
    storage.put(&other, Bytes::from_static(b"not ours")).await.unwrap();

    let hour = Duration::from_secs(3_600);
    assert_eq!(avatars::sweep(commands, &storage, None, hour).await.unwrap(), (0, None), "they may be named yet");
    assert_eq!(avatars::sweep(commands, &storage, None, Duration::ZERO).await.unwrap(), (6, None));
    assert!(is_stored(&storage, mira, 'a').await && storage.exists(&other).await.unwrap());
    for (who, digit) in [(mira, 'b'), (ann, 'c'), (nobody, 'd')] {
        assert!(!is_stored(&storage, who, digit).await);
    }
    assert_eq!(avatars::sweep(commands, &storage, None, Duration::ZERO).await.unwrap(), (0, None));
}
