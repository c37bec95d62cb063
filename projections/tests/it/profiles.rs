//! What people show of themselves, and that it goes with them.

use domain::{
    DomainEvent,
    accounts::{AvatarName, ProfileEvent},
    channels::Visibility,
    ids::{AccountId, ChannelId},
};
use time::OffsetDateTime;

use crate::{
    history::{BEGIN, Dice, after_seconds, closed, created, erased, new, registered, visibility_changed},
    stage::{PATIENCE, Stage, seal, seal_erased},
};

pub(crate) fn avatar(number: usize) -> AvatarName {
    AvatarName::from_stored(&format!("{number:040x}")).unwrap()
}

fn changed(account_id: AccountId, display_name: &str, bio: Option<&str>, changed_at: OffsetDateTime) -> DomainEvent {
    let (display_name, bio) = (Some(seal(account_id, display_name)), bio.map(|bio| seal(account_id, bio)));
    DomainEvent::Profile(ProfileEvent::Changed { account_id, display_name, bio, changed_at })
}

fn pictured(account_id: AccountId, number: usize, changed_at: OffsetDateTime) -> DomainEvent {
    let avatar = avatar(number);
    DomainEvent::Profile(ProfileEvent::AvatarChanged { account_id, avatar, former: None, changed_at })
}

/// Something that somebody says or shows anew.
pub(crate) fn step(dice: &mut Dice, account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    match dice.roll(4) {
        0 => changed(account_id, "Somebody", None, at),
        1 => changed(account_id, "Somebody else", Some("By the river"), at),
        2 => pictured(account_id, dice.roll(1_000), at),
        _ => {
            let former = avatar(dice.roll(1_000));
            DomainEvent::Profile(ProfileEvent::AvatarRemoved { account_id, former, removed_at: at })
        }
    }
}

#[tokio::test]
async fn an_account_shows_what_was_said_last_and_its_public_channels() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, bob): (AccountId, AccountId) = (new(), new());
    let channels: [ChannelId; 4] = [new(), new(), new(), new()];
    let mut events = vec![registered(ann, "ann", BEGIN), registered(bob, "bob", BEGIN)];
    events.extend(channels.iter().zip(["one", "two", "three", "four"]).map(|(id, handle)| {
        let owner = if handle == "four" { bob } else { ann };
        created(*id, owner, handle, BEGIN)
    }));
    events.extend([
        visibility_changed(channels[1], Visibility::Unlisted, BEGIN),
        closed(channels[2], "three", BEGIN),
        changed(ann, "Ann of the river", Some("Ships"), after_seconds(1)),
        pictured(ann, 7, after_seconds(2)),
    ]);
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let profiles = workers.read.profiles();
    let row = profiles.by_username("ANN").await.unwrap().unwrap();
    assert_eq!((row.account_id, &*row.username, row.channel_count), (ann, "ann", 1));
    assert_eq!((row.display_name.as_deref(), row.bio.as_deref()), (Some("Ann of the river"), Some("Ships")));
    assert_eq!((row.avatar.clone(), row.version), (Some(avatar(7)), 2));
    assert_eq!((row.created_at, row.updated_at), (BEGIN, after_seconds(2)));
    assert_eq!(profiles.by_account(ann).await.unwrap(), Some(row));
    // Whoever never said anything has one all the same.
    let row = profiles.by_account(bob).await.unwrap().unwrap();
    assert_eq!((row.display_name, row.bio, row.avatar, row.version), (None, None, None, 0));
    assert_eq!((row.channel_count, row.updated_at), (1, BEGIN));
    assert_eq!(profiles.by_account(new()).await.unwrap(), None);
    // Its channels show it as well.
    let channel = workers.read.channels().by_handle("one").await.unwrap().unwrap();
    assert_eq!(
        (channel.owner_display_name.as_deref(), channel.owner_avatar),
        (Some("Ann of the river"), Some(avatar(7)))
    );
    let channel = workers.read.channels().by_handle("four").await.unwrap().unwrap();
    assert_eq!((channel.owner_display_name, channel.owner_avatar), (None, None));
}

#[tokio::test]
async fn erasure_leaves_nothing_also_of_what_comes_late() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (ann, bob): (AccountId, AccountId) = (new(), new());
    let events = [
        registered(ann, "ann", BEGIN),
        registered(bob, "bob", BEGIN),
        changed(ann, "Ann", Some("Here"), after_seconds(1)),
        pictured(ann, 1, after_seconds(2)),
    ];
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let at = after_seconds(3);
    let late = DomainEvent::Profile(ProfileEvent::Changed {
        account_id: bob,
        display_name: Some(seal_erased(bob)),
        bio: None,
        changed_at: at,
    });
    let head = stage.append(&[erased(ann, at), erased(bob, at), pictured(ann, 2, at), late]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    for id in [ann, bob] {
        assert_eq!(workers.read.profiles().by_account(id).await.unwrap(), None);
    }
    let kept =
        "select count(*) from read.profiles_v1 where display_name is not null or bio is not null or avatar is not null";
    assert_eq!(stage.count(kept).await, 0);
    assert_eq!(stage.count("select count(*) from read.profiles_v1 where is_erased").await, 2);
}

#[tokio::test]
async fn a_state_of_the_past_forgets_with_the_rest() {
    let stage = Stage::new().await;
    let ann: AccountId = new();
    sqlx::raw_sql(
        "create schema read_at_7; create table read_at_7.accounts_v1 (like read.accounts_v1 including all);
         create table read_at_7.profiles_v1 (like read.profiles_v1 including all);
         create schema read_at_8; create table read_at_8.profiles_v1 (like read.profiles_v1 including all)",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    for schema in ["read_at_7", "read_at_8"] {
        sqlx::query(&format!(
            "insert into {schema}.profiles_v1 values ($1, 'Ann', 'Here', '{}', false, now(), 1, 1)",
            avatar(1).as_str()
        ))
        .bind(ann.uuid())
        .execute(&stage.pool)
        .await
        .unwrap();
    }
    projections::accounts::forget_in_the_past(&stage.pool, ann).await.unwrap();
    for schema in ["read_at_7", "read_at_8"] {
        let kept = format!(
            "select count(*) from {schema}.profiles_v1 where display_name is not null or bio is not null or avatar is not null"
        );
        assert_eq!(stage.count(&kept).await, 0, "{schema}");
    }
}
