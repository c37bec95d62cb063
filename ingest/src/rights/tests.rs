use std::time::Duration;

use domain::{ids::StreamId, recordings::RecordingVisibility};
use tokio::time::timeout;

use super::*;
use crate::ports::RecordingUse;

const LONG: Duration = Duration::from_secs(120);

fn rights() -> Rights {
    let rights = Rights::new(PlaybackKeys::new([7; 32], []));
    rights.complete();
    rights
}

fn channel(visibility: Visibility, version: i64) -> ChannelRights {
    ChannelRights { channel_id: Uuid::from_u128(1).into(), visibility, version, is_closed: false }
}

fn token(rights: &Rights, bearer: Bearer, version: i64) -> String {
    rights.keys().mint(&Pass { bearer, version, expires_at_s: now_s() + 60 }).unwrap()
}

fn session(number: u128) -> Bearer {
    Bearer::Session(Uuid::from_u128(1).into(), Uuid::from_u128(number).into())
}

fn is_let_in(rights: &Rights, bearer: Bearer, version: i64) -> bool {
    let id = Uuid::from_u128(1).into();
    match rights.decide(id, Some(&token(rights, bearer, version))) {
        Ok(pass) => pass.is_some(),
        Err(refusal) => {
            assert_eq!(refusal, Refusal::TokenWrong);
            false
        }
    }
}

#[test]
fn what_is_public_needs_no_token_and_minds_none() {
    let rights = rights();
    let id = Uuid::from_u128(1).into();
    assert_eq!(rights.decide(id, None), Ok(None));
    assert_eq!(rights.decide(id, Some("nonsense")), Ok(None));
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    assert_eq!(rights.decide(id, None), Err(Refusal::TokenMissing));
    rights.learn(Change::Channel(channel(Visibility::Public, 3)));
    assert_eq!(rights.decide(id, None), Ok(None));
}

#[test]
fn a_token_is_for_one_channel_and_for_those_whom_it_admits() {
    let rights = rights();
    let anybody = Bearer::Anybody(Uuid::from_u128(1).into());
    let elsewhere = Bearer::Session(Uuid::from_u128(2).into(), Uuid::from_u128(9).into());
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    assert!(is_let_in(&rights, session(9), 2) && is_let_in(&rights, session(9), 5));
    assert!(is_let_in(&rights, Bearer::Edge, 0));
    assert!(!is_let_in(&rights, elsewhere, 2), "another channel's");
    assert!(!is_let_in(&rights, anybody, 2), "nobody in particular may watch what is private");
    assert!(!is_let_in(&rights, session(9), 1), "from before it was private");
    rights.learn(Change::Channel(channel(Visibility::Unlisted, 4)));
    assert!(is_let_in(&rights, anybody, 4) && !is_let_in(&rights, anybody, 3));
}

#[test]
fn tokens_of_before_are_worth_nothing_once_rights_are_renewed() {
    let rights = rights();
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    // An encoder that connects says the same of a later version, which takes nothing away.
    rights.learn(Change::Channel(channel(Visibility::Private, 3)));
    assert!(is_let_in(&rights, session(9), 2));
    rights.learn(Change::Renewed(channel(Visibility::Private, 4)));
    assert!(!is_let_in(&rights, session(9), 3) && is_let_in(&rights, session(9), 4));
    rights.learn(Change::Renewed(channel(Visibility::Private, 3)));
    assert!(is_let_in(&rights, session(9), 4) && !is_let_in(&rights, session(9), 3), "what comes late counts no more");
}

#[test]
fn a_token_lasts_no_longer_than_it_says_and_than_is_remembered() {
    let rights = rights();
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    let at = |expires_at_s| {
        let token = rights.keys().mint(&Pass { bearer: session(9), version: 2, expires_at_s }).unwrap();
        rights.decide(Uuid::from_u128(1).into(), Some(&token)).is_ok()
    };
    assert!(at(now_s() + 60));
    assert!(!at(now_s()) && !at(now_s() - 60));
    assert!(!at(now_s() + LONGEST_S + 60));
}

#[test]
fn an_ended_session_takes_its_tokens_with_it() {
    let rights = rights();
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    let ended = Change::Session { session_id: Uuid::from_u128(9).into(), until_s: now_s() + 60 };
    rights.learn(ended);
    rights.learn(ended);
    assert!(!is_let_in(&rights, session(9), 2));
    assert!(is_let_in(&rights, session(10), 2));
}

