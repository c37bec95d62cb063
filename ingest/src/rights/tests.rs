use std::time::Duration;

use domain::ids::StreamId;
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(20);

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
