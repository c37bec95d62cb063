use domain::{
    accounts::{
        AvatarName, Bio, DisplayName, Profile, ProfileCommand, ProfileEvent, ProfileRefusal,
        ProfileText::{self, Leave, Remove, Set},
    },
    sealed::Sealed,
};

use crate::{NOW, given, id};

fn sealed(number: u8) -> Sealed {
    Sealed { account_id: id(1), ciphertext: vec![number; 40] }
}

fn avatar(digit: char) -> AvatarName {
    AvatarName::from_stored(&digit.to_string().repeat(40)).unwrap()
}

fn change(expected_version: Option<i64>, display_name: ProfileText, bio: ProfileText) -> ProfileCommand {
    ProfileCommand::Change { account_id: id(1), expected_version, display_name, bio }
}

fn changed(display_name: Option<Sealed>, bio: Option<Sealed>) -> ProfileEvent {
    ProfileEvent::Changed { account_id: id(1), display_name, bio, changed_at: NOW }
}

fn pictured(now: char, former: Option<char>) -> ProfileEvent {
    ProfileEvent::AvatarChanged { account_id: id(1), avatar: avatar(now), former: former.map(avatar), changed_at: NOW }
}

#[test]
fn what_is_left_stays_and_what_is_removed_goes() {
    given::<Profile>([]).when(change(None, Set(sealed(1)), Leave)).then([changed(Some(sealed(1)), None)]);
    let told = || given::<Profile>([changed(Some(sealed(1)), Some(sealed(2)))]);
    told().when(change(None, Leave, Set(sealed(3)))).then([changed(Some(sealed(1)), Some(sealed(3)))]);
    told().when(change(None, Remove, Leave)).then([changed(None, Some(sealed(2)))]);
    told().when(change(None, Remove, Remove)).then([changed(None, None)]);
}

#[test]
fn what_changes_nothing_is_no_event() {
    given::<Profile>([]).when(change(None, Leave, Remove)).then([]);
    given::<Profile>([changed(Some(sealed(1)), None)]).when(change(None, Set(sealed(1)), Leave)).then([]);
    given::<Profile>([]).when(ProfileCommand::RemoveAvatar).then([]);
    let again = ProfileCommand::ChangeAvatar { account_id: id(1), avatar: avatar('a') };
    given::<Profile>([pictured('a', None)]).when(again).then([]);
}

#[test]
fn an_edit_from_an_old_version_is_refused() {
    let told = || given::<Profile>([changed(Some(sealed(1)), None), pictured('a', None)]);
    told().when(change(Some(1), Remove, Leave)).then_refused(ProfileRefusal::VersionStale { current: 2 });
    told().when(change(Some(2), Remove, Leave)).then([changed(None, None)]);
}

#[test]
fn every_event_about_a_picture_names_the_one_that_goes() {
    let command = |digit| ProfileCommand::ChangeAvatar { account_id: id(1), avatar: avatar(digit) };
    given::<Profile>([]).when(command('a')).then([pictured('a', None)]);
    given::<Profile>([pictured('a', None)]).when(command('b')).then([pictured('b', Some('a'))]);
    let removed = ProfileEvent::AvatarRemoved { account_id: id(1), former: avatar('a'), removed_at: NOW };
    given::<Profile>([pictured('a', None)]).when(ProfileCommand::RemoveAvatar).then([removed.clone()]);
    given::<Profile>([pictured('a', None), removed]).when(command('c')).then([pictured('c', None)]);
}

#[test]
fn names_are_short_and_turn_nothing_around() {
    assert_eq!(DisplayName::parse("  Міра Óg 🌊 ").unwrap().as_str(), "Міра Óg 🌊");
    for (text, code) in [
        ("", "too_short"),
        (" \t ", "too_short"),
        (&*"x".repeat(51), "too_long"),
        ("two\nlines", "characters"),
        ("nul\0", "characters"),
        ("gpj.\u{202E}exe", "characters"),
        ("a\u{2066}b", "characters"),
    ] {
        let invalid = DisplayName::parse(text).unwrap_err();
        assert_eq!((invalid.field, invalid.code), ("display_name", code), "{text:?}");
    }
    assert!(DisplayName::parse(&"ї".repeat(50)).is_ok(), "characters count, not bytes");
}

#[test]
fn a_bio_has_lines_and_an_end() {
    assert_eq!(Bio::parse(" one\r\ntwo\n").unwrap().as_str(), "one\ntwo");
    assert!(Bio::parse(&"ї".repeat(500)).is_ok());
    assert_eq!(Bio::parse(&"x".repeat(501)).unwrap_err().code, "too_long");
    assert_eq!(Bio::parse("bell\u{7}").unwrap_err().code, "characters");
}

#[test]
fn only_what_we_made_is_the_name_of_an_avatar() {
    let name = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(AvatarName::from_stored(name).unwrap().as_str(), name);
    for wrong in ["", "..", &name[1..], &name.to_uppercase(), &format!("{name}0"), &name.replace('0', "/")] {
        assert_eq!(AvatarName::from_stored(wrong), None, "{wrong}");
        assert!(serde_json::from_str::<AvatarName>(&format!("\"{wrong}\"")).is_err(), "{wrong}");
    }
}
