use domain::{
    DomainEvent,
    ids::{AccountId, RegistrationInviteId},
    registrations::RegistrationInviteEvent,
};
use time::OffsetDateTime;

use crate::{
    history::{Dice, after_seconds, new},
    stage::{PATIENCE, Stage},
};

fn created(
    invite_id: RegistrationInviteId,
    max_uses: u32,
    expires_at: Option<OffsetDateTime>,
    at: OffsetDateTime,
) -> DomainEvent {
    let by = new();
    DomainEvent::RegistrationInvite(RegistrationInviteEvent::Created {
        invite_id,
        by,
        max_uses,
        expires_at,
        created_at: at,
    })
}

fn used(invite_id: RegistrationInviteId, account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::RegistrationInvite(RegistrationInviteEvent::Used { invite_id, account_id, used_at: at })
}

fn given_back(invite_id: RegistrationInviteId, account_id: AccountId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::RegistrationInvite(RegistrationInviteEvent::GivenBack { invite_id, account_id, given_back_at: at })
}

fn revoked(invite_id: RegistrationInviteId, at: OffsetDateTime) -> DomainEvent {
    DomainEvent::RegistrationInvite(RegistrationInviteEvent::Revoked { invite_id, by: new(), revoked_at: at })
}

/// A new invite, or something that happens to one.
pub(crate) fn step(dice: &mut Dice, invites: &mut Vec<RegistrationInviteId>, at: OffsetDateTime) -> DomainEvent {
    if invites.is_empty() || dice.roll(2) == 0 {
        invites.push(new());
        return created(invites[invites.len() - 1], 10, None, at);
    }
    let chosen = dice.roll(invites.len());
    match dice.roll(4) {
        0 => revoked(invites.swap_remove(chosen), at),
        1 => given_back(invites[chosen], new(), at),
        _ => used(invites[chosen], new(), at),
    }
}

#[tokio::test]
async fn those_that_are_good_are_shown_with_what_is_left_of_them() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (first, second, third): (RegistrationInviteId, RegistrationInviteId, RegistrationInviteId) =
        (new(), new(), new());
    let somebody: AccountId = new();
    let good = async |now| {
        let rows = workers.read.registration_invites().good(now, 10).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.uses, row.max_uses)).collect::<Vec<_>>()
    };
    let head = stage
        .append(&[
            created(first, 2, None, after_seconds(0)),
            created(second, 1, Some(after_seconds(60)), after_seconds(1)),
            created(third, 1, None, after_seconds(2)),
            used(first, new(), after_seconds(3)),
            used(third, somebody, after_seconds(4)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let standing = async |now, limit| {
        let rows = workers.read.registration_invites().standing(now, limit).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.uses, row.max_uses)).collect::<Vec<_>>()
    };
    assert_eq!(good(after_seconds(10)).await, [(second, 0, 1), (first, 1, 2)], "one is used up");
    assert_eq!(standing(after_seconds(10), 10).await, [(third, 1, 1), (second, 0, 1), (first, 1, 2)]);
    assert_eq!(standing(after_seconds(10), 1).await, [(third, 1, 1), (second, 0, 1)], "one of each");
    assert_eq!(standing(after_seconds(60), 10).await, [(third, 1, 1), (first, 1, 2)], "without what is over");
    assert_eq!(good(after_seconds(60)).await, [(first, 1, 2)], "and one is over by then");
    let head = stage.append(&[given_back(third, somebody, after_seconds(5)), revoked(first, after_seconds(6))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(good(after_seconds(60)).await, [(third, 0, 1)]);
    assert_eq!(standing(after_seconds(60), 10).await, [(third, 0, 1)], "nor what was taken back");
    assert_eq!(workers.read.registration_invites().by_id(first).await.unwrap(), None);
    assert_eq!(workers.read.registration_invites().by_id(third).await.unwrap().unwrap().max_uses, 1);
}
