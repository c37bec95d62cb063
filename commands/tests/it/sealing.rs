use std::borrow::Cow;

use commands::Commands;
use domain::{
    ids::AccountId,
    sealed::{KeyringError, Opened, Sealed},
};

use crate::stage::{Stage, account_id};

async fn open(commands: &Commands, sealed: &[&Sealed]) -> Result<Vec<Opened>, KeyringError> {
    commands.keyring().open(sealed.iter().map(|sealed| Cow::Borrowed(*sealed)).collect()).await
}

async fn seal(commands: &Commands, account_id: AccountId, text: &str) -> Sealed {
    commands.account_keys().seal(account_id, text).await.unwrap()
}

fn text(text: &str) -> Opened {
    Opened::Text(text.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_opens_in_every_process_and_in_order() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let (first, second) = (account_id(), account_id());
    // Both make the key at once; one is kept.
    let (left, right) = tokio::join!(seal(&commands, first, "left"), seal(&other, first, "right"));
    let third = seal(&commands, second, "").await;
    assert_eq!(open(&other, &[&right, &third, &left]).await.unwrap(), [text("right"), text(""), text("left")]);
    assert_eq!(open(&commands, &[&left, &right]).await.unwrap(), [text("left"), text("right")]);
}

#[tokio::test]
async fn a_destroyed_key_opens_as_erased_and_stays_destroyed() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (erased, other) = (account_id(), account_id());
    let (gone, kept) = (seal(&commands, erased, "gone").await, seal(&commands, other, "kept").await);
    commands.account_keys().destroy(erased).await.unwrap();
    assert_eq!(open(&commands, &[&gone, &kept]).await.unwrap(), [Opened::Erased, text("kept")]);
    let fresh = stage.commands().await;
    assert_eq!(open(&fresh, &[&gone]).await.unwrap(), [Opened::Erased]);
    assert!(fresh.account_keys().seal(erased, "again").await.is_err());
    let wrapped: Option<Vec<u8>> = sqlx::query_scalar("select wrapped from log.keys where account_id = $1")
        .bind(erased.uuid())
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert!(wrapped.is_none());
}

#[tokio::test]
async fn sealed_data_belongs_to_its_account() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (owner, other) = (account_id(), account_id());
    let mut sealed = seal(&commands, owner, "text").await;
    seal(&commands, other, "a key").await;
    sealed.account_id = other;
    assert!(matches!(open(&commands, &[&sealed]).await, Err(KeyringError::Corrupt(_))));
    // Nor does another account's key help once it is put in the place.
    sealed.account_id = owner;
    sqlx::query(
        "update log.keys set wrapped = (select wrapped from log.keys where account_id = $2) where account_id = $1",
    )
    .bind(owner.uuid())
    .bind(other.uuid())
    .execute(&stage.pool)
    .await
    .unwrap();
    assert!(matches!(open(&stage.commands().await, &[&sealed]).await, Err(KeyringError::Corrupt(_))));
    // A key that was lost is no erasure.
    sqlx::query("delete from log.keys").execute(&stage.pool).await.unwrap();
    assert!(matches!(open(&stage.commands().await, &[&sealed]).await, Err(KeyringError::Corrupt(_))));
}
