use domain::{
    Aggregate, Claim, Claimed, Event,
    channels::{
        Channel, ChannelClosedReason, ChannelCommand, ChannelEvent, ChannelRefusal, Description, Handle,
        RESERVED_HANDLES, Title, Visibility,
    },
    ids::{AccountId, SecretId},
};
use proptest::prelude::*;

use crate::{NOW, given, id};

pub(crate) fn owner() -> AccountId {
    id(1)
}

fn title(text: &str) -> Title {
    Title::parse(text).unwrap()
}

fn description(text: &str) -> Description {
    Description::parse(text).unwrap()
}

fn create() -> ChannelCommand {
    ChannelCommand::Create {
        channel_id: id(2),
        owner_id: owner(),
        handle: Handle::parse("night_train").unwrap(),
        title: title("The night train"),
        description: description("Every night"),
        stream_key: id(3),
    }
}

pub(crate) fn created() -> ChannelEvent {
    ChannelEvent::Created {
        channel_id: id(2),
        owner_id: owner(),
        handle: Handle::parse("night_train").unwrap(),
        title: title("The night train"),
        description: description("Every night"),
        stream_key: id(3),
        created_at: NOW,
    }
}

fn changed(new_title: &str, new_description: &str) -> ChannelEvent {
    ChannelEvent::DetailsChanged {
        channel_id: id(2),
        title: title(new_title),
        description: description(new_description),
        changed_at: NOW,
    }
}

fn change(by: AccountId, expected_version: Option<i64>, title_to: Option<&str>, about: Option<&str>) -> ChannelCommand {
    ChannelCommand::ChangeDetails {
        by,
        expected_version,
        title: title_to.map(title),
        description: about.map(description),
        visibility: None,
    }
}

#[test]
fn a_channel_is_created_once() {
    given::<Channel>([]).when(create()).then([created()]);
    given::<Channel>([created()]).when(create()).then_refused(ChannelRefusal::AlreadyExists);
}

#[test]
fn creating_claims_the_handle() {
    assert_eq!(created().claims(), [Claim::Take { kind: Claimed::Handle, name: "night_train".to_owned() }]);
    assert_eq!(changed("A", "").claims(), []);
    assert_eq!(Channel::claimed(Claimed::Handle), ChannelRefusal::HandleTaken);
}

#[test]
fn an_edit_names_title_and_description_both() {
    given::<Channel>([created()])
        .when(change(owner(), None, Some("A day train"), None))
        .then([changed("A day train", "Every night")]);
    given::<Channel>([created()]).when(change(owner(), None, None, Some(""))).then([changed("The night train", "")]);
}

#[test]
fn an_edit_that_changes_nothing_is_no_event() {
    given::<Channel>([created()]).when(change(owner(), None, None, None)).then([]);
    given::<Channel>([created()]).when(change(owner(), Some(1), Some("The night train"), Some("Every night"))).then([]);
}

#[test]
fn an_edit_of_an_old_version_is_refused() {
    given::<Channel>([created(), changed("A day train", "")])
        .when(change(owner(), Some(1), Some("A"), None))
        .then_refused(ChannelRefusal::VersionStale { current: 2 });
    given::<Channel>([created(), changed("A day train", "")])
        .when(change(owner(), Some(2), Some("A"), None))
        .then([changed("A", "")]);
}

fn visible(visibility: Visibility) -> ChannelEvent {
    ChannelEvent::VisibilityChanged { channel_id: id(2), visibility, changed_at: NOW }
}

fn show(by: AccountId, title_to: Option<&str>, visibility: Visibility) -> ChannelCommand {
    ChannelCommand::ChangeDetails {
        by,
        expected_version: None,
        title: title_to.map(title),
        description: None,
        visibility: Some(visibility),
    }
}

#[test]
fn a_channel_is_public_until_its_owner_says_otherwise() {
    let mut channel = Channel::default();
    assert_eq!(channel.visibility(), None);
    channel.apply(&created());
    assert_eq!((channel.visibility(), channel.version()), (Some(Visibility::Public), 1));
    channel.apply(&visible(Visibility::Private));
    assert_eq!((channel.visibility(), channel.version()), (Some(Visibility::Private), 2));
    given::<Channel>([created()]).when(show(owner(), None, Visibility::Unlisted)).then([visible(Visibility::Unlisted)]);
    given::<Channel>([created(), visible(Visibility::Unlisted)])
        .when(show(owner(), None, Visibility::Unlisted))
        .then([]);
    given::<Channel>([created()]).when(show(id(8), None, Visibility::Private)).then_refused(ChannelRefusal::NotAllowed);
}

#[test]
fn an_edit_of_texts_and_visibility_is_two_facts() {
    given::<Channel>([created()])
        .when(show(owner(), Some("A day train"), Visibility::Private))
        .then([changed("A day train", "Every night"), visible(Visibility::Private)]);
}

#[test]
fn a_visibility_is_stored_by_its_name() {
    for visibility in [Visibility::Public, Visibility::Unlisted, Visibility::Private] {
        assert_eq!(Visibility::from_stored(visibility.as_str()), Some(visibility));
        assert_eq!(serde_json::to_value(visibility).unwrap(), visibility.as_str());
        assert_eq!(visibility.needs_token(), visibility != Visibility::Public);
    }
    assert_eq!(Visibility::from_stored("secret"), None);
}

