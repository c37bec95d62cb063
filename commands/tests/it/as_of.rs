//! Aggregates as they were.

use std::time::Duration;

use commands::{AsOf, Commands, LoadError};
use domain::{channels::Channel, ids::ChannelId};
use time::OffsetDateTime;

use crate::stage::{Stage, account_id, bare_channel, metadata, retitle};

async fn title_at(commands: &Commands, channel_id: ChannelId, as_of: AsOf) -> Option<(String, i64)> {
    let (channel, version) = commands.load_at::<Channel>(&channel_id.to_string(), as_of).await.unwrap()?;
    Some((channel.title().unwrap().as_str().to_owned(), version))
}

#[tokio::test]
async fn it_is_the_fold_of_what_was_there() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    bare_channel(&commands, owner, "before").await;
    let channel_id = bare_channel(&commands, owner, "my_channel").await;
    bare_channel(&commands, owner, "between").await;
    for title in ["Second", "Third"] {
        commands.execute::<Channel>(&channel_id.to_string(), retitle(owner, title), metadata()).await.unwrap();
    }
    // The log: before, created, between, second, third.
    let at = async |as_of| title_at(&commands, channel_id, as_of).await;
    let expected = [
        None,
        None,
        Some(("A title".to_owned(), 1)),
        Some(("A title".to_owned(), 1)),
        Some(("Second".to_owned(), 2)),
        Some(("Third".to_owned(), 3)),
    ];
    let times: Vec<OffsetDateTime> = sqlx::query_scalar("select recorded_at from log.events order by position")
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    for (position, expected) in (0..).zip(&expected) {
        assert_eq!(at(AsOf::Position(position)).await, *expected, "position {position}");
        if let Some(time) = usize::try_from(position).unwrap().checked_sub(1).map(|index| times[index]) {
            assert_eq!(at(AsOf::Time(time)).await, *expected, "the very time of {position}");
        }
    }
    // Each is an append of its own, so there is a time between them.
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    assert_eq!(at(AsOf::Time(times[3] - Duration::from_micros(1))).await, expected[3]);
    assert_eq!(at(AsOf::Time(OffsetDateTime::UNIX_EPOCH)).await, None);
    assert_eq!(at(AsOf::Time(times[4] + Duration::from_secs(3_600))).await, expected[5], "the future is not known yet");
    assert_eq!(title_at(&commands, ChannelId::from(uuid::Uuid::now_v7()), AsOf::Position(5)).await, None);
}

#[tokio::test]
async fn a_position_that_the_log_has_not_reached_is_refused() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let id = bare_channel(&commands, account_id(), "my_channel").await.to_string();
    let error = commands.load_at::<Channel>(&id, AsOf::Position(2)).await.unwrap_err();
    assert!(matches!(error, LoadError::PositionBeyondHead { position: 2, head: 1 }), "{error:?}");
    let error = commands.load_at::<Channel>("nothing", AsOf::Position(i64::MAX)).await.unwrap_err();
    assert!(matches!(error, LoadError::PositionBeyondHead { position: i64::MAX, head: 1 }), "{error:?}");
    assert!(commands.load_at::<Channel>(&id, AsOf::Position(-1)).await.unwrap().is_none());
}

#[tokio::test]
async fn times_do_not_run_backwards_when_the_clock_does() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let channel_id = bare_channel(&commands, owner, "my_channel").await;
    // As if the clock had been an hour ahead at the last append.
    let ahead: OffsetDateTime = sqlx::query_scalar(
        "update log.head set recorded_at = clock_timestamp() + interval '1 hour' returning recorded_at",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    for title in ["Second", "Third"] {
        commands.execute::<Channel>(&channel_id.to_string(), retitle(owner, title), metadata()).await.unwrap();
    }
    let times: Vec<OffsetDateTime> = sqlx::query_scalar("select recorded_at from log.events order by position")
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    assert_eq!(times[1..], [ahead, ahead]);
    assert_eq!(
        title_at(&commands, channel_id, AsOf::Time(ahead - Duration::from_micros(1))).await.unwrap().1,
        1,
        "a time is one moment of the log"
    );
}
