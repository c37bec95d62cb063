//! Copies that people ask for of what is kept of them, erasure with a time to think better of it, and failed sign-ins.

use domain::{
    accounts::{
        Account, AccountCommand, AccountEvent, AccountRefusal, ErasureCancelledReason, PersonalExportCommand,
        PersonalExportDeletedReason, PersonalExportEvent, PersonalExportFailure, PersonalExportRefusal,
        PersonalExports, SignInCommand, SignInEvent, SignInFailure, SignIns,
    },
    ids::AccountId,
    sealed::Sealed,
};
use time::{Duration, OffsetDateTime};

use crate::{NOW, given, id};

fn sealed() -> Sealed {
    Sealed { account_id: id(1), ciphertext: vec![1; 40] }
}

fn registered(is_administrator: bool) -> AccountEvent {
    AccountEvent::Registered {
        account_id: id(1),
        username: sealed(),
        username_digest: "digest".to_owned(),
        email: sealed(),
        password: id(2),
        is_administrator,
        setup_token_digest: is_administrator.then(|| "token".to_owned()),
        registered_at: NOW,
    }
}

fn requested_erasure(due_at: OffsetDateTime) -> AccountEvent {
    AccountEvent::ErasureRequested { account_id: id(1), due_at, requested_at: NOW }
}

fn cancelled() -> AccountEvent {
    let reason = ErasureCancelledReason::SignedIn;
    AccountEvent::ErasureCancelled { account_id: id(1), reason, cancelled_at: NOW }
}

fn erased(at: OffsetDateTime) -> AccountEvent {
    let by: Option<AccountId> = Some(id(1));
    AccountEvent::Erased {
        account_id: id(1),
        username_digest: "digest".to_owned(),
        setup_token_digest: None,
        by,
        erased_at: at,
    }
}

#[test]
fn erasure_waits_for_its_time_and_happens_once() {
    let due_at = NOW + Duration::days(14);
    let (request, carry_out) = (AccountCommand::RequestErasure { due_at }, AccountCommand::CarryOutErasure);
    given::<Account>([registered(false)]).when(request.clone()).then([requested_erasure(due_at)]);
    let later = AccountCommand::RequestErasure { due_at: due_at + Duration::DAY };
    given::<Account>([registered(false), requested_erasure(due_at)]).when(later).then([]);
    let waiting = || given::<Account>([registered(false), requested_erasure(due_at)]);
    waiting().when_at(carry_out.clone(), due_at - Duration::MICROSECOND).then([]);
    waiting().when_at(carry_out.clone(), due_at).then([erased(due_at)]);
    given::<Account>([registered(false)]).when(carry_out.clone()).then([]);
    let gone = || given::<Account>([registered(false), requested_erasure(due_at), erased(due_at)]);
    gone().when(carry_out).then_refused(AccountRefusal::Unknown);
    gone().when(request.clone()).then_refused(AccountRefusal::Unknown);
    given::<Account>([registered(true)]).when(request).then_refused(AccountRefusal::OnlyAdministrator);
}

#[test]
fn who_thinks_better_of_it_stays() {
    let due_at = NOW + Duration::days(14);
    let cancel = AccountCommand::CancelErasure { reason: ErasureCancelledReason::SignedIn };
    given::<Account>([registered(false), requested_erasure(due_at)]).when(cancel.clone()).then([cancelled()]);
    given::<Account>([registered(false)]).when(cancel.clone()).then([]);
    let kept = || given::<Account>([registered(false), requested_erasure(due_at), cancelled()]);
    kept().when(cancel).then([]);
    kept().when_at(AccountCommand::CarryOutErasure, due_at).then([]);
    let again = due_at + Duration::DAY;
    kept().when(AccountCommand::RequestErasure { due_at: again }).then([requested_erasure(again)]);
}

fn requested(export: u128, at: OffsetDateTime) -> PersonalExportEvent {
    PersonalExportEvent::Requested { export_id: id(export), account_id: id(1), requested_at: at }
}

fn completed(export: u128) -> PersonalExportEvent {
    PersonalExportEvent::Completed {
        export_id: id(export),
        account_id: id(1),
        size_bytes: 7,
        completed_at: NOW,
        expires_at: NOW + Duration::days(7),
    }
}

