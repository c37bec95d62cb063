use domain::{
    DomainEvent,
    ids::{ChannelId, InviteId},
    invites::InviteEvent,
};
use time::OffsetDateTime;

use crate::{
    history::{Dice, after_seconds, new},
    stage::{PATIENCE, Stage},
};

fn created(
    invite_id: InviteId,
    channel_id: ChannelId,
    expires_at: Option<OffsetDateTime>,
    at: OffsetDateTime,
) -> DomainEvent {
    DomainEvent::Invite(InviteEvent::Created { invite_id, channel_id, by: new(), expires_at, created_at: at })
}

fn revoked(invite_id: InviteId, channel_id: ChannelId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::Invite(InviteEvent::Revoked { invite_id, channel_id, by: new(), revoked_at: at })
}

/// A new invite, or one that is taken back.
pub(crate) fn step(dice: &mut Dice, invites: &mut Vec<(InviteId, ChannelId)>, at: OffsetDateTime) -> DomainEvent {
    if invites.is_empty() || dice.roll(2) == 0 {
        let (invite_id, channel_id) = (new(), new());
        invites.push((invite_id, channel_id));
        return created(invite_id, channel_id, None, at);
    }
    let (invite_id, channel_id) = invites.swap_remove(dice.roll(invites.len()));
    revoked(invite_id, channel_id, at)
}

#[tokio::test]
async fn a_channel_shows_the_invites_that_are_good() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (channel, other): (ChannelId, ChannelId) = (new(), new());
    let (first, second, third): (InviteId, InviteId, InviteId) = (new(), new(), new());
    let shown = async |now| {
        let rows = workers.read.invites().of_channel(channel, now, 10).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let head = stage
        .append(&[
            created(first, channel, None, after_seconds(0)),
            created(second, channel, Some(after_seconds(60)), after_seconds(1)),
            created(third, other, None, after_seconds(2)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(shown(after_seconds(10)).await, [second, first]);
    assert_eq!(shown(after_seconds(60)).await, [first], "one is over by then");
    let head = stage.append(&[revoked(first, channel, after_seconds(5))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(shown(after_seconds(10)).await, [second]);
}
