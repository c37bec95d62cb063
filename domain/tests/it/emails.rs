use domain::{
    Aggregate, Claim, Claimed, Event,
    accounts::{
        AccountEmail, EmailCommand, EmailEvent, EmailRefusal, Language, PasswordReset, PasswordResetCommand,
        PasswordResetEvent,
    },
    ids::AccountId,
    sealed::Sealed,
};
use time::Duration;

use crate::{NOW, given, id};

fn account() -> AccountId {
    id(1)
}

fn sealed(text: u8) -> Sealed {
    Sealed { account_id: account(), ciphertext: vec![text; 40] }
}

fn requested() -> EmailEvent {
    EmailEvent::ConfirmationRequested {
        account_id: account(),
        email: sealed(1),
        code: sealed(2),
        language: Language::Uk,
        expires_at: NOW + Duration::DAY,
        requested_at: NOW,
    }
}

fn request() -> EmailCommand {
    EmailCommand::RequestConfirmation {
        account_id: account(),
        email: sealed(1),
        code: sealed(2),
        language: Language::Uk,
        expires_at: NOW + Duration::DAY,
    }
}

fn confirmed() -> EmailEvent {
    EmailEvent::Confirmed {
        account_id: account(),
        email: sealed(1),
        email_digest: "of the first".to_owned(),
        confirmed_at: NOW,
    }
}

fn confirm() -> EmailCommand {
    EmailCommand::Confirm { account_id: account(), email: sealed(1), email_digest: "of the first".to_owned() }
}

fn request_change(digest: &str, present_code: Option<Sealed>) -> EmailCommand {
    EmailCommand::RequestChange {
        account_id: account(),
        wanted: sealed(3),
        wanted_code: sealed(4),
        wanted_digest: digest.to_owned(),
        present_code,
        language: Language::Fr,
        expires_at: NOW + Duration::DAY,
    }
}

fn change_requested(of: Option<(Sealed, Sealed)>) -> EmailEvent {
    let (present, present_code) = of.unzip();
    EmailEvent::ChangeRequested {
        account_id: account(),
        wanted: sealed(3),
        wanted_code: sealed(4),
        present,
        present_code,
        language: Language::Fr,
        expires_at: NOW + Duration::DAY,
        requested_at: NOW,
    }
}

fn change(email: Sealed) -> EmailCommand {
    EmailCommand::Change { account_id: account(), email, email_digest: "of the second".to_owned() }
}

fn changed(former: Option<(Sealed, &str)>) -> EmailEvent {
    EmailEvent::Changed {
        account_id: account(),
        email: sealed(3),
        email_digest: "of the second".to_owned(),
        former: former.clone().map(|(former, _)| former),
        former_digest: former.map(|(_, digest)| digest.to_owned()),
        changed_at: NOW,
    }
}

fn released(digest: Option<&str>) -> EmailEvent {
    EmailEvent::Released { account_id: account(), email_digest: digest.map(str::to_owned), released_at: NOW }
}

fn take(name: &str) -> Claim {
    Claim::Take { kind: Claimed::Email, name: name.to_owned() }
}

fn release(name: &str) -> Claim {
    Claim::Release { kind: Claimed::Email, name: name.to_owned() }
}

#[test]
fn an_address_is_confirmed_once_and_is_its_accounts_alone_then() {
    given::<AccountEmail>([]).when(request()).then([requested()]);
    given::<AccountEmail>([requested()]).when(request()).then([requested()]);
    assert_eq!(requested().claims(), []);
    given::<AccountEmail>([requested()]).when(confirm()).then([confirmed()]);
    assert_eq!(confirmed().claims(), [take("of the first")]);
    for again in [request(), confirm()] {
        given::<AccountEmail>([requested(), confirmed()]).when(again).then_refused(EmailRefusal::AlreadyConfirmed);
    }
    assert_eq!(AccountEmail::claimed(Claimed::Email), EmailRefusal::Taken);
}

