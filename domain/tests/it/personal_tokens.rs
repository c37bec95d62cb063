use domain::{
    accounts::{
        PersonalToken, PersonalTokenCommand, PersonalTokenEvent, PersonalTokenName, PersonalTokenRefusal,
        PersonalTokenRevokedReason, PersonalTokenScope,
    },
    sealed::Sealed,
};
use time::Duration;

use crate::{NOW, given, id};

fn create(scopes: &[PersonalTokenScope], days: i64) -> PersonalTokenCommand {
    PersonalTokenCommand::Create {
        token_id: id(3),
        account_id: id(1),
        name: Sealed { account_id: id(1), ciphertext: vec![1; 40] },
        scopes: scopes.to_vec(),
        expires_at: NOW + Duration::days(days),
    }
}

fn created() -> PersonalTokenEvent {
    PersonalTokenEvent::Created {
        token_id: id(3),
        account_id: id(1),
        name: Sealed { account_id: id(1), ciphertext: vec![1; 40] },
        scopes: vec![PersonalTokenScope::Read, PersonalTokenScope::StreamKeys],
        expires_at: NOW + Duration::days(30),
        created_at: NOW,
    }
}

fn revoked() -> PersonalTokenEvent {
    let reason = PersonalTokenRevokedReason::Owner;
    PersonalTokenEvent::Revoked { token_id: id(3), account_id: id(1), reason, revoked_at: NOW }
}

#[test]
fn a_token_has_scopes_once_each_and_an_end() {
    use PersonalTokenScope::{Read, StreamKeys};
    given::<PersonalToken>([]).when(create(&[StreamKeys, Read, StreamKeys], 30)).then([created()]);
    given::<PersonalToken>([]).when(create(&[], 30)).then_refused(PersonalTokenRefusal::NoScope);
    for days in [-1, 0, 367] {
        given::<PersonalToken>([]).when(create(&[Read], days)).then_refused(PersonalTokenRefusal::Expiry);
    }
    given::<PersonalToken>([created()]).when(create(&[Read], 30)).then_refused(PersonalTokenRefusal::AlreadyExists);
}

#[test]
fn a_token_is_revoked_once() {
    let revoke = PersonalTokenCommand::Revoke { reason: PersonalTokenRevokedReason::Owner };
    given::<PersonalToken>([created()]).when(revoke.clone()).then([revoked()]);
    given::<PersonalToken>([created(), revoked()]).when(revoke.clone()).then([]);
    given::<PersonalToken>([]).when(revoke).then_refused(PersonalTokenRefusal::Unknown);
}

#[test]
fn scopes_are_stored_and_sent_alike() {
    for scope in PersonalTokenScope::ALL {
        assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        assert_eq!(PersonalTokenScope::from_stored(scope.as_str()), Some(*scope));
    }
    assert_eq!(PersonalTokenScope::from_stored("administration"), None);
    assert!(PersonalTokenName::parse("  ").is_err() && PersonalTokenName::parse(&"x".repeat(51)).is_err());
}
