use std::{borrow::Cow, time::Duration};

use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::{
        self, AccountsError, Erase,
        personal_tokens::{self, CreatePersonalToken},
        sessions,
    },
    channels,
    setup::{self, SetupToken},
};
use domain::{
    accounts::{Account, AccountRefusal, PersonalTokenName, PersonalTokenScope, SessionRefusal},
    channels::{Channel, ChannelClosedReason, ChannelRefusal},
    ids::AccountId,
    sealed::{Opened, Sealed},
};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::stage::{Stage, account_id, create, metadata, register};

fn erase(account_id: AccountId) -> Erase {
    Erase {
        account_id,
        by: Some(account_id),
        even_administrator: false,
        metadata: Metadata::new(Actor::Account(account_id)),
    }
}

async fn open(commands: &Commands, sealed: &Sealed) -> Opened {
    commands.keyring().open(vec![Cow::Borrowed(sealed)]).await.unwrap().remove(0)
}

async fn count(stage: &Stage, sql: &str, id: AccountId) -> i64 {
    sqlx::query_scalar(sql).bind(id.to_string()).fetch_one(&stage.pool).await.unwrap()
}

/// What is left of an account in the log's own tables but its events and the tombstone of its key.
async fn rests(stage: &Stage, id: AccountId) -> [i64; 5] {
    [
        count(stage, "select count(*) from log.reservations where aggregate_id = $1", id).await,
        count(stage, "select count(*) from log.vault where aggregate_id = $1", id).await,
        count(stage, "select count(*) from log.sessions where account_id = $1::uuid", id).await,
        count(stage, "select count(*) from log.commands where actor = 'account:' || $1", id).await,
        count(stage, "select count(*) from log.keys where account_id = $1::uuid and wrapped is not null", id).await,
    ]
}

/// The tables of the log that say of their rows whose they are.
async fn tables_of_accounts(stage: &Stage) -> Vec<String> {
    sqlx::query_scalar(
        "select column_of.table_name::text from information_schema.columns column_of
         join information_schema.tables using (table_schema, table_name)
         where table_schema = 'log' and column_name = 'account_id' and table_type = 'BASE TABLE' order by 1",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap()
}

async fn rows_of(stage: &Stage, table: &str, id: AccountId) -> i64 {
    count(stage, &format!("select count(*) from log.{table} where account_id = $1::uuid"), id).await
}

/// Puts a row into a table, with something in each column that wants it.
async fn fill(stage: &Stage, table: &str, id: AccountId) {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select column_name::text, data_type::text from information_schema.columns
         where table_schema = 'log' and table_name = $1 and is_nullable = 'NO' and column_default is null",
    )
    .bind(table)
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    let value = |(name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
        ("account_id", _) => format!("'{id}'"),
        (_, "uuid") => "gen_random_uuid()".to_owned(),
        (_, "bytea") => "'x'::bytea".to_owned(),
        (_, "timestamp with time zone") => "now()".to_owned(),
        (_, "ARRAY" | "json" | "jsonb") => "'{}'".to_owned(),
        (_, "boolean") => "false".to_owned(),
        (_, "bigint" | "integer" | "smallint" | "double precision") => "1".to_owned(),
        (_, "text") => "'x'".to_owned(),
        (name, kind) => panic!("{table}.{name} is {kind}: say here what may stand in it"),
    };
    let names = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let values = columns.iter().map(value).collect::<Vec<_>>().join(", ");
    sqlx::query(&format!("insert into log.{table} ({names}) values ({values})")).execute(&stage.pool).await.unwrap();
}

async fn personal_token(commands: &Commands, account_id: AccountId) {
    let create = CreatePersonalToken {
        account_id,
        session_id: None,
        name: PersonalTokenName::parse("A program").unwrap(),
        scopes: PersonalTokenScope::ALL[..1].to_vec(),
        expires_at: OffsetDateTime::now_utc() + Duration::from_secs(86_400),
        metadata: Metadata::new(Actor::Account(account_id)),
    };
    personal_tokens::create(commands, create).await.unwrap();
}

