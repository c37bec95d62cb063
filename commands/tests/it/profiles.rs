//! What people show of themselves, as the log keeps it.

use std::borrow::Cow;

use commands::{
    CommandError, Commands,
    accounts::{
        self, Erase,
        profile::{self, EditProfile, ProfilesError},
    },
};
use domain::{
    accounts::{AvatarName, Profile, ProfileRefusal},
    ids::AccountId,
    sealed::{Keyring, Opened, Sealed},
};

use crate::stage::{Stage, account_id, metadata, register};

fn edit(account_id: AccountId, display_name: Option<&str>, bio: Option<&str>) -> EditProfile {
    EditProfile {
        account_id,
        expected_version: None,
        display_name: display_name.map(str::to_owned),
        bio: bio.map(str::to_owned),
        metadata: metadata(),
    }
}

fn avatar(digit: char) -> AvatarName {
    AvatarName::from_stored(&digit.to_string().repeat(40)).unwrap()
}

async fn load(commands: &Commands, account_id: AccountId) -> Profile {
    commands.load::<Profile>(&account_id.to_string()).await.unwrap().unwrap().0
}

async fn open(commands: &Commands, sealed: Option<&Sealed>) -> Option<Opened> {
    let sealed = sealed?;
    commands.account_keys().open(vec![Cow::Borrowed(sealed)]).await.unwrap().pop()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ProfilesError>) -> ProfileRefusal {
    match result {
        Err(ProfilesError::Command(CommandError::Refused(refusal))) => refusal,
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_said_is_sealed_and_the_same_again_is_no_event() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    profile::edit(&commands, edit(mira, Some(" Mira by the river "), Some("Ships\nand locks"))).await.unwrap();
    let profile = load(&commands, mira).await;
    let text = |text: &str| Some(Opened::Text(text.to_owned()));
    assert_eq!(open(&commands, profile.display_name()).await, text("Mira by the river"));
    assert_eq!(open(&commands, profile.bio()).await, text("Ships\nand locks"));

    let count = stage.positions().await.len();
    profile::edit(&commands, edit(mira, Some("Mira by the river"), None)).await.unwrap();
    profile::edit(&commands, edit(mira, None, None)).await.unwrap();
    assert_eq!(stage.positions().await.len(), count);

    profile::edit(&commands, edit(mira, None, Some("  "))).await.unwrap();
    let profile = load(&commands, mira).await;
    assert_eq!(open(&commands, profile.display_name()).await, text("Mira by the river"), "it was left");
    assert_eq!((profile.bio(), profile.version()), (None, 2));

    let dump: String = sqlx::query_scalar("select string_agg(payload::text, ' ') from log.events")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert!(!dump.contains("river") && !dump.contains("locks"), "{dump}");
}

#[tokio::test]
async fn wrong_words_old_versions_and_strangers_are_refused() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let long = "x".repeat(501);
    match profile::edit(&commands, edit(mira, Some("two\nlines"), Some(&long))).await {
        Err(ProfilesError::Invalid(invalid)) => {
            let invalid: Vec<_> = invalid.iter().map(|invalid| (invalid.field, invalid.code)).collect();
            assert_eq!(invalid, [("display_name", "characters"), ("bio", "too_long")]);
        }
        other => panic!("{other:?}"),
    }
    profile::edit(&commands, edit(mira, Some("Mira"), None)).await.unwrap();
    let of_version = |version, name| EditProfile { expected_version: Some(version), ..edit(mira, Some(name), None) };
    let stale = ProfileRefusal::VersionStale { current: 1 };
    assert_eq!(refusal(profile::edit(&commands, of_version(0, "Late")).await), stale);
    // Also where it would change nothing.
    assert_eq!(refusal(profile::edit(&commands, of_version(7, "Mira")).await), stale);
    profile::edit(&commands, of_version(1, "In time")).await.unwrap();
    let nobody = account_id();
    assert_eq!(refusal(profile::edit(&commands, edit(nobody, Some("Nobody"), None)).await), ProfileRefusal::NoAccount);
    let avatar = profile::change_avatar(&commands, nobody, avatar('a'), metadata()).await;
    assert!(matches!(avatar, Err(CommandError::Refused(ProfileRefusal::NoAccount))), "{avatar:?}");
}

#[tokio::test]
async fn an_erased_person_shows_nothing_any_more() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    profile::edit(&commands, edit(mira, Some("Mira"), Some("Here"))).await.unwrap();
    profile::change_avatar(&commands, mira, avatar('a'), metadata()).await.unwrap();
    assert_eq!(profile::avatar(&commands, mira).await.unwrap(), Some(avatar('a')));
    let erase = Erase { account_id: mira, by: Some(mira), even_administrator: false, metadata: metadata() };
    accounts::erase(&commands, erase).await.unwrap();
    assert_eq!(profile::avatar(&commands, mira).await.unwrap(), None);
    let profile = load(&commands, mira).await;
    assert_eq!(open(&commands, profile.display_name()).await, Some(Opened::Erased));
    assert_eq!(open(&commands, profile.bio()).await, Some(Opened::Erased));
    assert_eq!(refusal(profile::edit(&commands, edit(mira, Some("Back"), None)).await), ProfileRefusal::NoAccount);
}

#[tokio::test]
async fn a_picture_is_replaced_and_removed_and_the_events_say_which_files_go() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    profile::remove_avatar(&commands, mira, metadata()).await.unwrap();
    for digit in ['a', 'b'] {
        profile::change_avatar(&commands, mira, avatar(digit), metadata()).await.unwrap();
    }
    profile::remove_avatar(&commands, mira, metadata()).await.unwrap();
    profile::remove_avatar(&commands, mira, metadata()).await.unwrap();
    assert_eq!(profile::avatar(&commands, mira).await.unwrap(), None);
    let former: Vec<Option<String>> = sqlx::query_scalar(
        "select coalesce(payload->'AvatarChanged'->>'former', payload->'AvatarRemoved'->>'former') from log.events
         where aggregate_type = 'profile' order by position",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    assert_eq!(former, [None, Some("a".repeat(40)), Some("b".repeat(40))]);
}
