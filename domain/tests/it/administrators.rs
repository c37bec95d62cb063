//! Accounts that may administer the platform.

use domain::{
    Claim, Claimed, Event,
    accounts::{
        Account, AccountCommand, AccountEvent, AccountRefusal, AccountReinstated, AccountSuspended,
        AdministratorCommand, AdministratorGranted, AdministratorRefusal, AdministratorRevoked, ErasureCancelledReason,
    },
    ids::AccountId,
    sealed::Sealed,
};
use time::Duration;

use crate::{NOW, after, given, id};

fn sealed(byte: u8) -> Sealed {
    Sealed { account_id: id(1), ciphertext: vec![byte; 40] }
}

fn registered(is_administrator: bool) -> AccountEvent {
    AccountEvent::Registered {
        account_id: id(1),
        username: sealed(1),
        username_digest: "of the username".to_owned(),
        email: sealed(2),
        password: id(2),
        is_administrator,
        setup_token_digest: is_administrator.then(|| "of the token".to_owned()),
        registered_at: NOW,
    }
}

fn grant() -> AccountCommand {
    AccountCommand::Administrator(AdministratorCommand::Grant { by: Some(id(9)) })
}

fn revoke(by: Option<AccountId>) -> AccountCommand {
    AccountCommand::Administrator(AdministratorCommand::Revoke { by })
}

fn granted() -> AccountEvent {
    let (account_id, by) = (id(1), Some(id(9)));
    AccountEvent::AdministratorGranted(AdministratorGranted { account_id, by, granted_at: NOW })
}

fn revoked(by: Option<AccountId>) -> AccountEvent {
    let (account_id, setup_token_digest) = (id(1), None);
    AccountEvent::AdministratorRevoked(AdministratorRevoked { account_id, setup_token_digest, by, revoked_at: NOW })
}

/// The same of who came with the set-up token.
fn first_revoked(by: Option<AccountId>) -> AccountEvent {
    let (account_id, setup_token_digest) = (id(1), Some("of the token".to_owned()));
    AccountEvent::AdministratorRevoked(AdministratorRevoked { account_id, setup_token_digest, by, revoked_at: NOW })
}

fn suspended() -> AccountEvent {
    let until = Some(NOW + Duration::HOUR);
    AccountEvent::Suspended(AccountSuspended {
        account_id: id(1),
        by: None,
        reason: sealed(3),
        until,
        suspended_at: NOW,
    })
}

fn asked_to_be_erased() -> AccountEvent {
    AccountEvent::ErasureRequested { account_id: id(1), due_at: NOW + Duration::days(14), requested_at: NOW }
}

#[test]
fn somebody_becomes_an_administrator_and_ceases_to_be_one() {
    given::<Account>([registered(false)]).when(grant()).then([granted()]);
    given::<Account>([registered(false), granted()]).when(grant()).then([]);
    given::<Account>([registered(true)]).when(grant()).then([]);
    given::<Account>([registered(true)]).when(revoke(Some(id(1)))).then([first_revoked(Some(id(1)))]);
    given::<Account>([registered(false), granted()]).when(revoke(None)).then([revoked(None)]);
    given::<Account>([registered(false)]).when(revoke(None)).then([]);
    given::<Account>([registered(true), first_revoked(None)]).when(revoke(None)).then([]);
    given::<Account>([registered(true), first_revoked(None)]).when(grant()).then([granted()]);
    // What it had by the token it has not by the token any more.
    given::<Account>([registered(true), first_revoked(None), granted()]).when(revoke(None)).then([revoked(None)]);
    given::<Account>([]).when(grant()).then_refused(AccountRefusal::Unknown);
    given::<Account>([]).when(revoke(None)).then_refused(AccountRefusal::Unknown);
    let is_administrator = |events: Vec<AccountEvent>| after::<Account>(events).is_administrator();
    assert!(is_administrator(vec![registered(false), granted()]));
    assert!(!is_administrator(vec![registered(true), first_revoked(None)]));
    assert!(is_administrator(vec![registered(true), first_revoked(None), granted()]));
}

#[test]
fn nobody_who_is_kept_out_or_wants_to_go_becomes_one() {
    let refused = |refusal: AdministratorRefusal| AccountRefusal::Administrator(refusal);
    let kept_out = || given::<Account>([registered(false), suspended()]);
    kept_out().when(grant()).then_refused(refused(AdministratorRefusal::Suspended));
    let later = NOW + Duration::HOUR;
    let (account_id, by) = (id(1), Some(id(9)));
    let granted_later = AccountEvent::AdministratorGranted(AdministratorGranted { account_id, by, granted_at: later });
    kept_out().when_at(grant(), later).then([granted_later]);
    let reinstated = AccountEvent::Reinstated(AccountReinstated { account_id: id(1), by: None, reinstated_at: NOW });
    given::<Account>([registered(false), suspended(), reinstated]).when(grant()).then([granted()]);
    given::<Account>([registered(true), suspended()]).when(revoke(None)).then([first_revoked(None)]);
    given::<Account>([registered(false), asked_to_be_erased()])
        .when(grant())
        .then_refused(refused(AdministratorRefusal::BeingErased));
    let reason = ErasureCancelledReason::SignedIn;
    let stays = AccountEvent::ErasureCancelled { account_id: id(1), reason, cancelled_at: NOW };
    given::<Account>([registered(false), asked_to_be_erased(), stays]).when(grant()).then([granted()]);
    let erased = AccountEvent::Erased {
        account_id: id(1),
        username_digest: "of the username".to_owned(),
        setup_token_digest: None,
        by: None,
        erased_at: NOW,
    };
    given::<Account>([registered(false), erased]).when(grant()).then_refused(AccountRefusal::Unknown);
}

#[test]
fn an_administrator_is_erased_once_they_are_none() {
    let erase = || AccountCommand::RequestErasure { due_at: NOW + Duration::days(14) };
    given::<Account>([registered(false), granted()]).when(erase()).then_refused(AccountRefusal::OnlyAdministrator);
    given::<Account>([registered(false), granted(), revoked(None)]).when(erase()).then([asked_to_be_erased()]);
    given::<Account>([registered(true), first_revoked(None)]).when(erase()).then([asked_to_be_erased()]);
}

#[test]
fn who_was_made_one_is_known_by_a_claim() {
    let name = id::<AccountId>(1).to_string();
    assert_eq!(granted().claims(), [Claim::Take { kind: Claimed::Administrator, name: name.clone() }]);
    let released = Claim::Release { kind: Claimed::Administrator, name };
    assert_eq!(revoked(None).claims(), std::slice::from_ref(&released));
    let token = Claim::Release { kind: Claimed::SetupToken, name: "of the token".to_owned() };
    assert_eq!(first_revoked(None).claims(), [released, token]);
}
