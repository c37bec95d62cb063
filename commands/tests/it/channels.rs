use commands::{
    CommandError,
    channels::{self, ChangeDetails, ChannelsError, CreateChannel},
};
use domain::channels::ChannelRefusal;

use crate::stage::{Stage, account_id, create, metadata};

#[tokio::test]
async fn a_stream_key_publishes_until_it_is_rotated() {
    let stage = Stage::new().await;
    // The second remembers the channel as it was.
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let owner = account_id();
    let channel = channels::create(&commands, create(owner, "My_Channel")).await.unwrap();
    let key = channels::stream_key(&commands, owner, channel.channel_id).await.unwrap();
    assert!(key.expose().starts_with("live_") && key.expose().len() == 37, "{}", key.expose());
    let publisher = channels::authorise_publisher(&other, key.expose()).await.unwrap();
    assert_eq!((publisher.channel_id, publisher.handle.as_str()), (channel.channel_id, "my_channel"));
    assert_eq!(publisher.title, "A title");

    let (new, position) = channels::rotate_stream_key(&commands, owner, channel.channel_id, metadata()).await.unwrap();
    assert_eq!(position, 2);
    let refused = channels::authorise_publisher(&other, key.expose()).await;
    assert!(matches!(refused, Err(CommandError::Refused(_))), "at once, in every process");
    // The channel has had one event more.
    let same = channels::AuthorisedPublisher { version: 2, ..publisher };
    assert_eq!(channels::authorise_publisher(&other, new.expose()).await.unwrap(), same);
    assert_eq!(channels::stream_key(&other, owner, channel.channel_id).await.unwrap().expose(), new.expose());
    let refused = channels::authorise_publisher(&other, "live_made_up").await;
    assert!(matches!(refused, Err(CommandError::Refused(_))));
    let kept: i64 = sqlx::query_scalar("select count(*) from log.vault").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(kept, 1, "the replaced key is destroyed");
}

#[tokio::test]
async fn a_replaced_key_is_refused_even_while_the_vault_has_it() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let channel = channels::create(&commands, create(owner, "my_channel")).await.unwrap();
    let key = channels::stream_key(&commands, owner, channel.channel_id).await.unwrap();
    sqlx::raw_sql("create table public.kept as table log.vault").execute(&stage.pool).await.unwrap();
    channels::rotate_stream_key(&commands, owner, channel.channel_id, metadata()).await.unwrap();
    sqlx::raw_sql("insert into log.vault table public.kept").execute(&stage.pool).await.unwrap();
    assert!(channels::authorise_publisher(&commands, key.expose()).await.is_err());
}

#[tokio::test]
async fn keys_are_for_the_owner_alone() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let channel = channels::create(&commands, create(account_id(), "my_channel")).await.unwrap();
    let stranger = account_id();
    let refused = channels::stream_key(&commands, stranger, channel.channel_id).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::NotAllowed))));
    let refused = channels::rotate_stream_key(&commands, stranger, channel.channel_id, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::NotAllowed))));
}

#[tokio::test]
async fn details_change_and_wrong_fields_are_named() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let channel = channels::create(&commands, create(owner, "my_channel")).await.unwrap();
    let change = |title: &str, expected_version| ChangeDetails {
        by: owner,
        channel_id: channel.channel_id,
        expected_version,
        title: Some(title.to_owned()),
        description: Some("Words".to_owned()),
        visibility: None,
        metadata: metadata(),
    };
    assert_eq!(channels::change_details(&commands, change("New", Some(1))).await.unwrap(), 2);
    assert!(matches!(
        channels::change_details(&commands, change("Newer", Some(1))).await,
        Err(ChannelsError::Command(CommandError::Refused(ChannelRefusal::VersionStale { current: 2 })))
    ));
    let Err(ChannelsError::Invalid(invalid)) = channels::change_details(&commands, change(" ", None)).await else {
        panic!("invalid")
    };
    assert_eq!(invalid[0].field, "title");
    let wrong = CreateChannel { handle: "admin".to_owned(), title: String::new(), ..create(owner, "x") };
    let Err(ChannelsError::Invalid(invalid)) = channels::create(&commands, wrong).await else { panic!("invalid") };
    assert_eq!(
        invalid.iter().map(|invalid| (invalid.field, invalid.code)).collect::<Vec<_>>(),
        [("handle", "reserved"), ("title", "too_short")]
    );
    let taken = channels::create(&commands, create(owner, "MY_CHANNEL")).await;
    assert!(matches!(taken, Err(ChannelsError::Command(CommandError::Refused(ChannelRefusal::HandleTaken)))));
}