/// A new table that has an account's rows is here without anybody thinking of it.
#[tokio::test]
async fn no_table_of_the_log_has_anything_of_an_erased_person() {
    /// What is removed by a process that follows the erasure.
    const LATER: [&str; 2] = ["due_erasures", "personal_exports"];
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let id = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let other = accounts::register(&commands, register("other")).await.unwrap().account_id;
    for account_id in [id, other] {
        sessions::open(&commands, account_id, "A browser", "203.0.113.7").await.unwrap();
    }
    let tables = tables_of_accounts(&stage).await;
    assert!(tables.len() >= 10, "{tables:?}");
    for table in &tables {
        // What has an aggregate behind each row is made by its command; of the rest a row is as good as another.
        if rows_of(&stage, table, id).await > 0 {
            continue;
        }
        match table.as_str() {
            "personal_tokens" => personal_token(&commands, id).await,
            table => fill(&stage, table, id).await,
        }
        assert!(rows_of(&stage, table, id).await > 0, "{table}");
    }
    let of_other: Vec<i64> = futures::future::join_all(tables.iter().map(|table| rows_of(&stage, table, other))).await;
    accounts::erase(&commands, erase(id)).await.unwrap();
    for table in tables.iter().filter(|table| !LATER.contains(&table.as_str())) {
        let left = if table == "keys" {
            count(&stage, "select count(*) from log.keys where account_id = $1::uuid and wrapped is not null", id).await
        } else {
            rows_of(&stage, table, id).await
        };
        assert_eq!(left, 0, "log.{table}");
    }
    let left = futures::future::join_all(tables.iter().map(|table| rows_of(&stage, table, other))).await;
    assert_eq!(left, of_other, "nobody else loses anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_gone_and_cannot_come_back() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let id = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let session = sessions::open(&commands, id, "A browser", "203.0.113.7").await.unwrap();
    sessions::open(&commands, id, "Another", "203.0.113.8").await.unwrap();
    let channel = channels::create(&commands, create(id, "my_channel")).await.unwrap().channel_id;
    let idempotency = commands.idempotency("a-key", &[b"request"]).unwrap();
    let mut with_key = create(id, "second");
    with_key.metadata = Metadata { idempotency: Some(idempotency), ..Metadata::new(Actor::Account(id)) };
    channels::create(&commands, with_key).await.unwrap();
    let sealed = commands.account_keys().seal(id, "text").await.unwrap();
    assert_eq!(open(&other, &sealed).await, Opened::Text("text".to_owned()));
    assert!(rests(&stage, id).await.iter().all(|rest| *rest > 0));

    accounts::verify_password(&commands, id, "correct horse").await.unwrap();
    let wrong = accounts::verify_password(&commands, id, "wrong horse").await;
    assert!(matches!(wrong, Err(CommandError::Refused(_))));
    accounts::erase(&commands, erase(id)).await.unwrap();
    assert_eq!(rests(&stage, id).await, [0; 5]);
    assert_eq!(open(&commands, &sealed).await, Opened::Erased);
    // The other process hears of it; it would remember the key for a minute.
    let erased_at = Instant::now();
    while open(&other, &sealed).await != Opened::Erased {
        assert!(erased_at.elapsed() < Duration::from_secs(50), "the other process still has the key");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    for commands in [&commands, &other] {
        let refused = accounts::verify(commands, "someone", "correct horse").await;
        assert!(matches!(refused, Err(CommandError::Refused(_))));
        let refused = accounts::verify_password(commands, id, "correct horse").await;
        assert!(matches!(refused, Err(CommandError::Refused(_))));
        assert!(sessions::refresh(commands, &session.refresh_token).await.is_err());
        assert!(!sessions::is_open(commands, session.session_id).await.unwrap());
        let refused = channels::create(commands, create(id, "third")).await.unwrap_err();
        assert!(refused.to_string().contains("no longer exists"), "{refused}");
        assert!(sessions::open(commands, id, "A browser", "203.0.113.7").await.is_err());
        assert!(accounts::is_erased(commands, id).await.unwrap());
    }
    let head = stage.event_types().await.len();
    accounts::erase(&other, erase(id)).await.unwrap();
    assert_eq!(stage.event_types().await.len(), head, "once is enough");
    let types = stage.event_types().await;
    assert_eq!(types.iter().filter(|name| *name == "account.erased").count(), 1);
    assert_eq!(types.iter().filter(|name| *name == "session.ended").count(), 2);

    // Whoever comes next may have the name, and is somebody else.
    let next = accounts::register(&other, register("someone")).await.unwrap();
    assert_ne!(next.account_id, id);
    assert_eq!(accounts::verify(&commands, "someone", "correct horse").await.unwrap(), next.account_id);
    assert_eq!(accounts::by_username(&commands, "SomeOne").await.unwrap(), Some(next.account_id));
    // Its channels are for the process that follows.
    assert_eq!(channels::of_owner(&commands, id).await.unwrap().first(), Some(&channel));
}

#[tokio::test]
async fn what_a_crash_left_is_done_by_whoever_finishes() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let id = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let session = sessions::open(&commands, id, "A browser", "203.0.113.7").await.unwrap();
    // The event and nothing after it.
    let command = domain::accounts::AccountCommand::Erase { by: None, even_administrator: false };
    commands.execute::<Account>(&id.to_string(), command, metadata()).await.unwrap();
    assert!(matches!(accounts::verify(&commands, "someone", "correct horse").await, Err(CommandError::Refused(_))));
    for _ in 0..2 {
        accounts::finish_erasure(&stage.commands().await, id).await.unwrap();
        assert_eq!(rests(&stage, id).await, [0; 5]);
    }
    assert!(sessions::refresh(&commands, &session.refresh_token).await.is_err());
}

#[tokio::test]
async fn a_session_that_opens_meanwhile_ends() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let id = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let command = domain::accounts::AccountCommand::Erase { by: None, even_administrator: false };
    commands.execute::<Account>(&id.to_string(), command, metadata()).await.unwrap();
    // The credentials were checked before, and the key is still there.
    let refused = sessions::open(&commands, id, "A browser", "203.0.113.7").await.err().unwrap();
    assert!(matches!(refused, CommandError::Refused(SessionRefusal::NoAccount)), "{refused:?}");
    assert_eq!(count(&stage, "select count(*) from log.sessions where account_id = $1::uuid", id).await, 0);
    assert_eq!(stage.event_types().await[2..], ["session.opened", "session.ended"]);
}

