use domain::{
    Aggregate, Event,
    accounts::{
        Account, AccountCommand, AccountEvent, AccountRefusal, AccountReinstated, AccountSuspended, SuspensionCommand,
        SuspensionReason, SuspensionRefusal,
    },
    ids::AccountId,
    sealed::Sealed,
};
use time::{Duration, OffsetDateTime};

use crate::{NOW, given, id};

fn sealed(byte: u8) -> Sealed {
    Sealed { account_id: id(1), ciphertext: vec![byte; 40] }
}

fn registered() -> AccountEvent {
    AccountEvent::Registered {
        account_id: id(1),
        username: sealed(1),
        username_digest: "of the username".to_owned(),
        email: sealed(2),
        password: id(2),
        is_administrator: true,
        setup_token_digest: None,
        registered_at: NOW,
    }
}

fn suspend(by: AccountId, until: Option<OffsetDateTime>) -> AccountCommand {
    AccountCommand::Suspension(SuspensionCommand::Suspend { by: Some(by), reason: sealed(3), until })
}

fn suspended(until: Option<OffsetDateTime>) -> AccountEvent {
    let (account_id, by) = (id(1), Some(id(9)));
    AccountEvent::Suspended(AccountSuspended { account_id, by, reason: sealed(3), until, suspended_at: NOW })
}

fn reinstate() -> AccountCommand {
    AccountCommand::Suspension(SuspensionCommand::Reinstate { by: Some(id(9)) })
}

fn reinstated(at: OffsetDateTime) -> AccountEvent {
    AccountEvent::Reinstated(AccountReinstated { account_id: id(1), by: Some(id(9)), reinstated_at: at })
}

fn erased() -> AccountEvent {
    AccountEvent::Erased {
        account_id: id(1),
        username_digest: "of the username".to_owned(),
        setup_token_digest: None,
        by: None,
        erased_at: NOW,
    }
}

#[test]
fn an_administrator_suspends_with_or_without_an_end_and_again() {
    let end = Some(NOW + Duration::days(7));
    given::<Account>([registered()]).when(suspend(id(9), None)).then([suspended(None)]);
    given::<Account>([registered()]).when(suspend(id(9), end)).then([suspended(end)]);
    given::<Account>([registered(), suspended(None)]).when(suspend(id(9), end)).then([suspended(end)]);
    assert!(suspended(end).claims().is_empty());
}

#[test]
fn nobody_suspends_themselves_or_for_no_time() {
    let refused = |refusal: SuspensionRefusal| AccountRefusal::Suspension(refusal);
    given::<Account>([registered()]).when(suspend(id(1), None)).then_refused(refused(SuspensionRefusal::OwnAccount));
    given::<Account>([registered()])
        .when(suspend(id(9), Some(NOW)))
        .then_refused(refused(SuspensionRefusal::AlreadyOver));
    given::<Account>([]).when(suspend(id(9), None)).then_refused(AccountRefusal::Unknown);
    given::<Account>([registered(), erased()]).when(suspend(id(9), None)).then_refused(AccountRefusal::Unknown);
}

#[test]
fn a_suspension_holds_until_it_is_lifted_or_its_time_is_over() {
    let end = NOW + Duration::days(7);
    let mut account = Account::default();
    account.apply(&registered());
    assert!(account.suspension(NOW).is_none());
    account.apply(&suspended(Some(end)));
    assert!(account.suspension(NOW).is_some() && account.suspension(end - Duration::MICROSECOND).is_some());
    assert!(account.suspension(end).is_none(), "no event says that it is over");
    account.apply(&suspended(None));
    assert!(account.suspension(end + Duration::days(9_999)).is_some());
    account.apply(&reinstated(NOW));
    assert!(account.suspension(NOW).is_none());
    account.apply(&suspended(None));
    account.apply(&erased());
    assert!(account.suspension(NOW).is_none(), "there is nobody to keep out");
}

#[test]
fn only_what_holds_is_lifted() {
    let end = NOW + Duration::days(7);
    given::<Account>([registered(), suspended(None)]).when(reinstate()).then([reinstated(NOW)]);
    given::<Account>([registered()]).when(reinstate()).then([]);
    given::<Account>([registered(), suspended(Some(end))]).when_at(reinstate(), end).then([]);
    given::<Account>([registered(), suspended(None), reinstated(NOW)]).when(reinstate()).then([]);
    given::<Account>([]).when(reinstate()).then_refused(AccountRefusal::Unknown);
}

#[test]
fn what_was_decided_before_never_shortens_a_suspension() {
    let (week, month) = (Some(NOW + Duration::days(7)), Some(NOW + Duration::days(30)));
    let at_least =
        |until| AccountCommand::Suspension(SuspensionCommand::SuspendAtLeast { by: id(9), reason: sealed(3), until });
    given::<Account>([registered()]).when(at_least(week)).then([suspended(week)]);
    for (held, wanted) in [(None, week), (None, None), (month, week), (week, week)] {
        given::<Account>([registered(), suspended(held)]).when(at_least(wanted)).then([]);
    }
    for (held, wanted) in [(week, month), (week, None)] {
        given::<Account>([registered(), suspended(held)]).when(at_least(wanted)).then([suspended(wanted)]);
    }
    // What does not hold any more counts for nothing.
    given::<Account>([registered(), suspended(None), reinstated(NOW)]).when(at_least(week)).then([suspended(week)]);
    let refused = |refusal: SuspensionRefusal| AccountRefusal::Suspension(refusal);
    given::<Account>([registered(), suspended(None)])
        .when(at_least(Some(NOW)))
        .then_refused(refused(SuspensionRefusal::AlreadyOver));
    let own = SuspensionCommand::SuspendAtLeast { by: id(1), reason: sealed(3), until: None };
    given::<Account>([registered()])
        .when(AccountCommand::Suspension(own))
        .then_refused(refused(SuspensionRefusal::OwnAccount));
    given::<Account>([registered(), erased()]).when(at_least(week)).then_refused(AccountRefusal::Unknown);
}

#[test]
fn a_reason_is_some_words() {
    assert_eq!(
        SuspensionReason::parse("  Two warnings.\nThen films. ").unwrap().as_str(),
        "Two warnings.\nThen films."
    );
    assert_eq!(SuspensionReason::parse(" ").unwrap_err().code, "too_short");
    assert_eq!(SuspensionReason::parse(&"x".repeat(501)).unwrap_err().code, "too_long");
    assert_eq!(SuspensionReason::parse("a\u{7}b").unwrap_err().code, "characters");
}
