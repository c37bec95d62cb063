use domain::{
    DomainEvent,
    accounts::{
        AccountEvent, AdministratorGranted, AdministratorRevoked, PasswordChangedReason, SessionEndReason,
        SessionEvent, SignInEvent, SignInFailure,
    },
    ids::AccountId,
    registrations::RegistrationInviteEvent,
};
use projections::security_events::{KINDS, SecurityEventFilter, SecurityEventRow};

use crate::{
    history::{BEGIN, after_seconds, created, erased, key_rotated, new, registered},
    stage::{PATIENCE, Stage, Workers, seal},
};

fn opened(account_id: AccountId) -> DomainEvent {
    DomainEvent::Session(SessionEvent::Opened {
        session_id: new(),
        account_id,
        user_agent: seal(account_id, "Firefox"),
        address: seal(account_id, "::1"),
        opened_at: BEGIN,
    })
}

fn failed(account_id: AccountId, count: u32) -> DomainEvent {
    DomainEvent::SignIn(SignInEvent::Failed {
        account_id,
        failure: SignInFailure::WrongPassword,
        count,
        user_agent: seal(account_id, "curl"),
        address: seal(account_id, "::2"),
        first_at: BEGIN,
        last_at: BEGIN,
    })
}

async fn list(workers: &Workers, filter: SecurityEventFilter) -> Vec<SecurityEventRow> {
    workers.read.security_events().list(&filter, None, 100).await.unwrap().items
}

fn kinds(rows: &[SecurityEventRow]) -> Vec<&str> {
    rows.iter().map(|row| row.kind.as_str()).collect()
}

#[tokio::test]
async fn what_happened_is_told_to_whom_it_happened_newest_first() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, bob) = (new(), new());
    let ended = DomainEvent::Session(SessionEvent::Ended {
        session_id: new(),
        account_id: ann,
        reason: SessionEndReason::TokenReused,
        ended_at: BEGIN,
    });
    let changed = DomainEvent::Account(AccountEvent::PasswordChanged {
        account_id: ann,
        password: new(),
        reason: PasswordChangedReason::Changed,
        ends_all_but: None,
        changed_at: BEGIN,
    });
    let events = [
        registered(ann, "ann", BEGIN),
        registered(bob, "bob", BEGIN),
        created(new(), ann, "a_channel", BEGIN),
        opened(ann),
        failed(ann, 7),
        changed,
    ];
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let of_ann = SecurityEventFilter { account_id: Some(ann), ..SecurityEventFilter::default() };
    let rows = list(&workers, of_ann.clone()).await;
    assert_eq!(kinds(&rows), ["account.password_changed", "sign_in.failed", "session.opened", "account.registered"]);
    let guess = &rows[1];
    assert_eq!((guess.reason.as_deref(), guess.count), (Some("wrong_password"), Some(7)));
    assert_eq!(guess.address, Some(seal(ann, "::2")), "sealed as the log has it");
    assert_eq!((guess.username.as_deref(), guess.by_id), (Some("ann"), None));
    assert!(rows.windows(2).all(|pair| pair[0].id > pair[1].id && pair[0].at >= pair[1].at));
    let filter = SecurityEventFilter { kind: Some("account.registered".to_owned()), ..SecurityEventFilter::default() };
    assert_eq!(list(&workers, filter).await.len(), 2);
    let from = SecurityEventFilter { from: Some(rows[0].at + time::Duration::SECOND), ..of_ann.clone() };
    assert_eq!(list(&workers, from).await, []);
    let to = SecurityEventFilter { to: Some(rows[0].at + time::Duration::SECOND), ..of_ann.clone() };
    assert_eq!(list(&workers, to).await.len(), 4);

    // Page by page it is the same.
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = workers.read.security_events().list(&of_ann, after.as_ref(), 1).await.unwrap();
        paged.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, rows);

    // An end without its beginning is told all the same: nothing here depends on what came before.
    let head = stage.append(&[ended, erased(ann, after_seconds(9))]).await;
    assert!(workers.read.wait_for_some(&[&projections::security_events::SecurityEventsV1], head, PATIENCE).await);
    assert!(workers.read.wait_for_some(&[&projections::accounts::AccountsV1], head, PATIENCE).await);
    let rows = list(&workers, of_ann).await;
    assert_eq!(kinds(&rows)[..2], ["account.erased", "session.ended"]);
    assert_eq!((rows[1].reason.as_deref(), rows[1].username.as_deref()), (Some("token_reused"), None));
}

/// A replaced stream key is its owner's, whether the channel came in the same batch or long before.
#[tokio::test]
async fn what_administrators_and_owners_of_channels_do_is_theirs() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, bob, channel_id) = (new(), new(), new());
    let granted = AdministratorGranted { account_id: bob, by: Some(ann), granted_at: BEGIN };
    let revoked = AdministratorRevoked { account_id: bob, setup_token_digest: None, by: Some(bob), revoked_at: BEGIN };
    let invite = RegistrationInviteEvent::Created {
        invite_id: new(),
        by: ann,
        max_uses: 3,
        expires_at: None,
        created_at: BEGIN,
    };
    let events = [
        registered(ann, "ann", BEGIN),
        registered(bob, "bob", BEGIN),
        created(channel_id, ann, "a_channel", BEGIN),
        key_rotated(channel_id, BEGIN),
        DomainEvent::Account(AccountEvent::AdministratorGranted(granted)),
        DomainEvent::RegistrationInvite(invite),
        DomainEvent::Account(AccountEvent::AdministratorRevoked(revoked)),
    ];
    stage.append(&events).await;
    let head = stage.append(&[key_rotated(channel_id, after_seconds(9))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let of = |account_id| SecurityEventFilter { account_id: Some(account_id), ..SecurityEventFilter::default() };
    let rows = list(&workers, of(ann)).await;
    let rotated = "channel.stream_key_rotated";
    assert_eq!(kinds(&rows), [rotated, "registration_invite.created", rotated, "account.registered"]);
    assert_eq!((rows[0].channel_handle.as_deref(), rows[1].count), (Some("a_channel"), Some(3)));
    let rows = list(&workers, of(bob)).await;
    let kinds = kinds(&rows);
    assert_eq!(kinds, ["account.administrator_revoked", "account.administrator_granted", "account.registered"]);
    assert_eq!((rows[0].by_id, rows[1].by_id), (None, Some(ann)));
}

#[test]
fn every_kind_is_an_event_of_the_catalogue() {
    let known: Vec<_> = domain::catalogue().into_iter().map(|event| event.event_type).collect();
    for kind in KINDS {
        assert!(known.contains(kind), "{kind}");
    }
}
