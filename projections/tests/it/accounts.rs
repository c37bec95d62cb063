use domain::{
    DomainEvent,
    accounts::{AccountEvent, AdministratorGranted, AdministratorRevoked},
};
use projections::accounts::ERASED_USERNAME;

use crate::{
    history::{BEGIN, after_seconds, erased, new, registered, registered_and_erased},
    stage::{PATIENCE, Stage},
};

#[tokio::test]
async fn an_account_is_found_by_id_and_by_username_in_any_case() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, root) = (new(), new());
    let head = stage.append(&[registered(ann, "ann", BEGIN), registered(root, "root", BEGIN)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let accounts = workers.read.accounts();
    let row = accounts.by_username("Ann").await.unwrap().unwrap();
    assert_eq!(row.id, ann);
    assert_eq!((&*row.username, row.email.as_deref()), ("ann", Some("ann@example.org")));
    assert_eq!((row.is_administrator, row.created_at, row.updated_at, row.version), (false, BEGIN, BEGIN, 1));
    assert_eq!(accounts.by_id(ann).await.unwrap(), Some(row));
    assert!(accounts.by_id(root).await.unwrap().unwrap().is_administrator);
    assert_eq!(accounts.by_id(new()).await.unwrap(), None);
    assert_eq!(accounts.by_username("nobody").await.unwrap(), None);
}

#[tokio::test]
async fn who_is_made_an_administrator_is_one_until_that_is_undone() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, bob, root) = (new(), new(), new());
    let granted = |account_id, at| {
        let granted = AdministratorGranted { account_id, by: None, granted_at: at };
        DomainEvent::Account(AccountEvent::AdministratorGranted(granted))
    };
    let revoked = |account_id, at| {
        let revoked = AdministratorRevoked { account_id, setup_token_digest: None, by: None, revoked_at: at };
        DomainEvent::Account(AccountEvent::AdministratorRevoked(revoked))
    };
    // Within the batch that has them registered, and after it.
    let at = after_seconds(7);
    let events = [
        registered(ann, "ann", BEGIN),
        registered(bob, "bob", BEGIN),
        registered(root, "root", BEGIN),
        granted(ann, at),
        granted(bob, at),
        revoked(bob, at),
    ];
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let accounts = workers.read.accounts();
    for (id, may) in [(ann, true), (bob, false), (root, true)] {
        assert_eq!(accounts.by_id(id).await.unwrap().unwrap().is_administrator, may);
    }
    let later = after_seconds(9);
    let head =
        stage.append(&[revoked(root, later), granted(bob, later), revoked(ann, later), erased(bob, later)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    for id in [ann, bob, root] {
        let row = accounts.by_id(id).await.unwrap().unwrap();
        assert_eq!((row.is_administrator, row.updated_at), (false, later));
    }
}

#[tokio::test]
async fn an_erased_person_has_no_name_and_no_address() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let id = new();
    let head = stage.append(&[registered_and_erased(id)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.accounts().by_id(id).await.unwrap().unwrap();
    assert_eq!((&*row.username, row.email), (ERASED_USERNAME, None));
    assert_eq!(workers.read.accounts().by_username(ERASED_USERNAME).await.unwrap(), None);
}

#[tokio::test]
async fn erasing_blanks_the_person_and_keeps_the_row() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, bob, root) = (new(), new(), new());
    let events = [registered(ann, "ann", BEGIN), registered(root, "root", BEGIN)];
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    // One whose row is there, and one that comes and goes in the same batch.
    let at = after_seconds(7);
    let head = stage.append(&[erased(ann, at), registered(bob, "bob", BEGIN), erased(bob, at), erased(root, at)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let accounts = workers.read.accounts();
    for id in [ann, bob, root] {
        let row = accounts.by_id(id).await.unwrap().unwrap();
        assert_eq!((&*row.username, row.email, row.is_administrator), (ERASED_USERNAME, None, false));
        assert_eq!((row.created_at, row.updated_at, row.version), (BEGIN, at, 2));
    }
    for username in ["ann", "bob", "root"] {
        assert_eq!(accounts.by_username(username).await.unwrap(), None);
    }
    let kept = "select count(*) from read.accounts_v1 where username is not null or email is not null";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&stage.pool).await.unwrap();
    assert_eq!(kept, 0);
    // Somebody else may have the name now.
    let head = stage.append(&[registered(new(), "ann", after_seconds(9))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_ne!(accounts.by_username("ann").await.unwrap().unwrap().id, ann);
}
