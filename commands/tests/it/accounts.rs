use commands::{
    CommandError,
    accounts::{self, AccountsError, Register},
};
use zeroize::Zeroizing;

use crate::stage::{Stage, account_id, register};

#[tokio::test]
async fn who_registered_can_sign_in() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let registered = accounts::register(&commands, register("Someone")).await.unwrap();
    assert_eq!(registered.position, 1);
    let verify = |username: &'static str, password: &'static str| accounts::verify(&commands, username, password);
    assert_eq!(verify("someone", "correct horse").await.unwrap(), registered.account_id);
    assert_eq!(verify("SOMEONE", "correct horse").await.unwrap(), registered.account_id);
    for (username, password) in
        [("someone", "wrong horse"), ("nobody", "correct horse"), ("not a name", "correct horse"), ("someone", "")]
    {
        assert!(matches!(verify(username, password).await, Err(CommandError::Refused(_))), "{username} {password}");
    }
    assert!(!accounts::is_administrator(&commands, registered.account_id).await.unwrap());
    assert!(!accounts::is_administrator(&commands, account_id()).await.unwrap());
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let wrong = Register {
        username: "no".to_owned(),
        email: "nowhere".to_owned(),
        password: Zeroizing::new("short".to_owned()),
        ..register("someone")
    };
    let Err(AccountsError::Invalid(invalid)) = accounts::register(&commands, wrong).await else { panic!("invalid") };
    assert_eq!(invalid.iter().map(|invalid| invalid.field).collect::<Vec<_>>(), ["username", "email", "password"]);
}

#[tokio::test]
async fn the_log_holds_neither_password_nor_name_nor_address() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    accounts::register(&commands, register("someone")).await.unwrap();
    let dump: String = sqlx::query_scalar(
        "select (select string_agg(payload::text || metadata::text, ' ') from log.events) \
             || (select string_agg(encode(sealed, 'escape'), ' ') from log.vault) \
             || (select string_agg(r::text, ' ') from log.reservations r)",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    for secret in ["someone", "example.org", "correct horse", "argon2"] {
        assert!(!dump.contains(secret), "{secret} in {dump}");
    }
}
