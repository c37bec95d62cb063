//! Addresses of accounts: what their events make of `accounts_v1`.

use domain::{
    DomainEvent,
    accounts::{EmailEvent, Language},
    ids::AccountId,
};
use time::{Duration, OffsetDateTime};

use crate::{
    history::{BEGIN, Dice, after_seconds, erased, new, registered},
    stage::{PATIENCE, Stage, seal},
};

fn confirmed(account_id: AccountId, email: &str, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Email(EmailEvent::Confirmed {
        account_id,
        email: seal(account_id, email),
        email_digest: format!("digest of {email}"),
        confirmed_at: at,
    })
}

fn changed(account_id: AccountId, email: &str, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Email(EmailEvent::Changed {
        account_id,
        email: seal(account_id, email),
        email_digest: format!("digest of {email}"),
        former: None,
        former_digest: None,
        changed_at: at,
    })
}

/// Something that happens to the address of an account.
pub(crate) fn step(dice: &mut Dice, account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    match dice.roll(3) {
        0 => confirmed(account_id, "confirmed@example.org", at),
        1 => changed(account_id, &format!("changed_{}@example.org", dice.roll(100)), at),
        _ => DomainEvent::Email(EmailEvent::ConfirmationRequested {
            account_id,
            email: seal(account_id, "asked@example.org"),
            code: seal(account_id, "k7qm-2f9x"),
            language: Language::En,
            expires_at: at + Duration::DAY,
            requested_at: at,
        }),
    }
}

#[tokio::test]
async fn an_address_is_confirmed_and_changed_and_no_version_of_the_account() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, ben) = (new(), new());
    // One whose row is there, and one that comes in the same batch.
    let head = stage.append(&[registered(ann, "ann", BEGIN)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert!(!workers.read.accounts().by_id(ann).await.unwrap().unwrap().is_email_confirmed);
    let at = after_seconds(7);
    let events =
        [confirmed(ann, "ann@example.org", at), registered(ben, "ben", BEGIN), changed(ben, "new@example.org", at)];
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    for (id, email) in [(ann, "ann@example.org"), (ben, "new@example.org")] {
        let row = workers.read.accounts().by_id(id).await.unwrap().unwrap();
        assert_eq!((row.email.as_deref(), row.is_email_confirmed), (Some(email), true));
        assert_eq!((row.updated_at, row.version), (at, 1));
    }
    let head = stage.append(&[changed(ann, "later@example.org", at), erased(ben, at)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.accounts().by_id(ann).await.unwrap().unwrap();
    assert_eq!((row.email.as_deref(), row.username.as_str()), (Some("later@example.org"), "ann"));
    let row = workers.read.accounts().by_id(ben).await.unwrap().unwrap();
    assert_eq!((row.email, row.is_email_confirmed), (None, false));
}

#[tokio::test]
async fn an_address_that_is_confirmed_after_the_erasure_is_not_written_back() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, ben, eve) = (new(), new(), new());
    let (at, later) = (after_seconds(7), after_seconds(8));
    let registered = [registered(ann, "ann", BEGIN), registered(ben, "ben", BEGIN), registered(eve, "eve", BEGIN)];
    let head = stage.append(&registered).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    // Their keys are there still: it is a moment before they are destroyed.
    let head = stage
        .append(&[erased(ann, at), confirmed(ann, "ann@example.org", later), erased(ben, at), erased(eve, at)])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let head = stage.append(&[confirmed(ben, "ben@example.org", later), changed(eve, "new@example.org", later)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    for id in [ann, ben, eve] {
        let row = workers.read.accounts().by_id(id).await.unwrap().unwrap();
        assert_eq!((row.email, row.is_email_confirmed), (None, false));
        assert_eq!((row.updated_at, row.version), (later, 2), "the same in one batch and in two");
    }
}