#[test]
fn sessions_are_forgotten_when_their_tokens_have_expired() {
    let rights = rights();
    for number in 0..5_000 {
        let until_s = if number % 2 == 0 { now_s() - 1 } else { now_s() + 60 };
        rights.learn(Change::Session { session_id: Uuid::from_u128(number).into(), until_s });
    }
    let known = rights.read().ended.len();
    assert!((2_500..4_000).contains(&known), "{known}");
}

#[test]
fn a_closed_channel_shows_nothing_to_anybody() {
    let rights = rights();
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    rights.learn(Change::Channel(ChannelRights { is_closed: true, ..channel(Visibility::Private, 3) }));
    assert!(!is_let_in(&rights, session(9), 9));
    rights.learn(Change::Channel(ChannelRights { is_closed: true, ..channel(Visibility::Public, 4) }));
    assert_eq!(rights.decide(Uuid::from_u128(1).into(), None), Err(Refusal::TokenMissing));
}

#[test]
fn older_news_and_the_same_again_change_nothing() {
    let rights = rights();
    rights.learn(Change::Channel(channel(Visibility::Private, 5)));
    rights.learn(Change::Channel(channel(Visibility::Public, 4)));
    assert_eq!(rights.of_channel(Uuid::from_u128(1).into()), channel(Visibility::Private, 5));
    // An encoder that connects says how the channel is, with the version that it has by then.
    rights.learn(Change::Channel(channel(Visibility::Private, 8)));
    assert!(is_let_in(&rights, session(9), 5), "nobody is sent away for a new title");
}

