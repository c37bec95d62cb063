//! Whatever is asked for, wherever: a right that is taken away is gone at the node that has the stream, at one that has it not,
//! and at a relay in front of that one, at every kind of address and for every way in which a right can be lost.
//!
//! `cargo test --test e2e -- whatever_takes_a_right_away --nocapture` prints how long the last address went on.

#[path = "../../ingest/tests/support/addresses.rs"]
mod addresses;
mod players;
mod stage;

use reqwest::{Method, StatusCode};
use serde_json::json;

use self::stage::{LIVE, RECORDED, Stage, token_in};
use crate::api::{Caller, PASSWORD};

const REFUSED: StatusCode = StatusCode::FORBIDDEN;
const GONE: StatusCode = StatusCode::NOT_FOUND;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_takes_a_right_away_is_felt_at_every_address_wherever_it_is_asked_for() {
    let mut stage = Stage::set().await;
    let (keeper, mira) = (stage.keeper.clone(), stage.mira.clone());
    let noor = Caller::register(&stage.http, "noor", None).await;
    stage.publish().await;
    stage.plays_at_all_places_for_who_may(&noor).await;
    println!(
        "| what takes the right away | place | addresses | the last goes on for, ms | which |\n|---|---|---|---|---|"
    );

    let device = Caller::sign_in(&stage.http, "mira").await;
    let token = token_in(&device.get("channels/river/playback").await);
    stage
        .loses("the session ends", token, &[LIVE, RECORDED], [REFUSED; 2], async || {
            assert_eq!(mira.call(Method::DELETE, "auth/sessions", None).await.0, StatusCode::NO_CONTENT);
        })
        .await;

    let (status, invite) = mira.call(Method::POST, "channels/river/invites", Some(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{invite}");
    let secret = invite["url"].as_str().unwrap().split_once('#').unwrap().1;
    let used =
        Caller::anonymous(&stage.http).call(Method::POST, "invites/use", Some(json!({ "invite": secret }))).await.1;
    stage
        .loses("the invite is taken back", token_in(&used), &[LIVE, RECORDED], [REFUSED; 2], async || {
            let path = format!("channels/river/invites/{}", invite["id"].as_str().unwrap());
            assert_eq!(mira.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
        })
        .await;

    let role = Some(json!({ "role": "moderator" }));
    assert_eq!(mira.call(Method::PUT, "channels/river/team/noor", role).await.0, StatusCode::OK);
    let token = token_in(&noor.get("channels/river/playback").await);
    stage
        .loses("a role is taken", token, &[LIVE, RECORDED], [REFUSED; 2], async || {
            assert_eq!(mira.call(Method::DELETE, "channels/river/team/noor", None).await.0, StatusCode::NO_CONTENT);
        })
        .await;

    let token = token_in(&mira.get("channels/river/playback").await);
    stage
        .loses("others may watch than before", token, &[LIVE, RECORDED], [REFUSED; 2], async || {
            stage.show("unlisted").await;
        })
        .await;

    stage.show("public").await;
    stage
        .loses("what everybody could watch is private", None, &[LIVE, RECORDED], [REFUSED, GONE], async || {
            stage.show("private").await;
        })
        .await;

    stage.show("public").await;
    stage
        .loses("the recording is archived", None, &[RECORDED], [GONE; 2], async || {
            stage.edit_recording(json!({ "visibility": "archived" })).await;
        })
        .await;

    stage.edit_recording(json!({ "visibility": "published" })).await;
    let suspension = format!("admin/accounts/{}/suspension", mira.get("auth/me").await["id"].as_str().unwrap());
    stage
        .loses("the owner is suspended", None, &[LIVE, RECORDED], [GONE; 2], async || {
            let reason = Some(json!({ "reason": "Two warnings" }));
            assert_eq!(keeper.call(Method::PUT, &suspension, reason).await.0, StatusCode::OK);
        })
        .await;

    assert_eq!(keeper.call(Method::DELETE, &suspension, None).await.0, StatusCode::OK);
    stage.mira = Caller::sign_in(&stage.http, "mira").await;
    let mira = stage.mira.clone();
    stage.publish().await;
    stage
        .loses("the recording is deleted", None, &[RECORDED], [GONE; 2], async || {
            let path = format!("recordings/{}", stage.recording);
            assert_eq!(mira.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
        })
        .await;
    stage
        .loses("the owner is erased, and the channel closed", None, &[LIVE], [GONE; 2], async || {
            let body = Some(json!({ "password": PASSWORD }));
            assert_eq!(mira.call(Method::DELETE, "auth/me", body).await.0, StatusCode::NO_CONTENT);
        })
        .await;
}
