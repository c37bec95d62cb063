use domain::{
    Aggregate, Claim, Claimed, Event,
    accounts::{
        Account, AccountCommand, AccountEvent, AccountRefusal, Email, Password, Session, SessionCommand,
        SessionEndReason, SessionEvent, SessionRefusal, Username,
    },
    ids::AccountId,
    sealed::{Opened, Sealed},
};

use crate::{NOW, given, id};

fn sealed(byte: u8) -> Sealed {
    Sealed { account_id: id(1), ciphertext: vec![byte; 40] }
}

fn register(setup_token_digest: Option<&str>) -> AccountCommand {
    AccountCommand::Register {
        account_id: id(1),
        username: sealed(1),
        username_digest: "of the username".to_owned(),
        email: sealed(2),
        password: id(2),
        setup_token_digest: setup_token_digest.map(str::to_owned),
    }
}

fn registered(setup_token_digest: Option<&str>) -> AccountEvent {
    AccountEvent::Registered {
        account_id: id(1),
        username: sealed(1),
        username_digest: "of the username".to_owned(),
        email: sealed(2),
        password: id(2),
        is_administrator: setup_token_digest.is_some(),
        setup_token_digest: setup_token_digest.map(str::to_owned),
        registered_at: NOW,
    }
}

#[test]
fn a_person_registers() {
    given::<Account>([]).when(register(None)).then([registered(None)]);
}

#[test]
fn the_set_up_token_makes_an_administrator() {
    given::<Account>([]).when(register(Some("of the token"))).then([registered(Some("of the token"))]);
    let mut account = Account::default();
    assert!(!account.is_administrator() && account.password().is_none());
    account.apply(&registered(Some("of the token")));
    assert!(account.is_administrator());
    assert_eq!(account.password(), Some(id(2)));
}

#[test]
fn nobody_registers_twice() {
    given::<Account>([registered(None)]).when(register(None)).then_refused(AccountRefusal::AlreadyExists);
}

#[test]
fn registering_claims_the_username_and_the_token() {
    let username = Claim::Take { kind: Claimed::Username, name: "of the username".to_owned() };
    let token = Claim::Take { kind: Claimed::SetupToken, name: "of the token".to_owned() };
    assert_eq!(registered(None).claims(), std::slice::from_ref(&username));
    assert_eq!(registered(Some("of the token")).claims(), [username, token]);
    assert_eq!(Account::claimed(Claimed::Username), AccountRefusal::UsernameTaken);
    assert_eq!(Account::claimed(Claimed::SetupToken), AccountRefusal::SetupTokenUsed);
}

fn erase(by: Option<AccountId>, even_administrator: bool) -> AccountCommand {
    AccountCommand::Erase { by, even_administrator }
}

fn erased(by: Option<AccountId>, setup_token_digest: Option<&str>) -> AccountEvent {
    AccountEvent::Erased {
        account_id: id(1),
        username_digest: "of the username".to_owned(),
        setup_token_digest: setup_token_digest.map(str::to_owned),
        by,
        erased_at: NOW,
    }
}

#[test]
fn a_person_is_forgotten_once() {
    given::<Account>([registered(None)]).when(erase(Some(id(1)), false)).then([erased(Some(id(1)), None)]);
    given::<Account>([registered(None)]).when(erase(None, true)).then([erased(None, None)]);
    given::<Account>([registered(None), erased(None, None)]).when(erase(Some(id(1)), false)).then([]);
    given::<Account>([]).when(erase(None, true)).then_refused(AccountRefusal::Unknown);
}

#[test]
fn the_only_administrator_is_erased_by_the_operator_alone() {
    let administrator = registered(Some("of the token"));
    given::<Account>([administrator.clone()])
        .when(erase(Some(id(1)), false))
        .then_refused(AccountRefusal::OnlyAdministrator);
    given::<Account>([administrator]).when(erase(None, true)).then([erased(None, Some("of the token"))]);
}

#[test]
fn an_erased_account_is_nobodys() {
    let mut account = Account::default();
    account.apply(&registered(Some("of the token")));
    assert!(account.is_active() && !account.is_erased());
    assert_eq!(account.setup_token_digest(), Some("of the token"));
    account.apply(&erased(None, Some("of the token")));
    assert!(!account.is_active() && account.is_erased() && !account.is_administrator());
    assert_eq!((account.password(), account.setup_token_digest()), (None, None));
    given::<Account>([registered(None), erased(None, None)])
        .when(register(None))
        .then_refused(AccountRefusal::AlreadyExists);
}