fn deleted(export: u128, reason: PersonalExportDeletedReason, at: OffsetDateTime) -> PersonalExportEvent {
    PersonalExportEvent::Deleted { export_id: id(export), account_id: id(1), reason, deleted_at: at }
}

fn request(export: u128) -> PersonalExportCommand {
    PersonalExportCommand::Request { export_id: id(export), account_id: id(1) }
}

#[test]
fn one_copy_at_a_time_and_one_an_hour() {
    given::<PersonalExports>([]).when(request(3)).then([requested(3, NOW)]);
    given::<PersonalExports>([requested(3, NOW)]).when(request(4)).then_refused(PersonalExportRefusal::UnderWay);
    let again_at = NOW + Duration::HOUR;
    let made = || given::<PersonalExports>([requested(3, NOW), completed(3)]);
    made().when(request(4)).then_refused(PersonalExportRefusal::TooSoon { again_at });
    let replaced = deleted(3, PersonalExportDeletedReason::Replaced, again_at);
    made().when_at(request(4), again_at).then([replaced, requested(4, again_at)]);
    let failed = PersonalExportEvent::Failed {
        export_id: id(3),
        account_id: id(1),
        failure: PersonalExportFailure::StorageFull,
        failed_at: NOW,
    };
    given::<PersonalExports>([requested(3, NOW), failed]).when(request(4)).then([requested(4, NOW)]);
    let expired = deleted(3, PersonalExportDeletedReason::Expired, NOW);
    given::<PersonalExports>([requested(3, NOW), completed(3), expired]).when(request(4)).then([requested(4, NOW)]);
}

#[test]
fn a_copy_ends_once_and_nobody_elses() {
    let complete = |export| PersonalExportCommand::Complete {
        export_id: id(export),
        size_bytes: 7,
        expires_at: NOW + Duration::days(7),
    };
    given::<PersonalExports>([requested(3, NOW)]).when(complete(3)).then([completed(3)]);
    given::<PersonalExports>([requested(3, NOW)]).when(complete(4)).then_refused(PersonalExportRefusal::Unknown);
    given::<PersonalExports>([requested(3, NOW), completed(3)])
        .when(complete(3))
        .then_refused(PersonalExportRefusal::Unknown);
    let reason = PersonalExportDeletedReason::AccountErased;
    let delete = PersonalExportCommand::Delete { export_id: id(3), reason };
    given::<PersonalExports>([requested(3, NOW)]).when(delete.clone()).then([deleted(3, reason, NOW)]);
    given::<PersonalExports>([requested(3, NOW), deleted(3, reason, NOW)]).when(delete.clone()).then([]);
    given::<PersonalExports>([]).when(delete).then([]);
}

#[test]
fn a_failed_sign_in_is_told_once() {
    let fail = |failure, last_at: OffsetDateTime| SignInCommand::Fail {
        account_id: id(1),
        failure,
        count: 3,
        first_at: NOW,
        last_at,
        user_agent: sealed(),
        address: sealed(),
    };
    let failed = |last_at| SignInEvent::Failed {
        account_id: id(1),
        failure: SignInFailure::WrongPassword,
        count: 3,
        user_agent: sealed(),
        address: sealed(),
        first_at: NOW,
        last_at,
    };
    given::<SignIns>([]).when(fail(SignInFailure::WrongPassword, NOW)).then([failed(NOW)]);
    given::<SignIns>([failed(NOW)]).when(fail(SignInFailure::WrongPassword, NOW)).then([]);
    let later = NOW + Duration::MINUTE;
    given::<SignIns>([failed(NOW)]).when(fail(SignInFailure::WrongPassword, later)).then([failed(later)]);
    let code = SignInEvent::Failed {
        account_id: id(1),
        failure: SignInFailure::WrongCode,
        count: 3,
        user_agent: sealed(),
        address: sealed(),
        first_at: NOW,
        last_at: NOW,
    };
    given::<SignIns>([failed(NOW)]).when(fail(SignInFailure::WrongCode, NOW)).then([code]);
}
