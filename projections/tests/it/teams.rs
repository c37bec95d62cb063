use domain::{
    DomainEvent,
    channels::{ChannelEvent, ChannelRole, RoleTakenReason},
    ids::{AccountId, ChannelId},
};
use projections::channels::ChannelFilter;
use time::OffsetDateTime;

use crate::{
    history::{Dice, after_seconds, created, new, registered},
    stage::{PATIENCE, Stage},
};

fn given(channel_id: ChannelId, account_id: AccountId, role: ChannelRole, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::RoleGiven { channel_id, account_id, role, by: new(), given_at: at })
}

fn taken(channel_id: ChannelId, account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Channel(ChannelEvent::RoleTaken {
        channel_id,
        account_id,
        role: ChannelRole::Editor,
        by: None,
        reason: RoleTakenReason::AccountErased,
        taken_at: at,
    })
}

/// Somebody gets a role, or loses it.
pub(crate) fn step(dice: &mut Dice, channel_id: ChannelId, account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    match dice.roll(3) {
        0 => taken(channel_id, account_id, at),
        1 => given(channel_id, account_id, ChannelRole::Editor, at),
        _ => given(channel_id, account_id, ChannelRole::Moderator, at),
    }
}

#[tokio::test]
async fn a_team_is_who_has_a_role_now() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, mira, noor): (AccountId, AccountId, AccountId) = (new(), new(), new());
    let (river, sea): (ChannelId, ChannelId) = (new(), new());
    let head = stage
        .append(&[
            registered(owner, "owner", after_seconds(0)),
            registered(mira, "mira", after_seconds(1)),
            registered(noor, "noor", after_seconds(2)),
            created(river, owner, "river", after_seconds(3)),
            created(sea, mira, "sea", after_seconds(4)),
            given(river, noor, ChannelRole::Moderator, after_seconds(5)),
            given(river, mira, ChannelRole::Moderator, after_seconds(6)),
            given(river, mira, ChannelRole::Editor, after_seconds(7)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let teams = workers.read.teams();
    let team = async || {
        let rows = teams.of_channel(river).await.unwrap();
        rows.into_iter().map(|row| (row.username, row.role, row.given_at)).collect::<Vec<_>>()
    };
    let expected = [
        ("mira".to_owned(), ChannelRole::Editor, after_seconds(7)),
        ("noor".to_owned(), ChannelRole::Moderator, after_seconds(5)),
    ];
    assert_eq!(team().await, expected);
    let roles = teams.roles(mira, &[river, sea]).await.unwrap();
    assert_eq!(roles.into_iter().collect::<Vec<_>>(), [(river, ChannelRole::Editor)]);
    assert!(teams.roles(mira, &[]).await.unwrap().is_empty());

    let of = async |member| {
        let filter = ChannelFilter { member: Some(member), ..ChannelFilter::default() };
        let page = workers.read.channels().page(filter, None, 10).await.unwrap();
        page.items.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(of(mira).await, [sea, river], "what is hers, and where she has a role");
    assert_eq!(of(noor).await, [river]);

    let head = stage.append(&[taken(river, mira, after_seconds(8))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(team().await, expected[1..]);
    assert_eq!(of(mira).await, [sea]);
}
