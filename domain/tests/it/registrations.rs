use domain::{
    Principal,
    ids::AccountId,
    registrations::{
        Install, InstallCommand, InstallEvent, InstallRefusal, MOST_USES, RegistrationInvite,
        RegistrationInviteCommand, RegistrationInviteEvent, RegistrationInviteRefusal, RegistrationMode,
    },
};
use time::Duration;

use crate::{NOW, after, given, id};

fn administrator() -> Principal {
    Principal { account_id: id(9), is_administrator: true }
}

fn change(by: Principal, mode: RegistrationMode) -> InstallCommand {
    InstallCommand::ChangeRegistration { by, mode }
}

fn changed(mode: RegistrationMode) -> InstallEvent {
    InstallEvent::RegistrationChanged { mode, by: id(9), changed_at: NOW }
}

#[test]
fn administrators_say_who_may_register() {
    use RegistrationMode::{Closed, Invite, Open};
    assert_eq!(Install::default().registration(), Open);
    given::<Install>([]).when(change(administrator(), Invite)).then([changed(Invite)]);
    given::<Install>([]).when(change(administrator(), Open)).then([]);
    given::<Install>([changed(Invite)]).when(change(administrator(), Closed)).then([changed(Closed)]);
    let somebody = id::<AccountId>(8).into();
    given::<Install>([]).when(change(somebody, Closed)).then_refused(InstallRefusal::NotAdministrator);
    let install: Install = after([changed(Invite), changed(Closed)]);
    assert_eq!(install.registration(), Closed);
}

fn create(by: Principal, max_uses: u32, expires_in: Option<Duration>) -> RegistrationInviteCommand {
    let expires_at = expires_in.map(|expires_in| NOW + expires_in);
    RegistrationInviteCommand::Create { invite_id: id(1), by, max_uses, expires_at }
}

fn created(max_uses: u32) -> RegistrationInviteEvent {
    let expires_at = Some(NOW + Duration::hours(1));
    RegistrationInviteEvent::Created { invite_id: id(1), by: id(9), max_uses, expires_at, created_at: NOW }
}

fn used(account: u128) -> RegistrationInviteEvent {
    RegistrationInviteEvent::Used { invite_id: id(1), account_id: id(account), used_at: NOW }
}

fn given_back(account: u128) -> RegistrationInviteEvent {
    RegistrationInviteEvent::GivenBack { invite_id: id(1), account_id: id(account), given_back_at: NOW }
}

fn revoked() -> RegistrationInviteEvent {
    RegistrationInviteEvent::Revoked { invite_id: id(1), by: id(9), revoked_at: NOW }
}

fn admit(account: u128) -> RegistrationInviteCommand {
    RegistrationInviteCommand::Use { account_id: id(account) }
}

#[test]
fn administrators_make_invites_and_take_them_back() {
    let hour = Some(Duration::hours(1));
    given::<RegistrationInvite>([]).when(create(administrator(), 2, hour)).then([created(2)]);
    given::<RegistrationInvite>([]).when(create(administrator(), MOST_USES + 1, hour)).then([created(MOST_USES)]);
    given::<RegistrationInvite>([created(1)])
        .when(create(administrator(), 2, hour))
        .then_refused(RegistrationInviteRefusal::AlreadyExists);
    for (uses, expires_in) in [(0, hour), (1, Some(Duration::ZERO))] {
        given::<RegistrationInvite>([])
            .when(create(administrator(), uses, expires_in))
            .then_refused(RegistrationInviteRefusal::AlreadyOver);
    }
    let somebody: Principal = id::<AccountId>(8).into();
    given::<RegistrationInvite>([])
        .when(create(somebody, 1, hour))
        .then_refused(RegistrationInviteRefusal::NotAdministrator);
    let revoke = |by| RegistrationInviteCommand::Revoke { by };
    given::<RegistrationInvite>([created(1)]).when(revoke(administrator())).then([revoked()]);
    given::<RegistrationInvite>([created(1), revoked()]).when(revoke(administrator())).then([]);
    given::<RegistrationInvite>([created(1)])
        .when(revoke(somebody))
        .then_refused(RegistrationInviteRefusal::NotAdministrator);
    given::<RegistrationInvite>([]).when(revoke(administrator())).then_refused(RegistrationInviteRefusal::Unknown);
}

#[test]
fn it_lets_in_as_many_as_it_says_and_for_as_long() {
    given::<RegistrationInvite>([]).when(admit(20)).then_refused(RegistrationInviteRefusal::Unknown);
    given::<RegistrationInvite>([created(1)]).when(admit(20)).then([used(20)]);
    given::<RegistrationInvite>([created(1), used(20)]).when(admit(20)).then([]);
    given::<RegistrationInvite>([created(1), used(20)]).when(admit(21)).then_refused(RegistrationInviteRefusal::UsedUp);
    given::<RegistrationInvite>([created(2), used(20)]).when(admit(21)).then([used(21)]);
    given::<RegistrationInvite>([created(1), revoked()]).when(admit(20)).then_refused(RegistrationInviteRefusal::Over);
    given::<RegistrationInvite>([created(1)])
        .when_at(admit(20), NOW + Duration::hours(1))
        .then_refused(RegistrationInviteRefusal::Over);
}

#[test]
fn a_use_that_led_to_nothing_is_given_back() {
    let give_back = RegistrationInviteCommand::GiveBack { account_id: id(20) };
    given::<RegistrationInvite>([created(1), used(20)]).when(give_back.clone()).then([given_back(20)]);
    given::<RegistrationInvite>([created(1)]).when(give_back).then([]);
    given::<RegistrationInvite>([created(1), used(20), given_back(20)]).when(admit(21)).then([used(21)]);
    let invite: RegistrationInvite = after([created(2), used(20), used(21), given_back(20)]);
    assert_eq!(invite.uses().collect::<Vec<_>>(), [(id(21), NOW)]);
}