#[tokio::test]
async fn the_only_administrator_goes_when_the_operator_says_so() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let Some(SetupToken::New(token)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a token") };
    let administrator = accounts::Register { setup_token: Some(token.as_str().to_owned()), ..register("keeper") };
    let id = accounts::register(&commands, administrator).await.unwrap().account_id;
    let refused = accounts::erase(&commands, erase(id)).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(AccountRefusal::OnlyAdministrator)), "{refused:?}");
    assert!(accounts::is_administrator(&commands, id).await.unwrap());
    assert_eq!(setup::ensure_token(&commands).await.unwrap(), None);

    accounts::erase(&commands, Erase { by: None, even_administrator: true, ..erase(id) }).await.unwrap();
    assert!(!accounts::is_administrator(&commands, id).await.unwrap());
    assert!(setup::is_open(&commands).await.unwrap());
    // The token of before makes nobody an administrator.
    let again = accounts::Register { setup_token: Some(token.as_str().to_owned()), ..register("again") };
    assert!(matches!(accounts::register(&commands, again).await, Err(AccountsError::SetupTokenWrong)));
    let Some(SetupToken::New(token)) = setup::ensure_token(&commands).await.unwrap() else { panic!("a new token") };
    let next = accounts::Register { setup_token: Some(token.as_str().to_owned()), ..register("next") };
    let next = accounts::register(&commands, next).await.unwrap().account_id;
    assert!(accounts::is_administrator(&commands, next).await.unwrap());
}

#[tokio::test]
async fn nobody_cannot_be_erased() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let refused = accounts::erase(&commands, erase(account_id())).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(AccountRefusal::Unknown)), "{refused:?}");
    assert_eq!(accounts::by_username(&commands, "nobody").await.unwrap(), None);
    assert_eq!(accounts::by_username(&commands, "not a name").await.unwrap(), None);
    assert_eq!(stage.event_types().await, [""; 0]);
}

#[tokio::test]
async fn a_closed_channel_has_no_key_and_keeps_its_handle() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let id = channels::create(&commands, create(owner, "my_channel")).await.unwrap().channel_id;
    let key = channels::stream_key(&commands, owner, id).await.unwrap();
    let close = |by, reason| channels::close(&commands, id, by, reason, metadata());
    let refused = close(Some(account_id()), ChannelClosedReason::Owner).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(ChannelRefusal::NotAllowed)));
    close(Some(owner), ChannelClosedReason::Owner).await.unwrap();
    close(None, ChannelClosedReason::OwnerErased).await.unwrap();
    assert_eq!(stage.event_types().await.iter().filter(|name| *name == "channel.closed").count(), 1);
    assert!(channels::authorise_publisher(&commands, key.expose()).await.is_err());
    assert!(channels::stream_key(&commands, owner, id).await.is_err());
    assert!(channels::rotate_stream_key(&commands, owner, id, metadata()).await.is_err());
    let secrets = "select count(*) from log.vault where kind = 'stream_key' and is_settled and $1 <> ''";
    assert_eq!(count(&stage, secrets, owner).await, 0);
    let taken = channels::create(&commands, create(owner, "my_channel")).await.unwrap_err();
    assert!(taken.to_string().contains("taken"), "{taken}");
    let (channel, _) = commands.load::<Channel>(&id.to_string()).await.unwrap().unwrap();
    assert!(channel.is_closed());
}