#[test]
fn the_account_is_written_to_in_the_language_that_it_last_said() {
    let mut email = AccountEmail::default();
    assert_eq!(email.language(), None);
    email.apply(&requested());
    assert_eq!(email.language(), Some(Language::Uk));
    email.apply(&change_requested(None));
    assert_eq!(email.language(), Some(Language::Fr));
}

#[test]
fn a_confirmed_address_changes_with_a_word_from_both_sides() {
    let before = [requested(), confirmed()];
    given::<AccountEmail>(before.clone())
        .when(request_change("of the second", Some(sealed(5))))
        .then([change_requested(Some((sealed(1), sealed(5))))]);
    given::<AccountEmail>(before.clone())
        .when(request_change("of the first", Some(sealed(5))))
        .then_refused(EmailRefusal::Unchanged);
    given::<AccountEmail>(before.clone()).when(change(sealed(3))).then_refused(EmailRefusal::NotRequested);
    let asked = before.into_iter().chain([change_requested(Some((sealed(1), sealed(5))))]);
    let asked: Vec<_> = asked.collect();
    given::<AccountEmail>(asked.clone()).when(change(sealed(9))).then_refused(EmailRefusal::NotRequested);
    given::<AccountEmail>(asked.clone()).when(change(sealed(3))).then([changed(Some((sealed(1), "of the first")))]);
    assert_eq!(changed(Some((sealed(1), "of the first"))).claims(), [release("of the first"), take("of the second")]);
    let done = asked.into_iter().chain([changed(Some((sealed(1), "of the first")))]);
    given::<AccountEmail>(done).when(change(sealed(3))).then_refused(EmailRefusal::NotRequested);
}

#[test]
fn an_address_that_nobody_confirmed_has_no_say() {
    given::<AccountEmail>([requested()]).when(request_change("of the second", None)).then([change_requested(None)]);
    given::<AccountEmail>([requested(), change_requested(None)]).when(change(sealed(3))).then([changed(None)]);
    assert_eq!(changed(None).claims(), [take("of the second")]);
    // Confirmed meanwhile, it has one, and what was asked for without it is worth nothing.
    given::<AccountEmail>([requested(), change_requested(None), confirmed()])
        .when(change(sealed(3)))
        .then_refused(EmailRefusal::NotRequested);
}

#[test]
fn the_address_of_an_erased_account_is_free_and_nothing_more_happens_to_it() {
    let command = || EmailCommand::Release { account_id: account() };
    given::<AccountEmail>([]).when(command()).then([]);
    given::<AccountEmail>([requested()]).when(command()).then([released(None)]);
    given::<AccountEmail>([requested(), confirmed()]).when(command()).then([released(Some("of the first"))]);
    assert_eq!(released(Some("of the first")).claims(), [release("of the first")]);
    assert_eq!(released(None).claims(), []);
    let over = [requested(), confirmed(), released(Some("of the first"))];
    given::<AccountEmail>(over.clone()).when(command()).then([]);
    for late in [request(), confirm(), change(sealed(3)), request_change("of the second", None)] {
        given::<AccountEmail>(over.clone()).when(late).then_refused(EmailRefusal::Unknown);
    }
    let mut email = AccountEmail::default();
    over.iter().for_each(|event| email.apply(event));
    assert_eq!((email.confirmed(), email.wanted()), (None, None));
}

#[test]
fn a_reset_can_be_asked_for_again_and_again() {
    let command = || PasswordResetCommand::Request {
        account_id: account(),
        email: sealed(1),
        code: sealed(2),
        language: Language::Ru,
        expires_at: NOW + Duration::HOUR,
    };
    let event = || PasswordResetEvent::Requested {
        account_id: account(),
        email: sealed(1),
        code: sealed(2),
        language: Language::Ru,
        expires_at: NOW + Duration::HOUR,
        requested_at: NOW,
    };
    given::<PasswordReset>([]).when(command()).then([event()]);
    given::<PasswordReset>([event()]).when(command()).then([event()]);
    assert_eq!((event().claims(), event().account_id()), (Vec::new(), account()));
}