#[test]
fn only_the_owner_may() {
    let rotate = |by| ChannelCommand::RotateStreamKey { by, stream_key: id(9) };
    given::<Channel>([created()])
        .when(change(id(8), None, Some("Mine"), None))
        .then_refused(ChannelRefusal::NotAllowed);
    given::<Channel>([created()]).when(rotate(id(8))).then_refused(ChannelRefusal::NotAllowed);
    given::<Channel>([]).when(change(owner(), None, None, None)).then_refused(ChannelRefusal::Unknown);
    given::<Channel>([]).when(rotate(owner())).then_refused(ChannelRefusal::Unknown);
}

#[test]
fn a_rotated_key_replaces_the_old_one() {
    let rotated = ChannelEvent::StreamKeyRotated { channel_id: id(2), stream_key: id(9), rotated_at: NOW };
    given::<Channel>([created()])
        .when(ChannelCommand::RotateStreamKey { by: owner(), stream_key: id(9) })
        .then([rotated.clone()]);
    let mut channel = Channel::default();
    channel.apply(&created());
    assert!(channel.is_published_with(id(3)));
    channel.apply(&rotated);
    assert!(!channel.is_published_with(id(3)));
    assert!(channel.is_published_with(id(9)));
    assert_eq!(channel.stream_key(owner()), Ok(id::<SecretId>(9)));
    assert_eq!(channel.stream_key(id(8)), Err(ChannelRefusal::NotAllowed));
}

fn close(by: Option<AccountId>, reason: ChannelClosedReason) -> ChannelCommand {
    ChannelCommand::Close { by, reason }
}

fn closed(reason: ChannelClosedReason) -> ChannelEvent {
    ChannelEvent::Closed { channel_id: id(2), handle: Handle::parse("night_train").unwrap(), reason, closed_at: NOW }
}

#[test]
fn a_channel_is_closed_by_its_owner_or_with_them() {
    use ChannelClosedReason::{Owner, OwnerErased};
    given::<Channel>([created()]).when(close(Some(owner()), Owner)).then([closed(Owner)]);
    given::<Channel>([created()]).when(close(None, OwnerErased)).then([closed(OwnerErased)]);
    given::<Channel>([created()]).when(close(Some(id(8)), Owner)).then_refused(ChannelRefusal::NotAllowed);
    given::<Channel>([]).when(close(None, OwnerErased)).then_refused(ChannelRefusal::Unknown);
    given::<Channel>([created(), closed(Owner)]).when(close(None, OwnerErased)).then([]);
}

#[test]
fn a_closed_channel_is_as_good_as_none_and_keeps_its_handle() {
    let history = [created(), closed(ChannelClosedReason::Owner)];
    given::<Channel>(history.clone())
        .when(change(owner(), None, Some("A"), None))
        .then_refused(ChannelRefusal::Unknown);
    given::<Channel>(history.clone())
        .when(ChannelCommand::RotateStreamKey { by: owner(), stream_key: id(9) })
        .then_refused(ChannelRefusal::Unknown);
    given::<Channel>(history.clone()).when(create()).then_refused(ChannelRefusal::AlreadyExists);
    assert_eq!(closed(ChannelClosedReason::Owner).claims(), []);
    let mut channel = Channel::default();
    history.iter().for_each(|event| channel.apply(event));
    assert!(channel.is_closed() && !channel.is_published_with(id(3)));
    assert_eq!(
        (channel.title(), channel.handle(), channel.description(), channel.owner_id()),
        (None, None, None, None)
    );
    assert_eq!(channel.stream_key(owner()), Err(ChannelRefusal::Unknown));
}

#[test]
fn handles_of_weirs_own_pages_are_reserved() {
    for handle in RESERVED_HANDLES {
        assert!(Handle::parse(handle).is_err(), "{handle}");
        assert!(Handle::parse(&handle.to_uppercase()).is_err(), "{handle}");
    }
    assert_eq!(Handle::parse("Night_Train").unwrap().as_str(), "night_train");
}

#[test]
fn titles_are_one_line_and_descriptions_any_number() {
    assert_eq!(title("  trimmed\t").as_str(), "trimmed");
    for (text, code) in [("", "too_short"), (" \n ", "too_short"), ("a\nb", "characters"), ("a\0b", "characters")] {
        assert_eq!(Title::parse(text).unwrap_err().code, code, "{text:?}");
    }
    assert_eq!(title(&"ї".repeat(140)).as_str().chars().count(), 140);
    assert_eq!(Title::parse(&"ї".repeat(141)).unwrap_err().code, "too_long");
    assert_eq!(description("one\r\ntwo\tthree\n").as_str(), "one\ntwo\tthree");
    assert_eq!(Description::parse("a\u{7}b").unwrap_err().code, "characters");
    assert_eq!(Description::parse(&"x".repeat(2_001)).unwrap_err().code, "too_long");
}

proptest! {
    #[test]
    fn what_was_parsed_parses_to_itself(text in "\\PC{0,200}") {
        if let Ok(title) = Title::parse(&text) {
            prop_assert_eq!(Title::parse(title.as_str()).unwrap(), title);
        }
        if let Ok(description) = Description::parse(&text) {
            prop_assert_eq!(Description::parse(description.as_str()).unwrap(), description);
        }
        if let Ok(handle) = Handle::parse(&text) {
            prop_assert_eq!(Handle::parse(handle.as_str()).unwrap(), handle);
        }
    }

    #[test]
    fn a_decided_event_is_always_stored_and_read_alike(text in "\\PC{1,140}") {
        if let Ok(title) = Title::parse(&text) {
            let mut channel = Channel::default();
            channel.apply(&created());
            let command = ChannelCommand::ChangeDetails {
                by: owner(), expected_version: None, title: Some(title), description: None, visibility: None,
            };
            for event in channel.decide(command, NOW).unwrap() {
                let json = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(serde_json::from_str::<ChannelEvent>(&json).unwrap(), event);
            }
        }
    }
}