#[test]
fn erasing_gives_the_username_and_the_token_back() {
    let username = Claim::Release { kind: Claimed::Username, name: "of the username".to_owned() };
    let token = Claim::Release { kind: Claimed::SetupToken, name: "of the token".to_owned() };
    let administrator = Claim::Release { kind: Claimed::Administrator, name: id::<AccountId>(1).to_string() };
    assert_eq!(erased(None, None).claims(), [username.clone(), administrator.clone()]);
    assert_eq!(erased(None, Some("of the token")).claims(), [username, administrator, token]);
}

fn open() -> SessionCommand {
    SessionCommand::Open { session_id: id(3), account_id: id(1), user_agent: sealed(3), address: sealed(4) }
}

fn opened() -> SessionEvent {
    SessionEvent::Opened {
        session_id: id(3),
        account_id: id(1),
        user_agent: sealed(3),
        address: sealed(4),
        opened_at: NOW,
    }
}

fn ended(reason: SessionEndReason) -> SessionEvent {
    SessionEvent::Ended { session_id: id(3), account_id: id(1), reason, ended_at: NOW }
}

#[test]
fn a_session_opens_and_ends_once() {
    use SessionEndReason::{AccountErased, Expired, SignedOut, TokenReused};
    given::<Session>([]).when(open()).then([opened()]);
    given::<Session>([opened()]).when(open()).then_refused(SessionRefusal::AlreadyExists);
    for reason in [SignedOut, Expired, TokenReused, AccountErased] {
        given::<Session>([opened()]).when(SessionCommand::End { reason }).then([ended(reason)]);
    }
    given::<Session>([opened(), ended(SignedOut)])
        .when(SessionCommand::End { reason: Expired })
        .then_refused(SessionRefusal::AlreadyEnded);
    given::<Session>([]).when(SessionCommand::End { reason: SignedOut }).then_refused(SessionRefusal::Unknown);
}

#[test]
fn a_session_is_open_from_opened_to_ended() {
    let mut session = Session::default();
    assert!(!session.is_open());
    session.apply(&opened());
    assert!(session.is_open());
    session.apply(&ended(SessionEndReason::SignedOut));
    assert!(!session.is_open());
}

#[test]
fn usernames_have_3_to_25_letters_digits_and_underscores() {
    for (text, parsed) in [("abc", "abc"), ("A_9", "a_9"), (&"x".repeat(25), &"x".repeat(25)), ("___", "___")] {
        assert_eq!(Username::parse(text).unwrap().as_str(), parsed);
    }
    for (text, code) in [
        ("", "too_short"),
        ("ab", "too_short"),
        (&"x".repeat(26), "too_long"),
        ("a-b", "characters"),
        (" abc", "characters"),
        ("ключ", "characters"),
        ("a\0b", "characters"),
        ("ａｂｃ", "characters"),
    ] {
        let invalid = Username::parse(text).unwrap_err();
        assert_eq!((invalid.field, invalid.code), ("username", code), "{text:?}");
    }
}

#[test]
fn addresses_are_checked_by_shape() {
    for (text, parsed) in [
        ("a@b.org", "a@b.org"),
        ("  First.Last+tag@Example.ORG ", "First.Last+tag@example.org"),
        ("пошта@приклад.укр", "пошта@приклад.укр"),
    ] {
        assert_eq!(Email::parse(text).unwrap().as_str(), parsed);
    }
    for text in
        ["", "a", "@", "a@", "@b.org", "a@b", "a@b..org", "a b@c.org", "a@b@c.org", "a@-b.org", "a@b.org\r\nBcc: x@y.z"]
    {
        assert_eq!(Email::parse(text).unwrap_err().code, "format", "{text:?}");
    }
    assert_eq!(Email::parse(&format!("a@{}.org", "b".repeat(300))).unwrap_err().code, "too_long");
    assert!(Email::parse(&format!("{}@b.org", "a".repeat(65))).is_err());
}

#[test]
fn passwords_are_long_enough_and_not_everybodys() {
    for text in ["correct horse", &"x".repeat(128), "пароль-пароль", "        ."] {
        assert_eq!(Password::parse(text).unwrap().expose(), text);
    }
    for (text, code) in [
        ("", "too_short"),
        ("1234567", "too_short"),
        (&"x".repeat(129), "too_long"),
        ("password", "too_common"),
        ("PassWord", "too_common"),
        ("Weir-2026", "too_common"),
        ("LiveStream!1", "too_common"),
        ("admin.weir.admin", "too_common"),
    ] {
        assert_eq!(Password::parse(text).unwrap_err().code, code, "{text:?}");
    }
    assert!(!format!("{:?}", Password::parse("correct horse").unwrap()).contains("horse"));
}

#[test]
fn an_erased_text_has_a_placeholder() {
    assert_eq!(Opened::Erased.or("someone"), "someone");
    assert_eq!(Opened::Text("text".to_owned()).or("someone"), "text");
}