#[tokio::test]
async fn whoever_waits_is_told_what_was_lost() {
    let rights = rights();
    let id = Uuid::from_u128(1).into();
    let pass = |number| Pass { bearer: session(number), version: 2, expires_at_s: now_s() + 60 };
    let public = tokio::spawn({
        let rights = rights.clone();
        async move { rights.lost(id, None).await }
    });
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    timeout(LONG, public).await.unwrap().unwrap();
    let waits = |pass| {
        let rights = rights.clone();
        tokio::spawn(async move { rights.lost(id, Some(pass)).await })
    };
    let (ended, stays) = (waits(pass(9)), waits(pass(10)));
    rights.learn(Change::Session { session_id: Uuid::from_u128(9).into(), until_s: now_s() + 60 });
    timeout(LONG, ended).await.unwrap().unwrap();
    assert!(!stays.is_finished());
    rights.learn(Change::Channel(channel(Visibility::Unlisted, 3)));
    timeout(LONG, stays).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_relay_that_follows_knows_the_same() {
    let (origin, relay) = (rights(), Rights::new(origin_keys()));
    assert!(!relay.is_complete());
    origin.learn(Change::Channel(channel(Visibility::Private, 2)));
    let told = origin.told(None, 0).await;
    assert!(told.is_whole);
    relay.learn_told(&told);
    assert!(relay.is_complete());
    assert!(is_let_in(&relay, session(9), 2) && !is_let_in(&relay, session(9), 1));

    let waiting = tokio::spawn({
        let origin = origin.clone();
        async move { origin.told(Some(told.epoch), told.next).await }
    });
    origin.learn(Change::Session { session_id: Uuid::from_u128(9).into(), until_s: now_s() + 60 });
    let told = timeout(LONG, waiting).await.unwrap().unwrap();
    assert!(!told.is_whole && told.changes.len() == 1);
    relay.learn_told(&told);
    assert!(!is_let_in(&relay, session(9), 2));

    // Another memory, in which the channel is public.
    let other = rights();
    other.learn(Change::Session { session_id: Uuid::from_u128(11).into(), until_s: now_s() + 60 });
    let told = other.told(Some(told.epoch), told.next).await;
    assert!(told.is_whole);
    relay.learn_told(&told);
    assert_eq!(relay.decide(Uuid::from_u128(1).into(), None), Ok(None));
}

fn origin_keys() -> PlaybackKeys {
    PlaybackKeys::new([7; 32], [])
}

#[tokio::test]
async fn a_relay_that_is_too_far_behind_is_told_everything() {
    let origin = rights();
    let first = origin.told(None, 0).await;
    for number in 0..=KEPT_CHANGES as u128 {
        origin.learn(Change::Session { session_id: Uuid::from_u128(number).into(), until_s: now_s() + 60 });
    }
    let told = origin.told(Some(first.epoch), first.next).await;
    assert!(told.is_whole);
    assert_eq!(told.changes.len(), KEPT_CHANGES + 1);
    assert!(!origin.told(Some(first.epoch), first.next + 1).await.is_whole);
}

fn terms(visibility: RecordingVisibility) -> RecordingTerms {
    RecordingTerms {
        recording_id: Uuid::from_u128(20).into(),
        channel_id: Uuid::from_u128(1).into(),
        visibility,
        is_download_allowed: false,
        is_deleted: false,
        version: 2,
    }
}

/// A token for a recording, of somebody who was looked at when its channel had had so many events.
fn recording_token(
    rights: &Rights,
    terms: RecordingTerms,
    channel: Visibility,
    wanted: RecordingUse,
    version: i64,
) -> String {
    let bearer = Bearer::Recording {
        recording_id: terms.recording_id,
        session_id: Some(Uuid::from_u128(9).into()),
        wanted,
        terms: RecordingTerms::digest(terms.visibility, terms.is_download_allowed, channel, wanted),
    };
    token(rights, bearer, version)
}

fn role_taken(version: i64) -> Change {
    Change::RoleTaken { channel_id: Uuid::from_u128(1).into(), version, until_s: now_s() + 60 }
}

#[test]
fn no_two_terms_are_signed_alike() {
    let mut seen = HashSet::new();
    for channel in [Visibility::Public, Visibility::Unlisted, Visibility::Private] {
        for visibility in [RecordingVisibility::Published, RecordingVisibility::Unlisted, RecordingVisibility::Archived]
        {
            for (is_allowed, wanted) in
                [(false, RecordingUse::Play), (false, RecordingUse::Download), (true, RecordingUse::Download)]
            {
                assert!(seen.insert(RecordingTerms::digest(visibility, is_allowed, channel, wanted)));
            }
        }
    }
}

#[test]
fn what_takes_a_role_is_worth_nothing_once_one_was_taken() {
    use RecordingUse::{Download, Play};
    use RecordingVisibility::{Archived, Published, Unlisted};
    for (visibility, channel, wanted, takes_role) in [
        (Archived, Visibility::Public, Play, true),
        (Archived, Visibility::Unlisted, Download, true),
        (Published, Visibility::Private, Play, true),
        (Unlisted, Visibility::Private, Play, true),
        (Published, Visibility::Public, Download, true),
        (Published, Visibility::Unlisted, Play, false),
        (Unlisted, Visibility::Public, Play, false),
    ] {
        let what = format!("{visibility:?} of {channel:?} to {wanted:?}");
        let rights = rights();
        rights.learn(Change::Channel(self::channel(channel, 2)));
        let terms = terms(visibility);
        assert_eq!(RecordingTerms::takes_role(visibility, false, channel, wanted), takes_role, "{what}");
        let is_given = |version| {
            let token = recording_token(&rights, terms, channel, wanted, version);
            rights.decide_recording(terms, wanted, Some(&token)) == RecordingDecision::Granted { is_public: false }
        };
        assert!(is_given(5), "{what}");
        rights.learn(role_taken(6));
        assert_eq!((is_given(5), is_given(6), is_given(7)), (!takes_role, true, true), "{what}");
        // What comes late, or is of another channel, changes nothing.
        rights.learn(role_taken(4));
        let elsewhere = Change::RoleTaken { channel_id: Uuid::from_u128(2).into(), version: 9, until_s: now_s() + 60 };
        rights.learn(elsewhere);
        assert_eq!((is_given(5), is_given(6)), (!takes_role, true), "{what}");
    }
}

#[tokio::test]
async fn who_downloads_loses_it_with_the_role() {
    let rights = rights();
    let terms = terms(RecordingVisibility::Archived);
    let waits = |version| {
        let token = recording_token(&rights, terms, Visibility::Public, RecordingUse::Download, version);
        let rights = rights.clone();
        tokio::spawn(async move { rights.recording_lost(terms, RecordingUse::Download, Some(&token)).await })
    };
    let (before, after) = (waits(5), waits(6));
    rights.learn(role_taken(6));
    timeout(LONG, before).await.unwrap().unwrap();
    assert!(!after.is_finished());
    rights.learn(role_taken(7));
    timeout(LONG, after).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_relay_is_told_of_roles_and_recordings_at_once() {
    let (origin, relay) = (rights(), Rights::new(origin_keys()));
    let terms = terms(RecordingVisibility::Archived);
    origin.learn(role_taken(6));
    origin.learn(Change::Recording(RecordingTerms { is_deleted: true, version: 3, ..terms }));
    let told = origin.told(None, 0).await;
    let text = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Told>(&text).unwrap(), told);
    relay.learn_told(&told);
    let decided = |version, terms| {
        let token = recording_token(&relay, terms, Visibility::Public, RecordingUse::Play, version);
        relay.decide_recording(terms, RecordingUse::Play, Some(&token))
    };
    assert_eq!(decided(6, terms), RecordingDecision::Unknown, "it is deleted, whatever is believed of it");
    let other = RecordingTerms { recording_id: Uuid::from_u128(21).into(), ..terms };
    assert_eq!(decided(5, other), RecordingDecision::Refused);
    assert_eq!(decided(6, other), RecordingDecision::Granted { is_public: false });
    // Another memory counts by itself.
    let told = rights().told(Some(told.epoch), told.next).await;
    assert!(told.is_whole);
    relay.learn_told(&told);
    assert_eq!(decided(5, other), RecordingDecision::Granted { is_public: false });
}

#[tokio::test]
async fn nothing_recorded_is_shown_while_an_owner_is_kept_out() {
    let (rights, relay) = (rights(), Rights::new(origin_keys()));
    let terms = terms(RecordingVisibility::Published);
    let public = RecordingDecision::Granted { is_public: true };
    let kept_out = |version, until_s| Change::KeptOut { channel_id: terms.channel_id, version, until_s };
    let shown = |rights: &Rights| rights.decide_recording(terms, RecordingUse::Play, None);
    let lost = tokio::spawn({
        let rights = rights.clone();
        async move { rights.recording_lost(terms, RecordingUse::Play, None).await }
    });
    assert_eq!(shown(&rights), public);
    rights.learn(kept_out(3, u64::MAX));
    timeout(LONG, lost).await.unwrap().unwrap();
    let edge = rights.keys().mint(&Pass { bearer: Bearer::Edge, version: 0, expires_at_s: now_s() + 60 }).unwrap();
    let told = rights.told(None, 0).await;
    let text = serde_json::to_string(&told).unwrap();
    relay.learn_told(&serde_json::from_str(&text).unwrap());
    for rights in [&rights, &relay] {
        assert_eq!(shown(rights), RecordingDecision::Unknown);
        assert_eq!(
            rights.decide_recording(terms, RecordingUse::Play, Some(&edge)),
            RecordingDecision::Unknown,
            "from everybody"
        );
    }
    // What comes late does not let anybody in, and what is newer does.
    rights.learn(kept_out(2, 0));
    assert_eq!(shown(&rights), RecordingDecision::Unknown);
    rights.learn(kept_out(4, 0));
    relay.learn_told(&rights.told(Some(told.epoch), told.next).await);
    assert_eq!((shown(&rights), shown(&relay)), (public, public));
    // It is over by itself, too.
    rights.learn(kept_out(5, now_s() - 1));
    assert_eq!(shown(&rights), public);
    rights.learn(kept_out(6, now_s() + 60));
    assert_eq!(shown(&rights), RecordingDecision::Unknown);
}

#[test]
fn roles_are_forgotten_when_the_tokens_of_before_have_expired() {
    let rights = rights();
    for number in 0..5_000_u128 {
        let until_s = if number % 2 == 0 { now_s() - 1 } else { now_s() + 60 };
        rights.learn(Change::RoleTaken { channel_id: Uuid::from_u128(number).into(), version: 3, until_s });
    }
    let known = rights.read().roles.len();
    assert!((2_500..4_097).contains(&known), "{known}");
}

#[test]
fn what_belongs_to_a_restricted_channel_is_not_forgotten() {
    let rights = rights();
    let stream = StreamId::from(Uuid::from_u128(5)).uuid();
    let id = Uuid::from_u128(1).into();
    rights.belongs(stream, id);
    rights.forget_public(stream);
    assert_eq!(rights.channel_of(stream), None);
    rights.learn(Change::Channel(channel(Visibility::Private, 2)));
    rights.belongs(stream, id);
    rights.forget_public(stream);
    assert_eq!(rights.channel_of(stream), Some(id));
}
