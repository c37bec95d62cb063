use commands::{Swept, accounts, channels, sweep};

use crate::stage::{Stage, account_id, create, metadata, register};

async fn age(stage: &Stage) {
    sqlx::raw_sql(
        "update log.vault set created_at = created_at - interval '2 hours'; \
         update log.keys set created_at = created_at - interval '2 hours'",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn what_nothing_refers_to_is_swept_after_an_hour() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account = accounts::register(&commands, register("someone")).await.unwrap();
    let channel = channels::create(&commands, create(account.account_id, "my_channel")).await.unwrap();
    // Refused after the vault has the key.
    channels::create(&commands, create(account.account_id, "my_channel")).await.unwrap_err();
    // A key for nobody.
    commands.account_keys().seal(account_id(), "text").await.unwrap();
    assert_eq!(sweep(&commands).await.unwrap(), Swept::default(), "not before its hour");
    age(&stage).await;
    assert_eq!(sweep(&commands).await.unwrap(), Swept { secrets: 1, keys: 1 });
    assert_eq!(sweep(&commands).await.unwrap(), Swept::default());
    accounts::verify(&commands, "someone", "correct horse").await.unwrap();
    channels::stream_key(&commands, account.account_id, channel.channel_id).await.unwrap();

    // A rotation that could not destroy what it replaced.
    sqlx::raw_sql("create table public.kept as table log.vault").execute(&stage.pool).await.unwrap();
    channels::rotate_stream_key(&commands, account.account_id, channel.channel_id, metadata()).await.unwrap();
    sqlx::raw_sql(
        "insert into log.vault select id, kind, aggregate_id, sealed, lookup, created_at, false from public.kept \
         on conflict do nothing",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    age(&stage).await;
    assert_eq!(sweep(&commands).await.unwrap(), Swept { secrets: 1, keys: 0 });
    channels::stream_key(&commands, account.account_id, channel.channel_id).await.unwrap();
}
