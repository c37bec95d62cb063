use domain::{
    Aggregate,
    invites::{Invite, InviteCommand, InviteEvent, InviteRefusal},
};
use time::Duration;

use crate::{NOW, given, id};

fn create(expires_in: Option<Duration>) -> InviteCommand {
    let expires_at = expires_in.map(|expires_in| NOW + expires_in);
    InviteCommand::Create { invite_id: id(1), channel_id: id(2), by: id(3), expires_at }
}

fn created(expires_in: Option<Duration>) -> InviteEvent {
    let expires_at = expires_in.map(|expires_in| NOW + expires_in);
    InviteEvent::Created { invite_id: id(1), channel_id: id(2), by: id(3), expires_at, created_at: NOW }
}

fn revoke(by: u128) -> InviteCommand {
    InviteCommand::Revoke { by: id(by) }
}

fn revoked() -> InviteEvent {
    InviteEvent::Revoked { invite_id: id(1), channel_id: id(2), by: id(3), revoked_at: NOW }
}

fn after(events: &[InviteEvent]) -> Invite {
    let mut invite = Invite::default();
    events.iter().for_each(|event| invite.apply(event));
    invite
}

#[test]
fn it_lets_in_until_it_ends_or_is_taken_back() {
    let hour = Some(Duration::hours(1));
    assert_eq!(after(&[]).lets_into(NOW), None);
    assert_eq!(after(&[created(None)]).lets_into(NOW), Some((id(2), None)));
    assert_eq!(after(&[created(hour)]).lets_into(NOW), Some((id(2), Some(NOW + Duration::hours(1)))));
    assert_eq!(after(&[created(hour)]).lets_into(NOW + Duration::hours(1)), None);
    assert_eq!(after(&[created(None), revoked()]).lets_into(NOW), None);
}

#[test]
fn its_owner_makes_it_and_takes_it_back_and_nobody_else_does() {
    given::<Invite>([]).when(create(None)).then([created(None)]);
    given::<Invite>([created(None)]).when(create(None)).then_refused(InviteRefusal::AlreadyExists);
    given::<Invite>([]).when(create(Some(Duration::ZERO))).then_refused(InviteRefusal::AlreadyOver);
    given::<Invite>([created(None)]).when(revoke(3)).then([revoked()]);
    given::<Invite>([created(None), revoked()]).when(revoke(3)).then([]);
    given::<Invite>([created(None)]).when(revoke(4)).then_refused(InviteRefusal::NotOwner);
    given::<Invite>([]).when(revoke(3)).then_refused(InviteRefusal::Unknown);
}
