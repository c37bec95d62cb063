use domain::{
    Principal,
    channels::{
        Channel, ChannelClosedReason, ChannelCommand, ChannelEvent, ChannelRefusal, ChannelRole, Handle,
        RoleTakenReason, Standing, TEAM_AT_MOST, Title, Visibility,
    },
    ids::AccountId,
    recordings::RecordingPolicy,
};

use crate::channels::{created, owner};
use crate::{NOW, after, given, id};

const MEMBER: u128 = 20;

fn member() -> AccountId {
    id(MEMBER)
}

fn administrator() -> Principal {
    Principal { account_id: id(9), is_administrator: true }
}

fn give(by: impl Into<Principal>, role: ChannelRole) -> ChannelCommand {
    ChannelCommand::GiveRole { by: by.into(), account_id: member(), role }
}

fn take(by: impl Into<Principal>) -> ChannelCommand {
    ChannelCommand::TakeRole { by: Some(by.into()), account_id: member() }
}

fn role_given(by: AccountId, role: ChannelRole) -> ChannelEvent {
    ChannelEvent::RoleGiven { channel_id: id(2), account_id: member(), role, by, given_at: NOW }
}

fn role_taken(by: Option<AccountId>, role: ChannelRole, reason: RoleTakenReason) -> ChannelEvent {
    ChannelEvent::RoleTaken { channel_id: id(2), account_id: member(), role, by, reason, taken_at: NOW }
}

fn with(role: ChannelRole) -> [ChannelEvent; 2] {
    [created(), role_given(owner(), role)]
}

use ChannelRole::{Editor, Moderator};

#[test]
fn the_owner_and_administrators_give_a_role_and_another_one_in_its_place() {
    given::<Channel>([created()]).when(give(owner(), Editor)).then([role_given(owner(), Editor)]);
    given::<Channel>([created()]).when(give(administrator(), Editor)).then([role_given(id(9), Editor)]);
    given::<Channel>(with(Editor)).when(give(owner(), Editor)).then([]);
    given::<Channel>(with(Editor)).when(give(owner(), Moderator)).then([role_given(owner(), Moderator)]);
    for by in [id::<AccountId>(8), member()] {
        given::<Channel>(with(Editor)).when(give(by, Editor)).then_refused(ChannelRefusal::NotAllowed);
    }
    given::<Channel>([]).when(give(owner(), Editor)).then_refused(ChannelRefusal::Unknown);
    let to_owner = ChannelCommand::GiveRole { by: owner().into(), account_id: owner(), role: Editor };
    given::<Channel>([created()]).when(to_owner).then_refused(ChannelRefusal::OwnerNeedsNoRole);
}

#[test]
fn a_team_has_room_for_so_many() {
    let others = (0..TEAM_AT_MOST as u128).map(|number| ChannelEvent::RoleGiven {
        channel_id: id(2),
        account_id: id(100 + number),
        role: Moderator,
        by: owner(),
        given_at: NOW,
    });
    let full: Vec<ChannelEvent> = std::iter::once(created()).chain(others).collect();
    given::<Channel>(full.clone()).when(give(owner(), Editor)).then_refused(ChannelRefusal::TeamFull);
    // Who is in it may become something else.
    let change = ChannelCommand::GiveRole { by: owner().into(), account_id: id(100), role: Editor };
    let changed =
        ChannelEvent::RoleGiven { channel_id: id(2), account_id: id(100), role: Editor, by: owner(), given_at: NOW };
    given::<Channel>(full).when(change).then([changed]);
}

#[test]
fn a_role_is_taken_left_and_lost_by_erasure() {
    let taken = role_taken(Some(owner()), Editor, RoleTakenReason::Taken);
    given::<Channel>(with(Editor)).when(take(owner())).then([taken.clone()]);
    let by_administrator = role_taken(Some(id(9)), Editor, RoleTakenReason::Taken);
    given::<Channel>(with(Editor)).when(take(administrator())).then([by_administrator]);
    let left = role_taken(Some(member()), Editor, RoleTakenReason::Left);
    given::<Channel>(with(Editor)).when(take(member())).then([left]);
    given::<Channel>(with(Editor)).when(take(id::<AccountId>(8))).then_refused(ChannelRefusal::NotAllowed);
    let erased = ChannelCommand::TakeRole { by: None, account_id: member() };
    let lost = role_taken(None, Editor, RoleTakenReason::AccountErased);
    given::<Channel>(with(Editor)).when(erased.clone()).then([lost]);
    // Again.
    let [created, given_role] = with(Editor);
    let gone = [created, given_role, taken];
    given::<Channel>(gone.clone()).when(take(owner())).then([]);
    given::<Channel>(gone.clone()).when(take(member())).then_refused(ChannelRefusal::NotAllowed);
    given::<Channel>(gone).when(erased).then([]);
}

#[test]
fn it_knows_its_team_until_it_is_closed() {
    let channel: Channel = after(with(Moderator));
    assert_eq!(channel.standing(owner()), Standing::Owner);
    assert_eq!(channel.standing(member()), Standing::Member(Moderator));
    assert_eq!(channel.standing(id(8)), Standing::Stranger);
    assert_eq!(channel.team().collect::<Vec<_>>(), [(member(), Moderator)]);
    let [created, role] = with(Moderator);
    let closed = ChannelEvent::Closed {
        channel_id: id(2),
        handle: Handle::parse("night_train").unwrap(),
        reason: ChannelClosedReason::Owner,
        closed_at: NOW,
    };
    let channel: Channel = after([created, role, closed]);
    assert_eq!(channel.standing(owner()), Standing::Stranger);
    assert_eq!(channel.team().count(), 0);
    assert_eq!(channel.authorise(member(), domain::channels::ChannelAct::Watch), Err(ChannelRefusal::Unknown));
}

#[test]
fn an_editor_changes_texts_and_not_who_may_watch() {
    let change = |title: Option<&str>, visibility| ChannelCommand::ChangeDetails {
        by: member(),
        expected_version: None,
        title: title.map(|title| Title::parse(title).unwrap()),
        description: None,
        visibility,
    };
    let changed = ChannelEvent::DetailsChanged {
        channel_id: id(2),
        title: Title::parse("Mine").unwrap(),
        description: domain::channels::Description::parse("Every night").unwrap(),
        changed_at: NOW,
    };
    given::<Channel>(with(Editor)).when(change(Some("Mine"), Some(Visibility::Public))).then([changed]);
    let shown = change(Some("Mine"), Some(Visibility::Private));
    given::<Channel>(with(Editor)).when(shown).then_refused(ChannelRefusal::NotAllowed);
    given::<Channel>(with(Moderator)).when(change(Some("Mine"), None)).then_refused(ChannelRefusal::NotAllowed);
    let rotate = ChannelCommand::RotateStreamKey { by: member(), stream_key: id(5) };
    given::<Channel>(with(Editor)).when(rotate).then_refused(ChannelRefusal::NotAllowed);
    let close = ChannelCommand::Close { by: Some(member()), reason: ChannelClosedReason::Owner };
    given::<Channel>(with(Editor)).when(close).then_refused(ChannelRefusal::NotAllowed);
}

#[test]
fn an_editor_switches_recording_and_leaves_its_limits() {
    let record = |recording| ChannelCommand::ChangeRecording { by: member(), recording };
    let on = RecordingPolicy { is_on: true, ..RecordingPolicy::default() };
    let changed = ChannelEvent::RecordingChanged { channel_id: id(2), recording: on, changed_at: NOW };
    given::<Channel>(with(Editor)).when(record(on)).then([changed]);
    given::<Channel>(with(Moderator)).when(record(on)).then_refused(ChannelRefusal::NotAllowed);
    let limited = RecordingPolicy { keep_days: Some(1), ..on };
    given::<Channel>(with(Editor)).when(record(limited)).then_refused(ChannelRefusal::NotAllowed);
}
